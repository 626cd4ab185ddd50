//! P8: every register's history is that of one register: each write took effect once, at an instant between its question
//! and its answer, and each read saw what the register held at such an instant. A read from the lease is no different; a
//! local one may be older, by its bound.
//!
//! Source: Herlihy and Wing, "Linearizability" (1990); DESIGN, "The promises", P8, and "Consensus", reads.

use crate::linear::{Histories, Operation, Verdict, search};

/// Operations around the one that does not fit, for the reader.
const AROUND_MS: u64 = 3_000;

pub fn check(histories: &Histories) -> Result<(), String> {
    for (register, history) in histories.registers() {
        match search(&history) {
            Verdict::Linearizable => {}
            Verdict::TooHard => return Err(format!("register {register}: its history is too hard to judge")),
            Verdict::Not(stuck, value) => return Err(told(register, &history, &stuck, value)),
        }
    }
    Ok(())
}

fn told(register: u64, history: &[Operation], stuck: &[Operation], value: Option<u64>) -> String {
    let at = stuck.iter().filter_map(|operation| operation.returned).min().unwrap_or_default().ms;
    let near = |operation: &&Operation| {
        let ends = operation.returned.map_or(operation.invoked.ms, |at| at.ms);
        ends.saturating_add(AROUND_MS) >= at && operation.invoked.ms <= at.saturating_add(AROUND_MS)
    };
    let lines = |of: Vec<String>| of.join("; ");
    format!(
        "register {register}: where it holds {value:?}, none of [{}] can come next; around it: [{}]",
        lines(stuck.iter().map(ToString::to_string).collect()),
        lines(history.iter().filter(near).map(ToString::to_string).collect())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{Act, Came, Level};

    fn histories(found: u64) -> Histories {
        let mut histories = Histories::default();
        for (ms, act, came) in [
            (10, Act::Put(1), Came::Done),
            (20, Act::Put(2), Came::Done),
            (30, Act::Read(Level::Linearizable), Came::Found(Some(found))),
        ] {
            histories.invoke("r1", 4, act, None, ms);
            histories.ended("r1", 2, came, ms + 2);
        }
        histories
    }

    #[test]
    fn a_stale_read_is_named_with_its_register_and_node() {
        assert_eq!(check(&histories(2)), Ok(()));
        let told = check(&histories(1)).unwrap_err();
        assert!(told.contains("register 4") && told.contains("r1@n2 30..32 Read(Linearizable)"), "{told}");
    }
}

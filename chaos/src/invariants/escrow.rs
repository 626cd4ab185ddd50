//! P1, at the end: what is posted to an account is what completions were charged and restarted nodes could not account
//! for, to the last unit, by the chain's own telling.
//!
//! Source: DESIGN, "The promises", P1, and "Allowances". Where an operator closed what was lent by force, or removed a
//! node, the chain tells the sum only: there the replay of the log is the judge (`conservation.rs`).

use std::collections::BTreeMap;

use only1mcp_domain::audit::AuditEvent;

use super::Final;

pub fn check(end: &Final) -> Result<(), String> {
    let charged = sums(&end.events, "charged ");
    let forfeited = sums(&end.events, "posted in full ");
    let by_force = ["budget.force_close", "node.remove"];
    let forced = end.events.iter().any(|event| by_force.contains(&event.action.as_str()));
    for (node, state) in &end.states {
        for (key, account) in &state.ledger.accounts {
            if !account.is_escrowed() {
                return Err(format!("node {node}: {key} breaks its escrow: {account:?}"));
            }
            let name = key.to_string();
            let of = |sums: &BTreeMap<String, i128>| sums.get(&name).copied().unwrap_or(0);
            posted(&name, account.posted, of(&charged), of(&forfeited), forced)
                .map_err(|what| format!("node {node}: {what}"))?;
        }
    }
    Ok(())
}

fn posted(name: &str, posted: i128, charged: i128, forfeited: i128, forced: bool) -> Result<(), String> {
    let told = charged.saturating_add(forfeited);
    // Posted by force before it was charged, or for good: more than is told, never less.
    if posted == told || forced && posted > told {
        return Ok(());
    }
    Err(format!("{name} has {posted} posted, the chain tells {told}"))
}

/// The amounts of the details that begin with `what`, by account.
fn sums(events: &[AuditEvent], what: &str) -> BTreeMap<String, i128> {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for (name, value) in events.iter().flat_map(|event| &event.details) {
        let amount = name.strip_prefix(what).zip(value.parse::<i128>().ok());
        if let Some((account, amount)) = amount {
            let sum = sums.entry(account.to_owned()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::ended;

    #[test]
    fn the_chain_tells_what_was_charged() {
        let sums = sums(&[ended(&["a", "b"]), ended(&["a"])], "charged ");
        assert_eq!((sums.get("a"), sums.get("b")), (Some(&2), Some(&1)));
    }

    #[test]
    fn a_sum_that_differs_is_found() {
        assert!(posted("a", 5, 3, 2, false).is_ok());
        assert!(posted("a", 6, 3, 2, false).is_err());
        assert!(posted("a", 6, 3, 2, true).is_ok());
        assert!(posted("a", 4, 3, 2, true).is_err());
    }
}

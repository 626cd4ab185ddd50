//! What clients did to registers and what came of it, in the order it happened.

use std::collections::BTreeMap;
use std::fmt;

/// An instant of a world. What happens within a millisecond has an order too: one thread runs a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct At {
    pub ms: u64,
    pub number: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// It holds this from then on. No two writes write the same.
    Put(u64),
    /// The same, if it holds `from`; `None`: nothing.
    Swap {
        from: Option<u64>,
        to: u64,
    },
    Read(Level),
}

/// How consistent a read asked to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Linearizable,
    Lease,
    /// Of state at most so old.
    Local {
        staleness_ms_max: u64,
    },
}

/// What came of an operation, as far as its client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// A write that may stand, now or later, or never. A read that was not answered.
    Unknown,
    Done,
    /// The register did not hold what it was to.
    Refused,
    Found(Option<u64>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    pub process: String,
    /// Which node answered, or was asked last.
    pub node: u64,
    pub act: Act,
    pub invoked: At,
    /// From where on it may have taken effect: when it was invoked, or, of a read that may be stale, earlier.
    pub from: At,
    pub returned: Option<At>,
    pub came: Came,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned = self.returned.map_or("...".to_owned(), |at| at.ms.to_string());
        let Self { process, node, act, came, invoked, .. } = self;
        write!(f, "{process}@n{node} {}..{returned} {act:?}: {came:?}", invoked.ms)
    }
}

/// One history a register.
#[derive(Debug, Default)]
pub struct Histories {
    ended: BTreeMap<u64, Vec<Operation>>,
    /// Each client's operation that is under way, and its register.
    open: BTreeMap<String, (u64, Operation)>,
    events: u64,
}

impl Histories {
    fn now(&mut self, ms: u64) -> At {
        self.events = self.events.saturating_add(1);
        At { ms, number: self.events }
    }

    /// A client is about to ask. A read that may be stale reaches back in time by its bound, and not to before `floor`:
    /// from there on its client knew what it must see at least. Gives from where on the operation may take effect.
    pub fn invoke(&mut self, process: &str, register: u64, act: Act, floor: Option<At>, now_ms: u64) -> At {
        let invoked = self.now(now_ms);
        let from = match act {
            Act::Read(Level::Local { staleness_ms_max }) => {
                let ms = invoked.ms.saturating_sub(staleness_ms_max);
                At { ms, number: 0 }.max(floor.unwrap_or_default()).min(invoked)
            }
            _ => invoked,
        };
        let process = process.to_owned();
        let operation = Operation {
            process: process.clone(),
            node: 0,
            act,
            invoked,
            from,
            returned: None,
            came: Came::Unknown,
        };
        self.open.insert(process, (register, operation));
        from
    }

    /// How the client's operation ended, which `node` answered, or was asked last.
    pub fn ended(&mut self, process: &str, node: u64, came: Came, now_ms: u64) -> Option<&Operation> {
        let now = self.now(now_ms);
        let (register, operation) = self.open.remove(process)?;
        let returned = (came != Came::Unknown).then_some(now);
        // Nothing is learnt from a read without an answer.
        if matches!(operation.act, Act::Read(_)) && returned.is_none() {
            return None;
        }
        let history = self.ended.entry(register).or_default();
        history.push(Operation { node, returned, came, ..operation });
        history.last()
    }

    /// By register. What is still under way may have been done, or may yet be.
    pub fn registers(&self) -> BTreeMap<u64, Vec<Operation>> {
        let mut registers = self.ended.clone();
        for (register, operation) in self.open.values() {
            if !matches!(operation.act, Act::Read(_)) {
                registers.entry(*register).or_default().push(operation.clone());
            }
        }
        registers
    }

    /// Operations, those of unknown end, and reads of each level: linearizable, lease, local.
    pub fn counts(&self) -> (usize, usize, [usize; 3]) {
        let all = || self.ended.values().flatten();
        let unknown = all().filter(|operation| operation.returned.is_none()).count();
        let reads = |is: fn(&Level) -> bool| {
            all().filter(|operation| matches!(&operation.act, Act::Read(level) if is(level))).count()
        };
        let levels = [
            reads(|level| *level == Level::Linearizable),
            reads(|level| *level == Level::Lease),
            reads(|level| matches!(level, Level::Local { .. })),
        ];
        (all().count(), unknown, levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_read_reaches_back_by_its_bound_but_not_before_what_was_known() {
        let mut histories = Histories::default();
        let mut from = |level, floor| histories.invoke("r1", 1, Act::Read(level), floor, 5_000).ms;
        let local = Level::Local { staleness_ms_max: 2_000 };
        assert_eq!(from(local, None), 3_000);
        assert_eq!(from(local, Some(At { ms: 4_000, number: 0 })), 4_000);
        assert_eq!(from(Level::Lease, None), 5_000);
    }

    #[test]
    fn a_read_without_an_answer_is_left_out_and_a_write_is_not() {
        let mut histories = Histories::default();
        histories.invoke("r1", 1, Act::Read(Level::Linearizable), None, 1);
        assert_eq!(histories.ended("r1", 3, Came::Unknown, 2), None);
        histories.invoke("r1", 1, Act::Put(7), None, 3);
        assert!(histories.ended("r1", 3, Came::Unknown, 4).is_some_and(|end| end.returned.is_none()));
        assert_eq!(histories.counts(), (1, 1, [0, 0, 0]));
    }

    #[test]
    fn a_write_under_way_counts_as_unknown() {
        let mut histories = Histories::default();
        histories.invoke("r1", 1, Act::Put(7), None, 3);
        histories.invoke("r2", 1, Act::Read(Level::Lease), None, 3);
        let registers = histories.registers();
        assert_eq!(
            registers.values().flatten().map(|operation| operation.act).collect::<Vec<_>>(),
            [Act::Put(7)]
        );
    }
}

//! P1: the period of what is lent never changes: an account ends when it always did, and a call is charged to the very
//! accounts and periods that it held on.
//!
//! Source: DESIGN, "Allowances": "A call belongs to the period of its admission".

use std::collections::BTreeMap;

use only1mcp_domain::activity::Record;
use only1mcp_domain::ids::CallId;
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::time::TimestampMs;

use crate::history::Step;

#[derive(Debug, Default)]
pub struct Periods {
    ends: BTreeMap<AccountKey, TimestampMs>,
    holds: BTreeMap<CallId, Vec<(AccountKey, TimestampMs)>>,
}

impl Periods {
    pub fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for (key, _, after) in step.changed() {
            let end = *self.ends.entry(key.clone()).or_insert(after.end);
            if end != after.end || key.start >= end {
                return Err(format!("{key} ended at {end:?} and now at {:?}", after.end));
            }
        }
        for record in step.records() {
            match record {
                Record::Admission(admission) => {
                    let holds = admission.holds.iter().map(|hold| (hold.account.clone(), hold.end)).collect();
                    self.holds.insert(admission.call, holds);
                }
                Record::Completion(completion) => {
                    let Some(holds) = self.holds.remove(&completion.call) else { continue };
                    let strays = completion.charges.iter().filter(|charge| charge.held);
                    let mut strays = strays.map(|charge| (charge.account.clone(), charge.end));
                    if let Some((key, end)) = strays.find(|charge| !holds.contains(charge)) {
                        return Err(format!("call {} is charged to {key} until {end:?}", completion.call));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{account, admission, charge, step};

    #[test]
    fn an_account_that_ends_at_another_time_is_found() {
        let (mut periods, first) = (Periods::default(), account(20, 4, 3));
        assert!(step(&charge(1), 20, &account(20, 4, 4), &first, |s| periods.check(s)).is_ok());
        let mut later = account(20, 5, 3);
        later.end = TimestampMs(later.end.0 + 1);
        assert!(step(&charge(1), 20, &first, &later, |s| periods.check(s)).is_err());
    }

    #[test]
    fn a_call_charged_in_another_period_is_found() {
        let (mut periods, same) = (Periods::default(), account(20, 4, 3));
        let mut moved = charge(1);
        if let only1mcp_domain::command::Command::Activity(batch) = &mut moved.command {
            for record in &mut batch.records {
                if let Record::Completion(completion) = record {
                    completion.charges.iter_mut().for_each(|charge| charge.account.start.0 += 60_000);
                }
            }
        }
        assert!(step(&admission(1), 20, &same, &same, |s| periods.check(s)).is_ok());
        assert!(step(&moved, 20, &same, &same, |s| periods.check(s)).is_err());
    }
}

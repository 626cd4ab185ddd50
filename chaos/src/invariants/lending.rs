//! P1: at every entry an account's posted and outstanding are within what its limit was when something was last lent,
//! and overruns; and nothing is lent past the limit that stands now, lowered as it may be.
//!
//! Source: DESIGN, "Allowances": "posted + sum(open grants - reported) <= max(limit, that sum at the latest decrease) +
//! overruns at every index. A decrease grants nothing until the sum is below the new limit".

use only1mcp_domain::ledger::amount_of;

use crate::history::Step;

pub fn check(step: &Step<'_>) -> Result<(), String> {
    for (key, before, after) in step.changed() {
        let negative = after.lent.iter().any(|(_, lent)| lent.outstanding < 0 || lent.forfeited < 0);
        if negative || after.taken() > after.ceiling.saturating_add(after.overrun) {
            return Err(format!("{key} breaks its escrow: {after:?}"));
        }
        let Some(limit) = amount_of(step.after, key).filter(|limit| limit.hard) else { continue };
        let overrun = after.overrun.saturating_sub(before.overrun);
        if after.taken() > limit.amount.max(before.taken()).saturating_add(overrun) {
            return Err(format!(
                "{key} is lent past its limit of {}: {before:?}, then {after:?}",
                limit.amount
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{account, step, tick};

    #[test]
    fn what_is_lent_past_a_lowered_limit_is_found() {
        let before = account(20, 4, 10);
        assert!(step(&tick(), 14, &before, &account(20, 4, 10), check).is_ok());
        assert!(step(&tick(), 20, &before, &account(20, 4, 16), check).is_ok());
        assert!(step(&tick(), 14, &before, &account(20, 4, 11), check).is_err());
    }

    #[test]
    fn a_broken_escrow_is_found() {
        assert!(step(&tick(), 99, &account(20, 4, 10), &account(20, 4, 17), check).is_err());
        assert!(step(&tick(), 99, &account(20, 4, 10), &account(20, 4, -1), check).is_err());
    }
}

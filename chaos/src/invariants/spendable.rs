//! Liveness of allowances: once all faults have ended, what is left of a limit can be spent to the last unit, by calls at
//! any node; what was forfeited counts as spent.
//!
//! Source: DESIGN, "Allowances": "No request is refused while the amount is available or recallable from reachable
//! nodes".

use only1mcp_domain::State;
use only1mcp_domain::ids::BudgetId;
use only1mcp_domain::ledger::{Account, LimitId, amount_of};

use crate::scene;

/// `State`s after calls were made until each caller was told that the limit is used up.
pub fn check<'a>(states: impl Iterator<Item = &'a std::sync::Arc<State>>) -> Result<(), String> {
    let id = LimitId::Budget(BudgetId::new("total").map_err(|error| error.to_string())?);
    for state in states {
        let of_total = |key: &only1mcp_domain::ledger::AccountKey| {
            key.tenant.as_str() == scene::TIGHT && key.limit == id
        };
        let Some((key, account)) = state.ledger.accounts.iter().find(|(key, _)| of_total(key)) else {
            return Err("nobody ever spent of the total budget".to_owned());
        };
        let limit = amount_of(state, key).ok_or("the total budget is gone")?;
        spent(account, limit.amount)?;
    }
    Ok(())
}

fn spent(account: &Account, limit: i128) -> Result<(), String> {
    let rest = limit.saturating_sub(account.posted);
    if rest > 0 {
        return Err(format!(
            "{rest} of {limit} were left when a call was told there is nothing: {account:?}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::account;

    #[test]
    fn a_unit_that_nobody_could_spend_is_found() {
        assert!(spent(&account(20, 20, 0), 20).is_ok());
        assert!(spent(&account(20, 19, 1), 20).is_err());
        assert!(spent(&account(20, 19, 0), 20).is_err());
    }
}

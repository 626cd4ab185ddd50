//! P1, from the chain alone: in no period was more charged to an account than the highest limit that was ever set for it
//! allowed, and the overruns that the chain tells. What restarted nodes could not account for counts as charged.
//!
//! Source: DESIGN, "The promises", P1.

use std::collections::BTreeMap;

use only1mcp_domain::audit::{AuditEvent, EventOutcome};

pub fn check(events: &[AuditEvent]) -> Result<(), String> {
    let mut limits: BTreeMap<String, i128> = BTreeMap::new();
    let mut spent: BTreeMap<String, i128> = BTreeMap::new();
    let mut overruns: BTreeMap<String, i128> = BTreeMap::new();
    for event in events {
        let amount = event.after_state.as_deref().and_then(amount);
        if event.action == "budget.put"
            && event.outcome == EventOutcome::Success
            && let Some(amount) = amount
        {
            let limit = limits.entry(format!("{} budget/{} ", event.tenant, event.resource.id)).or_default();
            *limit = amount.max(*limit);
        }
        for (name, value) in &event.details {
            let Ok(value) = value.parse::<i128>() else { continue };
            let charged = name.strip_prefix("charged ").or_else(|| name.strip_prefix("posted in full "));
            let sum = match charged {
                Some(account) => spent.entry(account.to_owned()).or_default(),
                None if name == "beyond_the_hold" => overruns.entry(event.resource.id.clone()).or_default(),
                None => continue,
            };
            *sum = sum.saturating_add(value);
        }
    }
    for (account, spent) in &spent {
        let limit = limits.iter().find(|(prefix, _)| account.starts_with(prefix.as_str()));
        let Some((_, limit)) = limit else { continue };
        let overrun = overruns.get(account).copied().unwrap_or(0);
        if *spent > limit.saturating_add(overrun) {
            return Err(format!("{account}: {spent} were charged; the limit was {limit} at most"));
        }
    }
    Ok(())
}

/// The amount in a budget's JSON text.
fn amount(json: &str) -> Option<i128> {
    let (_, rest) = json.split_once("\"amount\":")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::event;

    fn set(amount: i128) -> AuditEvent {
        let mut event = event("budget.put", "b", &[]);
        event.after_state = Some(format!("{{\"id\":\"b\",\"amount\":{amount},\"hard\":true}}"));
        event
    }

    fn spend(what: &str, amount: &str) -> AuditEvent {
        event("call.complete", "x", &[(&format!("{what} acme budget/b from 60000"), amount)])
    }

    #[test]
    fn more_than_the_limit_is_found() {
        let history = |last: AuditEvent| vec![set(3), set(5), set(2), spend("charged", "4"), last];
        assert!(check(&history(spend("charged", "1"))).is_ok());
        assert!(check(&history(spend("charged", "2"))).is_err());
        assert!(check(&history(spend("posted in full", "2"))).is_err());
        assert!(check(&[spend("charged", "1"), set(9)]).is_ok());
    }

    #[test]
    fn an_overrun_that_is_told_is_allowed() {
        let told = event("budget.overrun", "acme budget/b from 60000", &[("beyond_the_hold", "1")]);
        assert!(check(&[set(5), spend("charged", "6"), told]).is_ok());
        assert!(check(&[set(5), spend("charged", "6")]).is_err());
    }
}

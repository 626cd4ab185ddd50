//! P1: no account is overspent, by the chain's own telling: what was held for admitted calls is within the limit, and
//! what is posted is what completions were charged and restarted nodes could not account for, to the last unit.
//!
//! Source: DESIGN, "The promises", P1, and "Allowances".

use std::collections::BTreeMap;

use only1mcp_domain::audit::AuditEvent;
use only1mcp_domain::ledger::amount_of;

use super::Final;

pub fn check(end: &Final) -> Result<(), String> {
    let held = sums(&end.events, "held ");
    let charged = sums(&end.events, "charged ");
    let forfeited = sums(&end.events, "posted in full ");
    for (node, state) in &end.states {
        for (key, account) in &state.ledger.accounts {
            if !account.is_escrowed() {
                return Err(format!("node {node}: {key} breaks its escrow: {account:?}"));
            }
            let name = key.to_string();
            let of = |sums: &BTreeMap<String, i128>| sums.get(&name).copied().unwrap_or(0);
            let told = of(&charged).saturating_add(of(&forfeited));
            if account.posted != told {
                return Err(format!(
                    "node {node}: {key} has {} posted, the chain tells {told}",
                    account.posted
                ));
            }
            let Some(limit) = amount_of(state, key).filter(|limit| limit.hard) else { continue };
            let spent = of(&held).max(of(&charged));
            if spent > limit.amount {
                return Err(format!("{key}: calls for {spent} were admitted; the limit is {}", limit.amount));
            }
        }
    }
    Ok(())
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

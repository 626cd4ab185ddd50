//! P1, from the chain alone: every admission is charged once: its end charges each account what the admission held of it,
//! whatever the end was, an unknown one too.
//!
//! Source: DESIGN, "Allowances": "An unknown outcome settles at the hold".

use std::collections::BTreeMap;

use only1mcp_domain::audit::{AuditEvent, EventKind};
use only1mcp_domain::ids::CallId;

type Amounts<'a> = BTreeMap<&'a str, i128>;

/// Whether every call has an end is another invariant's business (`calls.rs`).
pub fn check(events: &[AuditEvent]) -> Result<(), String> {
    let mut held: BTreeMap<CallId, Amounts<'_>> = BTreeMap::new();
    for event in events {
        let Some(call) = event.call else { continue };
        match event.kind {
            EventKind::AccessGranted => drop(held.insert(call, amounts(event, "held "))),
            EventKind::DataAccess => {
                let charged = amounts(event, "charged ");
                match held.remove(&call) {
                    Some(held) if held == charged => {}
                    Some(held) => {
                        return Err(format!("call {call} held {held:?} and was charged {charged:?}"));
                    }
                    None => return Err(format!("call {call} was charged {charged:?} and held nothing")),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn amounts<'a>(event: &'a AuditEvent, what: &str) -> Amounts<'a> {
    let mut amounts = Amounts::new();
    for (name, value) in &event.details {
        if let Some((account, value)) = name.strip_prefix(what).zip(value.parse::<i128>().ok()) {
            let sum = amounts.entry(account).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{admitted, ended};

    #[test]
    fn a_call_charged_otherwise_than_it_held_is_found() {
        let (one, other) = ("a from 0", "b from 0");
        assert!(check(&[admitted(&[one, other]), ended(&[one, other])]).is_ok());
        assert!(check(&[admitted(&[one, other]), ended(&[one])]).is_err());
        assert!(check(&[admitted(&[one]), ended(&[])]).is_err(), "released");
        assert!(check(&[admitted(&[one]), ended(&[one]), ended(&[one])]).is_err(), "twice");
        assert!(check(&[admitted(&[one])]).is_ok(), "still open");
    }
}

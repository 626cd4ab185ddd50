//! P3: each admitted call stands in the chain once, its end once and after it; nothing else stands there.
//!
//! Source: DESIGN, "The promises", P3, and "The way of one call": "a crash between admission and completion leaves an
//! admission that says just that"; the node's next life records its end as unknown.
//! A life whose journal was replaced by an older copy may have left calls without an end, or without a trace.

use std::collections::BTreeMap;

use only1mcp_domain::audit::EventKind;
use only1mcp_domain::ids::CallId;

use super::Final;
use crate::oracle::Oracle;

#[derive(Default)]
struct Places {
    admitted: Vec<usize>,
    ended: Vec<usize>,
}

fn is_unheard(end: &Final, oracle: &Oracle, call: &CallId, admitted: usize) -> bool {
    let node = end.events.get(admitted).map(|event| event.node);
    !oracle.calls.contains_key(call) && oracle.forgotten.iter().any(|upto| Some(upto.node) == node)
}

pub fn check(end: &Final, oracle: &Oracle) -> Result<(), String> {
    let mut places: BTreeMap<CallId, Places> = BTreeMap::new();
    for (at, event) in end.events.iter().enumerate() {
        let Some(call) = event.call else { continue };
        let place = places.entry(call).or_default();
        match event.kind {
            EventKind::AccessGranted => place.admitted.push(at),
            EventKind::DataAccess => place.ended.push(at),
            // What its charges came to, told after its end.
            EventKind::PolicyViolation | EventKind::AnomalyDetected
                if event.action.starts_with("budget.") && !place.ended.is_empty() => {}
            _ => return Err(format!("event {} of call {call} is a {}", at + 1, event.kind.name())),
        }
    }
    for (call, place) in &places {
        let known = oracle.calls.get(call).map_or("nobody".to_owned(), |call| call.life.to_string());
        let problem = match (place.admitted.as_slice(), place.ended.as_slice()) {
            ([admitted], [ended]) if admitted < ended => continue,
            ([_], [_]) => "ends before it begins",
            ([_], []) if oracle.is_forgotten(call) => continue,
            // Admitted as its node died, so that nobody was told; and then that node's journal was lost.
            ([admitted], []) if is_unheard(end, oracle, call, *admitted) => continue,
            ([_], []) => "has no end",
            ([_], _) => "ends twice",
            ([], _) => "ends and was never admitted",
            (_, _) => "stands twice",
        };
        return Err(format!(
            "call {call}, admitted by {known}, {problem}: events {:?} and {:?}",
            place.admitted, place.ended
        ));
    }
    match oracle.calls.iter().find(|(call, _)| !places.contains_key(call) && !oracle.is_forgotten(call)) {
        Some((call, known)) => Err(format!("call {call}, admitted by {}, is missing", known.life)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::audit::AuditEvent;

    use super::*;
    use crate::invariants::testing::{admitted, ended, event};

    /// What a call's charge came to.
    fn told(kind: EventKind, action: &str) -> AuditEvent {
        AuditEvent { kind, call: admitted(&[]).call, ..event(action, "b", &[]) }
    }

    fn history(events: Vec<AuditEvent>) -> Result<(), String> {
        let end = Final { chains: BTreeMap::new(), events, states: BTreeMap::new() };
        check(&end, &Oracle::default())
    }

    #[test]
    fn a_call_that_ends_twice_or_never_is_found() {
        assert!(history(vec![admitted(&[]), ended(&[])]).is_ok());
        for bad in [
            vec![admitted(&[])],
            vec![ended(&[])],
            vec![ended(&[]), admitted(&[])],
            vec![admitted(&[]), admitted(&[]), ended(&[])],
            vec![admitted(&[]), ended(&[]), ended(&[])],
        ] {
            assert!(history(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_budgets_level_told_before_the_end_of_its_call_is_found() {
        let level = || told(EventKind::PolicyViolation, "budget.exceeded");
        let overrun = || told(EventKind::AnomalyDetected, "budget.overrun");
        assert!(history(vec![admitted(&[]), ended(&[]), overrun(), level()]).is_ok());
        assert!(history(vec![admitted(&[]), level(), ended(&[])]).is_err());
        assert!(history(vec![level(), admitted(&[]), ended(&[])]).is_err());
        // Nothing else is told of a call.
        let other = told(EventKind::PolicyViolation, "role.put");
        assert!(history(vec![admitted(&[]), ended(&[]), other]).is_err());
        assert!(history(vec![admitted(&[]), ended(&[]), told(EventKind::LoginFailure, "budget.x")]).is_err());
    }
}

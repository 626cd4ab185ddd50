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

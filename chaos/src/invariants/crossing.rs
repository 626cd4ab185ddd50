//! P1: a call holds on every account it touches, nested ones and crossing ones, or on none: the tenant's hour and its
//! principal's are the same hour, so what principals were charged in it adds up to what the tenant was.
//!
//! Source: DESIGN, "Allowances": "Scopes nest (tenant > project > user) and cross (tool, upstream, model): every account
//! is escrowed on its own per node, and a call holds on all it touches or none".

use only1mcp_domain::audit::{AuditEvent, EventKind};

use crate::scene;

pub fn check(events: &[AuditEvent]) -> Result<(), String> {
    let admissions = events.iter().filter(|event| {
        event.kind == EventKind::AccessGranted
            && event.call.is_some()
            && event.tenant.as_str() == scene::TIGHT
    });
    for event in admissions {
        let principal = event.actor.id.clone();
        let held: Vec<(&str, &str)> = event
            .details
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("held ")?, value.as_str())))
            .collect();
        let on = |limit: &str| {
            let begin = format!("{} {limit} from ", scene::TIGHT);
            let mut found =
                held.iter().filter_map(|(name, value)| Some((name.strip_prefix(&begin)?, *value)));
            let first = found.next();
            if found.next().is_some() { None } else { first }
        };
        let hour = on("budget/hour");
        let all = hour.is_some()
            && hour == on(&format!("budget/user of {principal}"))
            && on(&format!("budget/tool of {}", scene::TOOL)).is_some()
            && (principal != scene::SPARING || on("budget/total").is_some());
        if !all {
            return Err(format!("a call of {principal} was admitted on {held:?} only"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::admitted;

    #[test]
    fn a_call_that_holds_on_some_accounts_only_is_found() {
        let call = |held: &[&str]| {
            let mut event = admitted(held);
            event.tenant = only1mcp_domain::ids::TenantId::new(scene::TIGHT).unwrap();
            event
        };
        let (hour, user) = ("tight budget/hour from 3600000", "tight budget/user of c0 from 3600000");
        let tool = "tight budget/tool of demo__echo from 0";
        assert!(check(&[call(&[hour, user, tool])]).is_ok());
        for some in [&[user, tool][..], &[hour, tool], &[hour, user], &[hour, user, tool, hour]] {
            assert!(check(&[call(some)]).is_err(), "{some:?}");
        }
        let other = "tight budget/user of c0 from 7200000";
        assert!(check(&[call(&[hour, other, tool])]).is_err(), "not the same hour");
    }
}

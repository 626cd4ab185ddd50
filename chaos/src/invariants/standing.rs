//! A call whose grant, key or principal is gone when its admission is applied is recorded as revoked in flight, so that
//! its answer is withheld; but for tenants whose answers may have left before. Read from the records alone: none of
//! the product's own judgement is asked.
//!
//! Source: DESIGN, P4: "An admission that raced with the revoke is caught at apply".

use only1mcp_domain::activity::{Admission, Record};
use only1mcp_domain::model::SealMode;
use only1mcp_domain::{Outcome, State};

use crate::history::Step;

pub fn check(step: &Step<'_>) -> Result<(), String> {
    let (Some(batch), Ok(Outcome::BatchApplied { records })) = (step.batch(), &step.applied.outcome) else {
        return Ok(());
    };
    for (record, applied) in batch.records.iter().zip(records) {
        let Record::Admission(admission) = record else { continue };
        let told = applied.revoked_in_flight || admission.mode == SealMode::Journaled;
        if let Some(gone) = gone(step.before, admission)
            && !told
        {
            return Err(format!("call {} was let stand, though its {gone} was gone", admission.call));
        }
    }
    Ok(())
}

fn gone(state: &State, admission: &Admission) -> Option<&'static str> {
    let caller = &admission.caller;
    if !state.grants.contains_key(&(caller.tenant.clone(), admission.grant.clone())) {
        return Some("grant");
    }
    let principal = state.principals.get(&(caller.tenant.clone(), caller.principal.clone()));
    if !principal.is_some_and(|principal| principal.value.enabled) {
        return Some("principal");
    }
    let key = caller.key.as_ref()?;
    let good = state.api_keys.get(key).is_some_and(|key| {
        let revoked = key.value.revoked_at.is_some_and(|at| at <= state.log_time);
        !revoked
    });
    (!good).then_some("key")
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::Applied;
    use only1mcp_domain::activity::RecordApplied;
    use only1mcp_domain::ids::TenantId;
    use only1mcp_domain::state::Versioned;

    use super::*;
    use crate::invariants::testing;
    use crate::scene;

    fn told(with_grant: bool, revoked_in_flight: bool) -> Result<(), String> {
        let acme = TenantId::new("acme").unwrap();
        let mut state = State::default();
        let principal = scene::principal(&acme, "c0").unwrap();
        let id = (acme.clone(), principal.id.clone());
        state.principals.insert(id, Versioned { revision: 1, value: principal });
        if with_grant {
            let grant = scene::grant(&acme, "g", "c0").unwrap();
            state.grants.insert((acme, grant.id.clone()), Versioned { revision: 1, value: grant });
        }
        let records = vec![RecordApplied { audit: None, revoked_in_flight }];
        let outcome = Ok(Outcome::BatchApplied { records });
        let applied = Applied { outcome, effects: Vec::new(), rows: Vec::new(), audit: Vec::new() };
        let entry = testing::admission(1);
        check(&Step { index: 1, entry: &entry, applied: &applied, before: &state, after: &state })
    }

    #[test]
    fn a_call_on_a_grant_that_is_gone_must_be_told() {
        assert_eq!(told(true, false), Ok(()));
        assert_eq!(told(false, true), Ok(()));
        assert!(told(false, false).unwrap_err().contains("grant"));
    }
}

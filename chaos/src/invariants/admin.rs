//! P8: what an acknowledged administrative write made is there; one whose end is unknown may stand or not.
//!
//! Source: DESIGN, "The promises", P8 and P6; Herlihy, Wing, "Linearizability" (1990), for reads after the write.

use only1mcp_domain::State;
use only1mcp_domain::ids::{GrantId, TenantId};

use super::Final;
use crate::oracle::Oracle;

pub fn has_grant(state: &State, grant: &GrantId) -> bool {
    TenantId::new("acme").is_ok_and(|tenant| state.grants.contains_key(&(tenant, grant.clone())))
}

pub fn check(end: &Final, oracle: &Oracle) -> Result<(), String> {
    for (node, state) in &end.states {
        for (grant, granted) in &oracle.grants {
            let there = has_grant(state, grant);
            if !granted.register.allows(&there) {
                return Err(format!(
                    "grant {grant} is {} on node {node}",
                    if there { "there" } else { "gone" }
                ));
            }
        }
        for (tenant, register) in &oracle.tenants {
            let status = state.tenants.get(tenant).map(|record| record.value.status);
            if !status.is_some_and(|status| register.allows(&status)) {
                return Err(format!(
                    "tenant {tenant} is {status:?} on node {node}, not {:?}",
                    register.possible
                ));
            }
        }
    }
    Ok(())
}

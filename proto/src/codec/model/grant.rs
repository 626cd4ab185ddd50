//! Grants of roles to principals.

use only1mcp_domain::model::Grant;
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{Text as _, record, text, text_list, write_list};
use crate::model;

impl From<&Grant> for model::Grant {
    fn from(grant: &Grant) -> Self {
        Self {
            tenant: grant.tenant.written(),
            id: grant.id.written(),
            principal: grant.principal.written(),
            role: grant.role.written(),
            projects: write_list(&grant.projects),
            conditions: Some((&grant.conditions).into()),
            waive_mfa: grant.waive_mfa,
            expires_at_ms: grant.expires_at.map(|at| at.0),
            created_at_ms: grant.created_at.0,
            created_by: grant.created_by.clone(),
        }
    }
}

impl TryFrom<model::Grant> for Grant {
    type Error = DecodeError;

    fn try_from(wire: model::Grant) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("Grant.tenant", &wire.tenant)?,
            id: text("Grant.id", &wire.id)?,
            principal: text("Grant.principal", &wire.principal)?,
            role: text("Grant.role", &wire.role)?,
            projects: text_list("Grant.projects", &wire.projects)?,
            conditions: record("Grant.conditions", wire.conditions)?,
            waive_mfa: wire.waive_mfa,
            expires_at: wire.expires_at_ms.map(TimestampMs),
            created_at: TimestampMs(wire.created_at_ms),
            created_by: wire.created_by,
        })
    }
}

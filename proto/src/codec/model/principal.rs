//! Persons and service accounts.

use only1mcp_domain::model::{Principal, PrincipalKind};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{Text as _, enumeration, text, text_list, wire_enum, write_list};
use crate::model;

wire_enum!(PrincipalKind, model::PrincipalKind, "PrincipalKind", [Person, Service]);

impl From<&Principal> for model::Principal {
    fn from(principal: &Principal) -> Self {
        Self {
            tenant: principal.tenant.written(),
            id: principal.id.written(),
            kind: model::PrincipalKind::from(principal.kind).into(),
            display_name: principal.display_name.clone(),
            email: principal.email.clone(),
            personal: principal.personal.as_ref().map(Into::into),
            projects: write_list(&principal.projects),
            attributes: principal.attributes.clone(),
            enabled: principal.enabled,
            created_at_ms: principal.created_at.0,
            updated_at_ms: principal.updated_at.0,
        }
    }
}

impl TryFrom<model::Principal> for Principal {
    type Error = DecodeError;

    fn try_from(wire: model::Principal) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("Principal.tenant", &wire.tenant)?,
            id: text("Principal.id", &wire.id)?,
            kind: enumeration::<model::PrincipalKind, _>("Principal.kind", wire.kind)?,
            display_name: wire.display_name,
            email: wire.email,
            personal: wire.personal.map(TryInto::try_into).transpose()?,
            projects: text_list("Principal.projects", &wire.projects)?,
            attributes: wire.attributes,
            enabled: wire.enabled,
            created_at: TimestampMs(wire.created_at_ms),
            updated_at: TimestampMs(wire.updated_at_ms),
        })
    }
}

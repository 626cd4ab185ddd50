//! Roles, their permissions as text.

use only1mcp_domain::model::{Permission, Role};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{Decoded, Text as _, record, text, text_list, write_list};
use crate::model;

/// Characters of an unknown permission that an error repeats.
const QUOTED_CHARS_MAX: usize = 64;

fn permission(text: &str) -> Decoded<Permission> {
    Permission::parse(text).ok_or_else(|| {
        let quoted: String = text.chars().take(QUOTED_CHARS_MAX).collect();
        DecodeError::invalid("Role.permissions", format_args!("{quoted:?} is no permission"))
    })
}

impl From<&Role> for model::Role {
    fn from(role: &Role) -> Self {
        Self {
            tenant: role.tenant.written(),
            id: role.id.written(),
            name: role.name.clone(),
            description: role.description.clone(),
            permissions: role.permissions.iter().map(Permission::text).collect(),
            inherits_from: write_list(&role.inherits_from),
            constraints: Some((&role.constraints).into()),
            created_at_ms: role.created_at.0,
            created_by: role.created_by.clone(),
        }
    }
}

/// Keeps the permissions in their order; a caller who reads them from outside sorts them.
impl TryFrom<model::Role> for Role {
    type Error = DecodeError;

    fn try_from(wire: model::Role) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("Role.tenant", &wire.tenant)?,
            id: text("Role.id", &wire.id)?,
            name: wire.name,
            description: wire.description,
            permissions: wire.permissions.iter().map(|text| permission(text)).collect::<Result<_, _>>()?,
            inherits_from: text_list("Role.inherits_from", &wire.inherits_from)?,
            constraints: record("Role.constraints", wire.constraints)?,
            created_at: TimestampMs(wire.created_at_ms),
            created_by: wire.created_by,
        })
    }
}

//! API keys and join tokens: the public part for everybody, the hash for the log and the rows alone.

use only1mcp_domain::model::{ApiKey, JoinToken};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{
    Raw as _, Text as _, optional_text, raw, required, text, text_list, write_list, write_text,
};
use crate::{log, model};

/// Leaves the hash out: what the API shows.
impl From<&ApiKey> for model::ApiKeyInfo {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.written(),
            tenant: key.tenant.written(),
            principal: key.principal.written(),
            label: key.label.clone(),
            created_at_ms: key.created_at.0,
            expires_at_ms: key.expires_at.map(|at| at.0),
            revoked_at_ms: key.revoked_at.map(|at| at.0),
            projects: write_list(&key.projects),
            tools: write_list(&key.tools),
            last_used_at_ms: key.last_used_at.map(|at| at.0),
            rotated_from: write_text(key.rotated_from.as_ref()),
        }
    }
}

impl From<&ApiKey> for log::StoredApiKey {
    fn from(key: &ApiKey) -> Self {
        Self { info: Some(key.into()), mac: key.mac.written() }
    }
}

impl TryFrom<log::StoredApiKey> for ApiKey {
    type Error = DecodeError;

    fn try_from(wire: log::StoredApiKey) -> Result<Self, DecodeError> {
        let info = required("StoredApiKey.info", wire.info)?;
        Ok(Self {
            id: text("ApiKeyInfo.id", &info.id)?,
            tenant: text("ApiKeyInfo.tenant", &info.tenant)?,
            principal: text("ApiKeyInfo.principal", &info.principal)?,
            mac: raw("StoredApiKey.mac", &wire.mac)?,
            label: info.label,
            created_at: TimestampMs(info.created_at_ms),
            expires_at: info.expires_at_ms.map(TimestampMs),
            revoked_at: info.revoked_at_ms.map(TimestampMs),
            projects: text_list("ApiKeyInfo.projects", &info.projects)?,
            tools: text_list("ApiKeyInfo.tools", &info.tools)?,
            last_used_at: info.last_used_at_ms.map(TimestampMs),
            rotated_from: optional_text("ApiKeyInfo.rotated_from", info.rotated_from.as_deref())?,
        })
    }
}

/// Leaves the hash out: what the API shows.
impl From<&JoinToken> for model::JoinTokenInfo {
    fn from(token: &JoinToken) -> Self {
        Self { id: token.id.written(), created_at_ms: token.created_at.0, expires_at_ms: token.expires_at.0 }
    }
}

impl From<&JoinToken> for log::StoredJoinToken {
    fn from(token: &JoinToken) -> Self {
        Self { info: Some(token.into()), mac: token.mac.written() }
    }
}

impl TryFrom<log::StoredJoinToken> for JoinToken {
    type Error = DecodeError;

    fn try_from(wire: log::StoredJoinToken) -> Result<Self, DecodeError> {
        let info = required("StoredJoinToken.info", wire.info)?;
        Ok(Self {
            id: text("JoinTokenInfo.id", &info.id)?,
            mac: raw("StoredJoinToken.mac", &wire.mac)?,
            created_at: TimestampMs(info.created_at_ms),
            expires_at: TimestampMs(info.expires_at_ms),
        })
    }
}

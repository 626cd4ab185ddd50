//! API keys: made, rotated, listed, revoked. The secret leaves once and is never stored.

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{ApiKeyId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{ApiKey, Glob};
use only1mcp_domain::outcome::Rejection;
use only1mcp_domain::secret;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use std::ops::Bound;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::ports::View;
use crate::wire;
use crate::write::{Draft, derived};

/// A rotated key works on for at most this long.
const OVERLAP_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// What is shown once.
struct Shown {
    id: ApiKeyId,
    text: String,
    expires_at: Option<TimestampMs>,
}

/// Id, text and hash of a new key.
fn made(
    draft: &Draft,
    view: &View,
    bytes: &[u8; 32],
) -> Result<(ApiKeyId, String, only1mcp_domain::ids::Digest), AdminError> {
    let cluster = view.state.cluster.as_ref().ok_or(Rejection::NotFormed {})?;
    let id = secret::key_id(derived(draft.command_id));
    let text = secret::format_key(&id, bytes);
    let (_, shown) = secret::parse_key(&text).ok_or(AdminError::Internal { detail: "a key that is none" })?;
    let mac = secret::mac(&cluster.key_hash_key, shown);
    Ok((id, text, mac))
}

pub(super) async fn create(
    core: &Core,
    call: &Call,
    message: pb::CreateKeyRequest,
) -> Result<pb::CreateKeyResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let principal = wire::id("principal", &message.principal)?;
    let projects = wire::ids("projects", &message.projects)?;
    let tools = message.tools.iter().map(Glob::new).collect::<Result<_, _>>();
    let tools = tools.map_err(|error| AdminError::invalid("tools", error))?;
    if message.label.len() > limits::LABEL_BYTES_MAX {
        return Err(AdminError::invalid("label", format!("at most {} bytes", limits::LABEL_BYTES_MAX)));
    }
    let bytes = core.random::<32>();
    let mut shown = None;
    let write = core.write(call, &message, tenant.clone(), |draft, view| {
        let (id, text, mac) = made(draft, view, &bytes)?;
        let expires_at = (message.ttl_ms != 0).then(|| draft.now.plus_ms(message.ttl_ms));
        shown = Some(Shown { id: id.clone(), text, expires_at });
        Ok(Command::CreateApiKey(ApiKey {
            id,
            tenant: tenant.clone(),
            principal,
            mac,
            label: message.label.clone(),
            created_at: draft.now,
            expires_at,
            revoked_at: None,
            projects,
            tools,
            last_used_at: None,
            rotated_from: None,
        }))
    });
    let result = write.await?;
    let Shown { id, text, expires_at } =
        shown.ok_or(AdminError::Internal { detail: "a write without a command" })?;
    Ok(pb::CreateKeyResponse {
        result,
        key_id: id.to_string(),
        key: text,
        expires_at_ms: expires_at.map(|at| at.0),
    })
}

pub(super) async fn rotate(
    core: &Core,
    call: &Call,
    message: pb::RotateKeyRequest,
) -> Result<pb::RotateKeyResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let old_id: ApiKeyId = wire::id("key_id", &message.key_id)?;
    if message.overlap_ms > OVERLAP_MS_MAX {
        return Err(AdminError::invalid("overlap_ms", format!("at most {OVERLAP_MS_MAX}")));
    }
    let bytes = core.random::<32>();
    let mut shown = None;
    let write = core.write(call, &message, tenant.clone(), |draft, view| {
        let old = of_tenant(view, &tenant, &old_id)?;
        let (id, text, mac) = made(draft, view, &bytes)?;
        let life_ms = match message.ttl_ms {
            0 => old.expires_at.map(|at| at.since_ms(old.created_at)),
            ttl_ms => Some(ttl_ms),
        };
        let expires_at = life_ms.map(|ms| draft.now.plus_ms(ms));
        let overlap_until = draft.now.plus_ms(message.overlap_ms);
        let new = ApiKey {
            id: id.clone(),
            mac,
            created_at: draft.now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
            rotated_from: Some(old_id.clone()),
            ..old.clone()
        };
        shown = Some((Shown { id, text, expires_at }, overlap_until));
        Ok(Command::RotateApiKey { old: old_id, new, overlap_until })
    });
    let result = write.await?;
    let (Shown { id, text, expires_at }, old_valid_until) =
        shown.ok_or(AdminError::Internal { detail: "a write without a command" })?;
    Ok(pb::RotateKeyResponse {
        result,
        key_id: id.to_string(),
        key: text,
        old_valid_until_ms: old_valid_until.0,
        expires_at_ms: expires_at.map(|at| at.0),
    })
}

/// Another tenant's key is as unknown as one that does not exist (P7).
fn of_tenant<'a>(view: &'a View, tenant: &TenantId, id: &ApiKeyId) -> Result<&'a ApiKey, AdminError> {
    let found = view.state.api_keys.get(id).map(|record| &record.value);
    found.filter(|key| key.tenant == *tenant).ok_or_else(|| AdminError::not_found("api_key", id))
}

pub(super) async fn revoke(
    core: &Core,
    call: &Call,
    message: pb::RevokeKeyRequest,
) -> Result<pb::RevokeKeyResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let key = wire::id("key_id", &message.key_id)?;
    let write = core.write(call, &message, tenant.clone(), |_, view| {
        of_tenant(view, &tenant, &key)?;
        Ok(Command::RevokeApiKey { tenant, key })
    });
    Ok(pb::RevokeKeyResponse { result: write.await? })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListKeysRequest,
) -> Result<pb::ListKeysResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str(), &message.principal];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = match &list.after {
        None => Bound::Unbounded,
        Some(after) => Bound::Excluded(wire::id("page_token", after)?),
    };
    let of = |record: &Versioned<ApiKey>| {
        let key = &record.value;
        key.tenant == tenant && (message.principal.is_empty() || key.principal.as_str() == message.principal)
    };
    let keys = &list.view.state.api_keys;
    let (rows, next_page_token) = list.take(&core.pins, keys, start, |_| true, of, ToString::to_string);
    let now = list.view.now;
    let records = rows.into_iter().map(|record| pb::KeyRecord {
        key: Some((&record.value).into()),
        revision: record.revision,
        status: status(&record.value, now).to_owned(),
    });
    Ok(pb::ListKeysResponse { records: records.collect(), next_page_token, read: core.read_info(&list.view) })
}

fn status(key: &ApiKey, now: TimestampMs) -> &'static str {
    match key.revoked_at {
        Some(at) if at <= now => "revoked",
        _ if key.expires_at.is_some_and(|at| at <= now) => "expired",
        Some(_) => "rotating",
        None => "active",
    }
}

//! One-time tokens that let a node join.

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::JoinToken;
use only1mcp_domain::outcome::Rejection;
use only1mcp_domain::secret;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::write::derived;

const TTL_MS_DEFAULT: u64 = 3_600_000;
const TTL_MS_MAX: u64 = 7 * 24 * 3_600_000;

pub(super) async fn create(
    core: &Core,
    call: &Call,
    message: pb::CreateJoinTokenRequest,
) -> Result<pb::CreateJoinTokenResponse, AdminError> {
    let ttl_ms = if message.ttl_ms == 0 { TTL_MS_DEFAULT } else { message.ttl_ms };
    if ttl_ms > TTL_MS_MAX {
        return Err(AdminError::invalid("ttl_ms", format!("at most {TTL_MS_MAX}")));
    }
    let bytes = core.random::<32>();
    let mut made = None;
    let write = core.write(call, &message, TenantId::system(), |draft, view| {
        let cluster = view.state.cluster.as_ref().ok_or(Rejection::NotFormed {})?;
        let id = secret::token_id(derived(draft.command_id));
        let text = secret::format_token(&id, &bytes);
        let (_, shown) =
            secret::parse_token(&text).ok_or(AdminError::Internal { detail: "a token that is none" })?;
        let mac = secret::mac(&cluster.key_hash_key, shown);
        let token = JoinToken { id, mac, created_at: draft.now, expires_at: draft.now.plus_ms(ttl_ms) };
        made = Some((token.id.to_string(), text, token.expires_at.0));
        Ok(Command::CreateJoinToken(token))
    });
    let result = write.await?;
    let (token_id, token, expires_at_ms) =
        made.ok_or(AdminError::Internal { detail: "a write without a command" })?;
    Ok(pb::CreateJoinTokenResponse { result, token_id, token, expires_at_ms })
}

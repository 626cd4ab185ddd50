//! Who is calling, for which tenant, in which session: settled before anything else is looked at.

use http::StatusCode;
use http::header::{HeaderName, USER_AGENT};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{McpSessionId, ProjectId, TenantId};
use only1mcp_domain::limits;

use crate::http::answer::{Answer, error, unauthenticated};
use crate::http::headers::{
    PROJECT, SESSION, VERSION, authority, host_of, origin_is_allowed, presented_key, shown, single,
};
use crate::http::incoming::Incoming;
use crate::inner::{Inner, is_passing};
use crate::json::{RpcError, code};
use crate::ports::{CallerInfo, Refused};
use crate::protocol::Version;
use crate::session::{Ended, TokenKey, TokenText};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn bad_request(why: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, &RpcError::new(code::BAD_REQUEST, why), None)
}

fn forbidden(reason: Reason) -> Answer {
    error(StatusCode::FORBIDDEN, &RpcError::reason(reason), None)
}

/// The client has to start anew; it is not told whether the session was closed, another's, or never there.
pub(crate) fn session_gone() -> Answer {
    error(StatusCode::NOT_FOUND, &RpcError::reason(Reason::SessionClosed), None)
}

/// A session that policy does not let go on, or not now.
pub(crate) fn session_refused(refused: &Refused) -> Answer {
    let status = if is_passing(refused) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::FORBIDDEN };
    error(status, &RpcError::refused(refused), None)
}

impl Inner {
    /// Authenticates the request and settles its tenant.
    /// Errors: the HTTP answer to give.
    pub(crate) fn caller(&self, incoming: &Incoming) -> Result<CallerInfo, Answer> {
        let headers = &incoming.headers;
        let key = presented_key(headers).ok_or(Reason::KeyUnknown);
        let identity = key.and_then(|key| self.enforcement.authenticate(key, incoming.source));
        let identity = identity.map_err(|reason| {
            self.metrics.unauthenticated();
            match reason {
                Reason::KeyUnknown | Reason::KeyRevoked | Reason::KeyExpired => {
                    unauthenticated(&RpcError::reason(Reason::KeyUnknown))
                }
                Reason::Stale | Reason::Draining | Reason::Overloaded => {
                    error(StatusCode::SERVICE_UNAVAILABLE, &RpcError::reason(reason), None)
                }
                _ => forbidden(reason),
            }
        })?;
        let authority = authority(headers, &incoming.uri);
        let named = match &incoming.path_tenant {
            // A name that cannot be a tenant's is nobody's.
            Some(named) => Some(TenantId::new(named).map_err(|_| forbidden(Reason::CrossTenant))?),
            None => authority.as_deref().and_then(|named| self.enforcement.tenant_by_domain(host_of(named))),
        };
        let tenant = named.unwrap_or_else(|| identity.tenant.clone());
        // INVARIANT: P7
        if tenant != identity.tenant && !identity.tenant.is_system() {
            return Err(forbidden(Reason::CrossTenant));
        }
        if !origin_is_allowed(headers, authority.as_deref(), &self.enforcement.allowed_origins(&tenant)) {
            let problem = RpcError::new(code::BAD_REQUEST, "the origin is not allowed");
            return Err(error(StatusCode::FORBIDDEN, &problem, None));
        }
        let bad_project = || bad_request("X-Only1MCP-Project is not a project id");
        let project = match single(headers, &PROJECT).map_err(|_| bad_project())? {
            Some(named) => Some(ProjectId::new(named).map_err(|_| bad_project())?),
            None => None,
        };
        Ok(CallerInfo {
            identity,
            tenant,
            session: None,
            project,
            ip: incoming.source.map(|ip| ip.to_canonical()),
            user_agent: shown(headers, &USER_AGENT),
            request_id: request_id(&shown(headers, &REQUEST_ID)),
        })
    }

    /// The session that the request names, which must be the caller's own and open. `caller` learns its id.
    /// Errors: the HTTP answer to give.
    pub(crate) fn session(&self, incoming: &Incoming, caller: &mut CallerInfo) -> Result<TokenText, Answer> {
        let text = match single(&incoming.headers, &SESSION) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(bad_request("Mcp-Session-Id is missing")),
            Err(_) => return Err(bad_request("Mcp-Session-Id is not one value")),
        };
        let key = self.token_key()?;
        let token = key.open(text, self.enforcement.now_ms()).map_err(|_| session_gone())?;
        let own = token.identity == caller.identity && token.tenant == caller.tenant;
        if !own || self.enforcement.is_session_closed(&token.session) {
            return Err(session_gone());
        }
        caller.session = Some(token.session);
        if let Err(refused) = self.enforcement.check_session(caller) {
            if !is_passing(&refused) {
                self.close_session(token.session, &Ended::AuthorityLost);
            }
            return Err(session_refused(&refused));
        }
        Ok(token)
    }

    pub(crate) fn token_key(&self) -> Result<TokenKey, Answer> {
        let key = self.enforcement.session_key().and_then(TokenKey::new);
        key.ok_or_else(|| error(StatusCode::SERVICE_UNAVAILABLE, &RpcError::reason(Reason::Stale), None))
    }
}

/// Errors: the answer to a version that is not spoken here.
pub(crate) fn check_version(incoming: &Incoming) -> Result<(), Answer> {
    match single(&incoming.headers, &VERSION) {
        // Missing means an old client: its session's token knows the version.
        Ok(None) => Ok(()),
        Ok(Some(text)) if Version::parse(text).is_some() => Ok(()),
        Ok(Some(_)) | Err(_) => {
            let spoken = Version::ALL.map(Version::text);
            let problem = RpcError::new(code::BAD_REQUEST, "unsupported MCP-Protocol-Version")
                .with_data(serde_json::json!({"supported": spoken}));
            Err(error(StatusCode::BAD_REQUEST, &problem, None))
        }
    }
}

/// The client's own, if it is a plain one; else a fresh one.
fn request_id(given: &str) -> String {
    let plain = !given.is_empty()
        && given.len() <= limits::NAME_BYTES_MAX
        && given.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { given.to_owned() } else { random_id().map(|id| id.to_string()).unwrap_or_default() }
}

/// `None` when the system gives no randomness.
pub(crate) fn random_id() -> Option<McpSessionId> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(McpSessionId(bytes))
}

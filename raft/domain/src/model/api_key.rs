//! API keys and join tokens: what is stored of a secret shown once.

use crate::ids::{ApiKeyId, Digest, PrincipalId, ProjectId, TenantId};
use crate::model::Glob;
use crate::time::TimestampMs;

/// The secret itself is never stored. `mac` is HMAC-SHA3-256 under the cluster's key-hash key, computed by the
/// proposer; apply and lookup only compare.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub mac: Digest,
    pub label: String,
    pub created_at: TimestampMs,
    pub expires_at: Option<TimestampMs>,
    /// Refused from this log time on; rotation sets it in the future, so that both keys work meanwhile.
    pub revoked_at: Option<TimestampMs>,
    /// Empty: every project of the principal.
    pub projects: Vec<ProjectId>,
    /// Empty: every tool the roles allow.
    pub tools: Vec<Glob>,
    /// Log time of the latest recorded use, to the minute.
    pub last_used_at: Option<TimestampMs>,
    /// The key this one replaces.
    pub rotated_from: Option<ApiKeyId>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// Admits one node, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinToken {
    pub id: ApiKeyId,
    pub mac: Digest,
    pub created_at: TimestampMs,
    pub expires_at: TimestampMs,
}

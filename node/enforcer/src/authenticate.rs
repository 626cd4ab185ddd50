//! Who presents this key? Constant time in the secret; failures are counted by source.

use std::net::IpAddr;

use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{ApiKeyId, PrincipalId, TenantId};
use only1mcp_domain::secret;

use crate::enforcer::Enforcer;

impl Enforcer {
    /// The holder of a presented API key.
    /// Errors: `KeyUnknown`, also for a text that is no key; `KeyRevoked` and `KeyExpired` only when the secret was right.
    pub fn authenticate(
        &self,
        presented: &str,
        source: Option<IpAddr>,
    ) -> Result<(TenantId, PrincipalId, ApiKeyId), Reason> {
        let found = self.find_key(presented);
        if found.is_err() {
            self.unauthenticated(source);
        }
        found
    }

    fn find_key(&self, presented: &str) -> Result<(TenantId, PrincipalId, ApiKeyId), Reason> {
        let (id, secret) = secret::parse_key(presented).ok_or(Reason::KeyUnknown)?;
        let view = self.view();
        let cluster = view.state.cluster.as_ref().ok_or(Reason::KeyUnknown)?;
        // An unknown id costs the same hash as a known one.
        let record = view.state.api_keys.get(&id).map(|record| &record.value);
        let stored = record.map(|key| key.mac).unwrap_or_default();
        let right = secret::verify(&cluster.key_hash_key, secret, &stored);
        let key = record.filter(|_| right).ok_or(Reason::KeyUnknown)?;
        let now = view.now();
        if key.revoked_at.is_some_and(|at| now >= at) {
            return Err(Reason::KeyRevoked);
        }
        if key.expires_at.is_some_and(|at| now >= at) {
            return Err(Reason::KeyExpired);
        }
        Ok((key.tenant.clone(), key.principal.clone(), key.id.clone()))
    }
}

//! Who a request comes from: an API key's secret checked in constant time, or a certificate the listener checked.

use std::time::Duration;

use only1mcp_domain::decide::Reason;
use only1mcp_domain::secret;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::call::Identity;
use crate::error::AdminError;
use crate::ports::{ClientIdentity, ClusterPort, Consistency, Ports, View};

/// Unknown keys looked for in the newest state at one time: a made-up key must not cost a quorum read each.
const FRESH_LOOKUPS_MAX: usize = 4;
const FRESH_LOOKUP: Duration = Duration::from_secs(1);

/// Checks credentials; shared by all services.
pub(crate) struct Credentials {
    fresh_lookups: Semaphore,
}

impl Credentials {
    pub(crate) fn new() -> Self {
        Self { fresh_lookups: Semaphore::new(FRESH_LOOKUPS_MAX) }
    }

    /// The caller of `request`. Errors: `NoCredentials`, or `Unauthenticated` with the reason.
    pub(crate) async fn check<T>(&self, ports: &Ports, request: &Request<T>) -> Result<Identity, AdminError> {
        let presented = bearer(request.metadata())?;
        let Some(presented) = presented else {
            let identity = request.extensions().get::<ClientIdentity>().ok_or(AdminError::NoCredentials)?;
            return known_principal(&ports.cluster.view(), identity);
        };
        let unknown = match check_key(&ports.cluster.view(), presented) {
            Err(Reason::KeyUnknown) if secret::parse_key(presented).is_some() => Reason::KeyUnknown,
            answer => return answer.map_err(|reason| AdminError::Unauthenticated { reason }),
        };
        // A key made on another node a moment ago may not have reached this one.
        let refused = AdminError::Unauthenticated { reason: unknown };
        let Ok(_permit) = self.fresh_lookups.try_acquire() else { return Err(refused) };
        let view = newest(&*ports.cluster).await.ok_or(refused)?;
        check_key(&view, presented).map_err(|reason| AdminError::Unauthenticated { reason })
    }
}

async fn newest(cluster: &dyn ClusterPort) -> Option<View> {
    cluster.consistent(Consistency::Linearizable, Instant::now() + FRESH_LOOKUP).await.ok()
}

/// The presented key, if any. Errors: an authorization header of another kind.
fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, AdminError> {
    let Some(value) = metadata.get("authorization") else { return Ok(None) };
    let value = value.to_str().map_err(|_| AdminError::NoCredentials)?;
    let (scheme, key) = value.split_once(' ').ok_or(AdminError::NoCredentials)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AdminError::NoCredentials);
    }
    Ok(Some(key.trim()))
}

fn check_key(view: &View, presented: &str) -> Result<Identity, Reason> {
    let (id, text) = secret::parse_key(presented).ok_or(Reason::KeyUnknown)?;
    let cluster = view.state.cluster.as_ref().ok_or(Reason::KeyUnknown)?;
    let key = &view.state.api_keys.get(&id).ok_or(Reason::KeyUnknown)?.value;
    if !secret::verify(&cluster.key_hash_key, text, &key.mac) {
        return Err(Reason::KeyUnknown);
    }
    if key.revoked_at.is_some_and(|at| at <= view.now) {
        return Err(Reason::KeyRevoked);
    }
    if key.expires_at.is_some_and(|at| at <= view.now) {
        return Err(Reason::KeyExpired);
    }
    let (tenant, principal) = (key.tenant.clone(), key.principal.clone());
    if !view.state.principals.contains_key(&(tenant.clone(), principal.clone())) {
        return Err(Reason::PrincipalUnknown);
    }
    Ok(Identity { tenant, principal, key: Some(id) })
}

fn known_principal(view: &View, identity: &ClientIdentity) -> Result<Identity, AdminError> {
    let key = (identity.tenant.clone(), identity.principal.clone());
    if !view.state.principals.contains_key(&key) {
        return Err(AdminError::Unauthenticated { reason: Reason::PrincipalUnknown });
    }
    Ok(Identity { tenant: key.0, principal: key.1, key: None })
}

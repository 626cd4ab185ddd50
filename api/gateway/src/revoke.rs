//! P4: what depended on authority that is gone ends. And: what nobody uses any more is given back.

use std::sync::Arc;

use only1mcp_domain::ids::TenantId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant};

use crate::config::ms;
use crate::inner::Inner;
use crate::ports::Revocation;
use crate::session::{Ended, Session};

/// Changed lists are announced this much later, so that many changes at once make clients list but once.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(250);

/// Follows revocations until the gateway stops.
/// INVARIANT: P4
pub(crate) async fn follow(inner: Arc<Inner>, mut revocations: Receiver<Revocation>) {
    let mut announce_at = None;
    loop {
        let received = tokio::select! {
            received = revocations.recv() => received,
            () = at(announce_at) => {
                announce_at = None;
                inner.announce_changed_lists();
                continue;
            }
            () = inner.stop.cancelled() => return,
        };
        announce_at = announce_at.or_else(|| Some(Instant::now() + ANNOUNCE_AFTER));
        match received {
            Ok(Revocation::PolicyChanged { tenant }) => inner.recheck(tenant.as_ref()),
            Ok(Revocation::UpstreamsChanged { tenant }) => inner.upstreams_changed(&tenant),
            Ok(Revocation::SessionClosed { session }) => inner.close_session(session, &Ended::SessionClosed),
            Ok(Revocation::Draining) => inner.drain(),
            // What was missed may have been anything.
            Err(RecvError::Lagged(_)) => inner.recheck_everything(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Gives back sessions that nobody uses, until the gateway stops.
pub(crate) async fn reap(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(ms(inner.config.reap_ms)) => {}
            () = inner.stop.cancelled() => return,
        }
        let now_ms = inner.enforcement.now_ms();
        for session in inner.sessions.all() {
            let read = session.stream.has_reader() || inner.flights.has_session(session.id);
            let idle = !read && session.idle_for() >= ms(inner.config.session_idle_ms);
            if idle || now_ms >= session.expires_at_ms {
                inner.close_session(session.id, &Ended::SessionClosed);
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn concerns(session: &Session, tenant: &TenantId) -> bool {
    session.caller.tenant == *tenant || session.caller.identity.tenant == *tenant
}

impl Inner {
    fn recheck(&self, tenant: Option<&TenantId>) {
        for session in self.sessions.all() {
            if tenant.is_none_or(|tenant| concerns(&session, tenant)) {
                session.policy_moved();
                if self.has_lost_authority(&session.caller) {
                    self.close_session(session.id, &Ended::AuthorityLost);
                }
            }
        }
        // Requests of sessions whose home is elsewhere.
        self.flights.recheck(|caller| {
            let concerned = |tenant: &TenantId| caller.tenant == *tenant || caller.identity.tenant == *tenant;
            tenant.is_none_or(concerned) && self.has_lost_authority(caller)
        });
    }

    fn upstreams_changed(&self, tenant: &TenantId) {
        self.close_changed_upstreams(tenant);
        for session in self.sessions.all() {
            // Shared ones are the system's: everybody may see them.
            if tenant.is_system() || session.caller.tenant == *tenant {
                let current = self.enforcement.upstreams(&session.caller.tenant);
                session.close_slots(|slot| current.iter().any(|known| **known == *slot.standing.upstream));
                session.policy_moved();
            }
        }
    }

    /// Lists show what their reader may see: policy that moved, or other upstreams, make other lists.
    fn announce_changed_lists(&self) {
        self.sessions
            .all()
            .iter()
            .filter(|session| session.take_relist())
            .for_each(|s| Self::announce_all_lists(s));
    }

    fn recheck_everything(&self) {
        self.recheck(None);
        let mut tenants: Vec<TenantId> =
            self.standings().iter().map(|standing| standing.upstream.tenant.clone()).collect();
        tenants.push(TenantId::system());
        tenants.sort();
        tenants.dedup();
        tenants.iter().for_each(|tenant| self.upstreams_changed(tenant));
        for session in self.sessions.all() {
            if self.enforcement.is_session_closed(&session.id) {
                self.close_session(session.id, &Ended::SessionClosed);
            }
        }
    }
}

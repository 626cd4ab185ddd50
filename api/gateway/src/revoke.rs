//! P4: what depended on authority that is gone ends. And: what nobody uses any more is given back.

use std::sync::Arc;

use only1mcp_domain::ids::TenantId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::config::ms;
use crate::inner::Inner;
use crate::ports::Revocation;
use crate::session::{Ended, Session};

/// Follows revocations until the gateway stops.
/// INVARIANT: P4
pub(crate) async fn follow(inner: Arc<Inner>, mut revocations: Receiver<Revocation>) {
    loop {
        let received = tokio::select! {
            received = revocations.recv() => received,
            () = inner.stop.cancelled() => return,
        };
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

fn concerns(session: &Session, tenant: &TenantId) -> bool {
    session.caller.tenant == *tenant || session.caller.identity.tenant == *tenant
}

impl Inner {
    fn recheck(&self, tenant: Option<&TenantId>) {
        for session in self.sessions.all() {
            if tenant.is_none_or(|tenant| concerns(&session, tenant))
                && self.has_lost_authority(&session.caller)
            {
                self.close_session(session.id, &Ended::AuthorityLost);
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
                Self::announce_all_lists(&session);
            }
        }
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

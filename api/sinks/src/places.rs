//! Places for requests under way. Every tenant has one of its own, and further ones out of what all share: whoever's
//! receivers are slow holds up nobody but itself. INVARIANT: P7

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Places {
    shared: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, Weak<Tenant>>>,
}

/// One tenant's, for as long as anybody of it wants or has a place.
struct Tenant {
    /// Whatever it may have, its own place among them.
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Given back when dropped.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _of_tenant: OwnedSemaphorePermit,
    _tenant: Arc<Tenant>,
}

impl Default for Places {
    fn default() -> Self {
        Self { shared: Arc::new(Semaphore::new(limits::WEBHOOK_REQUESTS_MAX)), tenants: Mutex::default() }
    }
}

impl Places {
    /// Waits for a place, behind those of the same tenant that wait already. `None` never comes: nothing is closed.
    pub(crate) async fn take(&self, tenant: &TenantId) -> Option<Place> {
        let tenant = self.tenant(tenant);
        let of_tenant = tenant.all.clone().acquire_owned().await.ok()?;
        let place = tokio::select! {
            biased;
            own = tenant.own.clone().acquire_owned() => own,
            shared = self.shared.clone().acquire_owned() => shared,
        };
        Some(Place { _place: place.ok()?, _of_tenant: of_tenant, _tenant: tenant })
    }

    fn tenant(&self, id: &TenantId) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.get(id).and_then(Weak::upgrade) {
            return tenant;
        }
        // Nobody else is left behind here: there are as many as have work under way.
        tenants.retain(|_, tenant| tenant.strong_count() > 0);
        let tenant = Arc::new(Tenant {
            all: Arc::new(Semaphore::new(limits::WEBHOOK_REQUESTS_PER_TENANT_MAX)),
            own: Arc::new(Semaphore::new(1)),
        });
        tenants.insert(id.clone(), Arc::downgrade(&tenant));
        tenant
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn tenant(number: usize) -> TenantId {
        TenantId::new(format!("t{number}")).unwrap()
    }

    fn now(places: &Places, number: usize) -> Option<Place> {
        places.take(&tenant(number)).now_or_never().flatten()
    }

    #[test]
    fn webhook_requests_per_tenant_max() {
        let places = Places::default();
        let mut taken: Vec<Place> = Vec::new();
        for _ in 0..limits::WEBHOOK_REQUESTS_PER_TENANT_MAX {
            taken.push(now(&places, 1).unwrap());
        }
        assert!(now(&places, 1).is_none());
        assert!(now(&places, 2).is_some(), "another tenant has its own");
        drop(taken.pop());
        assert!(now(&places, 1).is_some());
    }

    #[test]
    fn webhook_requests_max() {
        let places = Places::default();
        let extra = limits::WEBHOOK_REQUESTS_PER_TENANT_MAX - 1;
        assert_eq!(limits::WEBHOOK_REQUESTS_MAX % extra, 0, "else the last of them has fewer");
        let greedy = limits::WEBHOOK_REQUESTS_MAX / extra;
        let taken: Vec<Place> = (0..greedy)
            .flat_map(|number| (0..=extra).map(move |_| number))
            .map(|n| now(&places, n).unwrap())
            .collect();
        let late = now(&places, greedy).expect("a place of its own");
        assert!(now(&places, greedy).is_none(), "everything that is shared is taken");
        drop(taken);
        assert!(now(&places, greedy).is_some());
        drop(late);
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let places = Places::default();
        for number in 0..100 {
            drop(now(&places, number));
        }
        assert_eq!(places.tenants.lock().unwrap().len(), 1);
    }
}

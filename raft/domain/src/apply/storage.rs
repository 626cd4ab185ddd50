//! How many bytes the records of each tenant take: counted as they come and go, so that a quota can bind their growth.
//!
//! Counted are the tenant itself and what its administrators make: principals, keys, roles, grants, rules, upstreams,
//! budgets, prices, meterings, discounts and webhooks. Not counted are what calls leave (accounts, cost records, the
//! trail), because nobody could delete it to make room. A record counts as its texts and what is around them.

use crate::apply::change::Change;
use crate::apply::weigh::Weigh;
use crate::ids::TenantId;
use crate::model::Quota;
use crate::outcome::Rejection;
use crate::state::State;

/// Numbers, times and names of fields of a stored record.
const AROUND_RECORD: usize = 128;
const MIB: u64 = 1 << 20;

impl State {
    /// What the records of `tenant` take. Units: bytes.
    pub fn storage_bytes(&self, tenant: &TenantId) -> u64 {
        self.lookup.bytes_in.get(tenant).copied().unwrap_or(0)
    }

    /// A record of `tenant` came, changed or went.
    pub(super) fn weigh(&mut self, tenant: &TenantId, old: Option<&dyn Weigh>, new: Option<&dyn Weigh>) {
        let bytes = |record: Option<&dyn Weigh>| {
            let weight = record.map_or(0, |record| record.weight().saturating_add(AROUND_RECORD));
            u64::try_from(weight).unwrap_or(u64::MAX)
        };
        let (before, gone, came) = (self.storage_bytes(tenant), bytes(old), bytes(new));
        match before.saturating_sub(gone).saturating_add(came) {
            0 => self.lookup.bytes_in.remove(tenant),
            after => self.lookup.bytes_in.insert(tenant.clone(), after),
        };
    }
}

/// What shrinks, or grows by nothing, is never refused: whoever is over the quota can get below it. The operators' tenant
/// has none, as nobody could lift it there.
/// Errors: `QuotaExceeded`, where `tenant` grew since it took `before` bytes and now takes more than its quota.
pub(super) fn within_quota(change: &Change<'_>, tenant: &TenantId, before: u64) -> Result<(), Rejection> {
    let Some(record) = change.state.tenants.get(tenant) else { return Ok(()) };
    let Quota::AtMost(max) = record.value.quotas.storage_mib else { return Ok(()) };
    let after = change.state.storage_bytes(tenant);
    if tenant.is_system() || after <= before || after <= max.saturating_mul(MIB) {
        return Ok(());
    }
    Err(Rejection::QuotaExceeded { quota: "storage_mib".to_owned(), max })
}

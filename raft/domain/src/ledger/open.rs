//! Which accounts there are: opened with their first use, within bounds, and forgotten when they are old.

use crate::ids::NodeId;
use crate::ledger::{Account, AccountKey, Ledger, Period};
use crate::limits;
use crate::model::PeriodKind;
use crate::time::TimestampMs;

impl Ledger {
    /// Whether some call waits for this account.
    pub fn is_waited_for(&self, key: &AccountKey) -> bool {
        self.waiters.values().any(|waiter| waiter.parts.iter().any(|(wanted, _)| wanted == key))
    }

    /// The oldest account that may be forgotten by `now`: its period is long over, and no node can have an open call
    /// in it.
    pub(crate) fn forgettable(
        &self,
        now: TimestampMs,
        members: impl Iterator<Item = NodeId>,
    ) -> Option<AccountKey> {
        let (at, key) = self.by_age.get_min()?;
        let end = self.accounts.get(key)?.end;
        let settled = || {
            let mut through =
                members.map(|node| self.settled_through.get(&node).copied().unwrap_or_default());
            through.all(|at| at >= end)
        };
        (*at <= now && settled()).then(|| key.clone())
    }

    /// Whether late reports may still change the account: some member may have an open call in its period.
    pub fn is_provisional(&self, account: &Account, members: impl Iterator<Item = NodeId>) -> bool {
        let mut through = members.map(|node| self.settled_through.get(&node).copied().unwrap_or_default());
        through.any(|at| at < account.end)
    }

    /// The account of the same limit and subject whose period holds `at`.
    pub fn account_at(&self, key: &AccountKey, at: TimestampMs) -> Option<(&AccountKey, &Account)> {
        let last = AccountKey { start: at, ..key.clone() };
        let (found, account) = self.accounts.range(key.first()..=last).next_back()?;
        (account.end > at).then_some((found, account))
    }

    /// Makes the account where there is none. `Some(true)`: it is new; `Some(false)`: it was there with this period;
    /// `None`: the period is impossible: longer than its kind, not begun, over already, or across another one's.
    pub(super) fn open(
        &mut self,
        key: &AccountKey,
        period: Period,
        kind: PeriodKind,
        log_time: TimestampMs,
    ) -> Option<bool> {
        if let Some(account) = self.accounts.get(key) {
            return (account.end == period.end).then_some(false);
        }
        let length = period.end.0.checked_sub(period.start.0).filter(|ms| *ms > 0)?;
        let ahead = (length / 2).min(limits::PERIOD_AHEAD_MS_MAX);
        let begun = period.start.0 <= log_time.0.saturating_add(ahead);
        let over = period.end <= log_time;
        if length > kind.ms_max() || !begun || over || !self.has_room(key) {
            return None;
        }
        let before = self.accounts.range(key.first()..key.clone()).next_back();
        let after = self.accounts.range(key.clone()..).next().filter(|(next, _)| next.is_sibling(key));
        let meets = before.is_some_and(|(_, account)| account.end > period.start)
            || after.is_some_and(|(next, _)| next.start < period.end);
        if meets {
            return None;
        }
        self.set_account(key.clone(), Account::new(period.end));
        Some(true)
    }

    pub(crate) fn set_account(&mut self, key: AccountKey, account: Account) {
        let end = account.end;
        if self.accounts.insert(key.clone(), account).is_none() {
            let count = self.in_tenant.get(&key.tenant).copied().unwrap_or(0);
            self.in_tenant.insert(key.tenant.clone(), count.saturating_add(1));
            self.by_age.insert((age(&key, end), key));
        }
    }

    pub(crate) fn unset_account(&mut self, key: &AccountKey) {
        if let Some(account) = self.accounts.remove(key) {
            self.by_age.remove(&(age(key, account.end), key.clone()));
            match self.in_tenant.get(&key.tenant).copied().unwrap_or(0) {
                0 | 1 => self.in_tenant.remove(&key.tenant),
                count => self.in_tenant.insert(key.tenant.clone(), count - 1),
            };
        }
    }

    /// Whether an account of this key may be opened besides those there are. INVARIANT: P7
    pub fn has_room(&self, key: &AccountKey) -> bool {
        let in_tenant = self.in_tenant.get(&key.tenant).copied().unwrap_or(0);
        has_room(self.accounts.len(), in_tenant, !key.subject.is_empty())
    }
}

/// `each`: for an account that counts for one of many.
fn has_room(all: usize, in_tenant: usize, each: bool) -> bool {
    // Names that a caller makes up (of tools, of resources) must not take the place of the tenant's own quotas.
    let in_tenant_max =
        if each { limits::ACCOUNTS_OF_EACH_PER_TENANT_MAX } else { limits::ACCOUNTS_PER_TENANT_MAX };
    in_tenant < in_tenant_max && all < limits::ACCOUNTS_MAX
}

/// When an account may be forgotten.
fn age(key: &AccountKey, end: TimestampMs) -> TimestampMs {
    const HOUR_MS: u64 = 3_600_000;
    let long = end.since_ms(key.start) > HOUR_MS;
    end.plus_ms(if long { limits::LONG_ACCOUNT_AGE_MS } else { limits::SHORT_ACCOUNT_AGE_MS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;
    use crate::ledger::LimitId;

    fn key(tenant: &str, subject: &str, start: u64) -> AccountKey {
        AccountKey {
            tenant: TenantId::new(tenant).unwrap(),
            limit: LimitId::QuotaRequests,
            subject: subject.into(),
            start: TimestampMs(start),
        }
    }

    #[test]
    fn what_a_tenant_has_is_counted_as_it_comes_and_goes() {
        let mut ledger = Ledger::default();
        for start in 0..3 {
            ledger.set_account(key("acme", "", start), Account::new(TimestampMs(9)));
            ledger.set_account(key("acme", "", start), Account::new(TimestampMs(9)));
        }
        ledger.set_account(key("other", "", 0), Account::new(TimestampMs(9)));
        let count =
            |ledger: &Ledger, tenant: &str| ledger.in_tenant.get(&TenantId::new(tenant).unwrap()).copied();
        assert_eq!((count(&ledger, "acme"), count(&ledger, "other")), (Some(3), Some(1)));
        for start in [0, 0, 7] {
            ledger.unset_account(&key("acme", "", start));
        }
        assert_eq!(count(&ledger, "acme"), Some(2));
        ledger.unset_account(&key("other", "", 0));
        assert_eq!(count(&ledger, "other"), None, "equal accounts make equal lookups");
    }

    /// INVARIANT: P7
    #[test]
    fn accounts_per_tenant_max() {
        let mut ledger = Ledger::default();
        let period = |start: u64| Period { start: TimestampMs(start), end: TimestampMs(start + 1) };
        let open = |ledger: &mut Ledger, key: &AccountKey| {
            ledger.open(key, period(key.start.0), PeriodKind::Minute, key.start).is_some()
        };
        let each = limits::ACCOUNTS_OF_EACH_PER_TENANT_MAX;
        for number in 0..each {
            assert!(open(&mut ledger, &key("acme", &format!("tool-{number}"), 1)));
        }
        assert!(!open(&mut ledger, &key("acme", "one more", 1)), "made-up names have had their share");
        assert!(open(&mut ledger, &key("acme", "tool-0", 1)), "it is there");
        for number in each..limits::ACCOUNTS_PER_TENANT_MAX {
            assert!(
                open(&mut ledger, &key("acme", "", number as u64)),
                "the tenant's own quotas still count"
            );
        }
        assert!(!open(&mut ledger, &key("acme", "", 0)));
        assert!(open(&mut ledger, &key("other", "anyone", 1)), "another tenant notices nothing");
    }

    #[test]
    fn accounts_max() {
        assert!(has_room(limits::ACCOUNTS_MAX - 1, 0, true) && has_room(limits::ACCOUNTS_MAX - 1, 0, false));
        assert!(!has_room(limits::ACCOUNTS_MAX, 0, true) && !has_room(limits::ACCOUNTS_MAX, 0, false));
    }
}

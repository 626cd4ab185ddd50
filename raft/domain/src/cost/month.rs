//! What tenants used of each meter, month by month: price tiers and volume discounts begin where the month stands.

use imbl::OrdMap;

use crate::ids::TenantId;
use crate::price::Amounts;
use crate::time::TimestampMs;

/// Part of [`crate::State`]: by tenant and beginning of the month, UTC.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MonthUsage(pub(crate) OrdMap<(TenantId, TimestampMs), Amounts>);

/// A call that began before midnight may end after it.
const MONTHS_MAX: usize = 2;

impl MonthUsage {
    /// What `tenant` used in the month that begins at `month`.
    pub fn of(&self, tenant: &TenantId, month: TimestampMs) -> Amounts {
        self.0.get(&(tenant.clone(), month)).copied().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&(TenantId, TimestampMs), &Amounts)> {
        self.0.iter()
    }

    /// Adds `used`; returns a month that is forgotten for it. A month older than those that are kept is not counted any
    /// more: what is priced by it was quoted long ago.
    pub(crate) fn add(
        &mut self,
        tenant: &TenantId,
        month: TimestampMs,
        used: &Amounts,
    ) -> Option<(TenantId, TimestampMs)> {
        let key = (tenant.clone(), month);
        let mut sum = self.0.get(&key).copied().unwrap_or_default();
        for (meter, units) in used.iter() {
            sum.set(meter, sum.get(meter).unwrap_or(0).saturating_add(units));
        }
        self.0.insert(key, sum);
        let months = self.0.range((tenant.clone(), TimestampMs(0))..=(tenant.clone(), TimestampMs(u64::MAX)));
        let months: Vec<TimestampMs> = months.map(|((_, month), _)| *month).collect();
        let oldest = (months.len() > MONTHS_MAX).then(|| months.first().copied()).flatten()?;
        let key = (tenant.clone(), oldest);
        self.0.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Meter;

    #[test]
    fn two_months_of_each_tenant_are_kept() {
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let mut usage = MonthUsage::default();
        let five = Amounts::default().with(Meter::Output, 5);
        assert_eq!(usage.add(&b, TimestampMs(1), &five), None);
        for month in [10, 20] {
            assert_eq!(usage.add(&a, TimestampMs(month), &five), None);
            assert_eq!(usage.add(&a, TimestampMs(month), &five), None);
        }
        assert_eq!(usage.of(&a, TimestampMs(10)).get(Meter::Output), Some(10));
        assert_eq!(usage.add(&a, TimestampMs(30), &five), Some((a.clone(), TimestampMs(10))));
        assert_eq!(usage.of(&a, TimestampMs(10)), Amounts::default());
        // Late use of a month that is not kept any more does not stay either.
        assert_eq!(usage.add(&a, TimestampMs(10), &five), Some((a.clone(), TimestampMs(10))));
        assert_eq!(usage.of(&b, TimestampMs(1)), five);
    }
}

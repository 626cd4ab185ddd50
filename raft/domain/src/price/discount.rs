//! The specification's three discounts, as data, and the factor that they make for one call.
//! Source: specification, "Cost Attribution Engine": (token + compute) x cache x volume x commitment.

use std::num::NonZeroU64;

use crate::ids::{DiscountId, TenantId};
use crate::limits::{DECIMAL_SCALE_MAX, DISCOUNTS_PER_TENANT_MAX, TIERS_MAX, UNITS_MAX};
use crate::money::{Exact, Overflow, Wide};
use crate::price::fault::ensure;
use crate::price::tier::{pieces, reachable};
use crate::price::{Amounts, Fault, Meter, Problem};
use crate::time::TimestampMs;

/// For calls whose input came largely from a cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheDiscount {
    /// Given where tokens read from a cache are more than this share of all input tokens.
    pub share_above: Exact,
    pub factor: Exact,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeTier {
    /// Tokens of the tenant this month, of all meters: the factor holds for those after.
    pub from: u64,
    pub factor: Exact,
}

/// Marginal: a call gets the mean factor of its tokens, a call without tokens that of the next token. Before the first
/// tier the factor is 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeDiscount {
    pub tiers: Vec<VolumeTier>,
}

/// For what a tenant has committed itself to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitmentDiscount {
    pub factor: Exact,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiscountKind {
    Cache(CacheDiscount),
    Volume(VolumeDiscount),
    Commitment(CommitmentDiscount),
}

/// Replaces, from `valid_from` on, the tenant's older discounts of the same kind; a factor of 1 ends one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discount {
    pub id: DiscountId,
    /// Whose calls get it; those of `system` are for tenants that have none of that kind of their own.
    pub tenant: TenantId,
    pub kind: DiscountKind,
    pub valid_from: TimestampMs,
    /// Set when it is applied.
    pub version: u64,
}

impl Discount {
    pub fn validate(&self) -> Result<(), Fault> {
        match &self.kind {
            DiscountKind::Cache(CacheDiscount { share_above, factor }) => {
                check_factor(|| "cache.share_above".to_owned(), *share_above)?;
                check_factor(|| "cache.factor".to_owned(), *factor)
            }
            DiscountKind::Volume(volume) => volume.validate(),
            DiscountKind::Commitment(CommitmentDiscount { factor }) => {
                check_factor(|| "commitment.factor".to_owned(), *factor)
            }
        }
    }
}

impl VolumeDiscount {
    fn validate(&self) -> Result<(), Fault> {
        const FIELD: &str = "volume.tiers";
        let count = self.tiers.len();
        ensure(count > 0, || FIELD.to_owned(), Problem::Empty)?;
        ensure(count <= TIERS_MAX, || FIELD.to_owned(), Problem::TooMany { count, max: TIERS_MAX })?;
        let mut before = None;
        for (position, VolumeTier { from, factor }) in self.tiers.iter().enumerate() {
            let path = |field: &str| format!("{FIELD}[{position}].{field}");
            ensure(before.is_none_or(|before| before < *from), || path("from"), Problem::TierOutOfOrder)?;
            ensure(*from <= UNITS_MAX, || path("from"), Problem::TooLarge { max: UNITS_MAX })?;
            check_factor(|| path("factor"), *factor)?;
            before = Some(*from);
        }
        Ok(())
    }
}

fn check_factor(field: impl Fn() -> String, factor: Exact) -> Result<(), Fault> {
    ensure(factor <= Exact::ONE, field, Problem::NotAFactor)
}

/// Errors: too many discounts of one tenant, or two of one kind from the same moment on.
pub fn check_discounts(of_one_tenant: &[&Discount]) -> Result<(), Fault> {
    let (count, max) = (of_one_tenant.len(), DISCOUNTS_PER_TENANT_MAX);
    ensure(count <= max, || "discounts".to_owned(), Problem::TooMany { count, max })?;
    let key = |discount: &&Discount| (std::mem::discriminant(&discount.kind), discount.valid_from);
    for (position, discount) in of_one_tenant.iter().enumerate() {
        let again = of_one_tenant.iter().take(position).any(|other| key(other) == key(discount));
        ensure(!again, || "valid_from".to_owned(), Problem::DiscountOverlap)?;
    }
    Ok(())
}

/// A discount as a hold carries it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken<T> {
    pub id: DiscountId,
    pub version: u64,
    pub terms: T,
}

/// What one call gets: at most one of each kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Discounts {
    pub cache: Option<Taken<CacheDiscount>>,
    pub volume: Option<Taken<VolumeDiscount>>,
    pub commitment: Option<Taken<CommitmentDiscount>>,
}

impl Discounts {
    /// The largest factor that any usage can get after `used_tokens` of the month.
    pub(super) fn for_hold(&self, used_tokens: u64) -> Result<Multiplier, Overflow> {
        let volume = self.volume.as_ref().map_or(Exact::ONE, |taken| taken.terms.largest_after(used_tokens));
        let cache = self.cache.as_ref().map_or(Exact::ONE, |taken| taken.terms.factor.max(Exact::ONE));
        self.commit(Multiplier::ONE.times(cache)?.times(volume)?)
    }

    /// The factor for a call that used `usage`.
    pub(super) fn for_usage(&self, used_tokens: u64, usage: &Amounts) -> Result<Multiplier, Overflow> {
        let mut all = Multiplier::ONE;
        if let Some(cache) = &self.cache
            && cache.terms.is_reached(usage)?
        {
            all = all.times(cache.terms.factor)?;
        }
        if let Some(volume) = &self.volume {
            all = volume.terms.apply(all, used_tokens, usage.tokens()?)?;
        }
        self.commit(all)
    }

    fn commit(&self, all: Multiplier) -> Result<Multiplier, Overflow> {
        self.commitment.as_ref().map_or(Ok(all), |taken| all.times(taken.terms.factor))
    }
}

impl CacheDiscount {
    fn is_reached(&self, usage: &Amounts) -> Result<bool, Overflow> {
        let cached = Exact::from(usage.get(Meter::CacheRead).unwrap_or(0));
        let all = Wide::new(usage.input_tokens()?.into());
        let needed = all.checked_mul(self.share_above.scaled_to(DECIMAL_SCALE_MAX)?)?;
        Ok(cached.scaled_to(DECIMAL_SCALE_MAX)? > needed)
    }
}

impl VolumeDiscount {
    fn largest_after(&self, used: u64) -> Exact {
        let before_first = self.tiers.first().is_none_or(|tier| used < tier.from).then_some(Exact::ONE);
        let reachable = reachable(&self.tiers, |tier| tier.from, used).map(|tier| tier.factor);
        reachable.chain(before_first).max().unwrap_or(Exact::ONE)
    }

    fn apply(&self, all: Multiplier, used: u64, tokens: u64) -> Result<Multiplier, Overflow> {
        let Some(count) = NonZeroU64::new(tokens) else {
            let here = self.tiers.iter().take_while(|tier| tier.from <= used).last();
            return all.times(here.map_or(Exact::ONE, |tier| tier.factor));
        };
        let (mut sum, mut rest) = (Wide::ZERO, tokens);
        for (tier, units) in pieces(&self.tiers, |tier| tier.from, used, tokens) {
            let part = tier.factor.scaled_to(DECIMAL_SCALE_MAX)?.checked_mul(Wide::new(units.into()))?;
            sum = sum.checked_add(part)?;
            rest = rest.checked_sub(units).ok_or(Overflow)?;
        }
        let in_full = Exact::from(rest).scaled_to(DECIMAL_SCALE_MAX)?;
        Ok(Multiplier {
            numerator: all.numerator.checked_mul(sum.checked_add(in_full)?)?,
            scale: all.scale + u32::from(DECIMAL_SCALE_MAX),
            // Only this discount divides, and there is one of it.
            denominator: count,
        })
    }
}

/// An exact fraction: `numerator / (10^scale x denominator)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Multiplier {
    pub(super) numerator: Wide,
    pub(super) scale: u32,
    pub(super) denominator: NonZeroU64,
}

impl Multiplier {
    pub(super) const ONE: Self = Self { numerator: Wide::ONE, scale: 0, denominator: NonZeroU64::MIN };

    fn times(self, factor: Exact) -> Result<Self, Overflow> {
        let numerator = self.numerator.checked_mul(Wide::new(factor.digits()))?;
        Ok(Self { numerator, scale: self.scale + u32::from(factor.scale()), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::samples::{acme, cache, exact, volume};

    fn discount(id: &str, kind: DiscountKind) -> Discount {
        let id = DiscountId::new(id).unwrap();
        Discount { id, tenant: acme(), kind, valid_from: TimestampMs(0), version: 1 }
    }

    fn fault(kind: DiscountKind) -> Option<(String, Problem)> {
        discount("d", kind).validate().err().map(|fault| (fault.field, fault.problem))
    }

    fn taken<T>(terms: T) -> Option<Taken<T>> {
        Some(Taken { id: DiscountId::new("d").unwrap(), version: 1, terms })
    }

    /// The factor, to six places, rounded up.
    fn millionths(multiplier: Multiplier) -> u128 {
        let scaled = multiplier.numerator.times_ten_to(6).unwrap();
        let scaled = scaled.div_ceil_ten_to(multiplier.scale).unwrap();
        scaled.div_ceil(multiplier.denominator).unwrap().to_u128().unwrap()
    }

    #[test]
    fn factors_and_tiers_are_checked() {
        let one_more = "1.000000000000000000000000000001";
        for (kind, field, problem) in [
            (DiscountKind::Cache(cache("1.1", "0.9")), "cache.share_above", Problem::NotAFactor),
            (DiscountKind::Cache(cache("0.5", "2")), "cache.factor", Problem::NotAFactor),
            (
                DiscountKind::Commitment(CommitmentDiscount { factor: exact("1.5") }),
                "commitment.factor",
                Problem::NotAFactor,
            ),
            (DiscountKind::Volume(volume(&[])), "volume.tiers", Problem::Empty),
            (
                DiscountKind::Volume(volume(&[(5, "1"), (5, "1")])),
                "volume.tiers[1].from",
                Problem::TierOutOfOrder,
            ),
            (DiscountKind::Volume(volume(&[(0, "7")])), "volume.tiers[0].factor", Problem::NotAFactor),
        ] {
            assert_eq!(fault(kind), Some((field.to_owned(), problem)));
        }
        assert_eq!(Exact::parse(one_more), Err(crate::money::ExactError::TooManyDigits));
        assert_eq!(fault(DiscountKind::Cache(cache("0.5", "0.9"))), None);
        assert_eq!(fault(DiscountKind::Volume(volume(&[(0, "1"), (UNITS_MAX, "0")]))), None);
        let over = fault(DiscountKind::Volume(volume(&[(UNITS_MAX + 1, "0")])));
        let problem = Problem::TooLarge { max: UNITS_MAX };
        assert_eq!(over, Some(("volume.tiers[0].from".to_owned(), problem)));
    }

    #[test]
    fn tiers_max() {
        let tiers = |count: u64| VolumeDiscount {
            tiers: (0..count).map(|from| VolumeTier { from, factor: Exact::ONE }).collect(),
        };
        let max = TIERS_MAX as u64;
        assert_eq!(fault(DiscountKind::Volume(tiers(max))), None);
        assert!(matches!(fault(DiscountKind::Volume(tiers(max + 1))), Some((_, Problem::TooMany { .. }))));
    }

    #[test]
    fn discounts_per_tenant_max() {
        let max = DISCOUNTS_PER_TENANT_MAX;
        let all = |count: usize| -> Vec<Discount> {
            let one = |n| Discount {
                valid_from: TimestampMs(n),
                ..discount("d", DiscountKind::Cache(cache("0.5", "0.9")))
            };
            (0..count as u64).map(one).collect()
        };
        let problem = |all: Vec<Discount>| check_discounts(&all.iter().collect::<Vec<_>>()).err();
        assert_eq!(problem(all(max)), None);
        let many = Fault::new("discounts", Problem::TooMany { count: max + 1, max });
        assert_eq!(problem(all(max + 1)), Some(many));
        let mut twice = all(2);
        twice[1].valid_from = TimestampMs(0);
        assert_eq!(problem(twice.clone()), Some(Fault::new("valid_from", Problem::DiscountOverlap)));
        twice[1].kind = DiscountKind::Commitment(CommitmentDiscount { factor: Exact::ONE });
        assert_eq!(problem(twice), None);
    }

    #[test]
    fn the_cache_discount_needs_more_than_its_share() {
        let discounts = Discounts { cache: taken(cache("0.5", "0.9")), ..Discounts::default() };
        let factor = |read: u64, fresh: u64, written: u64| {
            let usage = Amounts::default().with(Meter::CacheRead, read);
            let usage = usage.with(Meter::UncachedInput, fresh).with(Meter::CacheWrite, written);
            millionths(discounts.for_usage(0, &usage.with(Meter::Output, 9)).unwrap())
        };
        assert_eq!(factor(51, 49, 0), 900_000);
        assert_eq!(factor(50, 50, 0), 1_000_000);
        assert_eq!(factor(51, 40, 11), 1_000_000, "what is written to a cache is input too");
        assert_eq!(factor(0, 0, 0), 1_000_000);
        assert_eq!(millionths(discounts.for_hold(0).unwrap()), 1_000_000);
    }

    #[test]
    fn the_volume_discount_is_the_mean_over_the_tokens() {
        let terms = volume(&[(1_000, "0.8"), (2_000, "0.5")]);
        let discounts = Discounts { volume: taken(terms), ..Discounts::default() };
        let factor = |used, tokens| {
            let usage = Amounts::default().with(Meter::Output, tokens);
            millionths(discounts.for_usage(used, &usage).unwrap())
        };
        assert_eq!(factor(0, 1_000), 1_000_000);
        assert_eq!(factor(900, 200), 900_000);
        assert_eq!(factor(1_500, 1_000), 650_000);
        assert_eq!(factor(0, 3), 1_000_000);
        assert_eq!((factor(999, 0), factor(1_000, 0)), (1_000_000, 800_000));
        let hold = |used| millionths(discounts.for_hold(used).unwrap());
        assert_eq!((hold(999), hold(1_000), hold(2_000)), (1_000_000, 800_000, 500_000));
        let rising = Discounts { volume: taken(volume(&[(0, "0.5"), (10, "0.8")])), ..Discounts::default() };
        assert_eq!(millionths(rising.for_hold(0).unwrap()), 800_000, "the call may get there");
    }

    #[test]
    fn all_three_multiply() {
        let discounts = Discounts {
            cache: taken(cache("0.5", "0.9")),
            volume: taken(volume(&[(0, "0.8")])),
            commitment: taken(CommitmentDiscount { factor: exact("0.5") }),
        };
        let usage = Amounts::default().with(Meter::CacheRead, 1);
        assert_eq!(millionths(discounts.for_usage(0, &usage).unwrap()), 360_000);
        assert_eq!(millionths(discounts.for_hold(0).unwrap()), 400_000);
    }
}

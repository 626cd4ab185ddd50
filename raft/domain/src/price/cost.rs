//! What a quote comes to: the hold on its bounds, the cost of what was used.

use std::num::NonZeroU64;

use crate::money::{Overflow, PICO_PLACES, PicoUsd, Wide};
use crate::price::discount::Multiplier;
use crate::price::tier::pieces;
use crate::price::{Amounts, CostClass, Meter, Quote, QuoteLine, QuoteRate};

/// Why a cost cannot be computed. No quote that was resolved from valid records is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CostError {
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error("the quote is malformed")]
    Malformed,
}

/// All units of one meter in one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostLine {
    pub meter: Meter,
    pub units: u64,
    pub pico_usd: PicoUsd,
}

/// The cost of one call. Parts as in the specification's `CostRecord`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Costed {
    /// In the order of the meters; only those with a price.
    pub lines: Vec<CostLine>,
    pub token: PicoUsd,
    pub compute: PicoUsd,
    pub storage: PicoUsd,
    pub network: PicoUsd,
    pub total: PicoUsd,
    /// Meters of which more was used than declared: charged in full, to be told as overrun.
    pub over_bound: Vec<Meter>,
    /// Meters that the call uses and nobody has set a price for; never under a hard budget.
    pub unpriced: Vec<Meter>,
    /// Something was not known, so that the call costs its hold.
    pub at_hold: bool,
}

impl Quote {
    /// The most that usage within the bounds can cost.
    /// INVARIANT: P1
    pub fn hold(&self) -> Result<PicoUsd, CostError> {
        Ok(self.cost(&Amounts::default())?.total)
    }

    /// What `usage` costs. Where it lacks a meter of the quote, every line counts the larger of bound and usage and
    /// gets no better factor than the hold did.
    pub fn cost(&self, usage: &Amounts) -> Result<Costed, CostError> {
        let at_hold = self.lines.iter().any(|line| usage.get(line.meter).is_none());
        let mut costed = Costed { at_hold, ..Costed::default() };
        let units = |line: &QuoteLine| {
            let used = usage.get(line.meter);
            if at_hold { used.max(line.bound).unwrap_or(0) } else { used.unwrap_or(0) }
        };
        let counted =
            self.lines.iter().fold(Amounts::default(), |all, line| all.with(line.meter, units(line)));
        let used_tokens = self.used_before.tokens()?;
        let discounts = &self.discounts;
        let discounted = if at_hold {
            discounts.for_hold(used_tokens)?
        } else {
            discounts.for_usage(used_tokens, &counted)?
        };
        for line in &self.lines {
            let (meter, units) = (line.meter, units(line));
            if line.bound.is_some_and(|bound| units > bound) {
                costed.over_bound.push(meter);
            }
            let Some(rate) = &line.rate else {
                costed.unpriced.push(meter);
                continue;
            };
            // Source: specification, "Cost Attribution Engine": tokens and compute are discounted.
            let factor = match meter.class() {
                CostClass::Token | CostClass::Compute => discounted,
                CostClass::Storage | CostClass::Network => Multiplier::ONE,
            };
            let pico_usd = rate.cost(self.used_before.get(meter).unwrap_or(0), units, factor)?;
            costed.add(CostLine { meter, units, pico_usd })?;
        }
        Ok(costed)
    }
}

impl Costed {
    fn add(&mut self, line: CostLine) -> Result<(), Overflow> {
        let part = match line.meter.class() {
            CostClass::Token => &mut self.token,
            CostClass::Compute => &mut self.compute,
            CostClass::Storage => &mut self.storage,
            CostClass::Network => &mut self.network,
        };
        *part = part.checked_add(line.pico_usd)?;
        self.total = self.total.checked_add(line.pico_usd)?;
        self.lines.push(line);
        Ok(())
    }
}

impl QuoteRate {
    /// One cost line: exact up to its end, then rounded up to a pico-USD.
    fn cost(&self, before: u64, units: u64, factor: Multiplier) -> Result<PicoUsd, CostError> {
        let unit = NonZeroU64::new(self.unit).ok_or(CostError::Malformed)?;
        let (full, scale) = self.full(before, units)?;
        let scale = scale + u32::from(self.usd_per_unit.scale()) + factor.scale;
        let exact = full.checked_mul(Wide::new(self.usd_per_unit.digits()))?.checked_mul(factor.numerator)?;
        let places = u32::from(PICO_PLACES);
        let pico = exact.times_ten_to(places.saturating_sub(scale))?;
        let pico = pico.div_ceil_ten_to(scale.saturating_sub(places))?;
        let pico = pico.div_ceil(unit)?.div_ceil(factor.denominator)?.to_u128()?;
        Ok(PicoUsd(i128::try_from(pico).map_err(|_| Overflow)?))
    }

    /// Units by tier times price, as a whole number and the power of ten that it is to be divided by.
    fn full(&self, before: u64, units: u64) -> Result<(Wide, u32), CostError> {
        let scale = self.steps.iter().map(|step| step.price.scale()).max().unwrap_or(0);
        let (mut sum, mut left) = (Wide::ZERO, units);
        for (step, count) in pieces(&self.steps, |step| step.from, before, units) {
            let part = step.price.scaled_to(scale)?.checked_mul(Wide::new(count.into()))?;
            sum = sum.checked_add(part)?;
            left = left.checked_sub(count).ok_or(CostError::Malformed)?;
        }
        // A unit that no step prices would go for free.
        if left > 0 && !self.steps.is_empty() { Err(CostError::Malformed) } else { Ok((sum, scale.into())) }
    }
}

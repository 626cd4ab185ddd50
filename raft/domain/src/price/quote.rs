//! The price of one call, fixed before it is sent: what a hold carries.

use crate::ids::PriceId;
use crate::money::Exact;
use crate::price::tier::reachable;
use crate::price::{
    Amounts, Currency, Discounts, ExchangeRate, Meter, Metering, PriceEntry, PriceLine, UsageSource,
};

/// Self-contained: computing a cost needs nothing but this and the usage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Every meter that the call uses, once, in the order of the meters.
    pub lines: Vec<QuoteLine>,
    pub discounts: Discounts,
    /// What the tenant used this month before the call, as far as it was known where the hold was taken.
    pub used_before: Amounts,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuoteLine {
    pub meter: Meter,
    /// The most that the call can use; never absent where a hard budget is touched.
    pub bound: Option<u64>,
    /// `None` where there is no price; never under a hard budget.
    pub rate: Option<QuoteRate>,
}

/// What the units of one meter cost. A free meter has no steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuoteRate {
    pub price: PriceId,
    pub price_version: u64,
    pub unit: u64,
    /// Ascending; tiers that were over before the call are left out.
    pub steps: Vec<Step>,
    pub usd_per_unit: Exact,
    /// 0 for USD.
    pub exchange_version: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub from: u64,
    pub price: Exact,
}

/// Why a call under a hard budget cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuoteFault {
    #[error("there is no price for {meter}")]
    NoPrice { meter: Meter },
    #[error("there is no bound on {meter}")]
    NoBound { meter: Meter },
    #[error("there is no exchange rate for {currency}")]
    NoRate { currency: Currency },
}

impl QuoteFault {
    /// The public code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPrice { .. } | Self::NoRate { .. } => "no_price",
            Self::NoBound { .. } => "no_bound",
        }
    }
}

/// What the book found for one call.
pub(super) struct Found<'a> {
    pub metering: Option<&'a Metering>,
    pub tool: Option<&'a PriceEntry>,
    pub model: Option<&'a PriceEntry>,
    pub discounts: Discounts,
    pub used_before: Amounts,
    pub raised: Amounts,
}

impl Quote {
    /// Where both the tool and its model have a price for a meter, the tool's holds: it is the more particular one.
    ///
    /// The meters of a call are those that its metering reads, those that the tool's own price names, and those that
    /// the gateway counts and the model's price names. Under a `hard` budget each must have a price and a bound, and
    /// there must be one at least; else what has no price costs nothing and what has no bound holds nothing.
    pub(super) fn resolve<'r>(
        found: Found<'_>,
        rate_of: impl Fn(Currency) -> Option<&'r ExchangeRate>,
        hard: bool,
    ) -> Result<Self, QuoteFault> {
        let mut lines = Vec::new();
        for meter in Meter::ALL.into_iter().filter(|meter| found.uses(*meter)) {
            let rate = match found.price(meter) {
                None => Err(QuoteFault::NoPrice { meter }),
                Some(entry) => rate(entry, meter, found.used_before.get(meter).unwrap_or(0), &rate_of),
            };
            let bound = found.bound(meter);
            if hard && bound.is_none() {
                // A missing price is told first: without one a bound is of no use.
                return Err(rate.err().unwrap_or(QuoteFault::NoBound { meter }));
            }
            let rate = if hard { Some(rate?) } else { rate.ok() };
            lines.push(QuoteLine { meter, bound, rate });
        }
        if hard && lines.is_empty() {
            return Err(QuoteFault::NoPrice { meter: Meter::Call });
        }
        Ok(Self { lines, discounts: found.discounts, used_before: found.used_before })
    }

    /// What the call can use at most, as far as it is bounded.
    pub fn bounds(&self) -> Amounts {
        let bounded = self.lines.iter().filter_map(|line| Some((line.meter, line.bound?)));
        bounded.fold(Amounts::default(), |bounds, (meter, units)| bounds.with(meter, units))
    }
}

impl Found<'_> {
    fn price(&self, meter: Meter) -> Option<&PriceEntry> {
        let of = |entry: &Option<&PriceEntry>| entry.is_some_and(|entry| entry.prices(meter));
        if of(&self.tool) { self.tool } else { self.model.filter(|_| of(&self.model)) }
    }

    fn source(&self, meter: Meter) -> Option<&UsageSource> {
        self.metering.and_then(|metering| metering.source(meter))
    }

    fn uses(&self, meter: Meter) -> bool {
        self.source(meter).is_some()
            || self.tool.is_some_and(|tool| tool.prices(meter))
            || (meter.is_counted() && self.price(meter).is_some())
    }

    /// As declared; a call that is counted is one call.
    fn bound(&self, meter: Meter) -> Option<u64> {
        let declared = self.metering.and_then(|metering| metering.bounds.get(meter));
        let counted = matches!(self.source(meter), None | Some(UsageSource::Counted));
        let declared = declared.or((meter == Meter::Call && counted).then_some(1));
        declared.map(|bound| bound.max(self.raised.get(meter).unwrap_or(0)))
    }
}

fn rate<'r>(
    entry: &PriceEntry,
    meter: Meter,
    used: u64,
    rate_of: impl Fn(Currency) -> Option<&'r ExchangeRate>,
) -> Result<QuoteRate, QuoteFault> {
    let currency = entry.currency;
    let (usd_per_unit, exchange_version) = if currency == Currency::USD {
        (Exact::ONE, 0)
    } else {
        let rate = rate_of(currency).ok_or(QuoteFault::NoRate { currency })?;
        (rate.usd_per_unit, rate.version)
    };
    let lines: Vec<&PriceLine> = entry.lines.iter().filter(|line| line.meter == meter).collect();
    let left = reachable(&lines, |line| line.tier_from, used);
    Ok(QuoteRate {
        price: entry.id.clone(),
        price_version: entry.version,
        unit: lines.first().map_or(1, |line| line.unit),
        steps: left.map(|line| Step { from: line.tier_from, price: line.price }).collect(),
        usd_per_unit,
        exchange_version,
    })
}

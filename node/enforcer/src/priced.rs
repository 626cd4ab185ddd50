//! What a call costs: its quote, made before it is sent, and what of it is charged once it ended. INVARIANT: P1, P5

use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::activity::{Admission, Hold};
use only1mcp_domain::cost::{Cost, CostSource};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::ledger::{Charge, LimitUse};
use only1mcp_domain::limits::NAME_BYTES_MAX;
use only1mcp_domain::model::{Measure, Tags};
use only1mcp_domain::price::{
    Amounts, CostError, Meter, Metering, PriceBook, Quote, QuoteFault, QuoteLine, QuoteRequest,
};
use only1mcp_domain::time::TimestampMs;

use crate::allowance::NotHeld;

/// What a call used, as far as that is known; what is not costs what was held.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Used {
    pub amounts: Amounts,
    /// The model that the answer says served it.
    pub model: Option<String>,
}

impl Used {
    /// Of a call that certainly was not sent.
    pub(crate) fn nothing() -> Self {
        let amounts = Meter::ALL.into_iter().fold(Amounts::default(), |all, meter| all.with(meter, 0));
        Self { amounts, model: None }
    }
}

/// Months of usage are the calendar's, in this zone.
pub(crate) const UTC: &str = "UTC";

/// A call to be priced, on one state.
pub(crate) struct PricedCall<'a> {
    pub(crate) state: &'a State,
    pub(crate) book: &'a PriceBook,
    /// Who pays.
    pub(crate) tenant: &'a TenantId,
    pub(crate) item: &'a str,
    pub(crate) cost_center: &'a str,
    /// Attributes of the caller, where it is the payer's own, and what the call says of itself.
    pub(crate) told: Told<'a>,
    /// Beginning of the month that holds `at`.
    pub(crate) month: TimestampMs,
    pub(crate) at: TimestampMs,
}

/// What a call's tags are taken from besides the configuration.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told<'a> {
    pub(crate) attributes: Option<&'a Tags>,
    pub(crate) said: Option<&'a Tags>,
}

/// The price of one call and how its use is measured.
#[derive(Debug, Default)]
pub(crate) struct Priced {
    pub(crate) metering: Option<Arc<Metering>>,
    /// `None`: whatever the call uses costs nothing, and there is nothing to tell of it.
    pub(crate) quote: Option<Box<Quote>>,
    cost_center: String,
    month: TimestampMs,
    /// Of its cost record; none where it leaves none.
    pub(crate) tags: Tags,
}

impl Priced {
    /// Errors: `no_price` or `no_bound`, where one of `touched` is a hard limit that cannot be held for without.
    pub(crate) fn of(
        call: PricedCall<'_>,
        metering: Option<Arc<Metering>>,
        touched: &[LimitUse],
    ) -> Result<Self, QuoteFault> {
        let PricedCall { state, book, tenant, item, cost_center, told, month, at } = call;
        let raised = metering.as_ref().and_then(|of| state.raised.get(&(tenant.clone(), of.id.clone())));
        let touches =
            |measure| touched.iter().any(|found| found.limit.hard && found.limit.measure == measure);
        let quote = book.quote(&QuoteRequest {
            tenant,
            tool: item,
            used_before: &state.month_usage.of(tenant, month),
            raised: &raised.copied().unwrap_or_default(),
            at,
            hard: touches(Measure::Cost),
        })?;
        // A limit on tokens needs no prices.
        if touches(Measure::Tokens)
            && let Some(line) = tokens_of(&quote).find(|line| line.bound.is_none())
        {
            return Err(QuoteFault::NoBound { meter: line.meter });
        }
        // A call that is free by its price, as every one is where nothing was priced, and of which nothing else is
        // measured is not worth the bytes of a quote and a cost record.
        let plain = metering.is_none() && quote.lines.iter().all(is_free);
        let quote = (!plain).then(|| Box::new(quote));
        let tags = match (&quote, state.tenants.get(tenant)) {
            (Some(_), Some(tenant)) => {
                let none = Tags::new();
                let measured = metering.as_ref().map_or(&none, |metering| &metering.tags);
                let Told { attributes, said } = told;
                tenant.value.cost_tags.of_call(measured, attributes.unwrap_or(&none), said.unwrap_or(&none))
            }
            (None, _) | (_, None) => Tags::new(),
        };
        Ok(Self { metering, quote, cost_center: cost_center.to_owned(), month, tags })
    }

    /// The most that the call may take of a limit; `None` where it has nothing to do with it.
    pub(crate) fn most(&self, measure: Measure) -> Result<Option<i128>, CostError> {
        let Some(quote) = &self.quote else { return Ok((measure == Measure::Calls).then_some(1)) };
        match measure {
            Measure::Calls => Ok(Some(1)),
            Measure::Cost => Ok(Some(quote.hold()?.0)),
            Measure::Tokens if tokens_of(quote).next().is_none() => Ok(None),
            Measure::Tokens => Ok(Some(tokens(quote, &Amounts::default(), true))),
        }
    }

    /// What the call took in the end.
    pub(crate) fn taken(&self, used: &Amounts) -> Taken {
        let Some(quote) = &self.quote else { return Taken::default() };
        let used = &believable(quote, used);
        let costed = quote.cost(used).unwrap_or_default();
        Taken { cost: costed.total.0, tokens: tokens(quote, used, costed.at_hold) }
    }

    /// The record of what the call took.
    pub(crate) fn cost(&self, admission: &Admission, used: &Used) -> Option<Box<Cost>> {
        let quote = self.quote.as_ref()?;
        let source = CostSource {
            admission,
            quote,
            metering: self.metering.as_deref(),
            cost_center: &self.cost_center,
            model_answered: used.model.as_deref().unwrap_or_default(),
            month: self.month,
        };
        Cost::of(source, &believable(quote, &used.amounts)).ok().map(Box::new)
    }
}

/// The numbers of an answer can be too large to be multiplied: then nothing of them is known.
fn believable(quote: &Quote, used: &Amounts) -> Amounts {
    if quote.cost(used).is_ok() { *used } else { Amounts::default() }
}

/// Amounts by measure.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    cost: i128,
    tokens: i128,
}

impl Taken {
    fn of(&self, measure: Measure) -> i128 {
        match measure {
            Measure::Calls => 1,
            Measure::Cost => self.cost,
            Measure::Tokens => self.tokens,
        }
    }

    /// What every account that the call touched is charged; nothing where that is nothing.
    pub(crate) fn charges(&self, touched: &[Touched]) -> Vec<Charge> {
        let charge = |touched: &Touched| Charge {
            account: touched.hold.account.clone(),
            end: touched.hold.end,
            amount: self.of(touched.measure),
            held: touched.hard,
        };
        // Permits are used, not used up.
        let used_up = touched.iter().filter(|touched| !touched.hold.account.limit.is_standing());
        used_up.map(charge).filter(|charge| charge.amount > 0).collect()
    }
}

/// An account that a call counts on.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    /// The most that the call may take of it.
    pub(crate) hold: Hold,
    pub(crate) measure: Measure,
    /// Held before the call; a soft limit is only counted on.
    pub(crate) hard: bool,
}

fn tokens_of(quote: &Quote) -> impl Iterator<Item = &QuoteLine> {
    quote.lines.iter().filter(|line| line.meter.is_token())
}

/// As `Quote::cost` counts them: at the hold the larger of bound and use.
fn tokens(quote: &Quote, used: &Amounts, at_hold: bool) -> i128 {
    let units = |line: &QuoteLine| {
        let used = used.get(line.meter);
        i128::from(if at_hold { used.max(line.bound) } else { used }.unwrap_or(0))
    };
    tokens_of(quote).map(units).sum()
}

fn is_free(line: &QuoteLine) -> bool {
    line.rate.as_ref().is_some_and(|rate| rate.steps.is_empty())
}

/// Numbers and an id, encoded.
const LINE_BYTES: usize = NAME_BYTES_MAX + 128;
const STEP_BYTES: usize = 64;

/// An upper bound of the encoded size.
pub(crate) fn quote_bytes(quote: &Quote) -> usize {
    let steps = quote.lines.iter().filter_map(|line| Some(line.rate.as_ref()?.steps.len())).sum::<usize>();
    let tiers = quote.discounts.volume.as_ref().map_or(0, |taken| taken.terms.tiers.len());
    // Three discounts, and what was used before.
    (quote.lines.len() + 4) * LINE_BYTES + (steps + tiers) * STEP_BYTES
}

/// An upper bound of the encoded size.
pub(crate) fn cost_bytes(cost: &Cost) -> usize {
    let names = cost.cost_center.len() + cost.item.len() + cost.provider.len();
    let names = names + cost.model.len() + cost.model_answered.len() + 6 * NAME_BYTES_MAX;
    (cost.lines.len() + cost.discounts.len() + 1) * LINE_BYTES + names + tags_bytes(&cost.tags)
}

/// An upper bound of the encoded size.
pub(crate) fn tags_bytes(tags: &Tags) -> usize {
    const AROUND: usize = 16;
    tags.iter().map(|(key, value)| key.len() + value.len() + AROUND).sum()
}

impl From<QuoteFault> for NotHeld {
    fn from(fault: QuoteFault) -> Self {
        let reason = match fault {
            QuoteFault::NoPrice { .. } | QuoteFault::NoRate { .. } => Reason::NoPrice,
            QuoteFault::NoBound { .. } => Reason::NoBound,
        };
        Self { reason, limit: None, fault: Some(fault) }
    }
}

/// A price that cannot be computed is none.
impl From<CostError> for NotHeld {
    fn from(_: CostError) -> Self {
        Self { reason: Reason::NoPrice, limit: None, fault: None }
    }
}

#[cfg(test)]
#[path = "priced_tests.rs"]
mod tests;

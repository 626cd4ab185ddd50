//! The cost of one call with everything it can be attributed to, made by the node that ran it from the quote it held.
//! Source: specification, "Cost Tracking & Chargeback", `CostRecord`.

use crate::activity::{Admission, ItemKind};
use crate::ids::{DiscountId, MeteringId, PriceId, PrincipalId, ProjectId, TenantId, UpstreamId};
use crate::limits::{COST_TAGS_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX};
use crate::model::{Tags, is_tag_key, is_tag_value};
use crate::money::{Overflow, PicoUsd};
use crate::price::{Amounts, CostClass, CostError, Meter, Metering, Quote};
use crate::time::TimestampMs;

/// All units of one meter in one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PricedLine {
    pub meter: Meter,
    pub units: u64,
    /// `None` where no price named the meter; its amount is zero then.
    pub price: Option<PriceId>,
    pub price_version: u64,
    /// 0 for USD.
    pub exchange_version: u64,
    pub pico_usd: PicoUsd,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    pub caller_tenant: TenantId,
    pub principal: PrincipalId,
    pub project: Option<ProjectId>,
    pub cost_center: String,
    pub kind: ItemKind,
    /// Exposed name.
    pub item: String,
    pub upstream: UpstreamId,
    /// Empty without a metering, as is `model`.
    pub provider: String,
    pub model: String,
    /// The model that the answer names; empty where it names none.
    pub model_answered: String,
    pub metering: Option<MeteringId>,
    /// In the order of the meters, each once.
    pub lines: Vec<PricedLine>,
    /// Ids and versions of the discounts that the quote held.
    pub discounts: Vec<(DiscountId, u64)>,
    /// What was held for the call.
    pub held: PicoUsd,
    /// The usage is not known: it was settled at the hold.
    pub at_hold: bool,
    /// Beginning of the UTC month of the admission.
    pub month: TimestampMs,
    pub tags: Tags,
}

/// Where the numbers of a cost come from.
#[derive(Clone, Copy, Debug)]
pub struct CostSource<'a> {
    pub admission: &'a Admission,
    pub quote: &'a Quote,
    pub metering: Option<&'a Metering>,
    /// Of the calling tenant's record.
    pub cost_center: &'a str,
    pub model_answered: &'a str,
    pub month: TimestampMs,
}

impl Cost {
    /// Prices `usage` by the quote; meters that are not known settle at their hold.
    /// Errors: `CostError` where a sum is beyond what can be counted.
    pub fn of(from: CostSource<'_>, usage: &Amounts) -> Result<Self, CostError> {
        let CostSource { admission, quote, metering, cost_center, model_answered, month } = from;
        let costed = quote.cost(usage)?;
        let held = quote.hold()?;
        let mut lines: Vec<PricedLine> = Vec::with_capacity(quote.lines.len());
        for line in &quote.lines {
            let priced = costed.lines.iter().find(|costed| costed.meter == line.meter);
            let unpriced = usage.get(line.meter).or(line.bound).unwrap_or(0);
            let rate = line.rate.as_ref();
            lines.push(PricedLine {
                meter: line.meter,
                units: priced.map_or(unpriced, |priced| priced.units),
                price: rate.map(|rate| rate.price.clone()),
                price_version: rate.map_or(0, |rate| rate.price_version),
                exchange_version: rate.map_or(0, |rate| rate.exchange_version),
                pico_usd: priced.map_or(PicoUsd::ZERO, |priced| priced.pico_usd),
            });
        }
        let discounts = &quote.discounts;
        let taken = [
            discounts.cache.as_ref().map(|taken| (taken.id.clone(), taken.version)),
            discounts.volume.as_ref().map(|taken| (taken.id.clone(), taken.version)),
            discounts.commitment.as_ref().map(|taken| (taken.id.clone(), taken.version)),
        ];
        Ok(Self {
            caller_tenant: admission.caller.tenant.clone(),
            principal: admission.caller.principal.clone(),
            project: admission.caller.project.clone(),
            cost_center: cost_center.to_owned(),
            kind: admission.kind,
            item: admission.item.clone(),
            upstream: admission.upstream.clone(),
            provider: metering.map(|of| of.provider.clone()).unwrap_or_default(),
            model: metering.map(|of| of.model.clone()).unwrap_or_default(),
            model_answered: cut(model_answered),
            metering: metering.map(|of| of.id.clone()),
            lines,
            discounts: taken.into_iter().flatten().collect(),
            held,
            at_hold: costed.at_hold,
            month,
            tags: admission.tags.clone(),
        })
    }

    pub fn usage(&self) -> Amounts {
        self.lines.iter().fold(Amounts::default(), |all, line| all.with(line.meter, line.units))
    }

    /// Errors: `Overflow` where the lines are beyond what can be counted.
    pub fn total(&self) -> Result<PicoUsd, Overflow> {
        self.sum(|_| true)
    }

    /// The part of the total that belongs to `class`.
    /// Errors: as `total`.
    pub fn part(&self, class: CostClass) -> Result<PicoUsd, Overflow> {
        self.sum(|meter| meter.class() == class)
    }

    fn sum(&self, counts: impl Fn(Meter) -> bool) -> Result<PicoUsd, Overflow> {
        let lines = self.lines.iter().filter(|line| counts(line.meter));
        lines.map(|line| line.pico_usd).try_fold(PicoUsd::ZERO, PicoUsd::checked_add)
    }

    /// What is wrong with it, if anything: a node's word is taken for its usage, not for its form.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let ascending = self.lines.is_sorted_by(|one, next| one.meter < next.meter);
        let texts = [&self.provider, &self.model, &self.model_answered];
        let fits = texts.iter().all(|text| text.len() <= NAME_BYTES_MAX)
            && self.cost_center.len() <= LABEL_BYTES_MAX
            && self.discounts.len() <= 3
            && self.tags.len() <= COST_TAGS_MAX;
        if !ascending {
            return Some("has a meter twice or out of order");
        }
        if !fits {
            return Some("has a text or a list beyond its bound");
        }
        if !self.tags.iter().all(|(key, value)| is_tag_key(key) && is_tag_value(value)) {
            return Some("has a tag that is none");
        }
        if self.lines.iter().any(|line| line.pico_usd < PicoUsd::ZERO) || self.held < PicoUsd::ZERO {
            return Some("has a negative amount");
        }
        self.total().err().map(|_| "has lines beyond what can be counted")
    }
}

/// A text from an answer, as far as it fits a name.
fn cut(text: &str) -> String {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let clean = text.get(..end).unwrap_or_default();
    clean.chars().filter(|c| !c.is_control()).collect()
}

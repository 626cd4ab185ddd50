//! Prices, meterings, discounts, exchange rates, and the quote that a hold carries.

use std::sync::Arc;

use only1mcp_domain::money::Exact;
use only1mcp_domain::price::{
    Amounts, CacheDiscount, CommitmentDiscount, Currency, Discount, DiscountKind, Discounts, ExchangeRate,
    Meter, Metering, PriceEntry, PriceLine, PriceSubject, Quote, QuoteLine, QuoteRate, Step, Taken,
    UsageSource, VolumeDiscount, VolumeTier,
};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::{DecodeError, Problem};
use crate::codec::parts::{Decoded, Text as _, enumeration, record, required, text, wire_enum};
use crate::model;

wire_enum!(
    Meter,
    model::Meter,
    "Meter",
    [UncachedInput, CacheRead, CacheWrite, Output, Reasoning, Call, Second, Byte, StoredByte]
);

/// An exact decimal, as [`Exact`] writes it.
pub(crate) fn exact(what: &'static str, text: &str) -> Decoded<Exact> {
    Exact::parse(text).map_err(|error| DecodeError::invalid(what, error))
}

pub(crate) fn currency(what: &'static str, text: &str) -> Decoded<Currency> {
    Currency::parse(text).map_err(|error| DecodeError::invalid(what, error))
}

pub(crate) fn meter(what: &'static str, number: i32) -> Decoded<Meter> {
    enumeration::<model::Meter, _>(what, number)
}

pub(crate) fn write_meter(meter: Meter) -> i32 {
    model::Meter::from(meter).into()
}

pub(crate) fn write_amounts(amounts: &Amounts) -> Vec<model::MeterAmount> {
    let amount = |(meter, units)| model::MeterAmount { meter: write_meter(meter), units };
    amounts.iter().map(amount).collect()
}

pub(crate) fn read_amounts(what: &'static str, wire: &[model::MeterAmount]) -> Decoded<Amounts> {
    let mut amounts = Amounts::default();
    for amount in wire {
        let meter = meter(what, amount.meter)?;
        if amounts.get(meter).is_some() {
            return Err(DecodeError::invalid(what, format!("names {meter} twice")));
        }
        amounts.set(meter, amount.units);
    }
    Ok(amounts)
}

impl From<&PriceEntry> for model::PriceEntry {
    fn from(entry: &PriceEntry) -> Self {
        let subject = match &entry.subject {
            PriceSubject::Model { provider, model } => {
                let (provider, model) = (provider.clone(), model.clone());
                model::price_subject::Subject::Model(model::ModelSubject { provider, model })
            }
            PriceSubject::Tool(tools) => model::price_subject::Subject::Tools(tools.written()),
        };
        let line = |line: &PriceLine| model::PriceLine {
            meter: write_meter(line.meter),
            tier_from: line.tier_from,
            unit: line.unit,
            price: line.price.to_string(),
        };
        Self {
            tenant: entry.tenant.written(),
            id: entry.id.written(),
            subject: Some(model::PriceSubject { subject: Some(subject) }),
            currency: entry.currency.to_string(),
            valid_from_ms: entry.valid_from.0,
            version: entry.version,
            lines: entry.lines.iter().map(line).collect(),
            free: entry.free.iter().map(|meter| write_meter(*meter)).collect(),
        }
    }
}

impl TryFrom<model::PriceEntry> for PriceEntry {
    type Error = DecodeError;

    fn try_from(wire: model::PriceEntry) -> Result<Self, DecodeError> {
        let subject = required("PriceEntry.subject", wire.subject)?;
        let subject = match required("PriceSubject.subject", subject.subject)? {
            model::price_subject::Subject::Model(of) => {
                PriceSubject::Model { provider: of.provider, model: of.model }
            }
            model::price_subject::Subject::Tools(tools) => {
                PriceSubject::Tool(text("PriceSubject.tools", &tools)?)
            }
        };
        let line = |line: model::PriceLine| {
            Ok(PriceLine {
                meter: meter("PriceLine.meter", line.meter)?,
                tier_from: line.tier_from,
                unit: line.unit,
                price: exact("PriceLine.price", &line.price)?,
            })
        };
        Ok(Self {
            tenant: text("PriceEntry.tenant", &wire.tenant)?,
            id: text("PriceEntry.id", &wire.id)?,
            subject,
            currency: currency("PriceEntry.currency", &wire.currency)?,
            valid_from: TimestampMs(wire.valid_from_ms),
            version: wire.version,
            lines: wire.lines.into_iter().map(line).collect::<Decoded<_>>()?,
            free: wire.free.into_iter().map(|free| meter("PriceEntry.free", free)).collect::<Decoded<_>>()?,
        })
    }
}

impl From<&Metering> for model::Metering {
    fn from(metering: &Metering) -> Self {
        use model::meter_source::Source;
        let usage = |(meter, source): &(Meter, UsageSource)| model::MeterSource {
            meter: write_meter(*meter),
            source: Some(match source {
                UsageSource::Pointer(pointer) => Source::Pointer(pointer.clone()),
                UsageSource::Difference { of, minus } => {
                    Source::Difference(model::UsageDifference { of: of.clone(), minus: minus.clone() })
                }
                UsageSource::Counted => Source::Counted(model::UsageCounted {}),
            }),
        };
        Self {
            tenant: metering.tenant.written(),
            id: metering.id.written(),
            tools: metering.tools.written(),
            provider: metering.provider.clone(),
            model: metering.model.clone(),
            model_pointer: metering.model_pointer.clone(),
            total_pointer: metering.total_pointer.clone(),
            usage: metering.usage.iter().map(usage).collect(),
            bounds: write_amounts(&metering.bounds),
            tags: metering.tags.clone(),
        }
    }
}

impl TryFrom<model::Metering> for Metering {
    type Error = DecodeError;

    fn try_from(wire: model::Metering) -> Result<Self, DecodeError> {
        use model::meter_source::Source;
        let usage = |of: model::MeterSource| {
            let source = match required("MeterSource.source", of.source)? {
                Source::Pointer(pointer) => UsageSource::Pointer(pointer),
                Source::Difference(of) => UsageSource::Difference { of: of.of, minus: of.minus },
                Source::Counted(_) => UsageSource::Counted,
            };
            Ok((meter("MeterSource.meter", of.meter)?, source))
        };
        Ok(Self {
            tenant: text("Metering.tenant", &wire.tenant)?,
            id: text("Metering.id", &wire.id)?,
            tools: text("Metering.tools", &wire.tools)?,
            provider: wire.provider,
            model: wire.model,
            model_pointer: wire.model_pointer,
            total_pointer: wire.total_pointer,
            usage: wire.usage.into_iter().map(usage).collect::<Decoded<_>>()?,
            bounds: read_amounts("Metering.bounds", &wire.bounds)?,
            tags: wire.tags,
        })
    }
}

fn write_kind(kind: &DiscountKind) -> model::discount::Kind {
    use model::discount::Kind;
    match kind {
        DiscountKind::Cache(terms) => Kind::Cache(model::CacheDiscount {
            share_above: terms.share_above.to_string(),
            factor: terms.factor.to_string(),
        }),
        DiscountKind::Volume(terms) => {
            let tier =
                |tier: &VolumeTier| model::VolumeTier { from: tier.from, factor: tier.factor.to_string() };
            Kind::Volume(model::VolumeDiscount { tiers: terms.tiers.iter().map(tier).collect() })
        }
        DiscountKind::Commitment(terms) => {
            Kind::Commitment(model::CommitmentDiscount { factor: terms.factor.to_string() })
        }
    }
}

fn read_kind(kind: model::discount::Kind) -> Decoded<DiscountKind> {
    use model::discount::Kind;
    Ok(match kind {
        Kind::Cache(terms) => DiscountKind::Cache(CacheDiscount {
            share_above: exact("CacheDiscount.share_above", &terms.share_above)?,
            factor: exact("CacheDiscount.factor", &terms.factor)?,
        }),
        Kind::Volume(terms) => {
            let tier = |tier: model::VolumeTier| {
                Ok(VolumeTier { from: tier.from, factor: exact("VolumeTier.factor", &tier.factor)? })
            };
            let tiers = terms.tiers.into_iter().map(tier).collect::<Decoded<_>>()?;
            DiscountKind::Volume(VolumeDiscount { tiers })
        }
        Kind::Commitment(terms) => DiscountKind::Commitment(CommitmentDiscount {
            factor: exact("CommitmentDiscount.factor", &terms.factor)?,
        }),
    })
}

impl From<&Discount> for model::Discount {
    fn from(discount: &Discount) -> Self {
        Self {
            tenant: discount.tenant.written(),
            id: discount.id.written(),
            valid_from_ms: discount.valid_from.0,
            version: discount.version,
            kind: Some(write_kind(&discount.kind)),
        }
    }
}

impl TryFrom<model::Discount> for Discount {
    type Error = DecodeError;

    fn try_from(wire: model::Discount) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("Discount.tenant", &wire.tenant)?,
            id: text("Discount.id", &wire.id)?,
            kind: read_kind(required("Discount.kind", wire.kind)?)?,
            valid_from: TimestampMs(wire.valid_from_ms),
            version: wire.version,
        })
    }
}

impl From<&ExchangeRate> for model::ExchangeRate {
    fn from(rate: &ExchangeRate) -> Self {
        Self {
            currency: rate.currency.to_string(),
            usd_per_unit: rate.usd_per_unit.to_string(),
            valid_from_ms: rate.valid_from.0,
            version: rate.version,
        }
    }
}

impl TryFrom<model::ExchangeRate> for ExchangeRate {
    type Error = DecodeError;

    fn try_from(wire: model::ExchangeRate) -> Result<Self, DecodeError> {
        Ok(Self {
            currency: currency("ExchangeRate.currency", &wire.currency)?,
            usd_per_unit: exact("ExchangeRate.usd_per_unit", &wire.usd_per_unit)?,
            valid_from: TimestampMs(wire.valid_from_ms),
            version: wire.version,
        })
    }
}

/// Shared records are written and read as the records they are.
macro_rules! shared {
    ($($ty:ident),*) => {
        $(
            impl From<&Arc<$ty>> for model::$ty {
                fn from(record: &Arc<$ty>) -> Self {
                    record.as_ref().into()
                }
            }

            impl TryFrom<model::$ty> for Arc<$ty> {
                type Error = DecodeError;

                fn try_from(wire: model::$ty) -> Result<Self, DecodeError> {
                    wire.try_into().map(Self::new)
                }
            }
        )*
    };
}

impl From<&Quote> for model::Quote {
    fn from(quote: &Quote) -> Self {
        let rate = |rate: &QuoteRate| model::QuoteRate {
            price: rate.price.written(),
            price_version: rate.price_version,
            unit: rate.unit,
            steps: rate
                .steps
                .iter()
                .map(|step| model::QuoteStep { from: step.from, price: step.price.to_string() })
                .collect(),
            usd_per_unit: rate.usd_per_unit.to_string(),
            exchange_version: rate.exchange_version,
        };
        let line = |line: &QuoteLine| model::QuoteLine {
            meter: write_meter(line.meter),
            bound: line.bound,
            rate: line.rate.as_ref().map(rate),
        };
        let Discounts { cache, volume, commitment } = &quote.discounts;
        let discounts = [
            cache.as_ref().map(|of| write_taken(of, DiscountKind::Cache(of.terms.clone()))),
            volume.as_ref().map(|of| write_taken(of, DiscountKind::Volume(of.terms.clone()))),
            commitment.as_ref().map(|of| write_taken(of, DiscountKind::Commitment(of.terms.clone()))),
        ];
        Self {
            lines: quote.lines.iter().map(line).collect(),
            discounts: discounts.into_iter().flatten().collect(),
            used_before: write_amounts(&quote.used_before),
        }
    }
}

/// Of a discount in a quote only its terms and version matter: it has no tenant and no beginning.
fn write_taken<T>(taken: &Taken<T>, kind: DiscountKind) -> model::Discount {
    model::Discount {
        tenant: String::new(),
        id: taken.id.written(),
        valid_from_ms: 0,
        version: taken.version,
        kind: Some(write_kind(&kind)),
    }
}

impl TryFrom<model::Quote> for Quote {
    type Error = DecodeError;

    fn try_from(wire: model::Quote) -> Result<Self, DecodeError> {
        let step = |step: model::QuoteStep| {
            Ok(Step { from: step.from, price: exact("QuoteStep.price", &step.price)? })
        };
        let rate = |rate: model::QuoteRate| {
            Ok(QuoteRate {
                price: text("QuoteRate.price", &rate.price)?,
                price_version: rate.price_version,
                unit: rate.unit,
                steps: rate.steps.into_iter().map(step).collect::<Decoded<_>>()?,
                usd_per_unit: exact("QuoteRate.usd_per_unit", &rate.usd_per_unit)?,
                exchange_version: rate.exchange_version,
            })
        };
        let line = |line: model::QuoteLine| {
            Ok(QuoteLine {
                meter: meter("QuoteLine.meter", line.meter)?,
                bound: line.bound,
                rate: line.rate.map(rate).transpose()?,
            })
        };
        let mut discounts = Discounts::default();
        for discount in wire.discounts {
            let id = text("Quote.discounts.id", &discount.id)?;
            let version = discount.version;
            let twice = match read_kind(required("Quote.discounts.kind", discount.kind)?)? {
                DiscountKind::Cache(terms) => discounts.cache.replace(Taken { id, version, terms }).is_some(),
                DiscountKind::Volume(terms) => {
                    discounts.volume.replace(Taken { id, version, terms }).is_some()
                }
                DiscountKind::Commitment(terms) => {
                    discounts.commitment.replace(Taken { id, version, terms }).is_some()
                }
            };
            if twice {
                let detail = "has two of one kind".to_owned();
                return Err(DecodeError::new("Quote.discounts", Problem::Invalid { detail }));
            }
        }
        Ok(Self {
            lines: wire.lines.into_iter().map(line).collect::<Decoded<_>>()?,
            discounts,
            used_before: read_amounts("Quote.used_before", &wire.used_before)?,
        })
    }
}

shared!(PriceEntry, Metering, Discount);

/// Used by rows and commands: a quote or a record behind a box.
pub(crate) fn boxed<W, D>(what: &'static str, value: Option<W>) -> Decoded<Box<D>>
where
    D: TryFrom<W, Error = DecodeError>,
{
    record(what, value).map(Box::new)
}

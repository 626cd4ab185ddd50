//! Small records for the tests of this module.

use crate::ids::{PriceId, TenantId};
use crate::model::Glob;
use crate::money::Exact;
use crate::price::{
    CacheDiscount, Currency, Meter, PriceEntry, PriceLine, PriceSubject, VolumeDiscount, VolumeTier,
};
use crate::time::TimestampMs;

pub(super) fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

pub(super) fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

pub(super) fn tool(pattern: &str) -> PriceSubject {
    PriceSubject::Tool(Glob::new(pattern).unwrap())
}

pub(super) fn model(model: &str) -> PriceSubject {
    PriceSubject::Model { provider: "maker".to_owned(), model: model.to_owned() }
}

/// For one unit, from 0.
pub(super) fn line(meter: Meter, price: &str) -> PriceLine {
    PriceLine { meter, tier_from: 0, unit: 1, price: exact(price) }
}

/// Of `acme`, in USD, from the beginning of time.
pub(super) fn entry(id: &str, subject: PriceSubject, lines: &[PriceLine]) -> PriceEntry {
    PriceEntry {
        id: PriceId::new(id).unwrap(),
        tenant: acme(),
        subject,
        currency: Currency::USD,
        valid_from: TimestampMs(0),
        version: 1,
        lines: lines.to_vec(),
        free: Vec::new(),
    }
}

pub(super) fn cache(share_above: &str, factor: &str) -> CacheDiscount {
    CacheDiscount { share_above: exact(share_above), factor: exact(factor) }
}

pub(super) fn volume(tiers: &[(u64, &str)]) -> VolumeDiscount {
    let tier = |(from, factor): &(u64, &str)| VolumeTier { from: *from, factor: exact(factor) };
    VolumeDiscount { tiers: tiers.iter().map(tier).collect() }
}

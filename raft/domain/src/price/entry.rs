//! One entry of the price book, and what makes it valid.

use std::collections::BTreeMap;

use crate::ids::{PriceId, TenantId};
use crate::limits::{NAME_BYTES_MAX, PRICE_LINES_MAX, PRICE_MAX, PRICE_UNIT_MAX, TIERS_MAX, UNITS_MAX};
use crate::model::Glob;
use crate::money::Exact;
use crate::price::fault::{check_text, ensure};
use crate::price::{Currency, Fault, Meter, Problem};
use crate::time::TimestampMs;

/// What a price is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PriceSubject {
    /// Exactly this model, as a metering names it.
    Model { provider: String, model: String },
    /// The tools of a pattern, by exposed name.
    Tool(Glob),
}

/// What the units of one meter cost from one tier on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceLine {
    pub meter: Meter,
    /// Units of this meter that the tenant used this month before: the line holds for those after. The first is 0.
    pub tier_from: u64,
    /// How many units the price is for: 1,000,000 tokens, 1,000 milliseconds.
    pub unit: u64,
    /// In the entry's currency, above zero.
    pub price: Exact,
}

/// Replaces, from `valid_from` on, the tenant's older entries for the same subject as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceEntry {
    pub id: PriceId,
    /// Whose calls it prices; those of `system` price the calls of tenants that have none of their own.
    pub tenant: TenantId,
    pub subject: PriceSubject,
    pub currency: Currency,
    pub valid_from: TimestampMs,
    /// Set when it is applied.
    pub version: u64,
    /// Of one meter in ascending order of tiers, all for the same unit.
    pub lines: Vec<PriceLine>,
    /// Meters that cost nothing. Said by name, because a price of zero is rather a mistake.
    pub free: Vec<Meter>,
}

impl PriceEntry {
    /// Errors: the first fault, by field; `has_rate` says for which currencies besides USD there is an exchange rate.
    pub fn validate(&self, has_rate: impl Fn(Currency) -> bool) -> Result<(), Fault> {
        if let PriceSubject::Model { provider, model } = &self.subject {
            check_text("subject.provider", provider, NAME_BYTES_MAX)?;
            check_text("subject.model", model, NAME_BYTES_MAX)?;
        }
        let currency = self.currency;
        let known = currency == Currency::USD || has_rate(currency);
        ensure(known, || "currency".to_owned(), Problem::UnknownCurrency { currency })?;
        let count = self.lines.len().saturating_add(self.free.len());
        ensure(count > 0, || "lines".to_owned(), Problem::Empty)?;
        let many = Problem::TooMany { count, max: PRICE_LINES_MAX };
        ensure(count <= PRICE_LINES_MAX, || "lines".to_owned(), many)?;
        let mut last_of: BTreeMap<Meter, (&PriceLine, usize)> = BTreeMap::new();
        for (position, line) in self.lines.iter().enumerate() {
            let before = last_of.get(&line.meter).copied();
            check_line(line, before.map(|(line, _)| line), &|field| format!("lines[{position}].{field}"))?;
            let tiers = before.map_or(1, |(_, tiers)| tiers + 1);
            let many = Problem::TooMany { count: tiers, max: TIERS_MAX };
            ensure(tiers <= TIERS_MAX, || "lines".to_owned(), many)?;
            last_of.insert(line.meter, (line, tiers));
        }
        for (position, meter) in self.free.iter().enumerate() {
            let again = self.free.iter().take(position).any(|other| other == meter);
            let doubled = Problem::Doubled { meter: *meter };
            ensure(!again && !last_of.contains_key(meter), || format!("free[{position}]"), doubled)?;
        }
        Ok(())
    }

    /// Errors: `Overlap` where another entry of the tenant holds for the same subject from the same moment on.
    pub fn check_overlap<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Result<(), Fault> {
        let overlaps = |other: &&Self| {
            other.id != self.id
                && other.valid_from == self.valid_from
                && other.tenant == self.tenant
                && other.subject == self.subject
        };
        let Some(other) = others.into_iter().find(overlaps) else { return Ok(()) };
        Err(Fault::new("valid_from", Problem::Overlap { other: other.id.clone() }))
    }

    /// Whether it says what the units of `meter` cost, if only that they are free.
    pub fn prices(&self, meter: Meter) -> bool {
        self.free.contains(&meter) || self.lines.iter().any(|line| line.meter == meter)
    }
}

fn check_line(
    line: &PriceLine,
    before: Option<&PriceLine>,
    path: &impl Fn(&str) -> String,
) -> Result<(), Fault> {
    let meter = line.meter;
    match before {
        None => ensure(line.tier_from == 0, || path("tier_from"), Problem::TierGap { meter })?,
        Some(before) => {
            let doubled = before.tier_from == line.tier_from;
            ensure(!doubled, || path("meter"), Problem::Doubled { meter })?;
            ensure(before.tier_from < line.tier_from, || path("tier_from"), Problem::TierOutOfOrder)?;
            ensure(before.unit == line.unit, || path("unit"), Problem::UnitDiffers { meter })?;
        }
    }
    ensure(line.tier_from <= UNITS_MAX, || path("tier_from"), Problem::TooLarge { max: UNITS_MAX })?;
    ensure(line.unit > 0, || path("unit"), Problem::Zero)?;
    ensure(line.unit <= PRICE_UNIT_MAX, || path("unit"), Problem::TooLarge { max: PRICE_UNIT_MAX })?;
    ensure(!line.price.is_zero(), || path("price"), Problem::ZeroPrice)?;
    ensure(line.price <= PRICE_MAX.into(), || path("price"), Problem::TooLarge { max: PRICE_MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::samples::{entry, line, tool};

    #[track_caller]
    fn refused(entry: &PriceEntry, field: &str, problem: Problem) {
        assert_eq!(entry.validate(|_| false), Err(Fault::new(field, problem)));
    }

    fn with(lines: Vec<PriceLine>) -> PriceEntry {
        PriceEntry { lines, ..entry("p", tool("*"), &[]) }
    }

    fn tiers(starts: impl IntoIterator<Item = u64>) -> Vec<PriceLine> {
        starts.into_iter().map(|tier_from| PriceLine { tier_from, ..line(Meter::Output, "1") }).collect()
    }

    #[test]
    fn bad_lines_are_told_by_their_path() {
        let meter = Meter::Output;
        assert_eq!(with(tiers([0, 5, 9])).validate(|_| false), Ok(()));
        refused(&with(tiers([1])), "lines[0].tier_from", Problem::TierGap { meter });
        refused(&with(tiers([0, 5, 5])), "lines[2].meter", Problem::Doubled { meter });
        refused(&with(tiers([0, 5, 4])), "lines[2].tier_from", Problem::TierOutOfOrder);
        refused(&with(vec![]), "lines", Problem::Empty);
        refused(&with(vec![line(meter, "0.000")]), "lines[0].price", Problem::ZeroPrice);
        let mut mixed = tiers([0, 5]);
        mixed[1].unit = 7;
        refused(&with(mixed), "lines[1].unit", Problem::UnitDiffers { meter });
        refused(&with(vec![PriceLine { unit: 0, ..line(meter, "1") }]), "lines[0].unit", Problem::Zero);
    }

    #[test]
    fn free_is_said_once_and_not_of_a_priced_meter() {
        let meter = Meter::Output;
        let free = |free: &[Meter]| PriceEntry { free: free.to_vec(), ..with(tiers([0])) };
        assert_eq!(free(&[Meter::Call, Meter::Byte]).validate(|_| false), Ok(()));
        refused(&free(&[Meter::Call, meter]), "free[1]", Problem::Doubled { meter });
        refused(&free(&[Meter::Call, Meter::Call]), "free[1]", Problem::Doubled { meter: Meter::Call });
        assert!(free(&[Meter::Call]).prices(Meter::Call) && !free(&[]).prices(Meter::Call));
        assert!(free(&[]).prices(meter));
    }

    #[test]
    fn other_fields() {
        let currency = Currency::parse("EUR").unwrap();
        let in_eur = PriceEntry { currency, ..with(tiers([0])) };
        refused(&in_eur, "currency", Problem::UnknownCurrency { currency });
        assert_eq!(in_eur.validate(|asked| asked == currency), Ok(()));
        let model = |model: &str| {
            let subject = PriceSubject::Model { provider: "p".to_owned(), model: model.to_owned() };
            PriceEntry { subject, ..with(tiers([0])) }
        };
        refused(&model(""), "subject.model", Problem::Empty);
        refused(&model("a\n"), "subject.model", Problem::Control);
        let max = NAME_BYTES_MAX;
        assert_eq!(model(&"x".repeat(max)).validate(|_| false), Ok(()));
        refused(&model(&"x".repeat(max + 1)), "subject.model", Problem::TooLong { len: max + 1, max });
    }

    #[test]
    fn two_entries_from_one_moment_on_overlap() {
        let (one, two) = (entry("one", tool("a*"), &[]), entry("two", tool("a*"), &[]));
        let overlap = Fault::new("valid_from", Problem::Overlap { other: one.id.clone() });
        assert_eq!(two.check_overlap([&one]), Err(overlap));
        assert_eq!(two.check_overlap([&two]), Ok(()), "an entry replaces itself");
        let later = PriceEntry { valid_from: TimestampMs(9), ..one.clone() };
        let other_tenant = PriceEntry { tenant: TenantId::system(), ..one.clone() };
        let other_subject = PriceEntry { subject: tool("b*"), ..one };
        assert_eq!(two.check_overlap([&later, &other_tenant, &other_subject]), Ok(()));
    }

    #[test]
    fn price_lines_max() {
        let max = PRICE_LINES_MAX;
        let lines = |count: usize| {
            let all = Meter::ALL.into_iter().flat_map(|meter| {
                (0..TIERS_MAX as u64).map(move |tier_from| PriceLine { tier_from, ..line(meter, "1") })
            });
            with(all.take(count).collect())
        };
        assert_eq!(lines(max).validate(|_| false), Ok(()));
        refused(&lines(max + 1), "lines", Problem::TooMany { count: max + 1, max });
    }

    #[test]
    fn tiers_max() {
        let max = TIERS_MAX;
        assert_eq!(with(tiers(0..max as u64)).validate(|_| false), Ok(()));
        let many = Problem::TooMany { count: max + 1, max };
        refused(&with(tiers(0..=max as u64)), "lines", many);
    }

    #[test]
    fn price_unit_max_price_max_and_units_max() {
        let one = |unit, price: &str, tier_from| {
            let mut lines = tiers([0, tier_from]);
            lines[1].price = Exact::parse(price).unwrap();
            lines.iter_mut().for_each(|line| line.unit = unit);
            with(lines)
        };
        assert_eq!(one(PRICE_UNIT_MAX, "1000000000", UNITS_MAX).validate(|_| false), Ok(()));
        let max = PRICE_UNIT_MAX;
        refused(&one(max + 1, "1", 1), "lines[0].unit", Problem::TooLarge { max });
        refused(&one(1, "1000000000.000001", 1), "lines[1].price", Problem::TooLarge { max: PRICE_MAX });
        let over = Problem::TooLarge { max: UNITS_MAX };
        refused(&one(1, "1", UNITS_MAX + 1), "lines[1].tier_from", over);
    }
}

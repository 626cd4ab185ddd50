//! Quotes, holds and costs: examples, and what must hold for any of them (promise P1's arithmetic).

use std::sync::Arc;

use proptest::prelude::*;

use crate::ids::{DiscountId, PriceId};
use crate::money::{Exact, Overflow, PicoUsd};
use crate::price::metering::tests::{at, metering};
use crate::price::samples::{acme, cache, entry, exact, line, model, tool, volume};
use crate::price::*;
use crate::time::TimestampMs;

/// Input at 2.5 and output at 10 dollars for a million, a cent a call, a tenth of a cent a second.
fn book(bounds: Amounts) -> PriceBook {
    let million = |meter, price| PriceLine { unit: 1_000_000, ..line(meter, price) };
    let tokens = [million(Meter::UncachedInput, "2.50"), million(Meter::Output, "10.00")];
    let second = PriceLine { unit: 1_000, ..line(Meter::Second, "0.001") };
    let mut book = PriceBook::default();
    book.add_price(Arc::new(entry("model", model("m1"), &tokens)));
    book.add_price(Arc::new(entry("tool", tool("demo__*"), &[line(Meter::Call, "0.01"), second])));
    let usage = [(Meter::UncachedInput, at("/in")), (Meter::Output, at("/out"))];
    book.add_metering(Arc::new(metering(&usage, bounds)));
    book
}

fn bounds() -> Amounts {
    Amounts::default().with(Meter::UncachedInput, 1_000).with(Meter::Output, 100).with(Meter::Second, 60_000)
}

fn resolve(book: &PriceBook, tool: &str, hard: bool) -> Result<Quote, QuoteFault> {
    let (tenant, used_before) = (&acme(), &Amounts::default());
    book.quote(&QuoteRequest {
        tenant,
        tool,
        used_before,
        raised: &Amounts::default(),
        at: TimestampMs(1),
        hard,
    })
}

fn usage(input: u64, output: u64, ms: u64) -> Amounts {
    let tokens = Amounts::default().with(Meter::UncachedInput, input).with(Meter::Output, output);
    tokens.with(Meter::Call, 1).with(Meter::Second, ms).with(Meter::Byte, 5_000)
}

#[test]
fn a_call_costs_by_line_and_part() {
    let quote = resolve(&book(bounds()), "demo__echo", true).unwrap();
    assert_eq!(quote.hold().unwrap().to_string(), "0.0735", "0.0025 + 0.001 + 0.01 + 0.06");
    let costed = quote.cost(&usage(400, 30, 1_500)).unwrap();
    let parts = [costed.token, costed.compute, costed.network, costed.total].map(|part| part.to_string());
    assert_eq!(parts, ["0.0013", "0.0115", "0", "0.0128"]);
    let lines: Vec<_> = costed.lines.iter().map(|line| (line.meter.code(), line.units)).collect();
    assert_eq!(lines, [("uncached_input", 400), ("output", 30), ("call", 1), ("second", 1_500)]);
    assert!(costed.over_bound.is_empty() && costed.unpriced.is_empty() && !costed.at_hold);
}

#[test]
fn more_than_declared_is_charged_in_full_and_told() {
    let quote = resolve(&book(bounds()), "demo__echo", true).unwrap();
    let costed = quote.cost(&usage(2_000, 100, 0)).unwrap();
    assert_eq!(costed.over_bound, [Meter::UncachedInput]);
    assert_eq!(costed.total.to_string(), "0.016");
}

#[test]
fn what_is_not_known_costs_the_hold() {
    let quote = resolve(&book(bounds()), "demo__echo", true).unwrap();
    let counted = Amounts::default().with(Meter::Call, 1).with(Meter::Second, 10);
    let costed = quote.cost(&counted).unwrap();
    assert!(costed.at_hold);
    assert_eq!(costed.total, quote.hold().unwrap());
    let over = quote.cost(&counted.with(Meter::Second, 70_000)).unwrap();
    assert_eq!((over.total.to_string(), over.over_bound), ("0.0835".to_owned(), vec![Meter::Second]));
}

#[test]
fn under_a_hard_budget_every_meter_needs_price_and_bound() {
    let refused = |bounds, tool| resolve(&book(bounds), tool, true).unwrap_err();
    let unbounded = Amounts::default().with(Meter::UncachedInput, 1).with(Meter::Second, 1);
    assert_eq!(refused(unbounded, "demo__echo"), QuoteFault::NoBound { meter: Meter::Output });
    let no_time = Amounts::default().with(Meter::UncachedInput, 1).with(Meter::Output, 1);
    assert_eq!(refused(no_time, "demo__echo"), QuoteFault::NoBound { meter: Meter::Second });
    assert!(resolve(&book(no_time), "other", true).is_ok(), "there seconds are not priced");
    let nothing = PriceBook::default();
    assert_eq!(resolve(&nothing, "t", true).unwrap_err(), QuoteFault::NoPrice { meter: Meter::Call });
    let mut unpriced = PriceBook::default();
    unpriced.add_metering(Arc::new(metering(&[(Meter::Reasoning, at("/r"))], Amounts::default())));
    assert_eq!(resolve(&unpriced, "t", true).unwrap_err(), QuoteFault::NoPrice { meter: Meter::Reasoning });
    assert_eq!(QuoteFault::NoPrice { meter: Meter::Call }.code(), "no_price");
    assert_eq!(QuoteFault::NoBound { meter: Meter::Call }.code(), "no_bound");
}

#[test]
fn without_a_hard_budget_gaps_are_told_and_cost_nothing() {
    assert_eq!(resolve(&PriceBook::default(), "t", false).unwrap().hold(), Ok(PicoUsd(0)));
    let mut book = book(Amounts::default().with(Meter::Second, 1_000));
    let usage_of = [(Meter::UncachedInput, at("/in")), (Meter::Reasoning, at("/r"))];
    let mut other = metering(&usage_of, Amounts::default());
    other.tools = crate::model::Glob::new("demo__echo").unwrap();
    book.add_metering(Arc::new(other));
    let quote = resolve(&book, "demo__echo", false).unwrap();
    assert_eq!(quote.hold().unwrap().to_string(), "0.01", "nothing but the call is bounded");
    let costed = quote.cost(&usage(1_000, 0, 0).with(Meter::Reasoning, 9)).unwrap();
    assert_eq!((costed.unpriced, costed.total.to_string()), (vec![Meter::Reasoning], "0.0125".to_owned()));
}

#[test]
fn a_tools_own_token_price_without_a_source_always_costs_the_hold() {
    let mut book = PriceBook::default();
    book.add_price(Arc::new(entry("t", tool("*"), &[line(Meter::Output, "1")])));
    assert_eq!(resolve(&book, "t", true).unwrap_err(), QuoteFault::NoBound { meter: Meter::Output });
}

#[test]
fn free_meters_cost_nothing_and_count_as_priced() {
    let mut book = PriceBook::default();
    let free = PriceEntry { free: vec![Meter::Call], ..entry("t", tool("*"), &[]) };
    book.add_price(Arc::new(free));
    let quote = resolve(&book, "t", true).unwrap();
    let costed = quote.cost(&usage(0, 0, 0)).unwrap();
    assert_eq!((quote.hold(), costed.total, costed.lines.len()), (Ok(PicoUsd(0)), PicoUsd(0), 1));
}

#[test]
fn the_network_part_is_not_discounted() {
    let rate = |meter| QuoteLine { meter, bound: Some(1), rate: Some(plain_rate(1, vec![(0, Exact::ONE)])) };
    let discounts = Discounts { commitment: taken(CommitmentDiscount { factor: exact("0.5") }), ..none() };
    let lines = vec![rate(Meter::Call), rate(Meter::Byte)];
    let quote = Quote { lines, discounts, used_before: Amounts::default() };
    let costed = quote.cost(&Amounts::default().with(Meter::Call, 1).with(Meter::Byte, 1)).unwrap();
    assert_eq!((costed.compute.to_string(), costed.network.to_string()), ("0.5".to_owned(), "1".to_owned()));
}

#[test]
fn a_malformed_quote_is_an_error() {
    let cost = |rate: QuoteRate| {
        let lines = vec![QuoteLine { meter: Meter::Call, bound: Some(10), rate: Some(rate) }];
        Quote { lines, discounts: none(), used_before: Amounts::default() }.hold()
    };
    assert_eq!(cost(plain_rate(1, vec![(0, Exact::ONE)])), Ok(PicoUsd(10_000_000_000_000)));
    assert_eq!(cost(plain_rate(0, vec![(0, Exact::ONE)])), Err(CostError::Malformed));
    assert_eq!(cost(plain_rate(1, vec![(5, Exact::ONE)])), Err(CostError::Malformed));
    assert_eq!(
        cost(plain_rate(1, vec![(0, Exact::ONE), (0, Exact::ONE), (0, Exact::ONE)])),
        Ok(PicoUsd(10_000_000_000_000))
    );
    assert_eq!(
        cost(plain_rate(1, vec![(0, Exact::ONE), (9, Exact::ONE), (5, Exact::ONE)])),
        Err(CostError::Malformed)
    );
    let absurd = exact("999999999999999999999999999999");
    assert_eq!(cost(plain_rate(1, vec![(0, absurd)])), Err(CostError::Overflow(Overflow)));
}

fn none() -> Discounts {
    Discounts::default()
}

fn taken<T>(terms: T) -> Option<Taken<T>> {
    Some(Taken { id: DiscountId::new("d").unwrap(), version: 1, terms })
}

fn plain_rate(unit: u64, steps: Vec<(u64, Exact)>) -> QuoteRate {
    QuoteRate {
        price: PriceId::new("p").unwrap(),
        price_version: 1,
        unit,
        steps: steps.into_iter().map(|(from, price)| Step { from, price }).collect(),
        usd_per_unit: Exact::ONE,
        exchange_version: 0,
    }
}

fn a_price() -> impl Strategy<Value = Exact> {
    (1..10_u128.pow(12), 0..=18_u8).prop_map(|(digits, scale)| Exact::from_parts(digits, scale).unwrap())
}

fn a_factor() -> impl Strategy<Value = Exact> {
    (0..=1_000_u128).prop_map(|thousandths| Exact::from_parts(thousandths, 3).unwrap())
}

fn a_rate() -> impl Strategy<Value = QuoteRate> {
    let later = proptest::collection::btree_map(1..5_000_u64, a_price(), 0..4);
    (1..=1_000_000_u64, a_price(), later, a_price()).prop_map(|(unit, first, later, usd_per_unit)| {
        let steps = std::iter::once((0, first)).chain(later).collect();
        QuoteRate { usd_per_unit, ..plain_rate(unit, steps) }
    })
}

fn some_amounts(below: u64) -> impl Strategy<Value = [u64; 8]> {
    proptest::array::uniform8(0..below)
}

fn amounts(units: [u64; 8]) -> Amounts {
    Meter::ALL.into_iter().zip(units).fold(Amounts::default(), |all, (meter, units)| all.with(meter, units))
}

fn some_discounts() -> impl Strategy<Value = Discounts> {
    let cache =
        (a_factor(), a_factor()).prop_map(|(share, factor)| cache(&share.to_string(), &factor.to_string()));
    let tiers = proptest::collection::btree_map(0..30_000_u64, a_factor(), 1..4);
    // In any order of factors, though a real discount grows with the volume.
    let volume = tiers.prop_map(|tiers| VolumeDiscount {
        tiers: tiers.into_iter().map(|(from, factor)| VolumeTier { from, factor }).collect(),
    });
    let commitment = a_factor().prop_map(|factor| CommitmentDiscount { factor });
    let of = proptest::option::of::<BoxedStrategy<_>>;
    (of(cache.boxed()), proptest::option::of(volume), proptest::option::of(commitment)).prop_map(
        |(cache, volume, commitment)| Discounts {
            cache: cache.and_then(taken),
            volume: volume.and_then(taken),
            commitment: commitment.and_then(taken),
        },
    )
}

/// A quote for all meters.
fn a_quote(discounts: impl Strategy<Value = Discounts>) -> impl Strategy<Value = Quote> {
    let rates = proptest::collection::vec(a_rate(), 8);
    (rates, some_amounts(6_000), some_amounts(6_000), discounts).prop_map(
        |(rates, bounds, used, discounts)| {
            let lines = Meter::ALL.into_iter().zip(bounds).zip(rates);
            let line = |((meter, bound), rate)| QuoteLine { meter, bound: Some(bound), rate: Some(rate) };
            Quote { lines: lines.map(line).collect(), discounts, used_before: amounts(used) }
        },
    )
}

/// Thousandths of the bounds, all of them often: near its bounds a call comes nearest to its hold.
fn some_parts() -> impl Strategy<Value = [u64; 8]> {
    proptest::array::uniform8(prop_oneof![4 => Just(1_000_u64), 1 => 0..=1_000_u64])
}

/// The bounds of `quote`, each times so many thousandths.
fn within(quote: &Quote, thousandths: [u64; 8]) -> Amounts {
    let parts = quote.lines.iter().zip(thousandths);
    parts.fold(Amounts::default(), |all, (line, part)| {
        all.with(line.meter, line.bound.unwrap() * part / 1_000)
    })
}

proptest! {
    /// INVARIANT: P1
    #[test]
    fn usage_within_the_bounds_costs_no_more_than_the_hold(
        quote in a_quote(some_discounts()),
        parts in some_parts(),
        unknown in proptest::option::of(0..8_usize),
    ) {
        let mut usage = within(&quote, parts);
        if let Some(unknown) = unknown {
            let known = usage.iter().filter(|(meter, _)| *meter as usize != unknown);
            usage = known.fold(Amounts::default(), |all, (meter, units)| all.with(meter, units));
        }
        let costed = quote.cost(&usage).unwrap();
        let hold = quote.hold().unwrap();
        prop_assert!(costed.total <= hold, "{:?} > {:?}", costed.total, hold);
        prop_assert!(costed.over_bound.is_empty());
        prop_assert_eq!(costed.at_hold, unknown.is_some());
        prop_assert!(unknown.is_none() || costed.total == hold);
    }

    #[test]
    fn parts_and_lines_sum_to_the_total(quote in a_quote(some_discounts()), used in some_amounts(9_000)) {
        let costed = quote.cost(&amounts(used)).unwrap();
        let lines: i128 = costed.lines.iter().map(|line| line.pico_usd.0).sum();
        prop_assert_eq!(lines, costed.total.0);
        prop_assert_eq!(costed.token.0 + costed.compute.0 + costed.network.0, costed.total.0);
    }

    /// Discounts of the whole call aside: more tokens from a cache may well make a call cheaper.
    #[test]
    fn cost_and_hold_grow_with_the_units(
        quote in a_quote(Just(none())),
        less in some_amounts(6_000),
        more in some_amounts(6_000),
    ) {
        let sum: [u64; 8] = std::array::from_fn(|n| less[n] + more[n]);
        let cost = |units| quote.cost(&amounts(units)).unwrap().total;
        prop_assert!(cost(less) <= cost(sum));
        let hold = |units: [u64; 8]| {
            let mut quote = quote.clone();
            quote.lines.iter_mut().zip(units).for_each(|(line, units)| line.bound = Some(units));
            quote.hold().unwrap()
        };
        prop_assert!(hold(less) <= hold(sum));
    }

    /// Against a count unit by unit in built-in numbers: exact up to the one rounding, which is up.
    #[test]
    fn a_line_is_rounded_up_once(
        prices in proptest::array::uniform3((1..1_000_000_u128, 0..=12_u8)),
        starts in (1..300_u64, 1..300_u64),
        (before, units, unit) in (0..500_u64, 0..500_u64, 1..=1_000_000_u64),
        (usd, factor) in (1..10_000_u128, 0..=100_u128),
    ) {
        let price = |n: usize| Exact::from_parts(prices[n].0, prices[n].1).unwrap();
        let starts = [0, starts.0, starts.0 + starts.1];
        let steps = starts.into_iter().enumerate().map(|(n, from)| (from, price(n))).collect();
        let usd_per_unit = Exact::from_parts(usd, 4).unwrap();
        let rate = QuoteRate { usd_per_unit, ..plain_rate(unit, steps) };
        let commitment = taken(CommitmentDiscount { factor: Exact::from_parts(factor, 2).unwrap() });
        let quote = Quote {
            lines: vec![QuoteLine { meter: Meter::Output, bound: None, rate: Some(rate) }],
            discounts: Discounts { commitment, ..none() },
            used_before: Amounts::default().with(Meter::Output, before),
        };
        let of_unit = |position: u64| {
            let tier = starts.iter().rposition(|from| *from <= position).unwrap();
            prices[tier].0 * 10_u128.pow((12 - prices[tier].1).into())
        };
        let full: u128 = (before..before + units).map(of_unit).sum();
        // Prices are in 10^-12 here, so that the pico-USD cancel out.
        let expected = (full * usd * factor).div_ceil(u128::from(unit) * 10_u128.pow(4 + 2));
        let costed = quote.cost(&Amounts::default().with(Meter::Output, units)).unwrap();
        prop_assert_eq!(costed.total.0.unsigned_abs(), expected);
    }

    /// With prices of whole pico-USD nothing is rounded: the parts of a call cost what the call costs.
    #[test]
    fn a_call_in_two_parts_costs_the_same_before_rounding(
        later in proptest::collection::btree_map(1..5_000_u64, 1..1_000_000_u64, 0..4),
        (before, a, b) in (0..6_000_u64, 0..6_000_u64, 0..6_000_u64),
    ) {
        let pico = |price: u64| Exact::from_parts(price.into(), 12).unwrap();
        let steps: Vec<_> = std::iter::once((0, 7)).chain(later).map(|(from, price)| (from, pico(price))).collect();
        let cost = |before, units| {
            let quote = Quote {
                lines: vec![QuoteLine { meter: Meter::Call, bound: None, rate: Some(plain_rate(1, steps.clone())) }],
                discounts: none(),
                used_before: Amounts::default().with(Meter::Call, before),
            };
            quote.cost(&Amounts::default().with(Meter::Call, units)).unwrap().total.0
        };
        prop_assert_eq!(cost(before, a + b), cost(before, a) + cost(before + a, b));
    }

    /// Whatever a decoder lets through: an answer or an error, never a panic.
    #[test]
    fn no_number_is_too_large_to_be_answered(
        steps in proptest::collection::vec((any::<u64>(), 0..10_u128.pow(30), 0..=30_u8), 0..4),
        (unit, usd, bound, used) in (any::<u64>(), 0..10_u128.pow(30), any::<Option<u64>>(), any::<[u64; 8]>()),
        before in any::<[u64; 8]>(),
        tiers in proptest::collection::vec((any::<u64>(), 0..10_u128.pow(30), 0..=30_u8), 0..4),
    ) {
        let number = |digits, scale| Exact::from_parts(digits, scale).unwrap();
        let steps = steps.into_iter().map(|(from, digits, scale)| (from, number(digits, scale))).collect();
        let rate = QuoteRate { usd_per_unit: number(usd, 0), ..plain_rate(unit, steps) };
        let tier = |(from, digits, scale)| VolumeTier { from, factor: number(digits, scale) };
        let volume = VolumeDiscount { tiers: tiers.into_iter().map(tier).collect() };
        let line = |meter| QuoteLine { meter, bound, rate: Some(rate.clone()) };
        let quote = Quote {
            lines: Meter::ALL.into_iter().map(line).collect(),
            discounts: Discounts { volume: taken(volume), ..none() },
            used_before: amounts(before.map(|units| units >> 3)),
        };
        let _ = (quote.hold(), quote.cost(&amounts(used)), quote.cost(&amounts(used.map(|units| units >> 20))));
    }
}

#[test]
fn the_numbers_that_the_bounds_allow_are_counted_or_refused() {
    let most = exact("1000000000");
    let cost = |units: u64, usd: &str| {
        let rate = QuoteRate { usd_per_unit: exact(usd), ..plain_rate(1, vec![(0, most)]) };
        let lines = vec![QuoteLine { meter: Meter::Output, bound: Some(units), rate: Some(rate) }];
        let discounts =
            Discounts { volume: taken(volume(&[(0, "0.999999999999999999999999999999")])), ..none() };
        let used_before = Amounts::default().with(Meter::Output, crate::limits::UNITS_MAX);
        Quote { lines, discounts, used_before }.cost(&Amounts::default().with(Meter::Output, units))
    };
    assert!(cost(100_000_000_000_000_000, "1").is_ok());
    let over = cost(crate::limits::UNITS_MAX, "1000000").map(|costed| costed.total);
    assert_eq!(over, Err(CostError::Overflow(Overflow)));
}

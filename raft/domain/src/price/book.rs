//! The price book as calls are priced by it: records arranged so that what applies to a call is found quickly.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::TenantId;
use crate::model::Glob;
use crate::price::quote::Found;
use crate::price::{
    Amounts, Currency, Discount, DiscountKind, Discounts, ExchangeRate, Metering, PriceEntry, PriceSubject,
    Quote, QuoteFault, Taken,
};
use crate::state::State;
use crate::time::TimestampMs;

/// A call to be priced.
#[derive(Clone, Copy, Debug)]
pub struct QuoteRequest<'a> {
    pub tenant: &'a TenantId,
    /// By exposed name.
    pub tool: &'a str,
    /// What the tenant used this month before the call; what is absent is nothing.
    pub used_before: &'a Amounts,
    /// What was seen of this tenant's calls beyond what the tool's metering declares.
    pub raised: &'a Amounts,
    pub at: TimestampMs,
    /// Whether the call touches a hard budget.
    pub hard: bool,
}

/// Holds valid records; a later one with the same id does not replace an earlier one, so a book is built anew.
#[derive(Clone, Default, Debug)]
pub struct PriceBook {
    tenants: BTreeMap<TenantId, Own>,
    rates: BTreeMap<Currency, Vec<ExchangeRate>>,
}

/// The records of one tenant.
#[derive(Clone, Default, Debug)]
struct Own {
    /// By provider, then model.
    models: BTreeMap<String, BTreeMap<String, Vec<Arc<PriceEntry>>>>,
    tools: Vec<(Glob, Arc<PriceEntry>)>,
    meterings: Vec<Arc<Metering>>,
    discounts: Vec<Arc<Discount>>,
}

impl PriceBook {
    /// Of all records of the state.
    pub fn of(state: &State) -> Self {
        let mut book = Self::default();
        state.prices.values().for_each(|record| book.add_price(record.value.clone()));
        state.meterings.values().for_each(|record| book.add_metering(record.value.clone()));
        state.discounts.values().for_each(|record| book.add_discount(record.value.clone()));
        state.rates.values().for_each(|record| book.add_rate(record.value.clone()));
        book
    }

    /// Whether both states have the same records to make a book of; cheap, and may say no without need.
    pub fn is_current(one: &State, other: &State) -> bool {
        one.prices.ptr_eq(&other.prices)
            && one.meterings.ptr_eq(&other.meterings)
            && one.discounts.ptr_eq(&other.discounts)
            && one.rates.ptr_eq(&other.rates)
    }

    pub fn add_price(&mut self, entry: Arc<PriceEntry>) {
        let own = self.tenants.entry(entry.tenant.clone()).or_default();
        match &entry.subject {
            PriceSubject::Tool(glob) => own.tools.push((glob.clone(), entry)),
            PriceSubject::Model { provider, model } => {
                let models = own.models.entry(provider.clone()).or_default();
                models.entry(model.clone()).or_default().push(entry);
            }
        }
    }

    pub fn add_metering(&mut self, metering: Arc<Metering>) {
        self.tenants.entry(metering.tenant.clone()).or_default().meterings.push(metering);
    }

    pub fn add_discount(&mut self, discount: Arc<Discount>) {
        self.tenants.entry(discount.tenant.clone()).or_default().discounts.push(discount);
    }

    pub fn add_rate(&mut self, rate: ExchangeRate) {
        self.rates.entry(rate.currency).or_default().push(rate);
    }

    /// The metering of a tool, if there is one.
    pub fn metering(&self, tenant: &TenantId, tool: &str) -> Option<&Arc<Metering>> {
        self.own_first(tenant, |own| {
            let matching = own.meterings.iter().filter(|metering| metering.tools.matches(tool));
            matching.max_by_key(|metering| (exactness(&metering.tools), &metering.id))
        })
    }

    /// The price of a call, as it is at that moment.
    /// Errors: under a hard budget, `QuoteFault` where a meter of the call has no price or no bound.
    pub fn quote(&self, request: &QuoteRequest<'_>) -> Result<Quote, QuoteFault> {
        let QuoteRequest { tenant, tool, at, .. } = *request;
        let metering = self.metering(tenant, tool).map(Arc::as_ref);
        let found = Found {
            metering,
            tool: self.own_first(tenant, |own| own.tool(tool, at)),
            model: metering
                .and_then(|of| self.own_first(tenant, |own| own.model(&of.provider, &of.model, at))),
            discounts: self.discounts(tenant, at),
            used_before: *request.used_before,
            raised: *request.raised,
        };
        let rate_of =
            |currency| latest(self.rates.get(&currency)?.iter(), at, |rate| (rate.valid_from, rate.version));
        Quote::resolve(found, rate_of, request.hard)
    }

    fn discounts(&self, tenant: &TenantId, at: TimestampMs) -> Discounts {
        let discounts = |own: &Own, is: fn(&DiscountKind) -> bool| {
            let of_kind = own.discounts.iter().filter(|discount| is(&discount.kind)).cloned();
            latest(of_kind, at, |discount| (discount.valid_from, discount.version))
        };
        let find = |is: fn(&DiscountKind) -> bool| self.own_first(tenant, |own| discounts(own, is));
        let mut all = Discounts::default();
        let kinds = [
            find(|kind| matches!(kind, DiscountKind::Cache(_))),
            find(|kind| matches!(kind, DiscountKind::Volume(_))),
            find(|kind| matches!(kind, DiscountKind::Commitment(_))),
        ];
        for discount in kinds.into_iter().flatten() {
            let (id, version) = (discount.id.clone(), discount.version);
            match discount.kind.clone() {
                DiscountKind::Cache(terms) => all.cache = Some(Taken { id, version, terms }),
                DiscountKind::Volume(terms) => all.volume = Some(Taken { id, version, terms }),
                DiscountKind::Commitment(terms) => all.commitment = Some(Taken { id, version, terms }),
            }
        }
        all
    }

    /// What the tenant's own records have, else what those of `system` have.
    fn own_first<'a, T>(&'a self, tenant: &TenantId, find: impl Fn(&'a Own) -> Option<T>) -> Option<T> {
        let own = self.tenants.get(tenant).and_then(&find);
        own.or_else(|| self.tenants.get(crate::ids::SYSTEM_TENANT).and_then(find))
    }
}

impl Own {
    /// Of the most exact pattern that has a price at the moment, the newest one.
    fn tool(&self, tool: &str, at: TimestampMs) -> Option<&PriceEntry> {
        let valid = self.tools.iter().filter(|(glob, entry)| entry.valid_from <= at && glob.matches(tool));
        let best =
            valid.max_by_key(|(glob, entry)| (exactness(glob), entry.valid_from, entry.version, &entry.id));
        best.map(|(_, entry)| entry.as_ref())
    }

    fn model(&self, provider: &str, model: &str, at: TimestampMs) -> Option<&PriceEntry> {
        let entries = self.models.get(provider)?.get(model)?;
        latest(entries.iter(), at, |entry| (entry.valid_from, entry.version)).map(Arc::as_ref)
    }
}

/// A plain name before any pattern, a pattern with more letters before one with fewer, then by the pattern itself.
fn exactness(glob: &Glob) -> (bool, usize, &Glob) {
    (glob.is_exact(), glob.as_str().bytes().filter(|byte| *byte != b'*').count(), glob)
}

/// The newest that is valid already.
fn latest<T>(
    all: impl Iterator<Item = T>,
    at: TimestampMs,
    age: impl Fn(&T) -> (TimestampMs, u64),
) -> Option<T> {
    all.filter(|one| age(one).0 <= at).max_by_key(|one| age(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DiscountId, MeteringId};
    use crate::price::metering::tests::{at, metering};
    use crate::price::samples::{acme, cache, entry, exact, line, model, tool};
    use crate::price::{CommitmentDiscount, Meter, PriceLine};

    const NOW: TimestampMs = TimestampMs(100);

    fn book(entries: Vec<PriceEntry>) -> PriceBook {
        let mut book = PriceBook::default();
        entries.into_iter().for_each(|entry| book.add_price(Arc::new(entry)));
        book
    }

    fn of(id: &str, subject: PriceSubject, valid_from: u64) -> PriceEntry {
        PriceEntry { valid_from: TimestampMs(valid_from), ..entry(id, subject, &[line(Meter::Call, "1")]) }
    }

    fn of_system(entry: PriceEntry) -> PriceEntry {
        PriceEntry { tenant: TenantId::system(), ..entry }
    }

    fn quote(book: &PriceBook, at: TimestampMs, hard: bool) -> Result<Quote, QuoteFault> {
        let used_before = &Amounts::default();
        book.quote(&QuoteRequest {
            tenant: &acme(),
            tool: "demo__echo",
            used_before,
            raised: used_before,
            at,
            hard,
        })
    }

    /// Which entry prices the call.
    fn price(book: &PriceBook, at: u64) -> Option<String> {
        let quote = quote(book, TimestampMs(at), true).ok()?;
        Some(quote.lines.first()?.rate.as_ref()?.price.to_string())
    }

    #[test]
    fn the_newest_valid_price_of_the_most_exact_pattern_holds() {
        let book = book(vec![
            of("any", tool("*"), 0),
            of("any-later", tool("*"), 50),
            of("demo", tool("demo__*"), 10),
            of("echo", tool("demo__echo"), 20),
            of("echo-later", tool("demo__echo"), 30),
            of("other", tool("demo__slow"), 0),
            of_system(of("shared", tool("demo__echo"), 0)),
        ]);
        for (at, expected) in
            [(0, "any"), (9, "any"), (10, "demo"), (20, "echo"), (29, "echo"), (99, "echo-later")]
        {
            assert_eq!(price(&book, at).as_deref(), Some(expected), "at {at}");
        }
    }

    #[test]
    fn system_prices_what_a_tenant_does_not() {
        let shared = of_system(of("shared", tool("*"), 0));
        assert_eq!(price(&book(vec![shared.clone()]), 5).as_deref(), Some("shared"));
        assert_eq!(price(&book(vec![shared, of("own", tool("*"), 5)]), 5).as_deref(), Some("own"));
        let foreign = PriceEntry { tenant: TenantId::new("other").unwrap(), ..of("o", tool("*"), 0) };
        assert_eq!(quote(&book(vec![foreign]), NOW, true), Err(QuoteFault::NoPrice { meter: Meter::Call }));
    }

    #[test]
    fn the_tools_own_price_goes_before_its_models() {
        let lines = [line(Meter::Output, "3"), line(Meter::Call, "2")];
        let mut book = book(vec![of("tool", tool("*"), 0), entry("model", model("m1"), &lines)]);
        let bounds = Amounts::default().with(Meter::Output, 10);
        book.add_metering(Arc::new(metering(&[(Meter::Output, at("/o"))], bounds)));
        let quote = quote(&book, NOW, true).unwrap();
        let by: Vec<_> = quote.lines.iter().map(|line| line.rate.as_ref().unwrap().price.as_str()).collect();
        assert_eq!(by, ["model", "tool"]);
        assert_eq!(quote.hold().unwrap().to_string(), "31");
    }

    #[test]
    fn a_metering_is_found_as_a_price_is() {
        let mut book = PriceBook::default();
        for (id, pattern) in [("all", "*"), ("demo", "demo__*"), ("slow", "demo__slow")] {
            let (id, tools) = (MeteringId::new(id).unwrap(), Glob::new(pattern).unwrap());
            book.add_metering(Arc::new(Metering { id, tools, ..metering(&[], Amounts::default()) }));
        }
        let found = |tool: &str| book.metering(&acme(), tool).map(|metering| metering.id.to_string());
        assert_eq!(found("demo__slow").as_deref(), Some("slow"));
        assert_eq!(found("demo__echo").as_deref(), Some("demo"));
        assert_eq!(found("x").as_deref(), Some("all"));
        assert!(book.metering(&TenantId::new("other").unwrap(), "x").is_none());
    }

    #[test]
    fn a_price_in_another_currency_needs_a_rate_of_that_moment() {
        let eur = Currency::parse("EUR").unwrap();
        let mut book = book(vec![PriceEntry { currency: eur, ..of("e", tool("*"), 0) }]);
        let rate = |usd: &str, valid_from: u64, version: u64| ExchangeRate {
            currency: eur,
            usd_per_unit: exact(usd),
            valid_from: TimestampMs(valid_from),
            version,
        };
        book.add_rate(rate("1.25", 20, 8));
        book.add_rate(rate("1.1", 10, 7));
        let fault = QuoteFault::NoRate { currency: eur };
        assert_eq!((quote(&book, TimestampMs(9), true), fault.code()), (Err(fault), "no_price"));
        assert_eq!(quote(&book, TimestampMs(9), false).unwrap().lines[0].rate, None);
        let hold = |at| quote(&book, TimestampMs(at), true).unwrap().hold().unwrap().to_string();
        assert_eq!((hold(10), hold(20)), ("1.1".to_owned(), "1.25".to_owned()));
        let carried = quote(&book, NOW, true).unwrap().lines[0].rate.clone().unwrap();
        assert_eq!(carried.exchange_version, 8);
    }

    #[test]
    fn of_each_kind_of_discount_the_newest_own_one_holds() {
        let mut book = book(vec![of("p", tool("*"), 0)]);
        let commitment =
            |factor: &str| DiscountKind::Commitment(CommitmentDiscount { factor: exact(factor) });
        let mut add = |id: &str, tenant: TenantId, valid_from, kind| {
            let id = DiscountId::new(id).unwrap();
            let valid_from = TimestampMs(valid_from);
            book.add_discount(Arc::new(Discount { id, tenant, kind, valid_from, version: 3 }));
        };
        add("old", acme(), 0, commitment("0.9"));
        add("new", acme(), 50, commitment("0.5"));
        add("not-yet", acme(), 101, commitment("0.1"));
        add("shared", TenantId::system(), 60, commitment("0.2"));
        add("cached", TenantId::system(), 0, DiscountKind::Cache(cache("0.5", "0.9")));
        let discounts = quote(&book, NOW, true).unwrap().discounts;
        let id = discounts.commitment.map(|taken| taken.id.to_string());
        assert_eq!(id.as_deref(), Some("new"));
        assert_eq!(discounts.cache.map(|taken| taken.id.to_string()).as_deref(), Some("cached"));
        assert_eq!(discounts.volume, None);
    }

    #[test]
    fn tiers_that_are_over_stay_at_home() {
        let tier = |tier_from| PriceLine { tier_from, ..line(Meter::Call, "1") };
        let book = book(vec![entry("p", tool("*"), &[tier(0), tier(5), tier(9)])]);
        let used_before = &Amounts::default().with(Meter::Call, 5);
        let request = QuoteRequest {
            tenant: &acme(),
            tool: "t",
            used_before,
            raised: &Amounts::default(),
            at: NOW,
            hard: true,
        };
        let steps = book.quote(&request).unwrap().lines[0].rate.clone().unwrap().steps;
        assert_eq!(steps.iter().map(|step| step.from).collect::<Vec<_>>(), [5, 9]);
    }
}

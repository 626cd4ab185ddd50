//! From what a call used to what it costs.
//!
//! **Mental model.** Everything a call uses is counted on nine disjoint meters (`meter.rs`). A price entry (`entry.rs`)
//! says what the units of some meters cost for one model or for the tools of one pattern, from a moment on. A metering
//! (`metering.rs`) says for the tools of one pattern which model stands behind them, where in an answer their usage is
//! found, and the most that one call can use. A discount (`discount.rs`) takes a factor off. Records are checked once,
//! when they are written; `fault.rs` is what can be wrong with them.
//!
//! **The way of one call.** The book (`book.rs`) finds what applies to the call at that moment: the tenant's own before
//! `system`'s, the most exact pattern, the newest that is valid already. Of it a quote is made (`quote.rs`): prices with
//! their versions, the exchange rate, the discounts, the month's usage so far, the bounds. The quote needs nothing
//! else ever again and travels in the hold, so that a price changed meanwhile does not touch a call under way.
//! `Quote::hold` is what the bounds cost, `usage.rs` reads what was used out of the answer, `Quote::cost` is what that
//! costs (`cost.rs`).
//!
//! **Tiers are marginal.** A tier counts the units of its own meter that the tenant used this month before the call;
//! the units of a call that crosses a tier are split there. A volume discount counts all tokens of the month the same
//! way, and its factor for the call is the mean over the call's tokens.
//!
//! **What rounds where.** A cost line is all units of one meter in one call: units by tier x price x exchange rate x
//! discounts is an exact fraction, rounded up to a pico-USD once. Sums are exact. Rounding half to even and splits are
//! for presentation (`crate::money`).
//!
//! INVARIANT: P1. For usage within the bounds, `cost(usage) <= hold()`: line by line the units are no more, the prices
//! the same and the factors of the hold the largest that the call can get. Usage that is not known costs the hold.

mod book;
mod cost;
mod currency;
mod discount;
mod entry;
mod fault;
mod meter;
mod metering;
mod quote;
#[cfg(test)]
mod quote_tests;
#[cfg(test)]
mod samples;
mod tier;
mod usage;

pub use book::{PriceBook, QuoteRequest};
pub use cost::{CostError, CostLine, Costed};
pub use currency::{Currency, CurrencyError, ExchangeRate};
pub use discount::{
    CacheDiscount, CommitmentDiscount, Discount, DiscountKind, Discounts, Taken, VolumeDiscount, VolumeTier,
    check_discounts,
};
pub use entry::{PriceEntry, PriceLine, PriceSubject};
pub use fault::{Fault, Problem};
pub use meter::{Amounts, CostClass, Meter};
pub use metering::{Metering, UsageSource};
pub use quote::{Quote, QuoteFault, QuoteLine, QuoteRate, Step};
pub use usage::{Counted, Unreadable, read_usage};

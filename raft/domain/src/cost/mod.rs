//! What calls cost, on record: one record for each call that had a price, one wherever money was posted without a call,
//! one for each correction. Nothing else ever changes what is posted on an account of money or tokens, so the records
//! alone add up to the ledger.
//!
//! `attributed.rs` is what the node that ran a call says of its cost, `record.rs` is what the log makes of it, and
//! `month.rs` counts what each tenant used of each meter in a month, for tiers.

mod attributed;
mod month;
mod record;

pub use attributed::{Cost, CostSource, PricedLine};
pub use month::MonthUsage;
pub use record::{CostCharge, CostKind, CostPlace, CostRecord};

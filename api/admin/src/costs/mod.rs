//! The Costs service: what was charged, from the stored cost records.
//!
//! `walk.rs` reads them, `amount.rs` says what one comes to, `groups.rs` adds up.

mod amount;
mod correct;
mod export;
mod groups;
mod id;
mod period;
mod report;
mod service;
mod shown;
mod walk;

pub(crate) use service::CostsService;

//! Delivery to real receivers on loopback, from a cluster in memory that applies to a real domain state.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod delivery;
mod memory;
mod receiver;
mod takeover;

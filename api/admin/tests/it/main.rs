//! Administration over real gRPC on loopback, against a cluster in memory that applies to a real domain state.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod audit;
mod backup;
mod budgets;
mod costs;
mod coverage;
mod errors;
mod keys;
mod memory;
mod pages;
mod prices;
mod proofs;
mod raw;
mod retention;
mod samples;
mod upstreams;
mod watch;
mod webhooks;
mod world;
mod writes;

//! Consensus over real sockets on loopback, several nodes in one process, on disks in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod cluster;
mod compare;
mod faults;
mod fixture;
mod join_cost;
mod membership;
mod peers;
mod reads;
mod retention;
mod segments;
mod world;

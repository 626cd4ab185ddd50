//! Enforcement over a real replicated state in one process: every call is decided, held for, journaled, applied and
//! settled as in a cluster of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod fallback;
mod lifted;
mod lives;
mod money;
mod session_permits;
mod world;

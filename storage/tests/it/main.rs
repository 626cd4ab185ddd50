//! The stores as their users see them: one suite for files and for memory, then what only files can suffer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod bounds;
mod damage_journal;
mod damage_log;
mod damage_rows;
mod engine_suite;
mod faults;
mod folder;
mod journal_suite;
mod log_suite;
mod resealed;
mod sealed_suites;
mod sealed_tamper;
mod segments;
mod support;
mod torn_log;

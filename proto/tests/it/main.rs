//! Bytes on disk and on the wire: every kind of value there and back, its stored form byte for byte, and hostile input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod described;
mod gen_activity;
mod gen_command;
mod gen_cost;
mod gen_epoch;
mod gen_ledger;
mod gen_model;
mod gen_retention;
mod gen_row;
mod gen_subject;
mod gen_tags;
mod gen_webhook;
mod golden;
mod hostile;
mod random;
mod round_trip;
mod secrets;

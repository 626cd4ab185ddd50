//! The domain's rules, from outside: one binary, so that it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod apply_access;
mod apply_activity;
mod apply_authority;
mod apply_cluster;
mod apply_epoch;
mod apply_memory;
mod apply_operators;
mod apply_random;
mod apply_records;
mod apply_world;
mod chain;
mod duties;
mod ledger;
mod limits;
mod limits_activity;
mod limits_roles;
mod matrix;
mod oracle;
mod oracle_agreement;
mod oracle_records;
mod oracle_world;
mod prices;
mod quotas;
mod retention;
mod subjects;

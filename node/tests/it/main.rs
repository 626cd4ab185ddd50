//! Black-box tests: real processes of the very binary that is shipped, real TLS, real MCP over loopback.
//!
//! `cluster.rs` starts and breaks clusters, `mcp.rs` and `http.rs` speak to them, `audit.rs` reads what they recorded;
//! every other file is one promise put to the test. Each cluster has ports of its own, so that a test that was killed
//! cannot disturb the next.

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
mod backup_copy;
mod bad_input;
mod budget_crowds;
mod budget_leaks;
mod budget_refusals;
mod budgets;
mod cluster;
mod connections;
mod costs;
mod crash;
mod crowd;
mod disk;
mod disk_low;
mod doctor;
#[cfg(target_os = "linux")]
mod erasure;
mod faults;
mod gate;
mod health;
mod http;
mod joiner;
mod ledger;
mod load;
mod mcp;
mod members;
mod membership;
#[path = "../../../storage/keys/tests/it/moto.rs"]
#[expect(dead_code, reason = "the providers' own tests use more of it")]
mod moto;
mod peers;
mod permits;
mod policy;
mod proofs;
mod quotas;
mod recall;
mod regions;
mod scrub;
mod sealed;
mod sessions;
mod tour;
mod upgrade;
mod upstreams;
mod webhook_tls;
mod webhooks;
mod withdrawn;

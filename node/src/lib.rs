//! The node: configuration, composition, TLS, telemetry, and the commands of the binary `only1mcp`.
//!
//! No rule lives here. Start at `cli.rs` (what can be run) and `serve/` (how a node is put together).

pub mod audit_file;
pub mod cli;
pub mod config;
pub mod ctl;
pub mod demo;
pub mod dev;
pub mod host;
pub mod pki;
mod print;
pub mod serve;
mod telemetry;
pub mod tls;

//! The node: configuration, composition, TLS, telemetry, and the commands of the binary `only1mcp`.
//!
//! No rule lives here. Start at `cli.rs` (what can be run) and `serve/` (how a node is put together).

mod audit_file;
pub mod cli;
pub mod config;
mod ctl;
mod demo;
mod dev;
mod host;
mod pki;
mod print;
pub mod serve;
mod telemetry;
mod tls;

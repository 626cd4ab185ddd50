//! The node: configuration, composition, TLS, telemetry, and the commands of the binary `only1mcp`.
//!
//! No rule lives here. Start at `cli.rs` (what can be run) and `serve/` (how a node is put together).

pub mod cli;
pub mod config;
pub mod demo;
mod host;
pub mod pki;
mod print;
pub mod tls;

//! The node: configuration, composition, TLS, telemetry, and the commands of the binary `only1mcp`.
//!
//! No rule lives here. Start at `cli.rs` (what can be run) and `serve/` (how a node is put together); `offline/` is what
//! is done to the folder of a node that does not run.

pub mod cli;
pub mod config;
mod confine;
pub mod dev;
pub mod doctor;
pub mod keys;
mod offline;
mod print;
pub mod serve;
mod telemetry;
mod witness;

pub use only1mcp_ctl::{self as ctl, audit_verify};
pub use only1mcp_demo as demo;
pub use only1mcp_tls::{host, pki, tls};

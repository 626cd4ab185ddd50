//! MCP over HTTP: the gateway between clients and the MCP servers behind it.
//!
//! Owns protocol, sessions, streams and upstream connections. Decides nothing: who may do what, and when an answer may
//! leave, comes through [`ports`]. Never holds typed models of what passes through: unknown fields stay unharmed.
//! Start at `http/post.rs` for the way of a request, at `call/run.rs` for the way of a call.

mod call;
mod config;
mod dispatch;
mod gateway;
mod http;
mod inner;
mod json;
mod lists;
mod metrics;
mod outbound;
pub mod ports;
mod protocol;
mod relay;
mod revoke;
mod session;
mod stray;
mod upstream;

pub use config::Config;
pub use gateway::Gateway;
pub use metrics::{LATENCY_BUCKETS_MS, MetricsSnapshot};
pub use outbound::Outbound;
pub use upstream::{Health, UpstreamHealth};

//! The gateway against real MCP servers (rmcp over HTTP and stdio), scripted ones and broken ones, on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod bad_input;
mod broken;
mod calls;
mod client;
mod fake;
mod given_up;
mod handshake;
mod homes;
mod lifecycle;
mod notifications;
mod offers;
mod real;
mod scripted;
mod seal;
mod sessions;
mod streams;
mod tls;
mod usage;
mod world;

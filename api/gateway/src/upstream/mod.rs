//! MCP servers behind the gateway: connections that carry raw messages, and how they are kept.

mod client;
mod connection;
mod error;
mod exchange;
mod hello;
mod http;
mod listen;
mod slot;
mod sse;
mod standing;
mod stdio;
mod wire;

pub(crate) use client::HttpClient;
pub(crate) use connection::{Connection, Parts};
pub(crate) use error::UpstreamError;
pub(crate) use exchange::{Exchange, Inbound};
pub(crate) use hello::{Hello, implementation};
pub(crate) use slot::{Active, Slot};
pub(crate) use standing::Standing;
pub use standing::{Health, UpstreamHealth};

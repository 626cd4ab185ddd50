//! MCP's Streamable HTTP, server side.

mod access;
mod answer;
mod forward;
mod headers;
mod incoming;
mod post;
mod routes;
mod stream;
mod streams;

pub(crate) use forward::handle_forwarded;
pub(crate) use routes::router;

//! TLS for every port of a node: certificates from files, reloaded when the files change, and the identity that
//! a peer proved.
//!
//! `Keeper` holds what the files say now. `ServerTls` is what a port does with it, `accept` turns a listener into
//! a stream of authenticated connections, `serve_http` serves those; `NodeConnector` reaches other nodes by name.

mod accept;
mod connect;
mod connection;
mod error;
mod files;
mod http;
mod keeper;
mod server;

pub use accept::{AcceptLimits, Admit, Incoming, accept};
pub use connect::{Expect, NodeConnector, client_config};
pub use connection::{ConnectionInfo, Io};
pub use error::TlsError;
pub use files::{TlsFiles, authorities};
pub use http::{HttpLimits, serve_http};
pub use keeper::{Keeper, RELOAD_EVERY_MS};
pub use server::{ClientCertificate, ServerTls};

#[cfg(test)]
mod tests;

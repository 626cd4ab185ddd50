//! The demo MCP server: small tools that show, one each, what a gateway must carry unharmed.
//!
//! `dev` puts it behind the gateway and the tests talk to it; it is no part of a production cluster.

mod arguments;
mod command;
mod server;

pub use command::{DEMO_PATH, DemoArgs, run};
pub use server::DemoServer;

#[cfg(test)]
mod tests;

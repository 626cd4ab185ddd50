//! The node's keys: where the configuration says they come from, how the data folder is opened with them, and
//! `only1mcp keys`.

mod command;
mod config;
mod open;

pub use command::{KeysArgs, run};
pub use config::{AwsKmsConfig, KeysConfig, KmsFallback};
pub use open::{Opened, Source, open, owner, source, table_context};

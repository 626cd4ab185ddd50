//! The keys of a node on this host: `only1mcp keys`. Where keys come from, and how a data folder is opened with them, is
//! `only1mcp-keys`.

mod command;

pub use command::{KeysArgs, run};
pub use only1mcp_keys::{KeysConfig, Opened, Source, open, source, table_context};

use only1mcp_keys::Owner;

use crate::config::NodeConfig;

/// Whose data folder it is.
pub fn owner(config: &NodeConfig) -> Owner {
    Owner { cluster: config.keys.cluster.clone(), node: config.name.clone() }
}

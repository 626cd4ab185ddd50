//! What MCP says, as far as the gateway must understand it.

mod cursor;
mod initialize;
mod items;
mod names;
mod version;

pub(crate) use cursor::Cursor;
pub(crate) use initialize::{InitializeRequest, initialize_result};
pub(crate) use items::{Item, ListKind, fetch};
pub(crate) use names::{expose_name, expose_uri, hide_uri, split_name};
pub(crate) use version::{ClientCapabilities, Version};

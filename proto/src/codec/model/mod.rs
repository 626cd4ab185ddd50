//! Records of the state, one kind a file: `From<&domain>` for the message, `TryFrom<message>` for the domain's type.

mod api_key;
mod budget;
mod constraint;
mod event;
mod grant;
mod node;
pub(crate) mod price;
mod principal;
mod role;
mod rule;
mod settings;
mod tenant;
mod upstream;

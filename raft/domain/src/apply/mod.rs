//! The one way the state changes. Start at `dispatch.rs`: one entry in, one outcome, its rows, effects and events out.

mod activity;
mod activity_event;
mod audit;
mod authority;
mod budget;
mod change;
mod clock;
mod cluster;
mod cost;
mod describe;
mod dispatch;
mod grant;
mod holdings;
mod json;
mod key;
mod ledger;
mod member;
mod memory;
mod price;
mod principal;
mod recheck;
mod role;
mod role_graph;
mod rows;
mod rule;
mod session;
mod store;
mod tenant;
mod upstream;
mod validate;
mod weigh;

pub use authority::{Required, required};
pub use holdings::Holdings;
pub(crate) use holdings::role as role_in;

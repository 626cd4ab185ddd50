//! `only1mcp serve`: one node, from its configuration to its end.
//!
//! `mod.rs` is the order of things; `member.rs` puts the rooms together; the `*_port.rs` files are the adapters between
//! them; `control.rs` is the local socket, `front.rs` the HTTP port, `join.rs` how nodes come and go.

mod admin_port;
mod backup_port;
mod clock_watch;
pub mod cluster_port;
pub mod control;
mod disk_watch;
mod duties;
pub mod erasure;
mod form;
mod front;
mod gateway_port;
mod health;
mod home;
mod identity;
mod join;
pub mod journal_port;
mod member;
mod metrics;
pub mod proofs;
mod readiness;
mod recall;
mod reseal;
mod retention;
mod retime;
mod rotate;
mod run;
pub mod signals;
pub mod stores;
mod torn;
mod unseal;
mod unused;
pub mod wall_clock;

pub(crate) use form::{registration, socket_entry};
pub(crate) use identity::Identity;
pub(crate) use reseal::Told;
pub use retime::start_anew;
pub use run::{Next, run};

//! The administrative interface: gRPC services over small ports.
//!
//! It owns the way of an administrative request (credentials, authority, consistency, command ids, pages, errors) and
//! the services' messages. It decides nothing itself: authority is the evaluator's of `only1mcp-domain`, and every
//! change is a command that the domain applies. It never sees consensus or storage. Start at `core.rs` (before and
//! after every RPC), `authority.rs` (what each needs) and `write.rs` (how a change is made once).

mod audit;
mod audit_event;
pub mod authority;
mod backup;
mod budgets;
mod call;
mod cluster;
mod core;
mod costs;
mod credential;
mod decisions;
pub mod error;
mod guard;
mod health;
mod hex;
mod not_enforced;
mod page;
pub mod ports;
mod prices;
mod principals;
mod roles;
mod routes;
mod subjects;
mod tenants;
mod upstreams;
mod webhooks;
mod wire;
mod write;

pub use backup::{BackupImage, BackupPort};
pub use routes::{SERVICES, routes};
pub use subjects::{GenerationCopy, Opened, PersonalPort};

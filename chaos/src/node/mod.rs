//! A simulated node: real consensus and enforcement over a disk, clock, network and randomness that a seed decides.

mod disk;
mod front;
mod hurry;
mod network;
pub mod observer;
mod repeats;
mod sealing;
mod setup;
mod site;
mod software;

/// Where the node keeps the enforcer's port to consensus; shared with the binary, which cannot be depended on without
/// its HTTP, TLS and command line.
#[expect(dead_code, reason = "the binary uses more of it")]
#[path = "../../../node/src/serve/cluster_port.rs"]
mod cluster_port;
#[path = "../../../node/src/serve/journal_port.rs"]
mod journal_port;

pub use front::{Answer, Ask};
pub use site::{Live, Site};
pub use software::software;

pub const PEER_PORT: u16 = 7_100;
pub const FRONT_PORT: u16 = 7_300;

//! How this node reaches the others: who they are, connections to them, and Raft's messages over these.

mod acked;
mod connector;
mod directory;
mod links;
mod promises;
mod raft_network;

pub use acked::AckedLogs;
pub use connector::{Connector, PeerIo, PeerTarget};
pub use directory::{Directory, Standing};
pub use links::{Lane, Links, never_sent};
pub use promises::Promises;
pub use raft_network::NetworkFactory;

//! Agreement: openraft over our log, rows and peer transport, behind an interface that names none of them.
//!
//! Owns proposals, reads, membership, snapshots, the audit trail's segments and the peer service. Knows when an entry is committed, never what it
//! means. Start at [`Consensus::start`], then [`Handle`]; `store/` is what openraft writes to, `trail/` the
//! audit events that are no part of the state, `network/` how it
//! speaks, `service/` how it listens, `vote_gate.rs` why a restarted voter keeps quiet.
//!
//! Time is tokio's alone, and no thread is started here, so that a simulator may run many nodes in one thread. Calls
//! into the stores are made directly and may block for as long as the disk takes.

mod awake;
mod backup;
mod compare;
mod consensus;
mod convert;
mod handle;
mod inspect;
mod join;
mod membership;
#[cfg(feature = "mutants")]
mod mutants;
mod network;
pub mod offline;
mod options;
mod preference;
mod proposals;
mod published;
mod reads;
mod received;
mod reconcile;
mod scrub;
mod service;
mod snapshot;
mod spool;
mod status;
mod steady;
mod store;
mod trail;
mod types;
mod vote_gate;

pub use backup::StateImage;
pub use consensus::{Consensus, StartError};
pub use handle::Handle;
pub use inspect::{InspectFault, Inspected, inspect};
pub use join::ask_to_join;
pub use membership::MembershipError;
pub use network::{Connector, PeerIo, PeerTarget};
pub use options::{Clock, Options, Seed, Stores, Timing};
pub use proposals::{Committed, ProposeError};
pub use published::{AppliedNote, BatchNote};
pub use reads::ReadError;
pub use scrub::Scrubbed;
pub use service::{
    CheckpointHandler, ForwardHandler, ForwardStream, GenerationHandler, Handlers, MembershipHandler,
    PeerIdentity, PeerService, RecallHandler, Vitals, VitalsSource,
};
pub use snapshot::SnapshotError;
pub use status::{MemberStatus, Role, StateDigest, Status};
pub use store::{LoadError, OpenError};
pub use trail::{Due, TrailError, Tree, TreeError};

#[cfg(test)]
mod suite;

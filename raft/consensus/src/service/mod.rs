//! The peer service: what other members, and those who want to join, may ask of this node.

mod authorize;
mod handlers;
mod peer_service;
mod raft_calls;
mod segments;

pub use authorize::PeerIdentity;
pub use handlers::{
    CheckpointHandler, ForwardHandler, ForwardStream, GenerationHandler, Handlers, MembershipHandler,
    RecallHandler, Vitals, VitalsSource,
};
pub use peer_service::{PeerService, server};
pub use raft_calls::receive;
pub use segments::chunk;

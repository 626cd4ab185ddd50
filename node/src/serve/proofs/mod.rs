//! Proofs on this node: what it signs with, checkpoints of the audit chain, and the witnesses they are shown to.
//!
//! `key.rs` is the node's signing key, `record.rs` what it signed last and the newest checkpoint it knows, `sign.rs` signs
//! for others and, on the leader, has checkpoints made, `witness.rs` shows them to witnesses, `port.rs` is what
//! administration sees.

mod key;
mod port;
mod record;
mod sign;
mod witness;

pub use key::{make_known, reseal_signing_key, signing_key, stored_seed};
pub use port::Proofs;
pub use record::{Record, last_signed};
pub use sign::{Checkpoints, run};
pub use witness::Witnesses;

//! Encryption at rest: what a node writes, it writes sealed under keys that never touch its disk in the clear.
//!
//! What is sealed, each by a wrapper around the plain store, all through the one [`Sealer`]:
//! - Raft's log: the payload of every record ([`SealedLog`]). Positions, the vote, and how far the log is purged or
//!   committed stay readable: numbers only, checked by CRC. Who can write the disk can change them, as he can erase it.
//! - Rows: every value ([`SealedEngine`]). Keys of rows stay readable, for they are scanned in order: ids, numbers and
//!   times; but in tables whose keys name persons (`rows::HIDDEN`) they are replaced by an HMAC and sealed with the value.
//!   sled's tally of all rows is keyed and sealed too, so that an older value put back is noticed ([`RowGuard`]).
//! - The journal: every record ([`SealedJournal`]).
//! - Segments of the audit trail, and snapshots on their way in, which lie beside them ([`SealedSegments`]). A segment's
//!   address is the hash of the bytes inside: the same on every node, while no two files are alike.
//! - The node's signing key ([`Sealer::seal_file`]).
//!
//! Not sealed: `identity` and `node-id` (addresses and names of nodes, the cluster's name), `checkpoints` (hashes and
//! signatures that are told to everyone), `format` files, and what the operator owns: configuration, certificates, tokens.
//!
//! Keys: the node's data keys stand in its key ring (`key-ring` in the data folder), each wrapped by a key-encryption key
//! that a provider holds (`only1mcp-keys`). They live in memory while the node runs and are wiped when it ends.
//! Algorithm: AES-256-GCM under HKDF-SHA-256 (data key, salt, ring id). A salt of 256 random bits is drawn at each start of
//! the process, and one for each file that is written; the nonce is a counter under that salt. So no pair of key and
//! nonce ever comes twice, whatever a crash undid. Every sealed piece carries data key id, salt and counter.
//! Associated data: the ring (so the node), the kind, and the position: of a log record its term, leader and index, of a
//! journal record its number, of a row its key, of a segment's frame the address and the offset. What was moved, cut or
//! taken from elsewhere does not open.

mod journal;
mod keys;
mod log;
mod rows;
mod sealer;
mod segments;
mod tally;

pub use journal::SealedJournal;
pub use keys::{Key32, SealerKeys};
pub use log::SealedLog;
pub use rows::SealedEngine;
pub(crate) use rows::check_plain_row;
pub use sealer::{Draw, SEALED_BYTES, SealedHead, Sealer};
pub use segments::SealedSegments;
pub use tally::RowGuard;

use only1mcp_domain::limits::{ROW_BYTES_MAX, ROW_KEY_BYTES_MAX};

/// A row's value as it may be stored: sealed, and with its key where that is hidden.
pub const STORED_ROW_BYTES_MAX: usize = ROW_BYTES_MAX + ROW_KEY_BYTES_MAX + 2 + SEALED_BYTES;

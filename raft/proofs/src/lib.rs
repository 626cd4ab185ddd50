//! Proofs over the audit chain: keys and signatures, checkpoints as signed notes, and what a verifier checks without any
//! server. No sockets, no clock, no randomness: both come from whoever calls.
//!
//! Start at `FORMAT.md` (the files, byte by byte; the verifier in `verify/` was written from it alone), then
//! `checkpoint.rs` (what nodes sign), `policy.rs` (whose signatures count), `bundle.rs` (a receipt's proof),
//! `witness.rs` (who remembers), `exported/` (a whole file of events).

mod bundle;
mod checkpoint;
mod export;
pub mod exported;
mod fault;
mod key;
mod note;
mod pinned;
mod policy;
mod text;
mod witness;

pub use bundle::{Bundle, CONSISTENCY_FORMAT, Consistency, PROOF_FORMAT, Proven, Receipt};
pub use checkpoint::{Checkpoint, Origin};
pub use export::{ExportSigner, ExportStatement};
pub use fault::Fault;
pub use key::{SigningKey, verifies};
pub use note::{KeyType, Note, NoteFault, NoteSignature, VerifierKey, key_id};
pub use pinned::{KEYS_FORMAT, Pinned, SignerKey};
pub use policy::{Signed, check_signers, count_signers, witnessed_at};
pub use text::{base64, hex, unbase64, unhex};
pub use witness::{Answer, Known, Log, Witness};

//! The wire: generated types of every `.proto` file, and how they become domain types and back.
//!
//! It owns the bytes of the Raft log, of stored rows, and of what nodes and clients say to each other. It knows no rule
//! and opens no socket. Start at `proto/model.proto` and `codec/mod.rs`; `image.rs` is a whole state on its way.

pub mod codec;
mod generated;
pub mod image;
mod redacted;

pub use generated::admin::v1 as admin;
pub use generated::log::v1 as log;
pub use generated::model::v1 as model;
pub use generated::peer::v1 as peer;
pub use generated::snapshot::v1 as snapshot;

/// Descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

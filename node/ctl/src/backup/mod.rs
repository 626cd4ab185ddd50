//! Backups in a folder or a bucket: `images/` (the state at one index each), `segments/` (the sealed part of the audit
//! trail, shared by all images) and `manifests/`, written last: what has no manifest is no backup. Images and segments are
//! sealed under data keys that stand, wrapped, in `key-ring`, in the same way as a node's own; manifests are readable, and
//! tell names, sizes and hashes only.
//!
//! `place.rs` is where they lie (`folder.rs`, `bucket.rs`), `protection.rs` what seals them, `target.rs` both together,
//! `manifest.rs` what one backup consists of, `copy.rs` makes one from a [`Source`], `remote.rs` is a node as a source,
//! `check.rs` reads all of one back, `command.rs` is `ctl backup`.

mod bucket;
mod check;
mod command;
mod copy;
mod folder;
mod key_table;
mod manifest;
mod place;
mod protection;
mod remote;
mod target;

pub use check::{Checked, Fault, check};
pub(crate) use command::{Command, run};
pub use copy::{Copied, Origin, Progress, Replaced, Source, copy};
pub use key_table::KeyTable;
pub use manifest::{FORMAT, ImageFile, Manifest, SegmentFile};
pub use protection::{Protection, wrapped_in};
pub use target::{Frames, Target};

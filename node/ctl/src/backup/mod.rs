//! Backups in a folder: `images/` (the state at one index each), `segments/` (the sealed part of the audit trail, shared
//! by all images) and `manifests/`, written last: what has no manifest is no backup.
//!
//! `target.rs` is the folder, `manifest.rs` what one backup consists of, `copy.rs` makes one from a [`Source`],
//! `remote.rs` is a node as a source, `check.rs` reads all of one back, `command.rs` is `ctl backup`.

mod check;
mod command;
mod copy;
mod key_table;
mod manifest;
mod remote;
mod target;

pub use check::{Checked, Fault, check};
pub(crate) use command::{Command, run};
pub use copy::{Copied, Origin, Progress, Source, copy};
pub use key_table::KeyTable;
pub use manifest::{FORMAT, ImageFile, Manifest, SegmentFile};
pub use target::{Frames, Target};

//! Exported audit files: one JSON line a record, checked without any server.
//!
//! `format.rs` is the file, `read.rs` reads it, `verify.rs` finds what is wrong with it.

mod command;
mod format;
mod read;
mod verify;

pub use command::{AuditArgs, run};
pub use format::{FORMAT, Head, Header, Line, readable};
pub(crate) use format::{hex, unhex};
pub use read::{FileFault, Reader};
pub use verify::{Report, verify};

#[cfg(test)]
mod tests;

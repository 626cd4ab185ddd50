//! Exported audit files: one JSON line a record, checked without any server.
//!
//! `format.rs` is the file, `read.rs` reads it, `verify.rs` finds what is wrong with it.

mod expired;
mod format;
mod read;
mod signed;
mod verify;

pub use format::{Expired, ExportSigned, FORMAT, Head, Header, Line, Trailer, readable};
pub use read::{FileFault, Reader};
pub use verify::{Asked, Fault, Report, verify};

#[cfg(test)]
mod expired_tests;
#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod tests;

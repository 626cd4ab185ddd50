//! Providers and the key ring as a node uses them: a real key file, and a real KMS endpoint with faults in front of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod key_file;
mod kms;
mod moto;
mod recovery;
mod ring;

use only1mcp_keys::{KeyContext, Owner, Purpose};

pub fn context() -> KeyContext {
    KeyContext { cluster: "c".into(), node: "node-1".into(), ring: [7; 16], id: 3, purpose: Purpose::Data }
}

/// Every other context that differs in one thing.
pub fn other_contexts() -> Vec<KeyContext> {
    let right = context();
    vec![
        KeyContext { cluster: "d".into(), ..right.clone() },
        KeyContext { cluster: String::new(), ..right.clone() },
        KeyContext { node: "node-2".into(), ..right.clone() },
        KeyContext { ring: [8; 16], ..right.clone() },
        KeyContext { id: 4, ..right.clone() },
        KeyContext { purpose: Purpose::Names, ..right },
    ]
}

pub fn owner() -> Owner {
    Owner { cluster: "c".into(), node: "node-1".into() }
}

//! Where a node's data keys come from: providers that hold key-encryption keys, and the key ring that their wrapped keys
//! stand in.
//!
//! A provider ([`KeyProvider`]) makes a data key and gives it twice, plain and wrapped; later it unwraps it again, for
//! the same context alone. There are two: [`KeyFile`], a file on the node's host, and [`AwsKms`]. The [`KeyRing`] lies in
//! the data folder and holds wrapped keys only; opened, it gives what [`only1mcp_storage::Sealer`] needs. Besides, each
//! key may be wrapped for an offline recovery key ([`RecoveryKey`]).
//!
//! `config.rs` is the section `keys:` of configurations, `source.rs` goes from there to a provider and an opened ring.
//! It never decides who may use a key. Start at `provider.rs`, then `ring.rs`.

mod aws_kms;
mod config;
mod context;
mod handover;
mod key_file;
mod provider;
mod recovery;
mod ring;
mod source;
mod subject;
mod wrap;

pub use aws_kms::{AwsKms, AwsKmsOptions, KmsPlace};
pub use config::{AwsKmsConfig, GenerationKeys, KeysConfig, KmsFallback};
pub use context::KeyContext;
pub use handover::{Asking, Handover, hand_over, question};
pub use key_file::KeyFile;
pub use provider::{KeyError, KeyProvider, NewKey, Provided, Purpose, Wrapped, WrappedApart};
pub use recovery::{RecoveryKey, RecoveryPublic};
pub use ring::{KeyRing, Owner, RingError};
pub use source::{Opened, Source, open, source, table_context};
pub use subject::{
    generation_check, new_generation_key, new_subject_key, open_slot, seal_slot, unwrap_subject, wrap_subject,
};

//! The one interface to whoever holds key-encryption keys.

use futures_util::future::BoxFuture;
use only1mcp_storage::Key32;
use serde::{Deserialize, Serialize};

use crate::context::KeyContext;

/// What a key of the ring is used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Seals what is stored.
    Data,
    /// Hides names in keys of rows, and guards the tally of rows.
    Names,
    /// Wraps the keys of persons: of a whole cluster, and the same on each of its members.
    Generation,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Names => "names",
            Self::Generation => "generation",
        }
    }
}

/// Which kind of provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provided {
    File,
    AwsKms,
}

impl Provided {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::AwsKms => "aws_kms",
        }
    }
}

/// A data key as it may lie on a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    pub provider: Provided,
    /// The key-encryption key, as its provider names it.
    pub key: String,
    pub bytes: Vec<u8>,
}

/// A data key that was just made.
#[derive(Debug)]
pub struct NewKey {
    pub plain: Key32,
    pub wrapped: Wrapped,
}

/// Why there is no key. The text never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It may work later.
    #[error("{provider} cannot be reached: {detail}")]
    Unavailable { provider: &'static str, detail: String },
    /// It answers, and says no: until somebody changes that.
    #[error("{provider} refuses: {detail}")]
    Refused { provider: &'static str, detail: String },
    /// What it was given, or gave, is not what it should be.
    #[error("{provider}: the wrapped key does not open: {detail}")]
    Wrong { provider: &'static str, detail: String },
    #[error("the key was wrapped by {found}, but the node is configured for {configured}")]
    OtherProvider { found: &'static str, configured: &'static str },
    #[error("{path}: {detail}")]
    File { path: String, detail: String },
}

/// A key that was wrapped apart from all others.
#[derive(Debug)]
pub struct WrappedApart {
    pub wrapped: Wrapped,
    /// Whether the key-encryption key wraps nothing else, and may be destroyed with it.
    pub own: bool,
}

/// Holds key-encryption keys; gives and takes data keys.
pub trait KeyProvider: Send + Sync + 'static {
    fn kind(&self) -> Provided;

    /// A new data key, wrapped under the newest key-encryption key.
    fn generate<'a>(&'a self, context: &'a KeyContext) -> BoxFuture<'a, Result<NewKey, KeyError>>;

    /// Errors: `Wrong` also for another context than it was made for.
    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Key32, KeyError>>;

    /// The same data key under the newest key-encryption key.
    fn wrap<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<Wrapped, KeyError>>;

    /// The same under a new key-encryption key, made for it alone; or under the newest, where the provider was told to make
    /// none, or cannot keep one.
    fn wrap_apart<'a>(
        &'a self,
        plain: &'a Key32,
        context: &'a KeyContext,
    ) -> BoxFuture<'a, Result<WrappedApart, KeyError>>;

    /// Destroys a key-encryption key that [`KeyProvider::wrap_apart`] made; again is no harm. Returns until when it could be
    /// called back, in milliseconds since the epoch; 0: it is gone.
    /// Errors: `Refused` for one that wraps by itself, and nothing is destroyed.
    fn destroy<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<u64, KeyError>>;

    /// Makes a new key-encryption key, which wraps from now on, where that is for this program to do: a KMS changes its keys
    /// itself.
    fn renew(&self) -> BoxFuture<'_, Result<(), KeyError>>;

    /// Takes up what was changed at its source.
    fn reload(&self) -> Result<(), KeyError>;
}

//! Whose personal data is whose: a key for each person, wrapped by the key of a generation that no log, row or backup
//! holds. What was sealed under a key is gone with it, wherever it was copied to.
//!
//! The domain knows no key: slots, wrapped keys and checks travel as values that the proposer made.

use std::fmt;

use imbl::OrdMap;

use crate::ids::{Digest, NodeId, PrincipalId, SubjectKeyId, TenantId};
use crate::time::TimestampMs;

/// Personal data, sealed once by whoever proposed it, and never again.
#[derive(Clone, PartialEq, Eq)]
pub struct Slot {
    pub key: SubjectKeyId,
    /// HMAC of what is inside under the person's key: says nothing without it, and means nothing once it is gone.
    pub commitment: Digest,
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({}, {} bytes)", self.key, self.ciphertext.len())
    }
}

/// What of an event a slot holds. Numbers are persisted: append only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SlotPart {
    /// From where the actor came: address and user agent.
    Context,
    /// Names and addresses of the record that was changed, as they were.
    Before,
    /// The same as they are since.
    After,
}

impl SlotPart {
    pub const ALL: [Self; 3] = [Self::Context, Self::Before, Self::After];

    /// The persisted number.
    pub fn number(self) -> u8 {
        match self {
            Self::Context => 1,
            Self::Before => 2,
            Self::After => 3,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.number() == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A person's key under the key of a generation.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub id: SubjectKeyId,
    pub generation: u32,
    pub bytes: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey({}, generation {})", self.id, self.generation)
    }
}

/// The sealed part of a principal's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Personal {
    pub slot: Slot,
    /// In a command that brings a new person: the key, which then stands in the person's own row. Nowhere else.
    pub key: Option<WrappedKey>,
}

/// Whose key: one of [`crate::State::subjects`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectKey {
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub key: WrappedKey,
}

/// What is known of one person's data; outlives the principal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subject {
    pub key: Option<WrappedKey>,
    /// Why it may not be erased; empty where it may.
    pub hold: String,
    pub erased: Option<Erased>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erased {
    /// Log time.
    pub at: TimestampMs,
    /// In which the key was wrapped last: once it is destroyed, copies of the wrapped key are worth nothing.
    pub generation: u32,
    /// When every member had destroyed it; ahead of time where a key-encryption key that wrapped it could still be called
    /// back until then.
    pub unrecoverable_since: Option<TimestampMs>,
}

/// The generations of keys that persons' keys are wrapped by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Erasure {
    /// 0 before the first.
    pub generation: u32,
    /// Tells the key of the generation from any other; `None` where no member has it, as after a restore.
    pub check: Option<Digest>,
    /// Log time at which it began.
    pub since: TimestampMs,
    pub offer: Option<Offer>,
    /// An operator wants the next one now.
    pub wanted: bool,
    /// What each member said last.
    pub held: OrdMap<NodeId, Held>,
}

/// A generation that begins once enough members hold its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    pub generation: u32,
    pub check: Digest,
    /// Who made the key.
    pub node: NodeId,
}

/// Which keys a member holds, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// It holds none that is older, and never will.
    pub oldest: u32,
    pub newest: u32,
    /// Of the newest.
    pub check: Digest,
    /// Until when what wrapped those that are destroyed could still be called back; zero where it is gone.
    pub destroyed_at: TimestampMs,
}

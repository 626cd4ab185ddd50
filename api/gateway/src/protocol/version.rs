//! Protocol versions that clients may speak here, and what they can do themselves.

use crate::json::RawObject;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Version {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    pub(crate) const LATEST: Self = Self::V2025_11_25;

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.text() == text)
    }

    /// The number in session tokens.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V2025_03_26 => 1,
            Self::V2025_06_18 => 2,
            Self::V2025_11_25 => 3,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }

    pub(crate) fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// An event stream opens with an id that a client can resume from.
    pub(crate) fn primes_streams(self) -> bool {
        self >= Self::V2025_11_25
    }
}

/// What a client can do for servers; carried in its session token.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ClientCapabilities(u8);

impl ClientCapabilities {
    const NAMES: [(&'static str, u8); 3] = [("roots", 1), ("sampling", 2), ("elicitation", 4)];

    pub(crate) fn read(stated: &RawObject) -> Self {
        let bits = Self::NAMES.iter().filter(|(name, _)| stated.get(name).is_some()).map(|(_, bit)| bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

//! What the services need of the node's keys.

use only1mcp_domain::model::{Slot, SlotPart};
use only1mcp_domain::state::State;

/// What became of a sealed part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Names and values.
    Open(Vec<(String, String)>),
    /// Nobody reads it any more.
    Erased,
    /// This node lacks the key.
    Sealed,
}

impl Opened {
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Erased => "erased",
            Self::Sealed => "sealed",
        }
    }
}

/// The key of the generation in force, wrapped for somebody's recovery key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationCopy {
    pub generation: u32,
    pub wrapped: Vec<u8>,
}

pub trait PersonalPort: Send + Sync + 'static {
    /// By the keys of `state`: what is erased there does not open.
    fn open(&self, state: &State, part: SlotPart, slot: &Slot) -> Opened;

    /// `recovery_public`: PEM.
    /// Errors: in words.
    fn generation_for(&self, state: &State, recovery_public: &str) -> Result<GenerationCopy, String>;
}

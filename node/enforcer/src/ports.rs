//! What enforcement needs from outside: the cluster, this node's journal, a clock, randomness.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use only1mcp_domain::activity::Caller;
use only1mcp_domain::command::Entry;
use only1mcp_domain::ids::{Incarnation, NodeId};
use only1mcp_domain::outcome::{Effect, Outcome, Rejection};
use only1mcp_domain::{State, time::Zones};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// Wall clock. Units: milliseconds since the Unix epoch.
pub trait Clock: Send + Sync + 'static {
    fn now_ms(&self) -> u64;

    /// How long this host has been suspended since it started. Units: milliseconds. 0 where nobody knows, or nobody
    /// suspends it.
    fn asleep_ms(&self) -> u64 {
        0
    }
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// What applying one entry meant for this node.
#[derive(Debug, Clone)]
pub struct Note {
    pub log_index: u64,
    pub effects: Vec<Effect>,
    pub batch: Option<BatchNote>,
    /// The whole state was replaced by a snapshot: notes of the entries it covers were never sent.
    pub resync: bool,
}

/// The result of an activity batch, of whichever node.
#[derive(Debug, Clone)]
pub struct BatchNote {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub outcome: Result<Outcome, Rejection>,
}

/// Why a proposal gave no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeFailure {
    #[error("no leader takes proposals at the moment")]
    NotReady,
    #[error("the proposal may or may not have been committed")]
    Unknown,
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// The replicated state machine, as this node sees it.
pub trait ClusterPort: Send + Sync + 'static {
    fn node(&self) -> NodeId;
    /// The state last applied here.
    fn state(&self) -> Arc<State>;
    /// Index last applied here.
    fn applied(&self) -> watch::Receiver<u64>;
    fn notes(&self) -> broadcast::Receiver<Arc<Note>>;
    fn propose(
        &self,
        entry: Entry,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ProposeFailure>>;
    /// A read index confirmed by a quorum after the call began; never from a lease.
    fn read_index(&self, deadline: Instant) -> BoxFuture<'_, Option<u64>>;
}

/// Called once the bytes are on disk (`true`) or never will be.
pub type Flushed = Box<dyn FnOnce(bool) + Send>;

/// One record of the journal and where it stands.
pub type JournalRecordAt = (u64, Bytes);

/// This node's journal. Positions grow for ever.
pub trait JournalPort: Send + Sync + 'static {
    /// `None` when the journal takes no more; `flushed` is then not called.
    fn append(&self, record: Bytes, flushed: Flushed) -> Option<u64>;
    /// Everything still in it, oldest first.
    fn read_all(&self) -> Result<Vec<JournalRecordAt>, String>;
    fn discard(&self, upto: u64);
    /// False where opening it cut something off its end: then it may not remember everything.
    fn is_whole(&self) -> bool;
}

/// Takes what is personal out of records before anything of them is written.
pub trait PersonalPort: Send + Sync + 'static {
    /// Seals address and user agent for the caller. Where that cannot be, and records are to be sealed, they are left out.
    fn seal(&self, caller: &mut Caller);
}

/// Leaves everything as it is: for clusters whose records are not sealed.
pub struct InTheClear;

impl PersonalPort for InTheClear {
    fn seal(&self, _: &mut Caller) {}
}

/// Everything the enforcer is made of.
#[derive(Clone)]
pub struct Parts {
    pub cluster: Arc<dyn ClusterPort>,
    pub journal: Arc<dyn JournalPort>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub zones: Arc<dyn Zones>,
    pub personal: Arc<dyn PersonalPort>,
}

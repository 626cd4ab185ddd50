//! Reads that are at least as new as the moment they were asked for: the index to wait for, and the wait.

use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer;
use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::time::{Duration, Instant, timeout_at};

use crate::handle::Handle;
use crate::network::Lane;
use crate::proposals::wait_ms;

const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Why there is no read index.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("no leader confirmed itself in time")]
    NotReady,
    /// The index was known, but this node did not apply up to it in time.
    #[error("index {wanted} was not applied in time")]
    Behind { wanted: u64 },
    #[error("this node has stopped: {detail}")]
    Stopped { detail: String },
}

/// One attempt on this node.
pub enum LocalRead {
    Index(u64),
    NotLeader { leader: Option<NodeId> },
    Stopped { detail: String },
}

impl Handle {
    /// An index that covers everything committed before the call, confirmed by a quorum after the call began.
    // INVARIANT: P4, P8 (never from a lease)
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        self.find_read_index(false, deadline).await
    }

    /// As `read_index`, but the leader may answer from its lease, of which it uses at most 70 %. A stale lease falls
    /// back to asking a quorum.
    pub async fn read_lease(&self, deadline: Instant) -> Result<u64, ReadError> {
        self.find_read_index(true, deadline).await
    }

    /// Returns once `index` is applied here, with the state at or after it.
    pub async fn wait_applied(
        &self,
        index: u64,
        deadline: Instant,
    ) -> Result<std::sync::Arc<only1mcp_domain::State>, ReadError> {
        let mut applied = self.applied();
        let reached = timeout_at(deadline, applied.wait_for(|at| *at >= index)).await;
        match reached {
            Ok(Ok(_)) => Ok(self.state()),
            Ok(Err(_)) => Err(ReadError::Stopped { detail: "the state machine has ended".into() }),
            Err(_) => match self.stopped_because() {
                Some(detail) => Err(ReadError::Stopped { detail }),
                None => Err(ReadError::Behind { wanted: index }),
            },
        }
    }

    async fn find_read_index(&self, lease: bool, deadline: Instant) -> Result<u64, ReadError> {
        loop {
            if let Some(detail) = self.stopped_because() {
                return Err(ReadError::Stopped { detail });
            }
            let found = match self.leader() {
                Some(leader) if leader == self.node() => match self.read_index_here(lease, deadline).await {
                    LocalRead::Index(index) => Some(index),
                    LocalRead::NotLeader { .. } => None,
                    LocalRead::Stopped { detail } => return Err(ReadError::Stopped { detail }),
                },
                Some(leader) => self.read_index_at(leader, lease, deadline).await,
                None => None,
            };
            #[cfg(feature = "mutants")]
            let found = crate::mutants::read_index(self.node(), found);
            if let Some(index) = found {
                return Ok(index);
            }
            if Instant::now() >= deadline {
                return Err(ReadError::NotReady);
            }
            self.leader_may_have_changed(deadline.min(Instant::now() + LOOK_AGAIN)).await;
        }
    }

    async fn read_index_at(&self, leader: NodeId, lease: bool, deadline: Instant) -> Option<u64> {
        use peer::read_index_response::Result as Answer;
        let target = self.target(leader)?;
        // Reads are safe to repeat: do not wait for one leader longer than it takes to elect another.
        let patience = deadline.min(Instant::now() + Duration::from_millis(self.timing().election_ms_max));
        let request = peer::ReadIndexRequest { from: self.node().0, wait_ms: wait_ms(patience), lease };
        let mut client = self.links().client(&target, Lane::Calls);
        let answer = timeout_at(patience, client.read_index(request)).await;
        self.links().report(&target, Lane::Calls, answer.is_err());
        match answer.ok()?.ok()?.into_inner().result? {
            Answer::Index(index) => Some(index),
            Answer::NotLeader(_) => None,
        }
    }

    /// How old a quorum's acknowledgement may be that a read is answered on.
    // INVARIANT: P8, lease reads: at most 70 % of the lease, so that clocks may differ in rate.
    fn lease(&self) -> Duration {
        let promise_ms = self.promise_ms();
        #[cfg(feature = "mutants")]
        if only1mcp_domain::mutants::is(only1mcp_domain::mutants::Mutant::WholeLease) {
            return Duration::from_millis(promise_ms);
        }
        Duration::from_millis(promise_ms.saturating_mul(7) / 10)
    }

    /// One attempt on this node, which may or may not lead.
    pub(crate) async fn read_index_here(&self, lease: bool, deadline: Instant) -> LocalRead {
        let now = Instant::now();
        let look = self.awake().look(now);
        let age = if lease { self.lease().min(look.awake_for) } else { Duration::ZERO };
        let option =
            LinearizerOption::new(Some(age), true).with_wait_timeout(deadline.saturating_duration_since(now));
        match timeout_at(deadline, self.raft().get_read_linearizer(option)).await {
            // The host slept on the way: how old the lease was is not known.
            Ok(Ok(_)) if lease && self.awake().look(Instant::now()).naps != look.naps => {
                LocalRead::NotLeader { leader: None }
            }
            Ok(Ok(linearizer)) => LocalRead::Index(linearizer.read_log_id().index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                LocalRead::NotLeader { leader: to.leader_id.map(NodeId) }
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                LocalRead::NotLeader { leader: None }
            }
            Ok(Err(RaftError::Fatal(fatal))) => LocalRead::Stopped { detail: fatal.to_string() },
        }
    }
}

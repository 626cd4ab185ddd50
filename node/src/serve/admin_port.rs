//! The cluster and this node, as administration's ports ask for them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use only1mcp_admin::ports::{
    AdminRefusal, ClusterPort, ClusterStatus, Committed, Consistency, CostPlace, HostPort, MemberObservation,
    MembershipFailure, NodeRecall, ProposeFailure, ReadFailure, RetentionDue, Scrub, TrailFailure,
    UpstreamHealth, UpstreamStatus, View,
};
use only1mcp_consensus::{Due, Handle, MembershipError, ProposeError, ReadError, Scrubbed, TrailError};
use only1mcp_domain::activity::{AuditRead, ItemKind, Refusal};
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::ids::{ApiKeyId, AuditIndex, NodeId, TenantId, UpstreamId};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::row::RowKey;
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::Enforcer;
use only1mcp_gateway::{Gateway, Health};
use only1mcp_proto::peer;
use only1mcp_storage::free_bytes;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::host::{HostClock, HostEntropy};
use crate::serve::disk_watch::is_let_through;
use crate::serve::erasure::PersonalKeys;
use crate::serve::join;
use crate::serve::readiness::{Readiness, clock_offset_ms};
use crate::serve::recall;
use crate::serve::retime;

/// How often other nodes are asked how far they are.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// One such question.
const ASK: Duration = Duration::from_millis(500);

/// The replicated state machine and its members.
pub struct AdminCluster {
    pub handle: Handle,
    pub enforcer: Arc<Enforcer>,
    pub personal: Arc<PersonalKeys>,
    /// The data folder, for the space left beside it.
    pub folder: PathBuf,
}

impl AdminCluster {
    async fn reach(&self, index: u64, deadline: Instant) -> Result<(), ReadFailure> {
        let reached = timeout_at(deadline, self.enforcer.wait_view(index)).await;
        reached.map_err(|_| ReadFailure::Unavailable)
    }

    /// What another member says of itself.
    async fn ask(&self, node: NodeId, deadline: Instant) -> Option<peer::StatusResponse> {
        let mut client = self.handle.peer(node)?;
        let request = peer::StatusRequest { from: self.handle.node().0, ..Default::default() };
        let until = deadline.min(Instant::now() + ASK);
        timeout_at(until, client.status(request)).await.ok()?.ok().map(tonic::Response::into_inner)
    }

    fn observe_self(&self, observation: &mut MemberObservation) {
        observation.applied_index = Some(*self.handle.applied().borrow());
        observation.freshness_ms = self.enforcer.freshness().age().map(|age| ms(age.as_millis()));
        observation.clock_offset_ms = Some(clock_offset_ms(&self.enforcer));
        observation.disk_free_bytes = free_bytes(&self.folder).ok();
        observation.reachable = Some(true);
        observation.feature_level_max = Some(self.handle.feature_level_max());
        observation.timed = Some(retime::replicated(&self.handle) == Some(self.handle.timing()));
    }
}

/// As administration sees it.
fn seen(view: &only1mcp_enforcer::View) -> View {
    View { state: view.state.clone(), policy: view.policy.clone(), now: view.now() }
}

fn ms(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}

pub fn read_failure(error: ReadError) -> ReadFailure {
    match error {
        ReadError::NotReady | ReadError::Behind { .. } => ReadFailure::Unavailable,
        ReadError::Stopped { detail } => ReadFailure::Stopped(detail),
    }
}

fn propose_failure(error: ProposeError) -> ProposeFailure {
    match error {
        ProposeError::NotReady => ProposeFailure::NotReady,
        ProposeError::Unknown { .. } => ProposeFailure::Unknown,
        ProposeError::Stopped { .. } | ProposeError::TooLarge { .. } => {
            ProposeFailure::Stopped(error.to_string())
        }
    }
}

fn membership_failure(error: MembershipError) -> MembershipFailure {
    match error {
        MembershipError::NotReady => ProposeFailure::NotReady.into(),
        MembershipError::Unknown { .. } => ProposeFailure::Unknown.into(),
        MembershipError::Stopped { detail } => ProposeFailure::Stopped(detail).into(),
        MembershipError::Refused { detail } => MembershipFailure::Refused(detail),
    }
}

impl ClusterPort for AdminCluster {
    fn node(&self) -> NodeId {
        self.handle.node()
    }

    fn view(&self) -> View {
        seen(&self.enforcer.view())
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.enforcer.applied()
    }

    fn consistent(
        &self,
        consistency: Consistency,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<View, ReadFailure>> {
        Box::pin(async move {
            match consistency {
                Consistency::Linearizable => {
                    let index = self.handle.read_index(deadline).await.map_err(read_failure)?;
                    self.reach(index, deadline).await?;
                    Ok(self.view())
                }
                Consistency::Lease => {
                    let index = self.handle.read_lease(deadline).await.map_err(read_failure)?;
                    self.reach(index, deadline).await?;
                    Ok(self.view())
                }
                Consistency::Local { staleness_ms_max, revision_min } => {
                    self.reach(revision_min, deadline).await?;
                    self.enforcer
                        .view_within(staleness_ms_max)
                        .map(|view| seen(&view))
                        .ok_or(ReadFailure::Stale)
                }
            }
        })
    }

    fn propose(&self, entry: Entry, deadline: Instant) -> BoxFuture<'_, Result<Committed, ProposeFailure>> {
        Box::pin(async move {
            let mut entry = entry;
            if let Err(error) = self.personal.seal_entry(&mut entry) {
                tracing::error!(code = "NOT_SEALED", %error, "a write was not proposed, since it cannot be sealed");
                return Err(ProposeFailure::NotReady);
            }
            if self.enforcer.is_disk_low() && !is_let_through(&entry.command) {
                return Err(ProposeFailure::DiskLow);
            }
            let committed = self.handle.propose(entry, deadline).await.map_err(propose_failure)?;
            // Whoever reads here after writing here finds the write.
            let _ = timeout_at(deadline, self.enforcer.wait_view(committed.log_index)).await;
            Ok(Committed { log_index: committed.log_index, outcome: committed.outcome })
        })
    }

    /// A node is fenced once it cannot be fresh on anything older: it never was given an older read index after the
    /// write was committed, so the largest bound, with a margin for clock rates, is enough. INVARIANT: P4
    fn wait_everywhere(&self, log_index: u64, deadline: Instant) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let committed = Instant::now();
            let state = self.enforcer.view().state.clone();
            let bound = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.staleness_ms_max);
            let fenced_at = committed + Duration::from_millis(bound.saturating_mul(11) / 10);
            let members: Vec<NodeId> = state
                .nodes
                .values()
                .filter(|record| {
                    record.value.role != NodeRole::Removed && record.value.id != self.handle.node()
                })
                .map(|record| record.value.id)
                .collect();
            let applied = members.into_iter().map(|node| async move {
                loop {
                    if self.ask(node, deadline).await.is_some_and(|status| status.decides_at >= log_index) {
                        return true;
                    }
                    let now = Instant::now();
                    if now >= fenced_at || now >= deadline {
                        return now >= fenced_at;
                    }
                    sleep(ASK_AGAIN).await;
                }
            });
            let here = timeout_at(deadline, self.enforcer.wait_view(log_index)).await.is_ok();
            join_all(applied).await.into_iter().all(|done| done) && here
        })
    }

    fn audit_scan(
        &self,
        from: AuditIndex,
        to: AuditIndex,
        limit: usize,
        reverse: bool,
    ) -> BoxFuture<'_, Result<Vec<SealedEvent>, TrailFailure>> {
        Box::pin(async move {
            let last = to.0.min(self.handle.state().chain.index.0);
            let first = from.0.max(1);
            if first > last {
                return Ok(Vec::new());
            }
            let wanted = u64::try_from(limit).unwrap_or(u64::MAX).min(last - first + 1);
            // The chain has no gaps, so the last `wanted` events begin here.
            let start = if reverse { last - wanted + 1 } else { first };
            let count = usize::try_from(wanted).unwrap_or(usize::MAX);
            let mut events = self.handle.audit_events(AuditIndex(start), count).map_err(trail_failure)?;
            events.retain(|event| event.index.0 <= last);
            if reverse {
                events.reverse();
            }
            Ok(events)
        })
    }

    fn retention_due(&self, from: AuditIndex) -> BoxFuture<'_, Result<Option<RetentionDue>, TrailFailure>> {
        Box::pin(async move {
            let due = self.handle.retention_due(from).await.map_err(trail_failure)?;
            Ok(due.map(|Due { drop, counts }| RetentionDue { first: drop.first, last: drop.last, counts }))
        })
    }

    fn cost_scan(
        &self,
        tenant: &TenantId,
        from: CostPlace,
        to: TimestampMs,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<CostRecord>, String>> {
        let first = RowKey::cost(tenant, from.at, from.index, from.part);
        let end = RowKey::cost(tenant, to, AuditIndex(0), 0);
        Box::pin(
            async move { self.handle.cost_records(&first, &end, limit).map_err(|error| error.to_string()) },
        )
    }

    fn recall<'a>(
        &'a self,
        tenant: &'a TenantId,
        limit: Option<&'a LimitId>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<NodeRecall>> {
        Box::pin(recall::everywhere(&self.handle, &self.enforcer, tenant, limit, deadline))
    }

    fn status(&self, deadline: Instant) -> BoxFuture<'_, ClusterStatus> {
        Box::pin(async move {
            let own = self.handle.status();
            let now = self.enforcer.view().now();
            let asked = self
                .enforcer
                .view()
                .state
                .nodes
                .values()
                .map(|record| record.value.clone())
                .collect::<Vec<_>>();
            let members = asked.into_iter().filter(|record| record.role != NodeRole::Removed).map(
                |record| async move {
                    let mut observation = MemberObservation { node: record.id, ..Default::default() };
                    if record.id == self.handle.node() {
                        self.observe_self(&mut observation);
                    } else if let Some(status) = self.ask(record.id, deadline).await {
                        observation.applied_index = Some(status.applied);
                        observation.freshness_ms = status.fresh_age_ms;
                        observation.disk_free_bytes = Some(status.disk_free_bytes);
                        let offset = i128::from(status.now_ms) - i128::from(now.0);
                        observation.clock_offset_ms = i64::try_from(offset).ok();
                        observation.reachable = Some(true);
                        observation.feature_level_max = Some(status.feature_level_max.max(1));
                        let timing = retime::told(&status);
                        observation.timed = Some(retime::replicated(&self.handle) == Some(timing));
                    } else {
                        observation.reachable = Some(false);
                    }
                    observation
                },
            );
            let mut members = join_all(members).await;
            for observation in &mut members {
                observation.lag_entries =
                    observation.applied_index.map(|applied| own.committed.saturating_sub(applied));
            }
            ClusterStatus {
                leader: own.leader,
                term: own.term,
                applied_index: own.applied,
                committed_index: own.committed,
                scrub: scrub(&self.handle),
                agreed_index: self.handle.agreed_index(),
                members,
            }
        })
    }

    fn transfer_leader(&self, to: NodeId, deadline: Instant) -> BoxFuture<'_, Result<(), MembershipFailure>> {
        Box::pin(async move { self.handle.transfer_leader(to, deadline).await.map_err(membership_failure) })
    }

    fn remove(&self, entry: Entry, deadline: Instant) -> BoxFuture<'_, Result<Committed, MembershipFailure>> {
        Box::pin(async move {
            let Command::RemoveNode { node, .. } = entry.command else {
                return Err(MembershipFailure::Refused("only a removal removes a node".to_owned()));
            };
            let committed = self.handle.propose(entry, deadline).await.map_err(propose_failure)?;
            if committed.outcome.is_ok() {
                self.handle.remove(node, deadline).await.map_err(membership_failure)?;
            }
            Ok(Committed { log_index: committed.log_index, outcome: committed.outcome })
        })
    }

    fn promote(
        &self,
        entry: Entry,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Committed, MembershipFailure>> {
        Box::pin(async move {
            let Command::SetNodeRole { node, .. } = entry.command else {
                return Err(MembershipFailure::Refused("only a change of role promotes a node".to_owned()));
            };
            self.handle.promote(node, deadline).await.map_err(membership_failure)?;
            let committed = self.handle.propose(entry, deadline).await.map_err(propose_failure)?;
            Ok(Committed { log_index: committed.log_index, outcome: committed.outcome })
        })
    }
}

fn scrub(handle: &Handle) -> Scrub {
    let Scrubbed { rounds, bytes, faults, part } = handle.scrubbed();
    Scrub { rounds, bytes, faults, part }
}

pub fn trail_failure(error: TrailError) -> TrailFailure {
    match &error {
        TrailError::Rows(_) => TrailFailure::Unreadable(error.to_string()),
        TrailError::Lacking { .. } | TrailError::Damaged { .. } => {
            TrailFailure::Fetching { code: error.code(), detail: error.to_string() }
        }
    }
}

/// This node: its clock, its randomness, its gateway.
pub struct AdminHost {
    pub enforcer: Arc<Enforcer>,
    pub gateway: Gateway,
    pub readiness: Readiness,
}

impl HostPort for AdminHost {
    fn now_ms(&self) -> u64 {
        HostClock.now_ms()
    }

    fn random(&self, bytes: &mut [u8]) {
        HostEntropy.fill(bytes);
    }

    fn ready(&self) -> bool {
        self.readiness.why_not().is_none()
    }

    fn record_refusal(&self, refusal: AdminRefusal) {
        self.enforcer.record_refusal(Refusal {
            decision: refusal.decision,
            caller: refusal.caller,
            tenant: refusal.tenant,
            kind: ItemKind::Administration,
            item: format!("{} {}", refusal.method, refusal.permission.name()),
            reason: refusal.reason,
            revision: refusal.revision,
            count: 1,
            first_at: refusal.at,
            last_at: refusal.at,
        });
    }

    fn record_audit_read(&self, read: AuditRead) -> bool {
        self.enforcer.record_audit_read(read)
    }

    fn unauthenticated(&self, source: Option<IpAddr>) {
        self.enforcer.unauthenticated(source);
    }

    fn key_used(&self, key: &ApiKeyId) {
        self.enforcer.key_used(key);
    }

    fn upstream_health(&self, tenant: &TenantId, upstream: &UpstreamId) -> Option<UpstreamHealth> {
        let found = self.gateway.upstream_health();
        let health =
            found.into_iter().find(|health| health.tenant == *tenant && health.upstream == *upstream)?;
        let (status, detail) = match health.health {
            Health::Unknown => (UpstreamStatus::Unused, String::new()),
            Health::Ok => (UpstreamStatus::Healthy, String::new()),
            Health::Failing { error, failures } => {
                (UpstreamStatus::Failing, format!("{error} ({failures} in a row)"))
            }
        };
        Some(UpstreamHealth {
            status,
            detail,
            tools: 0,
            in_flight: u32::try_from(health.calls_in_flight).unwrap_or(u32::MAX),
            since: Some(TimestampMs(health.since_ms)),
        })
    }
}

/// Takes this node's own entry to the leader; for what the node does at start and end.
pub async fn propose_own(handle: &Handle, command: Command, within: Duration) -> anyhow::Result<Committed> {
    let entry = join::node_entry(handle.node(), command);
    let committed = handle.propose(entry, Instant::now() + within).await?;
    Ok(Committed { log_index: committed.log_index, outcome: committed.outcome })
}

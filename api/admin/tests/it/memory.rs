//! A cluster of one in memory: entries are applied at once to a real domain state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use only1mcp_admin::ports::{
    AdminRefusal, ClusterPort, ClusterStatus, Committed, Consistency, CostPlace, HostPort, MemberObservation,
    MembershipFailure, NodeRecall, ProposeFailure, ReadFailure, Recalled, RetentionDue, TrailFailure,
    UpstreamHealth, UpstreamStatus, View,
};
use only1mcp_admin::{BackupImage, BackupPort, GenerationCopy, Opened, PersonalPort};
use only1mcp_domain::State;
use only1mcp_domain::activity::AuditRead;
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::command::Entry;
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::decide::CompiledPolicy;
use only1mcp_domain::ids::{ApiKeyId, AuditIndex, Digest, NodeId, TenantId, UpstreamId};
use only1mcp_domain::ledger::{LimitId, Period};
use only1mcp_domain::model::{PeriodKind, Slot, SlotPart};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::{LocalTime, TimestampMs, Zones};
use tokio::sync::watch;
use tokio::time::Instant;

pub const NOW_MS: u64 = 1_800_000_000_000;

pub struct Memory {
    inner: Mutex<Inner>,
    applied: watch::Sender<u64>,
    /// No quorum: linearizable reads and proposals fail.
    pub cut_off: AtomicBool,
    /// The next proposal is applied, but its outcome is not told.
    pub lose_answer: AtomicBool,
    /// Some node never applies.
    pub never_everywhere: AtomicBool,
    pub consistencies: Mutex<Vec<Consistency>>,
    pub refusals: Mutex<Vec<AdminRefusal>>,
    pub audit_reads: Mutex<Vec<AuditRead>>,
    /// The node takes no more records.
    pub records_full: AtomicBool,
    pub unauthenticated: AtomicU64,
    random: AtomicU64,
}

#[derive(Default)]
struct Inner {
    state: Arc<State>,
    events: Vec<SealedEvent>,
    costs: BTreeMap<(TenantId, CostPlace), CostRecord>,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            applied: watch::Sender::new(0),
            cut_off: AtomicBool::new(false),
            lose_answer: AtomicBool::new(false),
            never_everywhere: AtomicBool::new(false),
            consistencies: Mutex::default(),
            refusals: Mutex::default(),
            audit_reads: Mutex::default(),
            records_full: AtomicBool::new(false),
            unauthenticated: AtomicU64::new(0),
            random: AtomicU64::new(1),
        })
    }

    pub fn apply(&self, entry: &Entry) -> Committed {
        let mut inner = self.inner.lock().unwrap();
        let mut state = State::clone(&inner.state);
        let log_index = state.last_applied + 1;
        let applied = state.apply(log_index, entry);
        inner.events.extend(applied.audit);
        for row in applied.rows {
            if let Some(RowValue::Cost(record)) = row.value {
                inner.costs.insert((record.tenant.clone(), CostPlace::of(&record)), *record);
            }
        }
        inner.state = Arc::new(state);
        drop(inner);
        self.applied.send_replace(log_index);
        Committed { log_index, outcome: applied.outcome }
    }

    pub fn state(&self) -> Arc<State> {
        self.inner.lock().unwrap().state.clone()
    }

    pub fn events(&self) -> Vec<SealedEvent> {
        self.inner.lock().unwrap().events.clone()
    }

    /// A record as if some call had been settled.
    pub fn put_cost(&self, record: CostRecord) {
        let place = CostPlace::of(&record);
        self.inner.lock().unwrap().costs.insert((record.tenant.clone(), place), record);
    }

    /// Changes an event on disk, as an intruder would.
    pub fn tamper(&self, index: usize) {
        let mut inner = self.inner.lock().unwrap();
        let last = inner.events[index].bytes.len() - 1;
        inner.events[index].bytes[last] ^= 1;
    }
}

impl ClusterPort for Memory {
    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn view(&self) -> View {
        let state = self.state();
        let now = state.log_time.max(TimestampMs(NOW_MS));
        View { policy: Arc::new(CompiledPolicy::build(&state)), state, now }
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn consistent(&self, consistency: Consistency, _: Instant) -> BoxFuture<'_, Result<View, ReadFailure>> {
        self.consistencies.lock().unwrap().push(consistency);
        let local = matches!(consistency, Consistency::Local { .. });
        let answer = if self.cut_off.load(Ordering::SeqCst) && !local {
            Err(ReadFailure::Unavailable)
        } else {
            match consistency {
                Consistency::Local { revision_min, .. } if revision_min > self.state().last_applied => {
                    Err(ReadFailure::Stale)
                }
                _ => Ok(self.view()),
            }
        };
        async move { answer }.boxed()
    }

    fn propose(&self, entry: Entry, _: Instant) -> BoxFuture<'_, Result<Committed, ProposeFailure>> {
        async move {
            if self.cut_off.load(Ordering::SeqCst) {
                return Err(ProposeFailure::NotReady);
            }
            let committed = self.apply(&entry);
            if self.lose_answer.swap(false, Ordering::SeqCst) {
                return Err(ProposeFailure::Unknown);
            }
            Ok(committed)
        }
        .boxed()
    }

    fn wait_everywhere(&self, _: u64, _: Instant) -> BoxFuture<'_, bool> {
        let everywhere = !self.never_everywhere.load(Ordering::SeqCst);
        async move { everywhere }.boxed()
    }

    fn audit_scan(
        &self,
        from: AuditIndex,
        to: AuditIndex,
        limit: usize,
        reverse: bool,
    ) -> BoxFuture<'_, Result<Vec<SealedEvent>, TrailFailure>> {
        let inner = self.inner.lock().unwrap();
        let within = inner.events.iter().filter(|event| event.index >= from && event.index <= to).cloned();
        let events = if reverse { within.rev().take(limit).collect() } else { within.take(limit).collect() };
        async move { Ok(events) }.boxed()
    }

    /// It seals none.
    fn retention_due(&self, _: AuditIndex) -> BoxFuture<'_, Result<Option<RetentionDue>, TrailFailure>> {
        async move { Ok(None) }.boxed()
    }

    fn cost_scan(
        &self,
        tenant: &TenantId,
        from: CostPlace,
        to: TimestampMs,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<CostRecord>, String>> {
        let inner = self.inner.lock().unwrap();
        let end = CostPlace { at: to, index: AuditIndex(0), part: 0 };
        let within = inner.costs.range((tenant.clone(), from)..(tenant.clone(), end.max(from)));
        let records = within.take(limit).map(|(_, record)| record.clone()).collect();
        async move { Ok(records) }.boxed()
    }

    fn recall<'a>(
        &'a self,
        _: &'a TenantId,
        _: Option<&'a LimitId>,
        _: Instant,
    ) -> BoxFuture<'a, Vec<NodeRecall>> {
        // No calls run here: nothing is in anybody's hand.
        async { vec![NodeRecall { node: NodeId(1), recalled: Some(Recalled::default()) }] }.boxed()
    }

    fn status(&self, _: Instant) -> BoxFuture<'_, ClusterStatus> {
        let applied = self.state().last_applied;
        let me = MemberObservation {
            node: NodeId(1),
            applied_index: Some(applied),
            feature_level_max: Some(2),
            ..Default::default()
        };
        let status = ClusterStatus {
            leader: Some(NodeId(1)),
            term: 3,
            applied_index: applied,
            committed_index: applied,
            scrub: Default::default(),
            agreed_index: 0,
            members: vec![me],
        };
        async move { status }.boxed()
    }

    fn transfer_leader(&self, to: NodeId, _: Instant) -> BoxFuture<'_, Result<(), MembershipFailure>> {
        let answer = if to == NodeId(1) {
            Ok(())
        } else {
            Err(MembershipFailure::Refused(format!("node {to} is no voter")))
        };
        async move { answer }.boxed()
    }

    fn remove(&self, entry: Entry, deadline: Instant) -> BoxFuture<'_, Result<Committed, MembershipFailure>> {
        async move { Ok(self.propose(entry, deadline).await?) }.boxed()
    }

    fn promote(
        &self,
        entry: Entry,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Committed, MembershipFailure>> {
        async move { Ok(self.propose(entry, deadline).await?) }.boxed()
    }
}

impl HostPort for Memory {
    fn now_ms(&self) -> u64 {
        NOW_MS
    }

    fn ready(&self) -> bool {
        !self.cut_off.load(Ordering::SeqCst)
    }

    /// Different each time; good enough for a test alone.
    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes.iter_mut() {
            let next = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            *byte = (next ^ (next >> 29)) as u8;
        }
    }

    fn record_refusal(&self, refusal: AdminRefusal) {
        self.refusals.lock().unwrap().push(refusal);
    }

    fn record_audit_read(&self, read: AuditRead) -> bool {
        if self.records_full.load(Ordering::SeqCst) {
            return false;
        }
        self.audit_reads.lock().unwrap().push(read);
        true
    }

    fn unauthenticated(&self, _: Option<IpAddr>) {
        self.unauthenticated.fetch_add(1, Ordering::SeqCst);
    }

    fn key_used(&self, _: &ApiKeyId) {}

    fn upstream_health(&self, _: &TenantId, upstream: &UpstreamId) -> Option<UpstreamHealth> {
        (upstream.as_str() == "files").then(|| UpstreamHealth {
            status: UpstreamStatus::Healthy,
            detail: String::new(),
            tools: 3,
            in_flight: 0,
            since: None,
        })
    }
}

/// Knows two zones.
pub struct TwoZones;

impl Zones for TwoZones {
    fn local(&self, zone: &str, at: TimestampMs) -> Option<LocalTime> {
        let minute_of_day = u16::try_from(at.0 / 60_000 % 1_440).unwrap();
        matches!(zone, "UTC" | "Europe/Berlin").then_some(LocalTime { weekday: 1, minute_of_day })
    }

    /// Days alone, and those of UTC everywhere.
    fn period(&self, zone: &str, kind: PeriodKind, at: TimestampMs) -> Option<Period> {
        const DAY_MS: u64 = 86_400_000;
        if kind != PeriodKind::Day {
            return Period::without_calendar(kind, at);
        }
        self.local(zone, at)?;
        let start = TimestampMs(at.0 - at.0 % DAY_MS);
        Some(Period { start, end: start.plus_ms(DAY_MS) })
    }
}

impl BackupPort for Memory {
    /// Without segments: every event is a row.
    fn image(&self, index: u64, _: Instant) -> BoxFuture<'_, Result<BackupImage, ReadFailure>> {
        use only1mcp_proto::codec::encode_row;
        use only1mcp_proto::image::{FORMAT, encode_frame};
        use only1mcp_proto::snapshot::{Header, Row, Rows, Trailer, frame::Part};
        use sha3::{Digest as _, Sha3_256};

        let inner = self.inner.lock().unwrap();
        let state = inner.state.clone();
        assert!(state.last_applied >= index);
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for row in state.rows() {
            rows.insert(row.key.0, encode_row(&row.value.unwrap()));
        }
        for event in &inner.events {
            let row = RowValue::Audit(event.clone());
            rows.insert(row.key().0, encode_row(&row));
        }
        let count = rows.len() as u64;
        let rows = rows.into_iter().map(|(key, value)| Row { key: key.into(), value: value.into() });
        let header = Header {
            format: FORMAT,
            meta: None,
            cluster_id: bytes::Bytes::new(),
            state_digest: state.digest(encode_row).0.to_vec().into(),
        };
        let mut frames =
            vec![encode_frame(Part::Header(header)), encode_frame(Part::Rows(Rows { rows: rows.collect() }))];
        let mut hasher = Sha3_256::new();
        frames.iter().for_each(|frame| hasher.update(frame));
        let digest: [u8; 32] = hasher.finalize().into();
        frames.push(encode_frame(Part::Trailer(Trailer { rows: count, digest: digest.to_vec().into() })));
        let log_index = state.last_applied;
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok)).boxed();
        async move { Ok(BackupImage { log_index, frames }) }.boxed()
    }

    /// One segment of a thousand bytes, `0x5e`, that begins with event 1.
    fn segment(
        &self,
        first: AuditIndex,
        address: Digest,
        offset: u64,
    ) -> BoxFuture<'_, Result<Option<bytes::Bytes>, TrailFailure>> {
        let known = (first, address) == (AuditIndex(1), Digest([1; 32]));
        let left = 1_000_usize.saturating_sub(usize::try_from(offset).unwrap());
        let chunk = bytes::Bytes::from(vec![0x5e; left.min(400)]);
        async move { Ok(known.then_some(chunk)) }.boxed()
    }
}

/// Seals nothing, so nothing has to be opened.
impl PersonalPort for Memory {
    fn open(&self, _: &State, _: SlotPart, _: &Slot) -> Opened {
        Opened::Sealed
    }

    fn generation_for(&self, _: &State, _: &str) -> Result<GenerationCopy, String> {
        Err("there are no generations here".to_owned())
    }
}

//! `RaftStateMachine`: decodes entries, applies them to the domain's state and writes their rows.
//!
//! The state in memory is the truth; rows are its durable copy, written in one batch with the position they stand at.
//! A batch is not synced by itself: until a sync, the log below it is kept and a restart applies it again.
//! Writes to the row store are made directly from async code; they are short, and nothing may overtake them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt as _};
use only1mcp_domain::State;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::limits;
use only1mcp_domain::row::{RowKey, RowValue};
use only1mcp_proto::codec;
use only1mcp_storage::Rows;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use super::durable::Durable;
use super::rows;
use crate::compare::Mark;
use crate::published::{AppliedNote, BatchNote, Published};
use crate::snapshot::{Frozen, SnapshotData};
use crate::trail::Trail;
use crate::types::{LogId, RaftEntry, RaftSnapshot, Reply, SnapshotMeta, StoredMembership, TypeConfig};

/// Bytes of rows written at one time, roughly: a batch ends once it holds more.
const BATCH_BYTES: usize = 4 << 20;

pub struct StateMachine {
    /// And, through it, the row store.
    trail: Arc<Trail>,
    state: State,
    meta: SnapshotMeta,
    published: Arc<Published>,
    /// `None`: everything counts as durable (openraft's suite has no log beside its state machine).
    durable: Option<Durable>,
    /// The newest feature level this program knows.
    level_max: u32,
    /// The latest snapshot point.
    current: Option<Arc<Frozen>>,
    /// States at multiples of this are told for comparison.
    mark_every: u64,
}

/// Entries applied in memory and not yet written.
struct Pending {
    state: State,
    meta: SnapshotMeta,
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    level_max: u32,
    notes: Vec<AppliedNote>,
    replies: Vec<(Option<ApplyResponder<TypeConfig>>, Reply)>,
    mark_every: u64,
    mark: Option<Mark>,
}

impl StateMachine {
    pub fn new(
        trail: Arc<Trail>,
        loaded: rows::Loaded,
        published: Arc<Published>,
        durable: Option<Durable>,
    ) -> Self {
        let rows::Loaded { state, meta, .. } = loaded;
        let (level_max, mark_every) = (limits::FEATURE_LEVEL_MAX, u64::MAX);
        let mut machine =
            Self { trail, state, meta, published, durable, level_max, current: None, mark_every };
        machine.freeze();
        machine.published.publish(&machine.state, machine.index(), Vec::new());
        machine
    }

    pub fn marking(self, every: u64) -> Self {
        Self { mark_every: every.max(1), ..self }
    }

    /// What this program knows of feature levels, where that is less than all there are.
    pub fn knowing(mut self, level_max: u32) -> Self {
        self.level_max = level_max;
        self
    }

    fn index(&self) -> u64 {
        self.meta.last_log_id.as_ref().map_or(0, |id| id.index)
    }

    /// Makes now the snapshot point; costs a clone of shared maps.
    fn freeze(&mut self) -> Arc<Frozen> {
        let meta = self.meta.clone();
        #[cfg(feature = "mutants")]
        let meta = crate::mutants::snapshot_meta(meta);
        let (state, trail) = (self.state.clone(), Arc::clone(&self.trail));
        // What a later entry has dropped is not done yet: that is begun once the entry is applied.
        let names = trail.names(0, usize::MAX);
        let frozen = Arc::new(Frozen { state, meta, trail, names });
        if frozen.meta.last_log_id.is_some() {
            self.current = Some(Arc::clone(&frozen));
        }
        frozen
    }

    async fn write(&mut self, pending: Pending) -> Result<(), io::Error> {
        let Pending { state, meta, mut rows, notes, replies, mark, .. } = pending;
        let Some(last) = meta.last_log_id else {
            return Ok(());
        };
        // INVARIANT: P6 (an index is applied only when it is durable in this node's own log)
        if let Some(durable) = &self.durable
            && !durable.wait(last.index).await
        {
            return Err(io::Error::other("the log failed before the entry was on disk"));
        }
        let (key, value) = rows::applied_row(&meta);
        rows.insert(key, Some(value));
        let rows: Rows = rows.into_iter().collect();
        self.trail.engine().write(rows, false).map_err(io::Error::other)?;
        self.state = state;
        self.meta = meta;
        self.published.publish(&self.state, last.index, notes);
        if let Some(mark) = mark {
            self.published.mark(mark);
        }
        for (responder, reply) in replies {
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn apply_all<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let mut pending = Pending::after(&self.state, &self.meta, self.mark_every);
            pending.level_max = self.level_max;
            while !pending.is_full() {
                match entries.try_next().await? {
                    Some((entry, responder)) => pending.take(entry, responder)?,
                    None => return self.write_if_any(pending).await,
                }
            }
            self.write(pending).await?;
        }
    }

    async fn write_if_any(&mut self, pending: Pending) -> Result<(), io::Error> {
        if pending.replies.is_empty() { Ok(()) } else { self.write(pending).await }
    }

    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let verified = data.verify(meta).map_err(io::Error::other)?;
        let level = verified.state.cluster.as_ref().map_or(0, |c| c.settings.value.feature_level);
        if level > self.level_max {
            return Err(io::Error::other(above(level, self.level_max)));
        }
        self.trail.install(meta, &verified).map_err(io::Error::other)?;
        self.state = verified.state;
        self.meta = meta.clone();
        self.freeze();
        let index = self.index();
        if let Some(durable) = &self.durable {
            durable.covered(index);
        }
        let note = AppliedNote { log_index: index, effects: Vec::new(), batch: None, resync: true };
        self.published.publish(&self.state, index, vec![note]);
        Ok(())
    }

    /// An error here stops the node: an entry is never skipped.
    fn stop_on_error<T>(&self, during: &str, result: Result<T, io::Error>) -> Result<T, io::Error> {
        result.inspect_err(|error| self.published.fail(format!("{during}: {error}")))
    }
}

impl Pending {
    fn after(state: &State, meta: &SnapshotMeta, mark_every: u64) -> Self {
        Self {
            state: state.clone(),
            meta: meta.clone(),
            rows: BTreeMap::new(),
            bytes: 0,
            level_max: limits::FEATURE_LEVEL_MAX,
            notes: Vec::new(),
            replies: Vec::new(),
            mark_every,
            mark: None,
        }
    }

    fn is_full(&self) -> bool {
        self.replies.len() >= limits::APPLY_ENTRIES_MAX || self.bytes >= BATCH_BYTES
    }

    fn put(&mut self, key: Vec<u8>, value: Option<&RowValue>) {
        let value = value.map(codec::encode_row);
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(value.as_ref().map_or(0, Vec::len));
        self.rows.insert(key, value);
    }

    fn take(
        &mut self,
        entry: RaftEntry,
        responder: Option<ApplyResponder<TypeConfig>>,
    ) -> Result<(), io::Error> {
        let id = entry.log_id;
        let outcome = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Membership(membership) => {
                self.meta.last_membership = StoredMembership::new(Some(id), membership);
                None
            }
            EntryPayload::Normal(bytes) => {
                let entry = codec::decode_entry(&bytes.0).map_err(|error| {
                    io::Error::other(format!("log entry {} cannot be read: {error}", id.index))
                })?;
                // Before anything of it is applied: another version must find the rows as this one could read them.
                if let Command::SetSettings { settings, .. } = &entry.command
                    && settings.feature_level > self.level_max
                {
                    let why = above(settings.feature_level, self.level_max);
                    return Err(io::Error::other(format!("log entry {}: {why}", id.index)));
                }
                Some(self.apply(id.index, &entry))
            }
        };
        self.meta.last_log_id = Some(id);
        if id.index > 0 && id.index.is_multiple_of(self.mark_every) {
            self.mark = Some(Mark { index: id.index, state: Arc::new(self.state.clone()) });
        }
        self.replies.push((responder, Reply { outcome }));
        Ok(())
    }

    fn apply(
        &mut self,
        index: u64,
        entry: &Entry,
    ) -> Result<only1mcp_domain::Outcome, only1mcp_domain::Rejection> {
        let applied = self.state.apply(index, entry);
        for change in &applied.rows {
            self.put(change.key.0.clone(), change.value.as_ref());
        }
        for event in applied.audit {
            self.put(RowKey::audit(event.index).0, Some(&RowValue::Audit(event)));
        }
        let batch = match &entry.command {
            Command::Activity(batch) => Some(BatchNote {
                node: batch.node,
                incarnation: batch.incarnation,
                sequence: batch.sequence,
                outcome: applied.outcome.clone(),
            }),
            _ => None,
        };
        self.notes.push(AppliedNote { log_index: index, effects: applied.effects, batch, resync: false });
        applied.outcome
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.meta.last_log_id, self.meta.last_membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let result = self.apply_all(entries).await;
        self.stop_on_error("applying the log", result)
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { frozen: self.freeze() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let result = self.install(meta, snapshot).await;
        self.stop_on_error("installing a snapshot", result)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        Ok(self.current.as_ref().map(snapshot_of))
    }
}

fn above(level: u32, known: u32) -> String {
    format!(
        "the cluster is at feature level {level}, and this version knows levels up to {known}: start a newer one"
    )
}

fn snapshot_of(frozen: &Arc<Frozen>) -> RaftSnapshot {
    RaftSnapshot { meta: frozen.meta.clone(), snapshot: SnapshotData::Live(Arc::clone(frozen)) }
}

/// The snapshot point was taken when the builder was made; there is nothing left to build.
pub struct Builder {
    frozen: Arc<Frozen>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        Ok(snapshot_of(&self.frozen))
    }
}

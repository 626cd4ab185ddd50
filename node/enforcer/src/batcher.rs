//! The node's activity on its way into the chain: records are gathered into batches; a batch is written to the journal
//! with one fdatasync, then proposed until it is applied. The batch's bytes never change once journaled.
//!
//! Urgent records (admissions) go at once; others wait a moment for company. Up to [`IN_FLIGHT_MAX`] batches are under
//! way; the log takes them in order, and one that overtook another is sent again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::activity::{Batch, Record, RecordApplied};
use only1mcp_domain::command::{Actor, Command, Entry, Via};
use only1mcp_domain::ids::{CallId, Digest, Incarnation, PrincipalId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::time::TimestampMs;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use crate::bound::{bound, caller_of};
use crate::journal_record::{JournalRecord, Numbered};
use crate::metrics::Metrics;
use crate::ports::{BatchNote, Note, Parts, PersonalPort, ProposeFailure};
use crate::priced::{cost_bytes, quote_bytes, tags_bytes};
use crate::purse::{Posting, Purse};
use crate::recover::Carried;

/// Batches on their way to the log. One: several race there, those that come too early are sent again after a pause, and
/// each is smaller (measured with four on three nodes: a third to a half of the log's entries were such repeats).
const IN_FLIGHT_MAX: usize = 1;

fn in_flight_max() -> usize {
    #[cfg(feature = "mutants")]
    return crate::mutants::in_flight(IN_FLIGHT_MAX);
    #[cfg(not(feature = "mutants"))]
    IN_FLIGHT_MAX
}

/// While a batch is under way, records wait for its end and then go together; but no longer than this before they are
/// journaled, so that a slow quorum, or none, delays only what asks for one.
const PATIENCE: Duration = Duration::from_millis(5);
/// Batches journaled and waiting to be sent. Past it records queue up, then callers are refused.
const READY_MAX: usize = 256;
/// Records waiting to be journaled.
const QUEUE_MAX: usize = 16 * 1_024;
/// How long a record that nobody waits for may wait for company.
const LINGER: Duration = Duration::from_millis(10);
/// One attempt to propose.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(20);
/// Without activity a node tells its clock this often.
const TICK: Duration = Duration::from_secs(1);
/// Of a sealed slot besides its content, with its frame.
const SLOT_BYTES: usize = 64;
/// How often it is told which calls are over.
const SETTLED: Duration = Duration::from_secs(10);

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Queued,
    /// On this node's disk.
    Journaled,
    /// In the chain, as this node's own state machine applied it.
    Applied(RecordApplied),
    /// It will not be known here.
    Failed,
}

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActivityError {
    #[error("too many records wait to be written")]
    QueueFull,
    #[error("activity has stopped")]
    Stopped,
}

struct Item {
    record: Record,
    urgent: bool,
    progress: Option<watch::Sender<Progress>>,
}

/// Takes records in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    items: mpsc::Sender<Item>,
    /// Not bounded by itself: at most a few for each call that the bounded way let in.
    owed: mpsc::UnboundedSender<Item>,
    personal: Arc<dyn PersonalPort>,
}

impl Intake {
    /// Takes a record nobody waits for.
    pub(crate) fn tell(&self, record: Record) -> Result<(), ActivityError> {
        self.send(Item { record, urgent: false, progress: None })
    }

    /// Takes a record that must not be lost while the node lives: the end of a call that was let in, or what its
    /// accounts need.
    pub(crate) fn owe(&self, mut record: Record, urgent: bool) {
        self.prepare(&mut record);
        // Closed only when the node ends.
        let _ = self.owed.send(Item { record, urgent, progress: None });
    }

    /// As [`Intake::owe`], and tells how far it comes.
    pub(crate) fn owe_and_follow(&self, mut record: Record) -> watch::Receiver<Progress> {
        self.prepare(&mut record);
        let (sender, receiver) = watch::channel(Progress::Queued);
        let _ = self.owed.send(Item { record, urgent: true, progress: Some(sender) });
        receiver
    }

    /// Takes a record and tells how far it comes.
    pub(crate) fn follow(
        &self,
        record: Record,
        urgent: bool,
    ) -> Result<watch::Receiver<Progress>, ActivityError> {
        let (sender, receiver) = watch::channel(Progress::Queued);
        self.send(Item { record, urgent, progress: Some(sender) })?;
        Ok(receiver)
    }

    fn prepare(&self, record: &mut Record) {
        bound(record);
        if let Some(caller) = caller_of(record) {
            self.personal.seal(caller);
        }
    }

    fn send(&self, mut item: Item) -> Result<(), ActivityError> {
        self.prepare(&mut item.record);
        self.items.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ActivityError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => ActivityError::Stopped,
        })
    }
}

/// A batch between journal and chain.
struct InFlight {
    position: u64,
    calls_opened: Vec<CallId>,
    calls_closed: Vec<CallId>,
    progress: Vec<Option<watch::Sender<Progress>>>,
    /// What it means for the purse.
    posting: Posting,
    applied: bool,
    /// Ends its deliveries when the batch is applied.
    delivered: watch::Sender<bool>,
}

pub(crate) struct Batcher {
    parts: Parts,
    metrics: Arc<Metrics>,
    purse: Arc<Purse>,
    items: mpsc::Receiver<Item>,
    owed: mpsc::UnboundedReceiver<Item>,
    incarnation: Incarnation,
    /// Batches of earlier lives that are still to be applied.
    carried: u64,
    next_sequence: u64,
    pending: VecDeque<Item>,
    /// How many of `pending` somebody waits for.
    urgent: usize,
    pending_since: Option<Instant>,
    /// A batch on its way to the disk.
    flushing: Option<(Numbered, Vec<Record>, InFlight)>,
    flushed: (mpsc::Sender<bool>, mpsc::Receiver<bool>),
    /// Journaled, waiting for their turn.
    ready: VecDeque<(Numbered, Vec<Record>, InFlight)>,
    in_flight: BTreeMap<u64, InFlight>,
    /// When the latest batch was sent.
    sent_at: Instant,
    deliveries: JoinSet<Result<(), String>>,
    /// Admitted calls without an applied completion, by the journal position of their admission: what a restart must
    /// still be able to read.
    open_calls: BTreeMap<CallId, u64>,
    last_told: Instant,
    ticking: bool,
    /// When it was last told which calls are over.
    settled_at: Instant,
}

impl Batcher {
    pub(crate) fn new(parts: Parts, metrics: Arc<Metrics>, purse: Arc<Purse>) -> (Self, Intake) {
        let (sender, items) = mpsc::channel(QUEUE_MAX);
        let (owe, owed) = mpsc::unbounded_channel();
        let personal = parts.personal.clone();
        let batcher = Self {
            parts,
            metrics,
            purse,
            items,
            owed,
            incarnation: Incarnation(0),
            carried: 0,
            next_sequence: 1,
            pending: VecDeque::new(),
            urgent: 0,
            pending_since: None,
            flushing: None,
            flushed: mpsc::channel(1),
            ready: VecDeque::new(),
            in_flight: BTreeMap::new(),
            sent_at: Instant::now(),
            deliveries: JoinSet::new(),
            open_calls: BTreeMap::new(),
            last_told: Instant::now(),
            ticking: false,
            settled_at: Instant::now(),
        };
        (batcher, Intake { items: sender, owed: owe, personal })
    }

    /// Runs until `stop` turns true and everything is applied, or something fails that ends the node.
    pub(crate) async fn run(
        mut self,
        carried: Carried,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let mut notes = self.parts.cluster.notes();
        self.take_over(carried);
        let mut stopping = false;
        loop {
            self.form_batch()?;
            if stopping && self.is_idle() {
                return Ok(());
            }
            let wake = self.next_wake(stopping);
            tokio::select! {
                item = self.items.recv(), if self.pending.len() < QUEUE_MAX => match item {
                    Some(item) => self.queue(item),
                    None => stopping = true,
                },
                Some(item) = self.owed.recv() => self.queue(item),
                Some(done) = self.flushed.1.recv() => self.on_flushed(done)?,
                note = notes.recv() => match note {
                    Ok(note) if note.resync => self.on_lagged(),
                    Ok(note) => self.on_note(&note),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        warn!(missed, "fell behind the state machine: answers under way are withheld");
                        self.on_lagged();
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err("the state machine ended".to_owned()),
                },
                Some(done) = self.deliveries.join_next() => match done {
                    Ok(Ok(())) => self.ticking = false,
                    Ok(Err(fatal)) => return Err(fatal),
                    Err(error) => return Err(format!("a delivery failed: {error}")),
                },
                () = tokio::time::sleep_until(wake) => {}
                changed = stop.changed(), if !stopping => stopping = changed.is_err() || *stop.borrow(),
            }
            self.tick(stopping);
        }
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.items.is_empty()
            && self.owed.is_empty()
            && self.flushing.is_none()
            && self.ready.is_empty()
            && self.in_flight.is_empty()
    }

    /// Puts under way what recovery journaled already.
    fn take_over(&mut self, carried: Carried) {
        self.incarnation = carried.incarnation;
        self.next_sequence = 1;
        self.carried = carried.batches.len() as u64;
        for (records, decoded) in carried.batches {
            let batch = self.number(records);
            let calls = calls_of(&decoded);
            let in_flight = InFlight {
                position: carried.position,
                calls_opened: calls.0,
                calls_closed: calls.1,
                progress: Vec::new(),
                // What earlier lives held is not in this one's purse.
                posting: Posting::default(),
                applied: false,
                delivered: watch::Sender::new(false),
            };
            self.make_ready(batch, decoded, in_flight);
        }
        // Told last: with nothing to carry, all older records can go.
        self.discard();
    }

    fn number(&mut self, records: Bytes) -> Numbered {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        Numbered { incarnation: self.incarnation, sequence, records }
    }

    fn queue(&mut self, item: Item) {
        if self.pending_since.is_none() {
            self.pending_since = Some(Instant::now());
        }
        let mut next = Some(item);
        while let Some(item) = next {
            self.urgent += usize::from(item.urgent);
            self.pending.push_back(item);
            let room = self.pending.len() < QUEUE_MAX;
            let owed = self.owed.try_recv().ok();
            next = owed.or_else(|| if room { self.items.try_recv().ok() } else { None });
        }
    }

    fn next_wake(&self, stopping: bool) -> Instant {
        // While a tick is on its way, or none is to come, there is nothing to wake for.
        let tick = if self.ticking || stopping { Instant::now() + TICK } else { self.last_told + TICK };
        self.due_at().map_or(tick, |due| tick.min(due))
    }

    /// When the next batch is to be formed; `None` until something else happens.
    fn due_at(&self) -> Option<Instant> {
        let since = self.pending_since?;
        if self.flushing.is_some() || self.ready.len() >= READY_MAX {
            return None;
        }
        let wanted = if self.urgent > 0 { since } else { since + LINGER };
        let way_is_free = self.ready.is_empty() && self.in_flight.len() < in_flight_max();
        Some(if way_is_free { wanted } else { wanted.max(self.sent_at + PATIENCE) })
    }

    /// Starts writing the next batch, if one is due and there is room for it.
    fn form_batch(&mut self) -> Result<(), String> {
        if self.due_at().is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        let mut records = Vec::new();
        let mut progress = Vec::new();
        let mut bytes = 0;
        while let Some(item) = self.pending.front() {
            bytes += approximate_bytes(&item.record);
            let full = records.len() >= limits::BATCH_RECORDS_MAX || bytes > limits::BATCH_BYTES_MAX;
            if full && !records.is_empty() {
                break;
            }
            if let Some(item) = self.pending.pop_front() {
                self.urgent -= usize::from(item.urgent);
                records.push(item.record);
                progress.push(item.progress);
            }
        }
        if self.pending.is_empty() {
            self.pending_since = None;
        }
        let (calls_opened, calls_closed) = calls_of(&records);
        let posting = Posting::of(&records);
        self.metrics.batch(records.len());
        let batch = self.number(only1mcp_proto::codec::encode_records(&records).into());
        let journaled = JournalRecord::Batch(batch.clone()).encode();
        let done = self.flushed.0.clone();
        // One flush is under way at a time, so the channel of one has room.
        let flushed = Box::new(move |ok| {
            let _ = done.try_send(ok);
        });
        let Some(position) = self.parts.journal.append(journaled, flushed) else {
            return Err("the journal takes no more records".to_owned());
        };
        let delivered = watch::Sender::new(false);
        let in_flight =
            InFlight { position, calls_opened, calls_closed, progress, posting, applied: false, delivered };
        self.flushing = Some((batch, records, in_flight));
        Ok(())
    }

    /// INVARIANT: P2 (the admission is on this node's disk before its call is sent).
    fn on_flushed(&mut self, ok: bool) -> Result<(), String> {
        let Some((batch, records, in_flight)) = self.flushing.take() else { return Ok(()) };
        if !ok {
            return Err("the journal could not be written".to_owned());
        }
        for sender in in_flight.progress.iter().flatten() {
            sender.send_replace(Progress::Journaled);
        }
        self.make_ready(batch, records, in_flight);
        Ok(())
    }

    fn make_ready(&mut self, batch: Numbered, records: Vec<Record>, in_flight: InFlight) {
        for call in &in_flight.calls_opened {
            self.open_calls.insert(*call, in_flight.position);
        }
        self.ready.push_back((batch, records, in_flight));
        self.send_ready();
    }

    fn send_ready(&mut self) {
        while self.in_flight.len() < in_flight_max() {
            let Some((batch, records, in_flight)) = self.ready.pop_front() else { return };
            self.deliver(&batch, records, in_flight);
        }
    }

    fn deliver(&mut self, batch: &Numbered, records: Vec<Record>, in_flight: InFlight) {
        self.last_told = Instant::now();
        self.sent_at = self.last_told;
        let delivered = in_flight.delivered.subscribe();
        let entry = self.entry(Command::Activity(Batch {
            node: self.parts.cluster.node(),
            incarnation: batch.incarnation,
            sequence: batch.sequence,
            digest: batch.digest(),
            records,
        }));
        self.deliveries.spawn(deliver(self.parts.clone(), entry, delivered));
        self.in_flight.insert(batch.sequence, in_flight);
    }

    fn on_note(&mut self, note: &Note) {
        self.on_batch(note);
        self.spend(|purse, state| purse.moved(state));
    }

    /// Has the purse act on what is applied here; what it asks for goes out with the next batch.
    fn spend(&mut self, act: impl FnOnce(&Purse, &State) -> Vec<Record>) {
        let state = self.parts.cluster.state();
        for record in act(&self.purse, &state) {
            self.queue(Item { record, urgent: true, progress: None });
        }
    }

    fn on_batch(&mut self, note: &Note) {
        let Some(BatchNote { node, incarnation, sequence, outcome }) = &note.batch else { return };
        if *node != self.parts.cluster.node() || *incarnation != self.incarnation {
            return;
        }
        let Ok(Outcome::BatchApplied { records }) = outcome else { return };
        let Some(in_flight) = self.in_flight.get_mut(sequence) else { return };
        in_flight.applied = true;
        in_flight.delivered.send_replace(true);
        for (sender, applied) in in_flight.progress.iter().zip(records) {
            if let Some(sender) = sender {
                sender.send_replace(Progress::Applied(*applied));
            }
        }
        for call in std::mem::take(&mut in_flight.calls_closed) {
            self.open_calls.remove(&call);
        }
        let posting = std::mem::take(&mut in_flight.posting);
        let sequence = *sequence;
        self.posted(sequence, &posting);
        self.settle();
    }

    fn posted(&mut self, sequence: u64, posting: &Posting) {
        if sequence >= self.carried {
            self.purse.open();
        }
        self.spend(|purse, state| purse.applied(state, posting));
    }

    /// Notes were missed: what the state says was applied is applied, but its answers are not known here.
    fn on_lagged(&mut self) {
        let state = self.parts.cluster.state();
        let Some(activity) = state.activity.get(&self.parts.cluster.node()) else { return };
        if activity.incarnation != self.incarnation {
            return;
        }
        let mut postings = Vec::new();
        for (sequence, in_flight) in self.in_flight.range_mut(..=activity.last_sequence) {
            postings.push((*sequence, std::mem::take(&mut in_flight.posting)));
            in_flight.applied = true;
            in_flight.delivered.send_replace(true);
            for sender in in_flight.progress.iter().flatten() {
                sender.send_replace(Progress::Failed);
            }
            for call in std::mem::take(&mut in_flight.calls_closed) {
                self.open_calls.remove(&call);
            }
        }
        for (sequence, posting) in postings {
            self.posted(sequence, &posting);
        }
        self.settle();
    }

    /// Forgets what is applied, and lets the journal forget what no restart will ask for.
    fn settle(&mut self) {
        while self.in_flight.first_key_value().is_some_and(|(_, in_flight)| in_flight.applied) {
            self.in_flight.pop_first();
        }
        self.send_ready();
        self.discard();
    }

    fn discard(&self) {
        let unapplied = self.in_flight.values().map(|in_flight| in_flight.position).min();
        let ready = self.ready.front().map(|(_, _, in_flight)| in_flight.position);
        let flushing = self.flushing.as_ref().map(|(_, _, in_flight)| in_flight.position);
        let open = self.open_calls.values().copied().min();
        if let Some(needed) = [unapplied, ready, flushing, open].into_iter().flatten().min() {
            self.parts.journal.discard(needed.saturating_sub(1));
        }
    }

    /// Tells which calls are over, where limits count them.
    fn tell_settled(&mut self) {
        if self.settled_at.elapsed() < SETTLED {
            return;
        }
        self.settled_at = Instant::now();
        let state = self.parts.cluster.state();
        if !state.ledger.accounts.is_empty() {
            let record = Record::SettledThrough(self.purse.settled_through(state.log_time));
            self.queue(Item { record, urgent: false, progress: None });
        }
    }

    /// Tells this node's clock when nothing else has.
    fn tick(&mut self, stopping: bool) {
        if !stopping {
            self.tell_settled();
        }
        if stopping || self.ticking || self.last_told.elapsed() < TICK {
            return;
        }
        self.last_told = Instant::now();
        self.ticking = true;
        let entry = self.entry(Command::Tick { node: self.parts.cluster.node() });
        let cluster = self.parts.cluster.clone();
        self.deliveries.spawn(async move {
            // A tick that is lost is replaced by the next.
            let _ = cluster.propose(entry, Instant::now() + TICK).await;
            Ok(())
        });
    }

    fn entry(&self, command: Command) -> Entry {
        node_entry(&self.parts, command)
    }
}

/// An entry this node proposes for itself.
pub(crate) fn node_entry(parts: &Parts, command: Command) -> Entry {
    let node = parts.cluster.node();
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::of_node(node),
            key: None,
            via: Via::Node(node),
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: None,
        request_digest: Digest::default(),
        observed_at: TimestampMs(parts.clock.now_ms()),
        command,
        signature: None,
    }
}

/// Proposes until the batch is applied. Errors end the node: its history was taken over or differs.
async fn deliver(parts: Parts, entry: Entry, mut delivered: watch::Receiver<bool>) -> Result<(), String> {
    loop {
        let attempt = async {
            match parts.cluster.propose(entry.clone(), Instant::now() + PROPOSE_DEADLINE).await {
                // Committed: this node applies it in a moment. Asked again only should that take strangely long.
                Ok(Ok(_)) => {
                    sleep(PROPOSE_DEADLINE).await;
                    Ok(())
                }
                Ok(Err(Rejection::Gap { .. })) | Err(ProposeFailure::NotReady | ProposeFailure::Unknown) => {
                    sleep(RETRY).await;
                    Ok(())
                }
                Ok(Err(fatal)) => {
                    error!(code = fatal.code(), "the cluster refuses this node's activity: {fatal}");
                    Err(fatal.to_string())
                }
                Err(ProposeFailure::Stopped(why)) => Err(why),
            }
        };
        tokio::select! {
            _ = delivered.wait_for(|delivered| *delivered) => return Ok(()),
            result = attempt => result?,
        }
    }
}

/// Calls that the records open, and calls that they close.
pub(crate) fn calls_of(records: &[Record]) -> (Vec<CallId>, Vec<CallId>) {
    let mut opened = Vec::new();
    let mut closed = Vec::new();
    for record in records {
        match record {
            Record::Admission(admission) => opened.push(admission.call),
            Record::Completion(completion) => closed.push(completion.call),
            _ => {}
        }
    }
    (opened, closed)
}

/// An upper bound of a record's encoded size, from its texts.
pub(crate) fn approximate_bytes(record: &Record) -> usize {
    const FIXED: usize = 512;
    /// An account's names, its amounts and what is around them.
    const ACCOUNT_BYTES: usize =
        limits::SLUG_BYTES_MAX + limits::NAME_BYTES_MAX + limits::SUBJECT_BYTES_MAX + 128;
    let caller = |caller: &only1mcp_domain::activity::Caller| {
        let sealed = caller.personal.as_ref().map_or(0, |slot| slot.ciphertext.len() + SLOT_BYTES);
        caller.user_agent.len() + caller.request_id.len() + sealed + 3 * limits::NAME_BYTES_MAX
    };
    FIXED
        + match record {
            Record::Admission(a) => {
                caller(&a.caller)
                    + a.item.len()
                    + a.role_path.len() * limits::NAME_BYTES_MAX
                    + (a.holds.len() + a.counts.len()) * ACCOUNT_BYTES
                    + a.quote.as_deref().map_or(0, quote_bytes)
                    + tags_bytes(&a.tags)
            }
            Record::Refusal(r) => caller(&r.caller) + r.item.len(),
            Record::SessionOpened(s) | Record::SessionClosed(s) => {
                caller(&s.caller) + s.client_name.len() + s.client_version.len() + s.protocol_version.len()
            }
            Record::Unauthenticated(u) => u.sources.len() * 64,
            Record::NodeNotice { detail, .. } => detail.len(),
            Record::Completion(c) => {
                c.charges.len() * ACCOUNT_BYTES + c.cost.as_deref().map_or(0, cost_bytes)
            }
            Record::Ask(ask) => ask.parts.len() * ACCOUNT_BYTES,
            Record::Return(parts) => parts.len() * ACCOUNT_BYTES,
            Record::Restarted { .. } | Record::SettledThrough(_) | Record::KeyUsed { .. } => 0,
            Record::AuditRead(read) => caller(&read.caller) + read.asked.len(),
        }
}

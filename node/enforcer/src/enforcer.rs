//! The way of one call: freshness, decision, journal, commit.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use only1mcp_domain::activity::{
    Admission, AuditRead, Caller, ItemKind, Record, Refusal, SessionEvent, trail,
};
use only1mcp_domain::decide::{Action, Context, Decision, Denial, Evidence, Reason, Request};
use only1mcp_domain::ids::{
    ApiKeyId, CallId, DecisionId, Digest, McpSessionId, PrincipalId, ProjectId, TenantId, UpstreamId,
};
use only1mcp_domain::model::{Quota, Tags};
use only1mcp_domain::outcome::Effect;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{State, limits};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admitted::{Admitted, Refused};
use crate::allowance::NotHeld;
use crate::audit_reads::AuditReads;
use crate::batcher::{Batcher, Intake, Progress};
use crate::bound::{ITEM_BYTES_MAX, cut};
use crate::freshness::{Freshness, NotFresh, stale_wait, staleness_ms_max};
use crate::metrics::Metrics;
use crate::minute::UsedThisMinute;
use crate::pace::Paces;
use crate::ports::Parts;
use crate::purse::Purse;
use crate::recover::recover;
use crate::refusals::Fold;
use crate::view::{View, ViewCell};

const EFFECTS_MAX: usize = 1_024;
/// How long a refusal waits for its record to be on disk.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// What the gateway knows of one request.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// The tenant whose item is used.
    pub tenant: TenantId,
    pub caller_tenant: TenantId,
    pub principal: PrincipalId,
    pub key: Option<ApiKeyId>,
    pub session: Option<McpSessionId>,
    pub project: Option<ProjectId>,
    pub ip: Option<IpAddr>,
    pub mfa: bool,
    pub user_agent: String,
    pub request_id: String,
    /// What the call says of itself; counts as far as its tenant allows.
    pub tags: Tags,
    /// Of its arguments, as they came.
    pub input_bytes: u64,
}

impl CallFacts {
    fn caller(&self) -> Caller {
        Caller {
            tenant: self.caller_tenant.clone(),
            principal: self.principal.clone(),
            key: self.key.clone(),
            session: self.session,
            project: self.project.clone(),
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            personal: None,
            request_id: self.request_id.clone(),
        }
    }

    fn request<'a>(&'a self, action: Action<'a>, context: Context<'a>) -> Request<'a> {
        Request {
            tenant: &self.tenant,
            caller_tenant: &self.caller_tenant,
            principal: &self.principal,
            key: self.key.as_ref(),
            action,
            context,
        }
    }
}

/// Decides and records for one node. Cheap to share.
pub struct Enforcer {
    pub(crate) parts: Parts,
    pub(crate) intake: Intake,
    pub(crate) purse: Arc<Purse>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fold: Fold,
    audit_reads: AuditReads,
    view: ViewCell,
    freshness: Freshness,
    used: UsedThisMinute,
    paces: Arc<Paces>,
    draining: AtomicBool,
    disk_low: AtomicBool,
    effects: broadcast::Sender<Effect>,
}

impl Enforcer {
    /// The state and policy that decisions are made on.
    pub fn view(&self) -> Arc<View> {
        self.view.load()
    }

    /// The same, if it is known to be at most so old.
    pub fn view_within(&self, staleness_ms_max: u64) -> Option<Arc<View>> {
        self.freshness.within(staleness_ms_max, || self.view.load())
    }

    /// Waits until decisions are made on everything up to `index`.
    pub async fn wait_view(&self, index: u64) {
        // The sender lives as long as `self`.
        let _ = self.view.watch().wait_for(|applied| *applied >= index).await;
    }

    /// Index that the view stands at, for waiting on it.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.view.watch()
    }

    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    pub fn is_fresh(&self) -> bool {
        self.freshness.is_fresh(staleness_ms_max(&self.view))
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Effects of applied entries, each sent once decisions reflect it.
    pub fn effects(&self) -> broadcast::Receiver<Effect> {
        self.effects.subscribe()
    }

    /// From now on calls are refused as `draining`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// While it is low, calls and sessions are refused as `disk_low`: what is left is for what is under way.
    pub fn set_disk_low(&self, low: bool) {
        self.disk_low.store(low, Ordering::Release);
    }

    pub fn is_disk_low(&self) -> bool {
        self.disk_low.load(Ordering::Acquire)
    }

    /// What this node holds for calls under way, by account; empty while nothing is.
    pub fn held(&self) -> std::collections::BTreeMap<only1mcp_domain::ledger::AccountKey, i128> {
        self.purse.committed()
    }

    /// The evaluator on the current view. Records nothing.
    pub fn decide(&self, facts: &CallFacts, action: Action<'_>) -> Decision {
        self.decide_on(&self.view(), facts, action)
    }

    fn decide_on(&self, view: &View, facts: &CallFacts, action: Action<'_>) -> Decision {
        view.policy.decide(&facts.request(action, self.context(view, facts)))
    }

    /// Other paths to what was decided on the same view.
    pub(crate) fn alternatives(
        &self,
        view: &View,
        facts: &CallFacts,
        action: Action<'_>,
        decided: &Evidence,
    ) -> Vec<Evidence> {
        view.policy.alternatives(&facts.request(action, self.context(view, facts)), decided)
    }

    fn context<'a>(&'a self, view: &View, facts: &'a CallFacts) -> Context<'a> {
        Context {
            now: view.now(),
            ip: facts.ip,
            mfa: facts.mfa,
            project: facts.project.as_ref(),
            zones: &*self.parts.zones,
        }
    }

    /// Admits a call, or refuses it; either is recorded. At return the admission is on this node's disk.
    /// INVARIANT: P2, P4, P5
    pub async fn admit(
        self: &Arc<Self>,
        facts: &CallFacts,
        kind: ItemKind,
        item: &str,
        upstream: &UpstreamId,
        argument_digest: Digest,
        deadline: Instant,
    ) -> Result<Admitted, Refused> {
        if self.is_draining() {
            return Err(self.refuse_durably(facts, kind, item, Reason::Draining, None).await);
        }
        if self.is_disk_low() {
            return Err(self.refuse_durably(facts, kind, item, Reason::DiskLow, None).await);
        }
        // A longer name cannot be recorded whole, so nothing by that name is let through. INVARIANT: P5
        if item.len() > ITEM_BYTES_MAX {
            return Err(self.refuse_durably(facts, kind, item, Reason::UpstreamUnknown, None).await);
        }
        let bound = staleness_ms_max(&self.view);
        let until = deadline.min(Instant::now() + stale_wait(&self.view));
        if let Err(not_fresh) = self.freshness.wait(&facts.tenant, bound, until).await {
            let reason = match not_fresh {
                NotFresh::Stale => Reason::Stale,
                NotFresh::QueueFull => Reason::Overloaded,
            };
            return Err(self.refuse_durably(facts, kind, item, reason, None).await);
        }
        let view = self.view();
        let evidence = match self.decide_on(&view, facts, Action::Execute(item)) {
            Decision::Allow(evidence) => evidence,
            Decision::Deny(denial) => {
                return Err(self.refuse_durably(facts, kind, item, denial.reason, Some(&denial)).await);
            }
        };
        if let Some(too_long) = context_exceeded(&view.state, facts) {
            let mut refused = self.refuse_durably(facts, kind, item, Reason::ContextExceeded, None).await;
            refused.message = format!("{} ({too_long})", refused.message);
            return Err(refused);
        }
        let call = CallId(self.random());
        let held = self.hold_by_some_path(&view, call, facts, item, upstream, evidence, deadline).await;
        let (held, evidence) = match held {
            Ok(held) => held,
            Err(NotHeld { reason, limit, fault }) => {
                let mut refused = self.refuse_durably(facts, kind, item, reason, None).await;
                refused.name_limit(limit);
                refused.name_fault(fault);
                return Err(refused);
            }
        };
        let mut admission = self.admission(call, facts, kind, item, upstream, argument_digest, &evidence);
        admission.holds.clone_from(&held.holds);
        admission.counts = held.counts();
        admission.quote.clone_from(&held.priced.quote);
        admission.tags.clone_from(&held.priced.tags);
        let record = Record::Admission(Box::new(admission.clone()));
        let Ok(mut progress) = self.intake.follow(record, true) else {
            return Err(self.refuse(facts, kind, item, Reason::Overloaded, None));
        };
        let admitted = Admitted::new(self.clone(), admission, held, progress.clone());
        match progress.wait_for(|p| !matches!(p, Progress::Queued)).await {
            Ok(reached) if !matches!(*reached, Progress::Failed) => {}
            _ => return Err(self.refuse(facts, kind, item, Reason::AuditUnavailable, None)),
        }
        self.metrics.allowed();
        self.key_of(facts);
        Ok(admitted.give())
    }

    #[expect(clippy::too_many_arguments, reason = "everything an admission says, each once")]
    fn admission(
        &self,
        call: CallId,
        facts: &CallFacts,
        kind: ItemKind,
        item: &str,
        upstream: &UpstreamId,
        argument_digest: Digest,
        evidence: &Evidence,
    ) -> Admission {
        Admission {
            call,
            caller: facts.caller(),
            tenant: facts.tenant.clone(),
            kind,
            item: item.to_owned(),
            upstream: upstream.clone(),
            argument_digest,
            decision: DecisionId(self.random()),
            grant: evidence.path.grant.clone(),
            role_path: evidence.path.roles.clone(),
            revision: evidence.revision,
            mode: evidence.seal_mode,
            observed_at: self.now(),
            holds: Vec::new(),
            quote: None,
            counts: Vec::new(),
            tags: Tags::new(),
        }
    }

    /// Records a refusal (folded, where there are many) and words it for the caller.
    pub fn refuse(
        &self,
        facts: &CallFacts,
        kind: ItemKind,
        item: &str,
        reason: Reason,
        denial: Option<&Denial>,
    ) -> Refused {
        let (refused, refusal) = self.word(facts, kind, item, reason, denial);
        self.write_refusal(refusal);
        refused
    }

    /// As [`Enforcer::refuse`], and returns once the record is on this node's disk; without it where that takes longer
    /// than two seconds, for a refusal is given in any case. INVARIANT: P3
    pub async fn refuse_durably(
        &self,
        facts: &CallFacts,
        kind: ItemKind,
        item: &str,
        reason: Reason,
        denial: Option<&Denial>,
    ) -> Refused {
        let (refused, refusal) = self.word(facts, kind, item, reason, denial);
        let tenant = trail(&self.view().state, &refusal.caller.tenant, &refusal.tenant).clone();
        if let Some(record) = self.fold.refused(refusal, tenant)
            && let Ok(mut progress) = self.intake.follow(record, true)
        {
            let written = progress.wait_for(|p| !matches!(p, Progress::Queued));
            let _ = tokio::time::timeout(REFUSAL_WAIT, written).await;
        }
        refused
    }

    fn word(
        &self,
        facts: &CallFacts,
        kind: ItemKind,
        item: &str,
        reason: Reason,
        denial: Option<&Denial>,
    ) -> (Refused, Refusal) {
        self.metrics.denied(reason);
        let decision = DecisionId(self.random());
        let revision = denial.map_or_else(|| self.view().policy.revision(), |denial| denial.revision);
        let now = self.now();
        let mut item = item.to_owned();
        cut(&mut item, ITEM_BYTES_MAX);
        let rule =
            denial.and_then(|d| d.rule.as_ref()).map(|rule| format!(" by rule {rule}")).unwrap_or_default();
        let message = format!("{item} is refused ({}){rule}: {}", reason.code(), reason.ask());
        let refusal = Refusal {
            decision,
            caller: facts.caller(),
            tenant: facts.tenant.clone(),
            kind,
            item,
            reason,
            revision,
            count: 1,
            first_at: now,
            last_at: now,
        };
        (Refused { reason, decision, revision, message, limit: None }, refusal)
    }

    /// Records a refusal that was worded elsewhere (administration).
    pub fn record_refusal(&self, refusal: Refusal) {
        self.metrics.denied(refusal.reason);
        self.write_refusal(refusal);
    }

    fn write_refusal(&self, refusal: Refusal) {
        let tenant = trail(&self.view().state, &refusal.caller.tenant, &refusal.tenant).clone();
        if let Some(record) = self.fold.refused(refusal, tenant) {
            // A full queue drops the single event, never the count in the metrics; the caller is refused either way.
            let _ = self.intake.tell(record);
        }
    }

    /// Counts a request without valid credentials.
    pub fn unauthenticated(&self, source: Option<IpAddr>) {
        self.metrics.unauthenticated();
        self.fold.unauthenticated(source, self.now());
    }

    /// Records a login by key: once per MCP session.
    pub fn session_opened(
        &self,
        facts: &CallFacts,
        client_name: &str,
        client_version: &str,
        protocol_version: &str,
    ) {
        self.key_of(facts);
        let event = SessionEvent {
            caller: facts.caller(),
            tenant: facts.tenant.clone(),
            client_name: client_name.to_owned(),
            client_version: client_version.to_owned(),
            protocol_version: protocol_version.to_owned(),
            observed_at: self.now(),
        };
        let _ = self.intake.tell(Record::SessionOpened(Box::new(event)));
    }

    fn key_of(&self, facts: &CallFacts) {
        if let Some(key) = &facts.key {
            self.key_used(key);
        }
    }

    /// Notes a use of the key, once a minute.
    pub fn key_used(&self, key: &ApiKeyId) {
        let now = self.now();
        if self.used.first_use(key, now.0) {
            let _ = self.intake.tell(Record::KeyUsed { key: key.clone(), at: now });
        }
    }

    /// Records that the audit trail is read. False where the record cannot be taken: then nothing may be read.
    /// INVARIANT: P5
    pub fn record_audit_read(&self, read: AuditRead) -> bool {
        let record = self.audit_reads.read(read, Instant::now());
        record.is_none_or(|record| self.intake.tell(record).is_ok())
    }

    /// Records something about the node itself.
    pub fn notice(&self, kind: only1mcp_domain::activity::NoticeKind, detail: String) {
        let _ = self.intake.tell(Record::NodeNotice { kind, detail });
    }

    /// Resolves when so many bytes of a call in `tenant` may go on. INVARIANT: P7 (no other tenant waits for them)
    pub async fn pace(&self, tenant: &TenantId, bytes: u64) {
        let view = self.view();
        self.paces.pace(&view.state, tenant, bytes).await;
    }

    pub fn now(&self) -> TimestampMs {
        TimestampMs(self.parts.clock.now_ms())
    }

    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.parts.entropy.fill(&mut bytes);
        bytes
    }
}

/// What is too long about the input of a call, where its tenant bounds that. No tokenizer is asked: input counts as many
/// tokens as it has bytes, over `CONTEXT_BYTES_PER_TOKEN`.
fn context_exceeded(state: &State, facts: &CallFacts) -> Option<String> {
    let Quota::AtMost(max) = state.tenants.get(&facts.tenant)?.value.quotas.max_context_size else {
        return None;
    };
    let tokens = facts.input_bytes.div_ceil(limits::CONTEXT_BYTES_PER_TOKEN);
    (tokens > max).then(|| format!("about {tokens} tokens of input, and at most {max} are allowed"))
}

/// Everything that runs beside the enforcer. `stop` ends it once all activity is applied.
pub struct Service {
    enforcer: Arc<Enforcer>,
    tasks: JoinSet<Result<(), String>>,
    stop: watch::Sender<bool>,
}

impl Service {
    /// Recovers the journal, then serves. Returns when calls can be admitted.
    /// Errors: the journal cannot be read or written, or the cluster refuses this node.
    pub async fn start(parts: Parts) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::default());
        let purse = Arc::new(Purse::new(parts.cluster.node(), metrics.clone()));
        let (batcher, intake) = Batcher::new(parts.clone(), metrics.clone(), purse.clone());
        let enforcer = Arc::new(Enforcer {
            view: ViewCell::new(&*parts.cluster),
            parts: parts.clone(),
            intake,
            purse,
            metrics,
            fold: Fold::default(),
            audit_reads: AuditReads::default(),
            freshness: Freshness::new(parts.clock.clone()),
            used: UsedThisMinute::default(),
            paces: Arc::default(),
            draining: AtomicBool::new(false),
            disk_low: AtomicBool::new(false),
            effects: broadcast::Sender::new(EFFECTS_MAX),
        });
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let enforcer = enforcer.clone();
            async move {
                let cluster = enforcer.parts.cluster.clone();
                enforcer.view.follow(&*cluster, cluster.applied()).await;
                Err("the state machine ended".to_owned())
            }
        });
        tasks.spawn({
            let enforcer = enforcer.clone();
            async move {
                let cluster = enforcer.parts.cluster.clone();
                enforcer.freshness.keep(&*cluster, &enforcer.view).await;
                Ok(())
            }
        });
        tasks.spawn(forward_effects(enforcer.clone()));
        tasks.spawn(flush_refusals(enforcer.clone()));
        let carried = recover(&parts).await?;
        tasks.spawn(batcher.run(carried, stop.subscribe()));
        Ok(Self { enforcer, tasks, stop })
    }

    pub fn enforcer(&self) -> Arc<Enforcer> {
        self.enforcer.clone()
    }

    /// Resolves when something failed that ends the node, and says what.
    pub async fn failed(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(why))) => return why,
                Some(Err(error)) => return format!("a task of the enforcer ended: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// Stops taking calls and waits until all activity is applied, at most until `deadline`.
    /// Errors: the deadline passed; what is left is in the journal and is sent at the next start.
    pub async fn stop(mut self, deadline: Instant) -> Result<(), String> {
        self.enforcer.drain();
        let reads = self.enforcer.audit_reads.end();
        for record in self.enforcer.fold.flush().into_iter().chain(reads) {
            let _ = self.enforcer.intake.tell(record);
        }
        self.stop.send_replace(true);
        let finished = async {
            // The batcher alone ends well; the others run until they are dropped.
            match self.tasks.join_next().await {
                Some(Ok(result)) => result,
                Some(Err(error)) => Err(error.to_string()),
                None => Ok(()),
            }
        };
        tokio::time::timeout_at(deadline, finished)
            .await
            .unwrap_or_else(|_| Err("activity was not all applied in time; the journal keeps it".to_owned()))
    }
}

async fn flush_refusals(enforcer: Arc<Enforcer>) -> Result<(), String> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reads = enforcer.audit_reads.flush(Instant::now());
        for record in enforcer.fold.flush().into_iter().chain(reads) {
            let _ = enforcer.intake.tell(record);
        }
    }
}

/// What an operator should see of limits without asking.
fn log_budget(metrics: &Metrics, effect: &Effect) {
    match effect {
        Effect::BudgetLevel { account, level, posted, limit } => {
            tracing::warn!(%account, level = level.text(), posted, limit, "a budget passed a share of its limit");
        }
        Effect::Overrun { account, amount } => {
            tracing::warn!(%account, amount, "a call used more than was held for it");
        }
        Effect::LedgerBroken { account } => {
            metrics.ledger_broken();
            tracing::error!(%account, "an account's numbers contradict each other: it lends nothing more");
        }
        Effect::PolicyChanged { .. }
        | Effect::UpstreamsChanged { .. }
        | Effect::SessionClosed { .. }
        | Effect::NodesChanged
        | Effect::SettingsChanged => {}
    }
}

/// Passes effects on after the view has moved past them, so that whoever acts on one decides by the new policy.
async fn forward_effects(enforcer: Arc<Enforcer>) -> Result<(), String> {
    let mut notes = enforcer.parts.cluster.notes();
    loop {
        match notes.recv().await {
            Ok(note) if note.resync => {
                enforcer.wait_view(note.log_index).await;
                let _ = enforcer.effects.send(Effect::PolicyChanged { tenant: None });
            }
            Ok(note) => {
                if note.effects.is_empty() {
                    continue;
                }
                enforcer.wait_view(note.log_index).await;
                for effect in &note.effects {
                    log_budget(&enforcer.metrics, effect);
                    let _ = enforcer.effects.send(effect.clone());
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let _ = enforcer.effects.send(Effect::PolicyChanged { tenant: None });
            }
            Err(broadcast::error::RecvError::Closed) => return Err("the state machine ended".to_owned()),
        }
    }
}

//! An admitted call: what holds its answer back (P2), and how its end is recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use only1mcp_domain::activity::{Admission, CallOutcome, Completion, Record};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{AuditIndex, CallId, DecisionId, Digest, Revision};
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::model::SealMode;
use only1mcp_domain::price::{Metering, QuoteFault};
use only1mcp_domain::time::TimestampMs;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::allowance::Held;
use crate::batcher::Progress;
use crate::enforcer::Enforcer;
use crate::priced::Used;

/// Proof that a call was recorded; travels with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub call: CallId,
    pub revision: Revision,
    pub mode: SealMode,
    /// Audit index and event hash; `None` while it stands on this node's disk only.
    pub audit: Option<(AuditIndex, Digest)>,
}

/// A refusal, recorded already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub reason: Reason,
    pub decision: DecisionId,
    pub revision: Revision,
    /// For the caller: what decided it and what to ask for.
    pub message: String,
    /// The limit that left no room, and when its next period begins.
    pub limit: Option<(AccountKey, TimestampMs)>,
}

impl Refused {
    pub(crate) fn name_limit(&mut self, limit: Option<(AccountKey, TimestampMs)>) {
        if let Some((account, _)) = &limit {
            let of = if account.subject.is_empty() { "" } else { " of " };
            self.message = format!("{} (limit {}{of}{})", self.message, account.limit, account.subject);
        }
        self.limit = limit;
    }

    pub(crate) fn name_fault(&mut self, fault: Option<QuoteFault>) {
        if let Some(fault) = fault {
            self.message = format!("{} ({fault})", self.message);
        }
    }
}

/// Dropping it without [`Admitted::complete`] records the call as cancelled.
pub struct Admitted {
    enforcer: Arc<Enforcer>,
    admission: Admission,
    /// Taken when the call is charged.
    held: Mutex<Held>,
    metering: Option<Arc<Metering>>,
    progress: watch::Receiver<Progress>,
    started: Instant,
    completed: AtomicBool,
    counted: AtomicBool,
    /// Whether the one who asked has it: before that nothing can have been sent.
    given: AtomicBool,
}

impl Admitted {
    pub(crate) fn new(
        enforcer: Arc<Enforcer>,
        admission: Admission,
        mut held: Held,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        held.keep();
        let metering = held.priced.metering.clone();
        let held = Mutex::new(held);
        Self {
            enforcer,
            admission,
            held,
            metering,
            progress,
            started: Instant::now(),
            completed: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            given: AtomicBool::new(false),
        }
    }

    /// From now on the call may be sent, so what it used is not known until somebody says so.
    pub(crate) fn give(self) -> Self {
        self.given.store(true, Ordering::Relaxed);
        self
    }

    pub fn call(&self) -> CallId {
        self.admission.call
    }

    /// How the usage of the call is found in its answer, as it was when the call was admitted.
    pub fn metering(&self) -> Option<&Metering> {
        self.metering.as_deref()
    }

    /// Resolves when the call may be sent: at once, except in `before_dispatch` mode.
    pub async fn may_dispatch(&self) -> Result<(), Refused> {
        match self.admission.mode {
            SealMode::BeforeDispatch => self.applied().await.map(drop),
            SealMode::Journaled | SealMode::Sealed | SealMode::Completion => Ok(()),
        }
    }

    /// Resolves when bytes that the upstream caused may leave the node.
    /// INVARIANT: P2
    pub async fn sealed(&self) -> Result<Receipt, Refused> {
        let audit = match self.admission.mode {
            SealMode::Journaled => match *self.progress.borrow() {
                Progress::Applied(applied) => applied.audit,
                Progress::Queued | Progress::Journaled | Progress::Failed => None,
            },
            SealMode::Sealed | SealMode::BeforeDispatch | SealMode::Completion => self.applied().await?,
        };
        Ok(Receipt {
            call: self.admission.call,
            revision: self.admission.revision,
            mode: self.admission.mode,
            audit,
        })
    }

    async fn applied(&self) -> Result<Option<(AuditIndex, Digest)>, Refused> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|p| matches!(p, Progress::Applied(_) | Progress::Failed)).await;
        let reached = reached.map(|progress| *progress).unwrap_or(Progress::Failed);
        let Progress::Applied(applied) = reached else { return Err(self.refuse(Reason::AuditUnavailable)) };
        if !self.counted.swap(true, Ordering::Relaxed) {
            self.enforcer.metrics.committed(self.started.elapsed());
        }
        // INVARIANT: P4 (an admission that raced with a revoke: charged, recorded, its result withheld).
        if applied.revoked_in_flight {
            self.enforcer.metrics.revoked_in_flight();
            return Err(self.refuse(Reason::RevokedInFlight));
        }
        Ok(applied.audit)
    }

    fn refuse(&self, reason: Reason) -> Refused {
        Refused {
            reason,
            decision: self.admission.decision,
            revision: self.admission.revision,
            message: format!(
                "the answer to {} is withheld ({}): {}",
                self.admission.item,
                reason.code(),
                reason.ask()
            ),
            limit: None,
        }
    }

    /// As [`Admitted::settle`], of a call of which nobody knows what it used.
    pub async fn complete(
        &self,
        outcome: CallOutcome,
        result_digest: Digest,
        result_bytes: u64,
    ) -> Result<(), Refused> {
        self.settle(outcome, result_digest, result_bytes, &Used::default()).await
    }

    /// Records how the call ended; the first time counts. In `completion` mode resolves when that is committed.
    /// What of `used` is not known costs what was held for it.
    pub async fn settle(
        &self,
        outcome: CallOutcome,
        result_digest: Digest,
        result_bytes: u64,
        used: &Used,
    ) -> Result<(), Refused> {
        if self.completed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let record = self.completion(outcome, result_digest, result_bytes, used);
        if self.admission.mode != SealMode::Completion {
            // An answer does not wait for this record: a restart finds the call open and records it as unknown.
            self.enforcer.intake.owe(record, false);
            return Ok(());
        }
        let mut progress = self.enforcer.intake.owe_and_follow(record);
        match progress.wait_for(|p| matches!(p, Progress::Applied(_) | Progress::Failed)).await {
            Ok(reached) if matches!(*reached, Progress::Applied(_)) => Ok(()),
            _ => Err(self.refuse(Reason::AuditUnavailable)),
        }
    }

    fn completion(
        &self,
        outcome: CallOutcome,
        result_digest: Digest,
        result_bytes: u64,
        used: &Used,
    ) -> Record {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (charges, cost) = held.charge(&self.admission, used);
        drop(held);
        let record = Record::Completion(Completion {
            call: self.admission.call,
            tenant: self.admission.tenant.clone(),
            outcome,
            result_digest,
            result_bytes,
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            observed_at: TimestampMs(self.enforcer.parts.clock.now_ms()),
            charges,
            cost,
        });
        // After the end has its time: by the records, no call begins on a permit that is still in use.
        let newest = || self.enforcer.parts.cluster.state();
        let returned = self.held.lock().unwrap_or_else(PoisonError::into_inner).end(newest);
        returned.into_iter().for_each(|record| self.enforcer.intake.owe(record, true));
        record
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.completed.swap(true, Ordering::AcqRel) {
            let used = if self.given.load(Ordering::Relaxed) { Used::default() } else { Used::nothing() };
            let record = self.completion(CallOutcome::Cancelled, Digest::default(), 0, &used);
            self.enforcer.intake.owe(record, false);
        }
    }
}

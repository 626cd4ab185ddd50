//! One duty in one node's hand: reads the audit trail from the replicated cursor on and delivers what concerns the
//! webhook, in order, each event until it is taken. Ends when the log says that the duty is another's.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::command::DutyProgress;
use only1mcp_domain::ids::{AuditIndex, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Duty, DutyId, Webhook};
use only1mcp_domain::outcome::Rejection;
use tokio::time::{Instant, sleep};

use crate::attempt::attempt;
use crate::backoff::pause;
use crate::message::{Message, message};
use crate::metrics::Standing;
use crate::runner::Shared;

/// Events read at once.
const READ_MAX: usize = 128;
/// The log is told of a cursor without deliveries, or of further failures, at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// A cursor that nothing was delivered at is brought forward by at least so many events.
const SKIP_MIN: u64 = 1_000;
/// Pause before the log, or a disk that failed, is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a node that is stale looks whether it still is.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The duty is no longer this node's.
struct Ended;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    id: DutyId,
    tenant: TenantId,
    fence: u64,
    webhook: Webhook,
    standing: Arc<Standing>,
    /// What the log knows.
    cursor: AuditIndex,
    /// How far this node has come; what lies between is none of the webhook's business.
    position: AuditIndex,
    /// Entries up to here are behind `position`.
    read_to: u64,
    told: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, id: DutyId, duty: &Duty, webhook: Webhook) -> Self {
        let standing = shared.metrics.hold();
        Self {
            shared,
            standing,
            id,
            tenant: webhook.tenant.clone(),
            fence: duty.assigned_at,
            webhook,
            cursor: duty.cursor,
            position: duty.cursor,
            read_to: 0,
            told: None,
        }
    }

    pub(crate) async fn run(mut self) {
        tracing::info!(duty = %self.id, fence = self.fence, cursor = self.cursor.0, "this node delivers");
        while self.catch_up().await.is_ok() && self.skip().await.is_ok() {
            self.standing.idle();
            tokio::select! {
                () = self.shared.signals.after(&self.tenant, self.read_to) => {}
                () = sleep(TELL_EVERY) => {}
            }
        }
        tracing::info!(duty = %self.id, fence = self.fence, "another node delivers from now on");
    }

    /// Up to the head of the trail as it stands now.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        let state = self.shared.port.state();
        let (head, applied) = (state.chain.index, state.last_applied);
        drop(state);
        if self.shared.signals.is_quiet(&self.tenant, self.read_to, applied).await {
            self.position = self.position.max(head);
        }
        while self.position < head {
            self.standing.busy(false, self.position.0);
            let from = AuditIndex(self.position.0 + 1);
            let events = self.shared.port.events(from, READ_MAX).unwrap_or_else(|error| {
                tracing::error!(duty = %self.id, error, "the audit trail cannot be read");
                Vec::new()
            });
            if events.is_empty() {
                sleep(AGAIN).await;
            }
            for event in events {
                match message(&self.webhook, &event) {
                    Ok(Some(message)) => self.deliver(&message).await?,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(index = %event.index, %error, "an audit event cannot be read")
                    }
                }
                self.position = event.index;
            }
            self.skip().await?;
            tokio::task::yield_now().await;
        }
        self.read_to = applied;
        Ok(())
    }

    /// Until it is taken. A webhook that cannot be reached holds up nobody but itself.
    async fn deliver(&mut self, message: &Message) -> Result<(), Ended> {
        let mut failures: u32 = 0;
        loop {
            self.may_send().await?;
            let why = {
                let _place = self.shared.places.take(&self.tenant).await;
                let now_ms = self.shared.port.now_ms();
                attempt(&*self.shared.http, &self.webhook, message, now_ms).await
            };
            let Err(why) = why else {
                self.shared.metrics.delivered();
                self.standing.busy(false, message.index.0);
                return self.advance(message.index).await;
            };
            failures = failures.saturating_add(1);
            self.shared.metrics.failed();
            self.standing.busy(true, self.position.0);
            tracing::warn!(duty = %self.id, index = message.index.0, failures, why, "not delivered");
            self.tell_failure(failures, &why).await?;
            sleep(pause(failures, self.shared.port.random())).await;
        }
    }

    /// Waits while the node's state is stale: the duty may be another's by now.
    async fn may_send(&self) -> Result<(), Ended> {
        loop {
            if self.shared.port.is_fresh() {
                return if self.is_mine() { Ok(()) } else { Err(Ended) };
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn is_mine(&self) -> bool {
        let state = self.shared.port.state();
        let me = Some(self.shared.port.node());
        state.duties.get(&self.id).is_some_and(|duty| duty.assigned_at == self.fence && duty.node == me)
    }

    /// What was passed over without a delivery, now and then: an idle webhook costs the log next to nothing.
    async fn skip(&mut self) -> Result<(), Ended> {
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due && self.position.0.saturating_sub(self.cursor.0) >= SKIP_MIN {
            self.advance(self.position).await?;
        }
        Ok(())
    }

    /// Until the log has it.
    async fn advance(&mut self, cursor: AuditIndex) -> Result<(), Ended> {
        while !self.propose(cursor, 0, String::new()).await? {
            sleep(AGAIN).await;
        }
        self.cursor = cursor;
        Ok(())
    }

    /// The first failure at once and further ones now and then, for whoever asks another node; it is no matter if the
    /// log does not take it.
    async fn tell_failure(&mut self, failures: u32, why: &str) -> Result<(), Ended> {
        if failures > 1 && self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        // Nothing before the event that fails is the webhook's business any more.
        if self.propose(self.position, failures, cut(why)).await? {
            self.cursor = self.position;
        }
        Ok(())
    }

    /// Whether the log took it.
    async fn propose(
        &mut self,
        cursor: AuditIndex,
        attempts: u32,
        last_error: String,
    ) -> Result<bool, Ended> {
        let (duty, fence) = (self.id.clone(), self.fence);
        let progress = DutyProgress { duty, fence, cursor, attempts, last_error };
        match self.shared.port.advance(progress).await {
            Ok(Ok(_)) => {
                self.told = Some(Instant::now());
                Ok(true)
            }
            Ok(Err(
                Rejection::DutyFenced { .. } | Rejection::NotFound { .. } | Rejection::Forbidden { .. },
            )) => Err(Ended),
            Ok(Err(rejection)) => {
                tracing::error!(duty = %self.id, %rejection, "the log does not take how far this duty has come");
                Ok(false)
            }
            Err(error) => {
                tracing::info!(duty = %self.id, error, "the log is not told yet how far this duty has come");
                Ok(false)
            }
        }
    }
}

/// At most what the log takes of it, and in one line.
fn cut(why: &str) -> String {
    let mut text = String::new();
    for c in why.chars().filter(|c| !c.is_control()) {
        if text.len() + c.len_utf8() > limits::DUTY_ERROR_BYTES_MAX {
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duty_error_bytes_max() {
        let exact = "é".repeat(limits::DUTY_ERROR_BYTES_MAX / 2);
        assert_eq!(cut(&exact), exact);
        assert_eq!(cut(&format!("{exact}x")), exact);
        assert_eq!(cut("a\nb"), "ab");
    }
}

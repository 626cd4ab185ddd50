//! How a call's end becomes its record and its answer.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::model::SealMode;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::call::run::{Call, End, Sent, failed, sealed, unrecorded};
use crate::call::target::{Method, digest_of};
use crate::call::usage;
use crate::config::ms;
use crate::inner::Inner;
use crate::json::{CANCELLED, Message, RawObject, RpcError, code, notification, number, string};
use crate::ports::{AdmittedCall, Ending, Receipt, Refused, Used};
use crate::relay::expose_contents;
use crate::session::Ended;
use crate::upstream::{Connection, UpstreamError};

const RECEIPT: &str = "only1mcp/receipt";

type Concluded = (Bytes, CallOutcome);

impl Call {
    pub(super) async fn conclude(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        end: End,
        sent: &Sent,
    ) -> Concluded {
        // What never left cost nothing; of what did leave and was not answered nobody knows what it cost.
        let unsent = sent.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let used = if unsent { usage::nothing() } else { Used::default() };
        let ending =
            |outcome, used| Ending { outcome, result_digest: Digest::default(), result_bytes: 0, used };
        match end {
            End::Answered { message, connection, took } => {
                self.answered(inner, admitted, message, &connection, took).await
            }
            End::Failed(error) => {
                let outcome = match error {
                    UpstreamError::TimedOut => CallOutcome::TimedOut,
                    _ => CallOutcome::UpstreamFailed,
                };
                self.failed(inner, admitted, ending(outcome, used), &failed(&error, self.upstream())).await
            }
            End::TimedOut => {
                self.tell_cancelled(inner, sent, Some(string("the call took too long")));
                let error = failed(&UpstreamError::TimedOut, self.upstream());
                self.failed(inner, admitted, ending(CallOutcome::TimedOut, used), &error).await
            }
            End::Stopped(ended) => self.stopped(inner, admitted, ended, sent, used).await,
            End::Withheld(refused) => {
                self.tell_cancelled(inner, sent, None);
                self.withheld(inner, admitted, ending(CallOutcome::Withheld, used), &refused).await
            }
            End::Overloaded => {
                let error = RpcError::reason(Reason::Overloaded);
                self.failed(inner, admitted, ending(CallOutcome::UpstreamFailed, used), &error).await
            }
            End::NotOffered { why } => {
                let error = RpcError::new(code::METHOD_NOT_FOUND, why);
                self.failed(inner, admitted, ending(CallOutcome::UpstreamFailed, used), &error).await
            }
        }
    }

    fn upstream(&self) -> &str {
        self.target.upstream.as_ref().map_or("", |upstream| upstream.as_str())
    }

    /// INVARIANT: P2
    async fn answered(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        message: Message,
        connection: &Connection,
        took: Duration,
    ) -> Concluded {
        let result = message.object.get("result").map(|result| (result, RawObject::of(result)));
        let (body, outcome) = match (&result, message.object.get("error")) {
            (Some((body, Some(result))), None) => {
                let is_error = self.target.method == Method::CallTool && result.is_true("isError");
                (*body, if is_error { CallOutcome::ToolError } else { CallOutcome::Success })
            }
            (None, Some(error)) => (error, CallOutcome::UpstreamError),
            _ => {
                let error = UpstreamError::Protocol { why: "its answer is neither a result nor an error" };
                let error = failed(&error, self.upstream());
                let outcome = CallOutcome::UpstreamFailed;
                let (result_digest, used) = (Digest::default(), Used::default());
                let ending = Ending { outcome, result_digest, result_bytes: 0, used };
                return self.failed(inner, admitted, ending, &error).await;
            }
        };
        let result_digest = digest_of(body.get().as_bytes());
        let result_bytes = body.get().len() as u64;
        let read = result.as_ref().map(|(result, _)| *result);
        let used = usage::of_answer(admitted.metering(), read, took, result_bytes);
        let ending = Ending { outcome, result_digest, result_bytes, used };
        let receipt = match sealed(inner, self, admitted).await {
            Ok(receipt) => receipt,
            Err(refused) => return self.withheld(inner, admitted, ending, &refused).await,
        };
        if let Err(refused) = self.complete(inner, admitted, ending).await {
            return (self.refusal(inner, &refused), CallOutcome::Withheld);
        }
        let result = result.and_then(|(_, result)| result);
        let mut object = message.object.with("id", self.id.raw.clone());
        if let Some(mut result) = result {
            if self.target.method == Method::ReadResource {
                expose_contents(connection, &mut result);
            }
            let meta = result.object("_meta").unwrap_or_default().with(RECEIPT, receipt_text(&receipt));
            result.set("_meta", meta.to_raw());
            object.set("result", result.to_raw());
        }
        (object.to_line(), outcome)
    }

    /// The gateway's own error. That the upstream failed is caused by the upstream, too: it leaves sealed.
    async fn failed(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        ending: Ending,
        error: &RpcError,
    ) -> Concluded {
        if let Err(refused) = sealed(inner, self, admitted).await {
            return self.withheld(inner, admitted, ending, &refused).await;
        }
        let outcome = ending.outcome;
        match self.complete(inner, admitted, ending).await {
            Ok(()) => (error.to_response(Some(&self.id.raw)), outcome),
            Err(refused) => (self.refusal(inner, &refused), CallOutcome::Withheld),
        }
    }

    async fn withheld(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        ending: Ending,
        refused: &Refused,
    ) -> Concluded {
        // The answer is a refusal whatever becomes of this record.
        let _ = self.complete(inner, admitted, Ending { outcome: CallOutcome::Withheld, ..ending }).await;
        (self.refusal(inner, refused), CallOutcome::Withheld)
    }

    async fn stopped(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        ended: Ended,
        sent: &Sent,
        used: Used,
    ) -> Concluded {
        let (outcome, reason, error) = match ended {
            Ended::ByClient { reason } => {
                (CallOutcome::Cancelled, reason, RpcError::new(code::CANCELLED, "cancelled by the client"))
            }
            Ended::SessionClosed => (CallOutcome::Cancelled, None, RpcError::reason(Reason::SessionClosed)),
            Ended::AuthorityLost => (CallOutcome::Withheld, None, RpcError::reason(Reason::RevokedInFlight)),
            Ended::Shutdown => (CallOutcome::Cancelled, None, RpcError::reason(Reason::Draining)),
        };
        self.tell_cancelled(inner, sent, reason);
        let ending = Ending { outcome, result_digest: Digest::default(), result_bytes: 0, used };
        let _ = self.complete(inner, admitted, ending).await;
        (error.to_response(Some(&self.id.raw)), outcome)
    }

    /// Records the outcome; waits for it where the seal mode says so.
    async fn complete(
        &self,
        inner: &Inner,
        admitted: &dyn AdmittedCall,
        ending: Ending,
    ) -> Result<(), Refused> {
        match timeout(ms(inner.config.seal_ms_max), admitted.complete(ending)).await {
            Ok(recorded) => recorded,
            Err(_) => Err(unrecorded(inner, self).await),
        }
    }

    fn refusal(&self, inner: &Inner, refused: &Refused) -> Bytes {
        inner.metrics.refused();
        RpcError::refused(refused).to_response(Some(&self.id.raw))
    }

    /// The upstream may stop working on it; nobody waits for it to say so.
    fn tell_cancelled(&self, inner: &Inner, sent: &Sent, reason: Option<Box<RawValue>>) {
        let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((connection, id)) = sent else { return };
        let params = RawObject::default().with("requestId", number(id));
        let params = match reason {
            Some(reason) => params.with("reason", reason),
            None => params,
        };
        inner.tasks.spawn(async move {
            let _ = connection.send(&notification(CANCELLED, Some(params.to_raw()))).await;
        });
    }
}

fn receipt_text(receipt: &Receipt) -> Box<RawValue> {
    let mode = match receipt.mode {
        SealMode::Journaled => "journaled",
        SealMode::Sealed => "sealed",
        SealMode::BeforeDispatch => "before_dispatch",
        SealMode::Completion => "completion",
    };
    let text = RawObject::default()
        .with("call", string(&receipt.call.to_string()))
        .with("node", number(receipt.node.0))
        .with("epoch", number(receipt.epoch))
        .with("revision", number(receipt.revision.0))
        .with("mode", string(mode));
    match &receipt.audit {
        Some((index, hash)) => text
            .with("audit_index", number(*index))
            .with("event_hash", string(&hash.to_string()))
            .with("state", string("sealed")),
        None => text.with("state", string("pending")),
    }
    .to_raw()
}

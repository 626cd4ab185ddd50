//! The way of one call: admission, dispatch, everything the upstream says held until it is sealed, answer.
//!
//! Runs as a task of its own: a client that disconnects has not cancelled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use only1mcp_domain::decide::Reason;
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::target::{Method, Target};
use crate::config::ms;
use crate::inner::Inner;
use crate::json::{Kind, Message, RequestId, RpcError, code, number, request};
use crate::ports::{AdmittedCall, CallRequest, CallerInfo, Receipt, Refused};
use crate::relay::{Outgoing, notification_out, request_out, withdraw};
use crate::session::{Ended, EventLog, Flight, Session};
use crate::upstream::{Active, Connection, Inbound, Slot, UpstreamError};
use only1mcp_domain::model::{SessionMode, Upstream};

pub(crate) struct Call {
    pub(crate) caller: CallerInfo,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) id: RequestId,
    pub(crate) target: Target,
    pub(crate) sink: Arc<EventLog>,
    pub(crate) flight: Flight,
}

/// How the work on an admitted call ended.
pub(super) enum End {
    Answered {
        message: Message,
        connection: Arc<Connection>,
        /// From the request's sending on.
        took: Duration,
    },
    Failed(UpstreamError),
    TimedOut,
    Stopped(Ended),
    /// The enforcer says that nothing may leave.
    Withheld(Refused),
    Overloaded,
    /// Not possible at such an upstream; nothing was sent.
    NotOffered {
        why: &'static str,
    },
}

/// Where the request stands at its upstream: what a cancellation must name.
pub(super) type Sent = Mutex<Option<(Arc<Connection>, u64)>>;

pub(crate) async fn run(inner: Arc<Inner>, call: Call) {
    let answer = answer(&inner, &call).await;
    // It is recorded and has given back what it held. INVARIANT: P4 (what was taken away meanwhile is not handed out)
    let answer = tokio::select! {
        biased;
        () = inner.enforcement.pace(&call.caller.tenant, answer.len() as u64) => answer,
        ended = call.flight.ended() => match ended {
            Ended::AuthorityLost => RpcError::reason(Reason::RevokedInFlight).to_response(Some(&call.id.raw)),
            Ended::SessionClosed => RpcError::reason(Reason::SessionClosed).to_response(Some(&call.id.raw)),
            // A client that gave up waits for nothing, and neither does a node that ends.
            Ended::ByClient { .. } | Ended::Shutdown => answer,
        },
    };
    call.sink.push_last(answer);
    if let Some(session) = &call.session {
        session.end_questions(call.sink.stream);
    }
}

async fn answer(inner: &Arc<Inner>, call: &Call) -> Bytes {
    let started = Instant::now();
    let refuse = |refused: &Refused| {
        inner.metrics.refused();
        RpcError::refused(refused).to_response(Some(&call.id.raw))
    };
    let target = &call.target;
    let upstream = target.upstream.as_ref().and_then(|id| inner.upstream(&call.caller.tenant, id));
    let own_reason = if inner.is_draining() { Some(Reason::Draining) } else { None };
    let (Some(upstream), None) = (upstream, own_reason) else {
        let reason = own_reason.unwrap_or(Reason::UpstreamUnknown);
        return refuse(&inner.enforcement.refuse(&call.caller, target.kind, &target.item, reason).await);
    };
    // Read before the decision: a policy that moves meanwhile makes this admission one of the past.
    let epoch = call.session.as_ref().map_or(0, |session| session.epoch());
    let until = started + ms(inner.config.call_ms_max.min(upstream.call_timeout_ms));
    let admitted = inner.enforcement.admit(CallRequest {
        caller: call.caller.clone(),
        kind: target.kind,
        item: target.item.clone(),
        own_name: target.own.clone(),
        upstream: upstream.id.clone(),
        argument_digest: target.argument_digest,
        tags: target.tags.clone(),
        input_bytes: target.argument_bytes,
        deadline: until,
    });
    // Whatever it waits for, it leaves that line when it is taken back.
    let admitted = tokio::select! {
        ended = given_up(call) => return withdrawn(inner, call, &ended).await,
        admitted = admitted => admitted,
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(&refused),
    };
    let sent = Sent::default();
    let end = tokio::select! {
        // Where its session is closed, its connection is too: that is not the upstream's failure.
        biased;
        ended = call.flight.ended() => End::Stopped(ended),
        end = timeout_at(until, dispatch(inner, call, &upstream, &admitted, epoch, &sent)) => {
            end.unwrap_or(End::TimedOut)
        }
    };
    let (answer, outcome) = call.conclude(inner, &*admitted, end, &sent).await;
    inner.metrics.ended(outcome, started.elapsed());
    answer
}

/// Why a call that is not admitted yet is not wanted any more. Whoever disconnects before an answer was begun cannot come
/// back for it, so there is nothing to wait in line for; an admitted call goes on all the same.
async fn given_up(call: &Call) -> Ended {
    tokio::select! {
        ended = call.flight.ended() => ended,
        () = call.sink.abandoned() => Ended::ByClient { reason: None },
    }
}

/// Recorded as a refusal: the call was asked for and not let through. INVARIANT: P3
async fn withdrawn(inner: &Inner, call: &Call, ended: &Ended) -> Bytes {
    let reason = match ended {
        Ended::ByClient { .. } => Reason::Withdrawn,
        Ended::SessionClosed => Reason::SessionClosed,
        Ended::AuthorityLost => Reason::RevokedInFlight,
        Ended::Shutdown => Reason::Draining,
    };
    let target = &call.target;
    let refused = inner.enforcement.refuse(&call.caller, target.kind, &target.item, reason).await;
    inner.metrics.refused();
    let error = match ended {
        Ended::ByClient { .. } => RpcError::new(code::CANCELLED, "cancelled by the client"),
        Ended::SessionClosed | Ended::AuthorityLost | Ended::Shutdown => RpcError::refused(&refused),
    };
    error.to_response(Some(&call.id.raw))
}

async fn dispatch(
    inner: &Arc<Inner>,
    call: &Call,
    upstream: &Arc<Upstream>,
    admitted: &Arc<dyn AdmittedCall>,
    epoch: u64,
    sent: &Sent,
) -> End {
    if let Err(refused) = admitted.may_dispatch().await {
        return End::Withheld(refused);
    }
    let shared = upstream.session_mode == SessionMode::SharedStateless;
    if shared && call.target.method.is_subscription() {
        return End::NotOffered { why: "a shared upstream keeps no subscriptions" };
    }
    let session = call.session.as_ref().filter(|_| !shared);
    let Some(slot) = inner.slot(upstream, session) else { return End::Failed(UpstreamError::SessionLost) };
    slot.admitted_in(epoch);
    let Some(_place) = slot.standing.permit(ms(inner.config.permit_wait_ms_max)).await else {
        return End::Overloaded;
    };
    let first = exchange(inner, call, session, &slot, admitted, sent).await;
    let end = match first {
        // It lost its session before it looked at the request: once more, in a new one.
        End::Failed(UpstreamError::SessionLost) => {
            exchange(inner, call, session, &slot, admitted, sent).await
        }
        end => end,
    };
    match &end {
        End::Answered { .. } => slot.standing.succeeded(),
        End::Failed(UpstreamError::BackingOff { .. }) => {}
        End::Failed(error) => slot.standing.failed(error),
        End::TimedOut | End::Stopped(_) | End::Withheld(_) | End::Overloaded | End::NotOffered { .. } => {}
    }
    end
}

async fn exchange(
    inner: &Arc<Inner>,
    call: &Call,
    session: Option<&Arc<Session>>,
    slot: &Arc<Slot>,
    admitted: &Arc<dyn AdmittedCall>,
    sent: &Sent,
) -> End {
    let connection = match inner.connect(slot, session).await {
        Ok(connection) => connection,
        Err(error) => return End::Failed(error),
    };
    if !connection.offers.serves(call.target.method) {
        return End::NotOffered { why: "this upstream does not offer it" };
    }
    let id = connection.next_id();
    let _active = slot.enter(Active {
        admitted: admitted.clone(),
        sink: call.sink.clone(),
        request: id,
        progress: call.target.progress.clone(),
    });
    *sent.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection.clone(), id));
    let message = request(number(id), call.target.method.name(), call.target.params_for_upstream(id));
    inner.enforcement.pace(&call.caller.tenant, message.to_raw().get().len() as u64).await;
    let sent_at = Instant::now();
    let mut exchange = match connection.exchange(id, &message).await {
        Ok(exchange) => exchange,
        Err(error) => return End::Failed(error),
    };
    loop {
        match exchange.next().await {
            Inbound::Interim(message) => {
                if let Err(refused) = interim(inner, call, session, &connection, admitted, message).await {
                    return End::Withheld(refused);
                }
            }
            Inbound::Answer(message) => {
                remember(call, slot, &message);
                return End::Answered { message, connection, took: sent_at.elapsed() };
            }
            Inbound::Failed(error) => {
                if error.is_fatal() && error == UpstreamError::SessionLost {
                    connection.close();
                }
                return End::Failed(error);
            }
        }
    }
}

/// What the upstream says before it answers.
/// INVARIANT: P2 (nothing of it leaves before the admission is sealed).
async fn interim(
    inner: &Arc<Inner>,
    call: &Call,
    session: Option<&Arc<Session>>,
    connection: &Arc<Connection>,
    admitted: &Arc<dyn AdmittedCall>,
    message: Message,
) -> Result<(), Refused> {
    admitted.sealed().await?;
    let progress = call.target.progress.as_deref();
    let outgoing = match &message.kind {
        Kind::Request { .. } => request_out(session, connection, message, Some(call.sink.stream)).await,
        Kind::Notification { .. } => notification_out(inner, session, connection, message, progress)
            .map(|message| Outgoing { message, asked: None }),
        Kind::Response { .. } => None,
    };
    let Some(outgoing) = outgoing else { return Ok(()) };
    inner.enforcement.pace(&call.caller.tenant, outgoing.message.len() as u64).await;
    if !call.sink.push(outgoing.message) {
        // The client's stream is over or lost; the call goes on.
        if let (Some(number), Some(session)) = (outgoing.asked, session) {
            withdraw(session, number).await;
        }
    }
    Ok(())
}

/// Subscriptions outlive a broken connection.
fn remember(call: &Call, slot: &Slot, answer: &Message) {
    let accepted = answer.object.get("result").is_some();
    match call.target.method {
        Method::Subscribe if accepted => {
            slot.watch(&call.target.own);
        }
        Method::Unsubscribe => slot.unwatch(&call.target.own),
        Method::Subscribe
        | Method::CallTool
        | Method::GetPrompt
        | Method::ReadResource
        | Method::Complete => {}
    }
}

/// Waits until the answer may leave.
/// Errors: it may not, or nobody could say so in time.
pub(super) async fn sealed(
    inner: &Inner,
    call: &Call,
    admitted: &dyn AdmittedCall,
) -> Result<Receipt, Refused> {
    match timeout(ms(inner.config.seal_ms_max), admitted.sealed()).await {
        Ok(sealed) => sealed,
        Err(_) => Err(unrecorded(inner, call).await),
    }
}

/// A refusal for want of a record of the call (P5).
pub(super) async fn unrecorded(inner: &Inner, call: &Call) -> Refused {
    let target = &call.target;
    inner.enforcement.refuse(&call.caller, target.kind, &target.item, Reason::AuditUnavailable).await
}

pub(super) fn failed(error: &UpstreamError, upstream: &str) -> RpcError {
    let (number, code) = match error {
        UpstreamError::TimedOut => (code::TIMED_OUT, "upstream_timeout"),
        _ => (code::UPSTREAM, "upstream_failed"),
    };
    RpcError::new(number, format!("upstream {upstream} {error}"))
        .with_data(serde_json::json!({"code": code, "upstream": upstream}))
}

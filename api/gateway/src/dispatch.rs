//! What is done with each message of a client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use only1mcp_domain::ids::McpSessionId;
use only1mcp_domain::model::{SessionMode, Upstream};
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::call::{Call, Method, Target, run};
use crate::config::ms;
use crate::inner::Inner;
use crate::json::{CANCELLED, Kind, Message, RawObject, RequestId, RpcError, code, response, string_of};
use crate::ports::CallerInfo;
use crate::protocol::ListKind;
use crate::relay::asked_number;
use crate::session::{Bounds, EventLog, InUse, Reader, Session};
use crate::upstream::Connection;

const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

fn of_session(upstream: &Upstream) -> bool {
    upstream.session_mode == SessionMode::PerSession
}

pub(crate) enum Reply {
    /// Nothing to say.
    Accepted,
    Now(Bytes),
    /// An answer in the making: a task pushes it, and gives up what it waits for once this is dropped.
    Later(Reader),
    /// Not taken: what has no id is refused by the transport.
    Refused(StatusCode, RpcError),
}

/// Who sends, in which session.
pub(crate) struct From {
    pub(crate) caller: CallerInfo,
    pub(crate) id: McpSessionId,
    /// There when this node is the session's home and knows it.
    pub(crate) session: Option<Arc<Session>>,
}

impl Inner {
    /// Whether only the session's home can handle the message.
    pub(crate) fn needs_home(&self, caller: &CallerInfo, message: &Message) -> bool {
        match &message.kind {
            Kind::Response { .. } => true,
            Kind::Notification { method } => match method.as_str() {
                "notifications/progress" => true,
                // Needs nothing; concerns whoever runs the request, whatever node is home.
                "notifications/initialized" | CANCELLED => false,
                // For upstream sessions, which only the home has.
                _ => self.has_session_upstreams(caller),
            },
            Kind::Request { method, .. } => {
                if method == "logging/setLevel" {
                    return true;
                }
                if ListKind::of_method(method).is_some() {
                    return self.has_session_upstreams(caller);
                }
                let target = Method::of(method)
                    .and_then(|method| Target::read(method, message.params()?).ok())
                    .and_then(|target| self.upstream(&caller.tenant, &target.upstream?));
                target.is_some_and(|upstream| of_session(&upstream))
            }
        }
    }

    fn has_session_upstreams(&self, caller: &CallerInfo) -> bool {
        self.enforcement.upstreams(&caller.tenant).iter().any(|upstream| of_session(upstream))
    }

    pub(crate) async fn dispatch(self: &Arc<Self>, from: &From, message: Message) -> Reply {
        match message.kind.clone() {
            Kind::Request { id, method } => self.request(from, id, &method, message).await,
            Kind::Notification { method } => self.notified(from, &method, message).await,
            Kind::Response { id } => {
                if let (Some(session), Some(id)) = (&from.session, id) {
                    self.answered_by_client(session, &id, message.object);
                }
                Reply::Accepted
            }
        }
    }

    async fn request(self: &Arc<Self>, from: &From, id: RequestId, method: &str, message: Message) -> Reply {
        let fail = |error: RpcError| Reply::Now(error.to_response(Some(&id.raw)));
        let Some(params) = message.params() else {
            return fail(RpcError::new(code::INVALID_PARAMS, "a parameter is named twice"));
        };
        let done = |result: Result<Box<RawValue>, RpcError>| match result {
            Ok(result) => Reply::Now(response(&id.raw, result)),
            Err(error) => Reply::Now(error.to_response(Some(&id.raw))),
        };
        if let Some(kind) = ListKind::of_method(method) {
            return done(self.list(&from.caller, from.session.as_ref(), kind, &params).await);
        }
        match method {
            "ping" => done(Ok(RawObject::default().to_raw())),
            "logging/setLevel" => done(self.set_level(from, &params).await),
            "initialize" => fail(RpcError::new(code::INVALID_REQUEST, "the session is initialized already")),
            _ => match Method::of(method) {
                None => fail(RpcError::no_such_method(method)),
                Some(method) => match Target::read(method, params) {
                    Ok(target) => self.start(from, id, target),
                    Err(error) => fail(error),
                },
            },
        }
    }

    fn start(self: &Arc<Self>, from: &From, id: RequestId, target: Target) -> Reply {
        let max = self.config.requests_per_session_max;
        let flight = match self.flights.enter(from.id, &id, &from.caller, max) {
            Ok(flight) => flight,
            Err(in_use) => {
                let error = match in_use {
                    InUse::Id => RpcError::new(code::INVALID_REQUEST, "a request with this id is in flight"),
                    InUse::TooMany => RpcError::overloaded("requests_per_session", max),
                };
                return Reply::Now(error.to_response(Some(&id.raw)));
            }
        };
        let sink = match &from.session {
            Some(session) => session.open_stream(&self.config),
            None => EventLog::new(0, Bounds::of_request(&self.config)),
        };
        let reader = sink.reader(None);
        let (caller, session) = (from.caller.clone(), from.session.clone());
        let call = Call { caller, session, id, target, sink, flight };
        self.calls.spawn(run(self.clone(), call));
        Reply::Later(reader)
    }

    async fn notified(self: &Arc<Self>, from: &From, method: &str, message: Message) -> Reply {
        let Some(params) = message.params() else { return Reply::Accepted };
        match method {
            CANCELLED => {
                if let Some(id) = params.get("requestId").and_then(RequestId::of) {
                    self.flights.cancel(from.id, &id, params.get("reason").map(ToOwned::to_owned));
                }
            }
            "notifications/progress" => {
                let token = params.get("progressToken").and_then(asked_number);
                let asked = from.session.as_ref().zip(token).and_then(|(session, n)| session.asked_token(n));
                let Some((connection, token)) = asked else { return Reply::Accepted };
                let params = params.with("progressToken", token);
                // Waited for: progress must not overtake itself, nor the answer that the client sends next.
                if let Some(connection) = connection.upgrade() {
                    let _ = connection.send(&message.object.with("params", params.to_raw())).await;
                }
            }
            // Each upstream was greeted by the gateway itself.
            "notifications/initialized" => {}
            _ => return self.pass_on(from, method, &message.object).await,
        }
        Reply::Accepted
    }

    /// A notification that the gateway knows no meaning of. It names no item that policy could judge, so it goes only
    /// where an admission has led already: to open connections that are this session's own, and on which, under the
    /// policy in force, a call of its client was admitted. It opens none, and a shared upstream never gets it: that
    /// one could not tell whose it is (P7). Changed roots are told to every upstream of the session, since each was
    /// told of the client's roots when it was greeted.
    async fn pass_on(&self, from: &From, method: &str, object: &RawObject) -> Reply {
        let Some(session) = &from.session else { return Reply::Accepted };
        let bytes_max = self.config.notification_bytes_max;
        if object.to_raw().get().len() > bytes_max {
            let why = format!("a notification is at most {bytes_max} bytes long");
            return Reply::Refused(StatusCode::PAYLOAD_TOO_LARGE, RpcError::new(code::INVALID_REQUEST, why));
        }
        let per_second_max = self.config.notifications_per_second_max;
        if !session.may_notify(per_second_max) {
            let error = RpcError::overloaded("notifications_per_second", per_second_max as usize);
            return Reply::Refused(StatusCode::TOO_MANY_REQUESTS, error);
        }
        let (epoch, to_all) = (session.epoch(), method == "notifications/roots/list_changed");
        let slots = session.slots().into_iter().filter(|slot| to_all || slot.is_admitted_in(epoch));
        let told = slots.filter_map(|slot| slot.open_connection()).map(|connection| async move {
            if let Err(error) = connection.send(object).await {
                tracing::debug!(upstream = %connection.upstream.id, %error, "an upstream did not take a notification");
            }
        });
        // Waited for, so that one does not overtake another, nor the request that the client sends next.
        let _ = timeout(ms(self.config.notify_ms_max), join_all(told)).await;
        Reply::Accepted
    }

    /// The client answers an upstream's question.
    fn answered_by_client(&self, session: &Session, id: &RequestId, object: RawObject) {
        let Some(asked) = asked_number(&id.raw).and_then(|number| session.answered(number)) else { return };
        self.send_up(asked.connection.upgrade(), object.with("id", asked.id));
    }

    /// Sends without making the client wait for the upstream.
    fn send_up(&self, connection: Option<Arc<Connection>>, object: RawObject) {
        let Some(connection) = connection else { return };
        self.tasks.spawn(async move {
            if let Err(error) = connection.send(&object).await {
                tracing::debug!(upstream = %connection.upstream.id, %error, "an upstream did not take a message");
            }
        });
    }

    async fn set_level(&self, from: &From, params: &RawObject) -> Result<Box<RawValue>, RpcError> {
        let level = params
            .get("level")
            .filter(|level| string_of(level).is_some_and(|level| LOG_LEVELS.contains(&level.as_str())));
        let level = level.ok_or_else(|| RpcError::new(code::INVALID_PARAMS, "level is not a log level"))?;
        if let Some(session) = &from.session {
            session.set_log_level(level.to_owned());
            let params = RawObject::default().with("level", level.to_owned()).to_raw();
            let open = session.slots().into_iter().filter_map(|slot| slot.open_connection());
            let told = open.filter(|connection| connection.offers.logging).map(|connection| {
                let params = params.clone();
                async move {
                    let within = ms(self.config.list_ms_max);
                    let told = timeout(within, connection.ask("logging/setLevel", params)).await;
                    if !matches!(told, Ok(Ok(_))) {
                        tracing::debug!(upstream = %connection.upstream.id, "an upstream did not take the log level");
                    }
                }
            });
            join_all(told).await;
        }
        Ok(RawObject::default().to_raw())
    }
}

//! What an upstream says outside of any exchange: over its listening stream, or, on a process's one stream, without a
//! sign of which call it belongs to.

use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::ms;
use crate::inner::Inner;
use crate::json::{Kind, Message, RawObject, notification, string};
use crate::protocol::ListKind;
use crate::relay::{Outgoing, notification_out, request_out, withdraw};
use crate::session::Session;
use crate::upstream::{Active, Connection, Slot};
use only1mcp_domain::model::{SessionMode, Upstream};

#[derive(Clone)]
pub(crate) enum Owner {
    Session(Weak<Session>),
    Shared,
}

/// Serves one connection until it closes.
pub(crate) async fn attend(
    inner: Arc<Inner>,
    owner: Owner,
    slot: Weak<Slot>,
    connection: Weak<Connection>,
    mut stray: mpsc::Receiver<Message>,
) {
    restore(&inner, &owner, &slot, &connection).await;
    while let Some(message) = stray.recv().await {
        let (Some(slot), Some(connection)) = (slot.upgrade(), connection.upgrade()) else { return };
        let session = match &owner {
            Owner::Session(session) => match session.upgrade() {
                Some(session) => Some(session),
                None => return,
            },
            Owner::Shared => None,
        };
        tokio::select! {
            () = one(&inner, session.as_ref(), &slot, &connection, message) => {}
            () = connection.closed() => return,
        }
    }
}

/// A fresh connection of a session is told what an earlier one was: log level and watched resources.
async fn restore(inner: &Inner, owner: &Owner, slot: &Weak<Slot>, connection: &Weak<Connection>) {
    let Owner::Session(session) = owner else { return };
    let (Some(session), Some(slot), Some(connection)) =
        (session.upgrade(), slot.upgrade(), connection.upgrade())
    else {
        return;
    };
    let within = ms(inner.config.list_ms_max);
    if let Some(level) = session.log_level().filter(|_| connection.offers.logging) {
        let params = RawObject::default().with("level", level);
        // One that never answers must not keep the rest from being heard.
        let _ = timeout(within, connection.ask("logging/setLevel", params.to_raw())).await;
    }
    for uri in slot.watched() {
        let params = RawObject::default().with("uri", string(&uri));
        let asked = timeout(within, connection.ask("resources/subscribe", params.to_raw())).await;
        if !matches!(asked, Ok(Ok(_))) {
            tracing::debug!(upstream = %connection.upstream.id, "a subscription was lost with its connection");
        }
    }
}

async fn one(
    inner: &Arc<Inner>,
    session: Option<&Arc<Session>>,
    slot: &Arc<Slot>,
    connection: &Arc<Connection>,
    message: Message,
) {
    if let Some(call) = call_of_progress(slot, &message) {
        // INVARIANT: P2
        if all_sealed(inner, std::slice::from_ref(&call)).await
            && let Some(message) =
                notification_out(inner, session, connection, message, call.progress.as_deref())
        {
            call.sink.push(message);
        }
        return;
    }
    let outgoing = match &message.kind {
        Kind::Request { .. } => request_out(session, connection, message, None).await,
        Kind::Notification { method } if session.is_none() => {
            let changed = ListKind::changed_by(method);
            changed.iter().for_each(|kind| connection.forget(*kind));
            // INVARIANT: P2 (a call of any tenant may have changed the list).
            if !changed.is_empty() && all_sealed(inner, &slot.active()).await {
                inner.announce_shared_change(&connection.upstream, method);
            }
            None
        }
        Kind::Notification { .. } => notification_out(inner, session, connection, message, None)
            .map(|message| Outgoing { message, asked: None }),
        Kind::Response { .. } => None,
    };
    // Of a shared upstream nothing is for one client in particular.
    let (Some(outgoing), Some(session)) = (outgoing, session) else { return };
    // INVARIANT: P2 (any call in flight here may have caused it: it waits for the admissions of all of them).
    let active = slot.active();
    if !all_sealed(inner, &active).await {
        if let Some(number) = outgoing.asked {
            withdraw(session, number).await;
        }
        return;
    }
    let through_call = active.first().is_some_and(|oldest| oldest.sink.push(outgoing.message.clone()));
    if !through_call {
        session.stream.push(outgoing.message);
    }
}

/// The call whose progress it is: some servers tell it on their listening stream.
fn call_of_progress(slot: &Slot, message: &Message) -> Option<Active> {
    let Kind::Notification { method } = &message.kind else { return None };
    if method != "notifications/progress" {
        return None;
    }
    let token = message.params()?.get("progressToken")?.get().parse::<u64>().ok()?;
    slot.active().into_iter().find(|call| call.request == token)
}

async fn all_sealed(inner: &Inner, active: &[Active]) -> bool {
    for call in active {
        match timeout(ms(inner.config.seal_ms_max), call.admitted.sealed()).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    true
}

impl Inner {
    /// A shared upstream's lists changed: everybody who may use it is told so, in the gateway's words. The upstream's
    /// own may hold what one of its callers said.
    /// INVARIANT: P7
    pub(crate) fn announce_shared_change(&self, upstream: &Upstream, method: &str) {
        let told = notification(method, None).to_line();
        for session in self.sessions.all() {
            let seen = self.upstream(&session.caller.tenant, &upstream.id);
            let same = seen.is_some_and(|seen| {
                seen.tenant == upstream.tenant && seen.session_mode == SessionMode::SharedStateless
            });
            if same {
                session.stream.push(told.clone());
            }
        }
    }

    pub(crate) fn announce_all_lists(session: &Session) {
        // Templates change with resources.
        for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
            let method = format!("notifications/{}/list_changed", kind.member());
            session.stream.push(notification(&method, None).to_line());
        }
    }
}

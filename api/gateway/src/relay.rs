//! Messages from an upstream to a client: ids, tokens, names and URIs mapped, all else as it came.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::inner::Inner;
use crate::json::{CANCELLED, Kind, Message, RawObject, RequestId, RpcError, code, raw, string};
use crate::protocol::{ListKind, expose_uri};
use crate::session::{Asked, CLIENT_REQUESTS_MAX, Session};
use crate::upstream::Connection;

/// A message ready to leave, and the question it puts to the client, if it is one.
pub(crate) struct Outgoing {
    pub(crate) message: Bytes,
    pub(crate) asked: Option<u64>,
}

/// The id under which a client is asked; and the progress token, where the upstream gave one.
pub(crate) fn client_id(number: u64) -> String {
    format!("only1mcp-{number}")
}

/// The number in an id or token that [`client_id`] made.
pub(crate) fn asked_number(id: &RawValue) -> Option<u64> {
    crate::json::string_of(id)?.strip_prefix("only1mcp-")?.parse().ok()
}

/// Maps a notification. `progress`: the client's own token of the call this belongs to.
/// `None`: nothing for the client.
pub(crate) fn notification_out(
    inner: &Inner,
    session: Option<&Arc<Session>>,
    connection: &Arc<Connection>,
    mut message: Message,
    progress: Option<&RawValue>,
) -> Option<Bytes> {
    let Kind::Notification { method } = &message.kind else { return None };
    for kind in ListKind::changed_by(method) {
        connection.forget(*kind);
    }
    match method.as_str() {
        "notifications/progress" => {
            let params = message.params()?.with("progressToken", progress?.to_owned());
            message.object.set("params", params.to_raw());
        }
        "notifications/resources/updated" => {
            let mut params = message.params()?;
            let uri = expose_uri(&connection.upstream.id, &params.text("uri")?);
            params.set("uri", string(&uri));
            message.object.set("params", params.to_raw());
        }
        // An upstream takes back a question.
        CANCELLED => {
            let mut params = message.params()?;
            let number = session?.asked_by(connection, params.get("requestId")?)?;
            session?.answered(number);
            params.set("requestId", string(&client_id(number)));
            message.object.set("params", params.to_raw());
        }
        _ => {}
    }
    if session.is_none() && !ListKind::changed_by(method).is_empty() {
        inner.announce_shared_change(&connection.upstream, method);
        return None;
    }
    Some(message.object.to_line())
}

/// Maps a request to the client, or answers it here. `call_stream`: the stream of the call it belongs to.
pub(crate) async fn request_out(
    session: Option<&Arc<Session>>,
    connection: &Arc<Connection>,
    message: Message,
    call_stream: Option<u64>,
) -> Option<Outgoing> {
    let Kind::Request { id, method } = &message.kind else { return None };
    if method == "ping" {
        let pong = RawObject::default()
            .with("jsonrpc", string("2.0"))
            .with("id", id.raw.clone())
            .with("result", RawObject::default().to_raw());
        send_back(connection, &pong).await;
        return None;
    }
    let Some(session) = session else {
        // Its clients are many and none of them is its.
        return decline(connection, id, &RpcError::no_such_method(method)).await;
    };
    match put_question(session, connection, id, message.object.clone(), call_stream) {
        Some(outgoing) => Some(outgoing),
        None => decline(connection, id, &RpcError::overloaded("client_requests", CLIENT_REQUESTS_MAX)).await,
    }
}

fn put_question(
    session: &Arc<Session>,
    connection: &Arc<Connection>,
    id: &RequestId,
    mut object: RawObject,
    call_stream: Option<u64>,
) -> Option<Outgoing> {
    let params = object.object("params");
    let meta = params.as_ref().and_then(|params| params.object("_meta"));
    let token = meta.as_ref().and_then(|meta| meta.get("progressToken").map(ToOwned::to_owned));
    let number = session.ask(|| Asked::new(connection, id.raw.clone(), token.clone(), call_stream))?;
    let shown = string(&client_id(number));
    if let (Some(params), Some(meta), Some(_)) = (params, meta, token) {
        let meta = meta.with("progressToken", shown.clone());
        object.set("params", params.with("_meta", meta.to_raw()).to_raw());
    }
    object.set("id", shown);
    Some(Outgoing { message: object.to_line(), asked: Some(number) })
}

/// The client will not see the question: the upstream is told.
pub(crate) async fn withdraw(session: &Arc<Session>, number: u64) {
    let Some(asked) = session.answered(number) else { return };
    if let Some(connection) = asked.connection.upgrade() {
        let error = RpcError::new(code::BAD_REQUEST, "the client cannot be asked");
        send_back(&connection, &error.to_object(asked.id)).await;
    }
}

async fn decline(connection: &Arc<Connection>, id: &RequestId, error: &RpcError) -> Option<Outgoing> {
    send_back(connection, &error.to_object(id.raw.clone())).await;
    None
}

async fn send_back(connection: &Arc<Connection>, object: &RawObject) {
    if let Err(error) = connection.send(object).await {
        tracing::debug!(upstream = %connection.upstream.id, %error, "an upstream did not take an answer");
    }
}

/// `resources/read` results name resources as clients know them.
pub(crate) fn expose_contents(connection: &Connection, result: &mut RawObject) {
    let Some(contents) = result.array("contents") else { return };
    let exposed: Vec<Box<RawValue>> = contents
        .into_iter()
        .map(|content| match RawObject::of(&content) {
            Some(object) => match object.text("uri") {
                Some(uri) => object.with("uri", string(&expose_uri(&connection.upstream.id, &uri))).to_raw(),
                None => content,
            },
            None => content,
        })
        .collect();
    result.set("contents", raw(&exposed));
}

//! JSON-RPC errors that the gateway itself gives.

use bytes::Bytes;
use only1mcp_domain::decide::Reason;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::json::{RawObject, number, raw, string};
use crate::ports::Refused;

/// JSON-RPC error codes: the standard's, then those of MCP and its SDKs, then ours.
pub(crate) mod code {
    pub(crate) const PARSE: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    /// The upstream could not be reached, died, or broke the protocol.
    pub(crate) const UPSTREAM: i64 = -32603;
    pub(crate) const BAD_REQUEST: i64 = -32000;
    pub(crate) const TIMED_OUT: i64 = -32001;
    pub(crate) const REFUSED: i64 = -32003;
    pub(crate) const CANCELLED: i64 = -32800;
}

/// Text is public: no secrets, no internals.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// What decided it, and what to ask for.
    pub(crate) fn refused(refused: &Refused) -> Self {
        let retry = matches!(
            refused.reason,
            Reason::Stale
                | Reason::Draining
                | Reason::Overloaded
                | Reason::AuditUnavailable
                | Reason::DiskLow
                | Reason::BudgetUnavailable
                | Reason::ConcurrencyExceeded
                | Reason::ConnectionsExceeded
        );
        let mut data = json!({
            "code": refused.reason.code(),
            "decision": refused.decision.to_string(),
            "revision": refused.revision.0,
            "ask": refused.reason.ask(),
            "retry": retry,
        });
        if let (Some((account, resets_at)), Some(data)) = (&refused.limit, data.as_object_mut()) {
            data.insert("limit".to_owned(), json!(account.limit.to_string()));
            if !account.subject.is_empty() {
                data.insert("limit_of".to_owned(), json!(&*account.subject));
            }
            // One that never begins anew has no time.
            if resets_at.0 < u64::MAX {
                data.insert("resets_at_ms".to_owned(), json!(resets_at.0));
            }
        }
        Self::new(code::REFUSED, refused.message.clone()).with_data(data)
    }

    /// The gateway's own reasons, where nothing was decided by policy.
    pub(crate) fn reason(reason: Reason) -> Self {
        Self::new(code::REFUSED, format!("refused ({}): {}", reason.code(), reason.ask()))
            .with_data(json!({"code": reason.code(), "ask": reason.ask()}))
    }

    pub(crate) fn to_response(&self, id: Option<&RawValue>) -> Bytes {
        let mut error =
            RawObject::default().with("code", raw(&self.code)).with("message", string(&self.message));
        if let Some(data) = &self.data {
            error.set("data", raw(data));
        }
        let id = id.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned);
        RawObject::default()
            .with("jsonrpc", string("2.0"))
            .with("id", id)
            .with("error", error.to_raw())
            .to_line()
    }

    /// The same for an upstream's request, as an object to send.
    pub(crate) fn to_object(&self, id: Box<RawValue>) -> RawObject {
        RawObject::default().with("jsonrpc", string("2.0")).with("id", id).with(
            "error",
            RawObject::default()
                .with("code", raw(&self.code))
                .with("message", string(&self.message))
                .to_raw(),
        )
    }

    pub(crate) fn no_such_method(method: &str) -> Self {
        let shown: String = method.chars().take(64).collect();
        Self::new(code::METHOD_NOT_FOUND, format!("method {shown:?} is not offered"))
    }

    pub(crate) fn overloaded(limit: &'static str, max: usize) -> Self {
        Self::reason(Reason::Overloaded).with_data(json!({
            "code": Reason::Overloaded.code(), "ask": Reason::Overloaded.ask(), "limit": limit, "max": number(max as u64), "retry": true,
        }))
    }
}

//! The file: a header line, then one line an event, in order. Bytes are hexadecimal.
//!
//! An event of another tenant stands there as its place alone: index, digest and hash, without `bytes` and `event`.
//! `event` repeats what `bytes` say, for reading; `bytes` are what the digest covers.

use only1mcp_domain::audit::{AuditEvent, ChainHead, EventActor, EventOutcome, Severity};
use only1mcp_domain::ids::{AuditIndex, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::text::hex;

/// Names format and version in the header.
pub const FORMAT: &str = "only1mcp-audit-1";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub cluster_id: String,
    /// Whose events are whole; `*`: everyone's.
    pub tenant: String,
    /// The chain's place before the first event of the file.
    pub start: Head,
    /// Index of the file's last event.
    pub end_index: u64,
    pub log_time_ms: u64,
    /// The cluster's: greater than 1 where it was restored from a backup, or went on without its majority. What an
    /// older export says after the same place may be of a past that was lost.
    #[serde(default = "first_epoch")]
    pub epoch: u64,
    /// Roots of the largest complete subtrees of the Merkle tree up to the start.
    #[serde(default)]
    pub frontier: Vec<String>,
}

/// The last line: the exporting node's word for all before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trailer {
    pub signed: ExportSigned,
    /// A signed note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportSigned {
    pub node: u64,
    pub key: String,
    pub signature: String,
}

/// Of a file written before there were others.
fn first_epoch() -> u64 {
    1
}

/// A place in the chain: an index and the hash there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub index: u64,
    pub hash: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    pub index: u64,
    pub digest: String,
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// The payload was dropped, and for that there are no bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// What the exporting node read of the event's sealed parts, or that they are erased. Nothing vouches for it but that
    /// node: the digest covers what is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<Value>,
}

/// A payload that was dropped once its days were over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Expired {
    /// Index of the event that records it.
    pub record: u64,
    /// The class of retention; nothing vouches for it but the node that exported.
    pub class: String,
}

impl Head {
    pub fn of(head: ChainHead) -> Self {
        Self { index: head.index.0, hash: head.hash.to_string() }
    }

    /// `None` when the hash is not 64 hexadecimal characters.
    pub fn parse(&self) -> Option<ChainHead> {
        Some(ChainHead { index: AuditIndex(self.index), hash: Digest::parse_hex(&self.hash)? })
    }
}

/// `INDEX:HASH`, as `ctl audit head` prints it.
impl std::str::FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, hash) = text.split_once(':').ok_or("expected INDEX:HASH")?;
        let index = index.parse().map_err(|_| format!("{index:?} is no index"))?;
        let head = Self { index, hash: hash.to_ascii_lowercase() };
        head.parse().ok_or("a hash is 64 hexadecimal characters")?;
        Ok(head)
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.index, self.hash)
    }
}

/// Every field of an event that is set, as JSON. Two events that differ differ here too.
pub fn readable(event: &AuditEvent) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
        if !empty {
            out.insert(name.to_owned(), value);
        }
    };
    put("kind", json!(event.kind.name()));
    put("severity", json!(severity(event.severity)));
    put("tenant", json!(event.tenant.as_str()));
    put("actor", actor(&event.actor));
    put("impersonator", event.impersonator.as_ref().map_or(Value::Null, actor));
    put("action", json!(event.action));
    put("resource", json!({"kind": event.resource.kind, "id": event.resource.id}));
    put("outcome", json!(outcome(event.outcome)));
    put("reason", json!(event.reason));
    put("call", json!(event.call.map(|id| id.to_string())));
    put("decision", json!(event.decision.map(|id| id.to_string())));
    put("revision", json!(event.revision.map(|revision| revision.0)));
    put("node", json!(event.node.0));
    put("observed_at_ms", json!(event.observed_at.0));
    put("log_time_ms", json!(event.log_time.0));
    put("request_id", json!(event.request_id));
    put("session_id", json!(event.session_id));
    put("ip_address", json!(event.ip_address.map(|ip| ip.to_string())));
    put("user_agent", json!(event.user_agent));
    put("geo_location", json!(event.geo_location));
    put("before_state", json!(event.before_state));
    put("after_state", json!(event.after_state));
    put("diff", json!(event.diff));
    let details = event.details.iter().map(|(name, value)| json!([name, value]));
    let details: Vec<Value> = details.collect();
    put("details", if details.is_empty() { Value::Null } else { Value::Array(details) });
    let sealed = event.personal.iter().map(|(part, slot)| {
        json!({
            "of": part.name(), "key": slot.key.to_string(), "commitment": slot.commitment.to_string(),
            "ciphertext": hex(&slot.ciphertext),
        })
    });
    let sealed: Vec<Value> = sealed.collect();
    put("sealed", if sealed.is_empty() { Value::Null } else { Value::Array(sealed) });
    put("signature", event.signature.as_ref().map_or(Value::Null, |bytes| json!(hex(bytes))));
    Value::Object(out)
}

fn actor(actor: &EventActor) -> Value {
    json!({"tenant": actor.tenant, "id": actor.id, "via": actor.via})
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

pub(crate) fn outcome(outcome: EventOutcome) -> &'static str {
    match outcome {
        EventOutcome::Success => "success",
        EventOutcome::Failure => "failure",
        EventOutcome::Denied => "denied",
        EventOutcome::Unknown => "unknown",
    }
}

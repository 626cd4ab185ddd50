//! An MCP server behind the gateway.

use std::collections::BTreeMap;

use crate::ids::{TenantId, UpstreamId};
use crate::time::TimestampMs;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Streamable HTTP. `url` is http or https.
    Http { url: String },
    /// A child process of the node that serves the session, speaking over its standard streams.
    Stdio { command: String, args: Vec<String>, env: BTreeMap<String, String> },
}

/// How MCP sessions map to upstream sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionMode {
    /// One upstream session, and one process, per MCP session.
    PerSession,
    /// One upstream session per node serves everybody: only for servers that keep no state of their callers.
    SharedStateless,
}

/// A header whose value is a secret, sent with every request to the upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderSecret {
    pub name: String,
    pub value: String,
}

impl std::fmt::Debug for HeaderSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: [redacted]", self.name)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// `system`: shared, offered to every tenant that does not narrow it down.
    pub tenant: TenantId,
    pub id: UpstreamId,
    pub description: String,
    pub transport: Transport,
    pub session_mode: SessionMode,
    pub headers: Vec<HeaderSecret>,
    pub enabled: bool,
    /// Tools, by their own name, that nobody may call.
    pub disabled_tools: Vec<String>,
    /// Calls in flight per node.
    pub concurrency_max: u32,
    /// Units: milliseconds for one call.
    pub call_timeout_ms: u64,
    pub created_at: TimestampMs,
    pub updated_at: TimestampMs,
}

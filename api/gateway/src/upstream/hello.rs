//! The handshake with an upstream: what it is told, and what it says it can.

use serde_json::value::RawValue;

use crate::call::Method;
use crate::json::{Message, RawObject, raw, string};
use crate::upstream::UpstreamError;

/// Versions of upstreams that are understood: their messages are alike as far as the gateway looks.
const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// What an upstream is told of its client.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) version: &'static str,
    pub(crate) capabilities: Box<RawValue>,
}

impl Hello {
    pub(crate) fn params(&self) -> Box<RawValue> {
        RawObject::default()
            .with("protocolVersion", string(self.version))
            .with("capabilities", self.capabilities.clone())
            .with("clientInfo", implementation())
            .to_raw()
    }
}

/// The gateway's own name, to clients and to upstreams.
pub(crate) fn implementation() -> Box<RawValue> {
    raw(&serde_json::json!({"name": "only1mcp", "version": env!("CARGO_PKG_VERSION")}))
}

/// What an upstream offers.
#[derive(Clone, Default, Debug)]
pub(crate) struct Offers {
    pub(crate) version: String,
    pub(crate) tools: bool,
    pub(crate) prompts: bool,
    pub(crate) resources: bool,
    pub(crate) logging: bool,
    completions: bool,
    subscriptions: bool,
    pub(crate) announces_tools: bool,
    pub(crate) announces_prompts: bool,
    pub(crate) announces_resources: bool,
}

impl Offers {
    pub(crate) fn read(answer: &Message) -> Result<Self, UpstreamError> {
        let result = result_of(answer)?;
        let broken = UpstreamError::Protocol { why: "its answer to initialize is not complete" };
        let version = result.text("protocolVersion").ok_or_else(|| broken.clone())?;
        if !VERSIONS.contains(&version.as_str()) {
            return Err(UpstreamError::Version { version: version.chars().take(32).collect() });
        }
        let can = result.object("capabilities").ok_or(broken)?;
        let announces = |name: &str| can.object(name).is_some_and(|one| one.is_true("listChanged"));
        // The oldest version knows completions, but no capability of that name.
        let completions = version == VERSIONS[0] || can.get("completions").is_some();
        Ok(Self {
            version,
            tools: can.get("tools").is_some(),
            prompts: can.get("prompts").is_some(),
            resources: can.get("resources").is_some(),
            logging: can.get("logging").is_some(),
            completions,
            subscriptions: can.object("resources").is_some_and(|one| one.is_true("subscribe")),
            announces_tools: announces("tools"),
            announces_prompts: announces("prompts"),
            announces_resources: announces("resources"),
        })
    }

    /// A request for what was not offered may never be answered: it is not sent.
    pub(crate) fn serves(&self, method: Method) -> bool {
        match method {
            Method::CallTool => self.tools,
            Method::GetPrompt => self.prompts,
            Method::ReadResource => self.resources,
            Method::Subscribe | Method::Unsubscribe => self.subscriptions,
            Method::Complete => self.completions,
        }
    }
}

/// The result of an answer, or its error as ours.
pub(crate) fn result_of(answer: &Message) -> Result<RawObject, UpstreamError> {
    if let Some(error) = answer.object.object("error") {
        let code = error.get("code").and_then(|code| code.get().parse().ok()).unwrap_or(0);
        let message = error.text("message").unwrap_or_default().chars().take(200).collect();
        return Err(UpstreamError::Refused { code, message });
    }
    answer.object.object("result").ok_or(UpstreamError::Protocol { why: "a result is not an object" })
}

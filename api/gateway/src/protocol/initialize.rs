//! The handshake with a client.

use only1mcp_domain::limits;
use serde_json::json;
use serde_json::value::RawValue;

use crate::json::{RawObject, raw, string};
use crate::protocol::{ClientCapabilities, Version};
use crate::upstream::implementation;

/// What a client says of itself.
pub(crate) struct InitializeRequest {
    pub(crate) version: Version,
    pub(crate) capabilities: ClientCapabilities,
    /// As stated; upstreams of the session are told the same.
    pub(crate) stated: Box<RawValue>,
    pub(crate) client_name: String,
    pub(crate) client_version: String,
}

impl InitializeRequest {
    /// Errors: what is wrong with the parameters.
    pub(crate) fn read(params: &RawObject) -> Result<Self, &'static str> {
        let asked = params.text("protocolVersion").ok_or("protocolVersion must be a string")?;
        let stated = params.get("capabilities").ok_or("capabilities are missing")?;
        let capabilities = RawObject::of(stated).ok_or("capabilities must be an object")?;
        if stated.get().len() > limits::ROW_BYTES_MAX {
            return Err("capabilities are too large");
        }
        let client = params.object("clientInfo").ok_or("clientInfo must be an object")?;
        let shown = |name| cut(client.text(name).unwrap_or_default());
        Ok(Self {
            // An unknown version is answered with the newest one: the client decides whether it can go on.
            version: Version::parse(&asked).unwrap_or(Version::LATEST),
            capabilities: ClientCapabilities::read(&capabilities),
            stated: stated.to_owned(),
            client_name: shown("name"),
            client_version: shown("version"),
        })
    }
}

fn cut(mut text: String) -> String {
    let mut end = limits::LABEL_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Upstreams come and go during a session, so all that may be offered is announced.
pub(crate) fn initialize_result(version: Version) -> Box<RawValue> {
    let capabilities = json!({
        "completions": {},
        "logging": {},
        "prompts": {"listChanged": true},
        "resources": {"listChanged": true, "subscribe": true},
        "tools": {"listChanged": true},
    });
    RawObject::default()
        .with("protocolVersion", string(version.text()))
        .with("capabilities", raw(&capabilities))
        .with("serverInfo", implementation())
        .to_raw()
}

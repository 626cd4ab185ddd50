//! What a governed request is about: parsed just as deep as policy needs.

use only1mcp_domain::activity::ItemKind;
use only1mcp_domain::ids::{Digest, UpstreamId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Tags, is_tag_key, is_tag_value};
use serde_json::value::RawValue;
use sha3::{Digest as _, Sha3_256};

use crate::json::{RawObject, RpcError, code, number, string};
use crate::protocol::{expose_name, hide_uri, split_name};

/// Tags for the cost record, as an object of texts.
const TAGS: &str = "only1mcp/tags";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    CallTool,
    GetPrompt,
    ReadResource,
    Subscribe,
    Unsubscribe,
    Complete,
}

impl Method {
    const ALL: [Self; 6] = [
        Self::CallTool,
        Self::GetPrompt,
        Self::ReadResource,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Complete,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CallTool => "tools/call",
            Self::GetPrompt => "prompts/get",
            Self::ReadResource => "resources/read",
            Self::Subscribe => "resources/subscribe",
            Self::Unsubscribe => "resources/unsubscribe",
            Self::Complete => "completion/complete",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Leaves something behind at the upstream that only this session's connection sees.
    pub(crate) fn is_subscription(self) -> bool {
        matches!(self, Self::Subscribe | Self::Unsubscribe)
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha3_256::digest(bytes).into())
}

pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) kind: ItemKind,
    /// As policy knows it: `upstream__own`, or what the client named where that has no prefix.
    pub(crate) item: String,
    pub(crate) own: String,
    /// `None`: the name bears no upstream's prefix.
    pub(crate) upstream: Option<UpstreamId>,
    pub(crate) argument_digest: Digest,
    pub(crate) argument_bytes: u64,
    /// What can be a tag of what the client says; which of them count is the tenant's to say.
    pub(crate) tags: Tags,
    /// The client's own, if it wants progress.
    pub(crate) progress: Option<Box<RawValue>>,
    params: RawObject,
}

impl Target {
    /// Errors: `INVALID_PARAMS`.
    pub(crate) fn read(method: Method, params: RawObject) -> Result<Self, RpcError> {
        let invalid = |why: &str| RpcError::new(code::INVALID_PARAMS, why);
        let reference = params.object("ref");
        let of_resource = match method {
            Method::ReadResource | Method::Subscribe | Method::Unsubscribe => true,
            Method::CallTool | Method::GetPrompt => false,
            Method::Complete => match reference.as_ref().and_then(|one| one.text("type")).as_deref() {
                Some("ref/prompt") => false,
                Some("ref/resource") => true,
                Some(_) | None => return Err(invalid("ref must name a prompt or a resource")),
            },
        };
        let holder = reference.as_ref().filter(|_| method == Method::Complete).unwrap_or(&params);
        let (member, bytes_max) = if of_resource {
            ("uri", limits::RESOURCE_URI_BYTES_MAX)
        } else {
            ("name", limits::TOOL_NAME_BYTES_MAX)
        };
        let given = holder.text(member).ok_or_else(|| invalid(&format!("{member} must be a string")))?;
        if given.len() > bytes_max {
            return Err(invalid(&format!("{member} is longer than {bytes_max} bytes")));
        }
        let found = if of_resource { hide_uri(&given) } else { split_name(&given) };
        let (upstream, own) = match found {
            Some((upstream, own)) => (Some(upstream), own.to_owned()),
            None => (None, given.clone()),
        };
        let item = upstream.as_ref().map_or_else(|| given.clone(), |upstream| expose_name(upstream, &own));
        let arguments = match method {
            Method::CallTool | Method::GetPrompt => params.get("arguments"),
            Method::ReadResource | Method::Subscribe | Method::Unsubscribe => params.get("uri"),
            Method::Complete => params.get("argument"),
        };
        let arguments = arguments.map_or(&[][..], |arguments| arguments.get().as_bytes());
        let (argument_digest, argument_bytes) = (digest_of(arguments), arguments.len() as u64);
        let meta = params.object("_meta");
        let progress = meta.as_ref().and_then(|meta| meta.get("progressToken").map(ToOwned::to_owned));
        let tags = meta.and_then(|meta| meta.object(TAGS)).map(|said| tags_of(&said)).unwrap_or_default();
        let kind = match (of_resource, method) {
            (true, _) => ItemKind::Resource,
            (false, Method::CallTool) => ItemKind::Tool,
            (false, _) => ItemKind::Prompt,
        };
        Ok(Self {
            method,
            kind,
            item,
            own,
            upstream,
            argument_digest,
            argument_bytes,
            tags,
            progress,
            params,
        })
    }

    /// The parameters as the upstream gets them: its own name, our progress token.
    pub(crate) fn params_for_upstream(&self, id: u64) -> Box<RawValue> {
        let mut params = self.params.clone();
        let member = if self.kind == ItemKind::Resource { "uri" } else { "name" };
        match self.params.object("ref").filter(|_| self.method == Method::Complete) {
            Some(reference) => params.set("ref", reference.with(member, string(&self.own)).to_raw()),
            None => params.set(member, string(&self.own)),
        }
        if let (Some(_), Some(meta)) = (&self.progress, params.object("_meta")) {
            params.set("_meta", meta.with("progressToken", number(id)).to_raw());
        }
        params.to_raw()
    }
}

fn tags_of(said: &RawObject) -> Tags {
    let named = said.names().filter(|key| is_tag_key(key)).take(limits::LIST_MAX);
    let pair = |key: &str| Some((key.to_owned(), said.text(key).filter(|value| is_tag_value(value))?));
    named.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, params: &str) -> Result<Target, RpcError> {
        Target::read(method, RawObject::parse(params).unwrap())
    }

    #[test]
    fn only_name_and_token_change_on_the_way_up() {
        let params = r#"{"x":1.0,"name":"up__echo","arguments":{"n":1e3, "a":[ ]},"_meta":{"k":0,"progressToken":"t","z":{}}}"#;
        let target = target(Method::CallTool, params).unwrap();
        assert_eq!(target.argument_digest, digest_of(br#"{"n":1e3, "a":[ ]}"#));
        assert_eq!(
            target.params_for_upstream(7).get(),
            r#"{"x":1.0,"name":"echo","arguments":{"n":1e3, "a":[ ]},"_meta":{"k":0,"progressToken":7,"z":{}}}"#
        );
    }

    #[test]
    fn items_are_named_for_policy() {
        let item = |method, params: &str| {
            let target = target(method, params).unwrap();
            (target.kind, target.item, target.own)
        };
        assert_eq!(
            item(Method::ReadResource, r#"{"uri":"up+file:///a"}"#),
            (ItemKind::Resource, "up__file:///a".into(), "file:///a".into())
        );
        assert_eq!(
            item(Method::Complete, r#"{"ref":{"type":"ref/prompt","name":"up__p"},"argument":{}}"#),
            (ItemKind::Prompt, "up__p".into(), "p".into())
        );
        assert_eq!(
            item(Method::CallTool, r#"{"name":"plain"}"#),
            (ItemKind::Tool, "plain".into(), "plain".into())
        );
    }

    #[test]
    fn what_can_be_a_tag_is_taken_and_goes_up_as_it_came() {
        let of = |meta: &str| {
            let params = format!(r#"{{"name":"up__echo","_meta":{meta}}}"#);
            let target = target(Method::CallTool, &params).unwrap();
            assert!(target.params_for_upstream(1).get().contains(meta), "{meta}");
            target.tags.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of(r#"{"only1mcp/tags":{"b":"2","a":"1"}}"#), ["a=1", "b=2"]);
        assert_eq!(of(r#"{"only1mcp/tags":{"a":1,"b c":"2","d":"","e":"x\ny","f":"ok"}}"#), ["f=ok"]);
        for nothing in [r#"{"only1mcp/tags":"a"}"#, r#"{"only1mcp/tags":["a"]}"#, "{}", "7"] {
            assert!(of(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn tool_name_bytes_max_is_met_on_both_sides() {
        let named = |n: usize| target(Method::CallTool, &format!(r#"{{"name":"{}"}}"#, "a".repeat(n)));
        assert!(named(limits::TOOL_NAME_BYTES_MAX).is_ok());
        assert_eq!(named(limits::TOOL_NAME_BYTES_MAX + 1).err().map(|e| e.code), Some(code::INVALID_PARAMS));
        assert!(target(Method::CallTool, r#"{"name":1}"#).is_err());
        assert!(target(Method::Complete, r#"{"ref":{"type":"ref/tool","name":"a"}}"#).is_err());
    }
}

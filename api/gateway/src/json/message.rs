//! One JSON-RPC message: what kind it is, and its raw members.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::json::{RawObject, string, string_of};

/// A request's id: its text as it came, and a form in which equal ids are equal.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    pub(crate) raw: Box<RawValue>,
    pub(crate) key: String,
}

impl RequestId {
    /// `None` for anything but a string or a number.
    pub(crate) fn of(value: &RawValue) -> Option<Self> {
        let text = value.get();
        let key = match text.as_bytes().first()? {
            b'"' => format!("s{}", string_of(value)?),
            b'-' | b'0'..=b'9' => format!("n{text}"),
            _ => return None,
        };
        Some(Self { raw: value.to_owned(), key })
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Request { id: RequestId, method: String },
    Notification { method: String },
    Response { id: Option<RequestId> },
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) object: RawObject,
}

/// What takes back a request.
pub(crate) const CANCELLED: &str = "notifications/cancelled";

#[derive(Debug)]
pub(crate) enum BadMessage {
    Syntax,
    /// JSON, but no JSON-RPC message; with its id where that could be read.
    Invalid {
        id: Option<RequestId>,
        why: &'static str,
    },
}

impl Message {
    pub(crate) fn parse(text: &str) -> Result<Self, BadMessage> {
        let object = RawObject::parse(text).map_err(|error| {
            if error.is_data() {
                BadMessage::Invalid { id: None, why: "not an object with distinct members" }
            } else {
                BadMessage::Syntax
            }
        })?;
        let id = object.get("id").and_then(RequestId::of);
        let invalid = |why| BadMessage::Invalid { id: id.clone(), why };
        if object.text("jsonrpc").as_deref() != Some("2.0") {
            return Err(invalid("jsonrpc must be \"2.0\""));
        }
        let answered = object.get("result").is_some() || object.get("error").is_some();
        let kind = match (object.get("method"), object.get("id")) {
            (Some(method), present) => {
                let method = string_of(method).ok_or_else(|| invalid("method must be a string"))?;
                if answered {
                    return Err(invalid("a request has no result"));
                }
                if object.get("params").is_some_and(|params| !params.get().starts_with('{')) {
                    return Err(invalid("params must be an object"));
                }
                match (present, &id) {
                    (None, _) => Kind::Notification { method },
                    (Some(_), Some(id)) => Kind::Request { id: id.clone(), method },
                    (Some(_), None) => return Err(invalid("id must be a string or a number")),
                }
            }
            (None, Some(_)) if answered => Kind::Response { id },
            (None, _) => return Err(invalid("neither a method nor an answer")),
        };
        Ok(Self { kind, object })
    }

    /// The request that a cancellation names.
    pub(crate) fn cancels(&self) -> Option<RequestId> {
        match &self.kind {
            Kind::Notification { method } if method == CANCELLED => {
                self.params()?.get("requestId").and_then(RequestId::of)
            }
            Kind::Request { .. } | Kind::Notification { .. } | Kind::Response { .. } => None,
        }
    }

    /// The parameters; empty where there are none or they are no object with distinct members.
    pub(crate) fn params(&self) -> Option<RawObject> {
        match self.object.get("params") {
            None => Some(RawObject::default()),
            Some(params) => RawObject::of(params),
        }
    }
}

pub(crate) fn request(id: Box<RawValue>, method: &str, params: Box<RawValue>) -> RawObject {
    RawObject::default()
        .with("jsonrpc", string("2.0"))
        .with("id", id)
        .with("method", string(method))
        .with("params", params)
}

pub(crate) fn notification(method: &str, params: Option<Box<RawValue>>) -> RawObject {
    let object = RawObject::default().with("jsonrpc", string("2.0")).with("method", string(method));
    match params {
        Some(params) => object.with("params", params),
        None => object,
    }
}

pub(crate) fn response(id: &RawValue, result: Box<RawValue>) -> Bytes {
    RawObject::default()
        .with("jsonrpc", string("2.0"))
        .with("id", id.to_owned())
        .with("result", result)
        .to_line()
}

#[cfg(test)]
mod tests {
    use super::{BadMessage, Kind, Message};

    #[test]
    fn kinds_are_told_apart() {
        let kind = |text| Message::parse(text).map(|m| m.kind);
        assert!(matches!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#), Ok(Kind::Request { .. })));
        assert!(matches!(kind(r#"{"jsonrpc":"2.0","method":"x"}"#), Ok(Kind::Notification { .. })));
        assert!(matches!(kind(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#), Ok(Kind::Response { .. })));
        assert!(matches!(kind("{\"jsonrpc\""), Err(BadMessage::Syntax)));
        for bad in [
            "1",
            "[]",
            r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}"#,
        ] {
            assert!(matches!(kind(bad), Err(BadMessage::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn a_number_and_its_text_are_two_ids() {
        let key = |text: &str| {
            let Ok(Message { kind: Kind::Request { id, .. }, .. }) = Message::parse(text) else {
                panic!("{text}")
            };
            id.key
        };
        let (number, text) = (
            key(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#),
            key(r#"{"jsonrpc":"2.0","id":"1","method":"x"}"#),
        );
        assert_ne!(number, text);
        assert_eq!(text, key(r#"{"jsonrpc":"2.0","id":"\u0031","method":"x"}"#));
    }
}

//! A small JSON writer for the states that audit events carry: fields in the order they are written, so that equal
//! records give equal text.

use std::fmt::Write as _;

use crate::audit::event_digest;
use crate::limits;

/// One object.
pub(super) struct Object {
    out: String,
}

impl Object {
    pub(super) fn new() -> Self {
        Self { out: "{".to_owned() }
    }

    pub(super) fn text(self, name: &str, value: impl AsRef<str>) -> Self {
        self.raw(name, &quoted(value.as_ref()))
    }

    pub(super) fn texts<T: AsRef<str>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let list: Vec<String> = values.into_iter().map(|value| quoted(value.as_ref())).collect();
        self.raw(name, &format!("[{}]", list.join(",")))
    }

    /// Left out when there is none.
    pub(super) fn optional(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(super) fn number(self, name: &str, value: impl Into<i128>) -> Self {
        let value: i128 = value.into();
        self.raw(name, &value.to_string())
    }

    /// Left out when there is none.
    pub(super) fn optional_number(self, name: &str, value: Option<impl Into<i128>>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// `value` is JSON text.
    pub(super) fn raw(mut self, name: &str, value: &str) -> Self {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str(&quoted(name));
        self.out.push(':');
        self.out.push_str(value);
        self
    }

    /// Left out when it has no fields.
    pub(super) fn object(self, name: &str, value: Object) -> Self {
        if value.is_empty() { self } else { self.raw(name, &value.finish()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }

    /// The text, or its digest where it is longer than an event may carry.
    pub(super) fn bounded(self) -> String {
        let text = self.finish();
        if text.len() <= limits::EVENT_STATE_BYTES_MAX {
            return text;
        }
        let bytes = i128::try_from(text.len()).unwrap_or(i128::MAX);
        let digest = event_digest(text.as_bytes()).to_string();
        Object::new().text("sha3_256", digest).number("bytes", bytes).finish()
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a string cannot fail.
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_json() {
        let inner = Object::new().flag("f", false);
        let text = Object::new()
            .text("a\"b", "x\\y\n\u{1}é")
            .texts("l", ["1", "2"])
            .optional("no", None::<&str>)
            .optional_number("n", Some(-5))
            .object("o", inner)
            .object("empty", Object::new())
            .finish();
        assert_eq!(
            text,
            "{\"a\\\"b\":\"x\\\\y\\n\\u0001é\",\"l\":[\"1\",\"2\"],\"n\":-5,\"o\":{\"f\":false}}"
        );
    }

    #[test]
    fn event_state_bytes_max() {
        // {"t":"..."} has 8 bytes around the text.
        let of = |len: usize| Object::new().text("t", "x".repeat(len - 8)).bounded();
        assert_eq!(of(limits::EVENT_STATE_BYTES_MAX).len(), limits::EVENT_STATE_BYTES_MAX);
        let over = of(limits::EVENT_STATE_BYTES_MAX + 1);
        assert!(over.starts_with("{\"sha3_256\":\""), "{over}");
        assert!(over.ends_with(",\"bytes\":16385}"), "{over}");
    }
}

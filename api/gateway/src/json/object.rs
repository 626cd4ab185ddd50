//! A JSON object whose members are raw text: edited by name, all else kept as it came, in its order.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// Member names are unique: a body that names one twice could mean one thing to us and another to an upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(crate) fn of(value: &RawValue) -> Option<Self> {
        Self::parse(value.get()).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// The member `name` if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(string_of)
    }

    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// The elements of the member `name` if it is an array.
    pub(crate) fn array(&self, name: &str) -> Option<Vec<Box<RawValue>>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() == "true")
    }

    /// Replaces in place, or appends.
    pub(crate) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: Box<RawValue>) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn to_raw(&self) -> Box<RawValue> {
        raw(self)
    }

    /// On one line: a line break in JSON text is white space, and both stdio and SSE are line protocols.
    pub(crate) fn to_line(&self) -> Bytes {
        let mut text = String::from(self.to_raw().get()).into_bytes();
        for byte in &mut text {
            if *byte == b'\n' || *byte == b'\r' {
                *byte = b' ';
            }
        }
        text.into()
    }
}

/// Any value as raw text; `null` for what cannot be written, which no caller here has.
pub(crate) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

pub(crate) fn string(text: &str) -> Box<RawValue> {
    raw(text)
}

pub(crate) fn number(n: u64) -> Box<RawValue> {
    raw(&n)
}

pub(crate) fn string_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = RawObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry::<String, Box<RawValue>>()? {
            members.push(entry);
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(A::Error::custom("a member is named twice"));
        }
        Ok(RawObject { members })
    }
}

#[cfg(test)]
mod tests {
    use super::{RawObject, string};

    #[test]
    fn edits_leave_the_rest_as_it_came() {
        let mut object =
            RawObject::parse(r#"{"z":1.00e2,"name":"a","x":{"k": [1,  2]},"big":12345678901234567890123}"#)
                .unwrap();
        object.set("name", string("b"));
        assert_eq!(
            object.to_raw().get(),
            r#"{"z":1.00e2,"name":"b","x":{"k": [1,  2]},"big":12345678901234567890123}"#
        );
    }

    #[test]
    fn a_member_named_twice_is_refused() {
        assert!(RawObject::parse(r#"{"name":"a","n\u0061me":"b"}"#).is_err());
    }

    #[test]
    fn a_line_has_no_breaks() {
        let object = RawObject::parse("{\"a\": [1,\r\n2], \"b\": \"x\\ny\"}").unwrap();
        assert_eq!(&object.to_line()[..], br#"{"a":[1,  2],"b":"x\ny"}"#);
    }
}

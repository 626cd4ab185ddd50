//! Canonical bytes of an event. One event has one form, so that its digest says which event it is.
//!
//! Format version 1 is that of an event without sealed parts. Version 2, that of an event with at least one, begins with
//! the byte `02` and ends with one field more, `1a`. So a digest covers the ciphertext of what is personal: it can be
//! checked by whoever cannot read it, and when nobody can any more.
//!
//! Shape: the version byte `01`, then fields in ascending order of their tags. A field is its tag (1 byte), the length
//! of its value (4 bytes, big-endian) and its value. Texts are UTF-8. Numbers are big-endian of the width given below.
//! An *optional* field is left out when it has no value; every other one is always there, also when empty.
//!
//! | tag | field | value |
//! |---|---|---|
//! | 01 | kind | 4-byte number |
//! | 02 | severity | 1-byte number |
//! | 03 | tenant | text |
//! | 04 | actor | three parts: tenant, id, via |
//! | 05 | impersonator, optional | three parts, as actor |
//! | 06 | action | text |
//! | 07 | resource | two parts: kind, id |
//! | 08 | outcome | 1-byte number |
//! | 09 | reason | text |
//! | 0a | call, optional | 16 bytes |
//! | 0b | decision, optional | 16 bytes |
//! | 0c | revision, optional | 8-byte number |
//! | 0d | node | 8-byte number |
//! | 0e | observed_at | 8-byte number |
//! | 0f | log_time | 8-byte number |
//! | 10 | request_id | text |
//! | 11 | session_id | text |
//! | 12 | ip_address, optional | 4 or 16 bytes |
//! | 13 | user_agent | text |
//! | 14 | geo_location, optional | text |
//! | 15 | before_state, optional | text |
//! | 16 | after_state, optional | text |
//! | 17 | diff, optional | text |
//! | 18 | signature, optional | bytes |
//! | 19 | details | pairs of parts (name, value), strictly ascending |
//!
//! | 1a | personal, in version 2 alone | for each sealed part, four parts: number of what it is (1 byte), key (16 bytes), commitment (32 bytes), ciphertext; as the event has them |
//!
//! The last field is always there, so that no event is the beginning of another.
//!
//! A part is its length (4 bytes, big-endian) and its text; parts follow each other without anything between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::audit::event::{AuditEvent, EventActor, EventKind, EventOutcome, EventResource, Severity};
use crate::ids::{CallId, DecisionId, Digest, NodeId, Revision, SubjectKeyId, TenantId};
use crate::model::{Slot, SlotPart};
use crate::time::TimestampMs;

const VERSION: u8 = 1;
/// Of an event with sealed parts.
const VERSION_SEALED: u8 = 2;

/// Bytes that are no event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("the event ends early")]
    Short,
    #[error("{0} bytes follow the event")]
    Trailing(usize),
    #[error("unknown format version {0}")]
    Version(u8),
    #[error("field {field}: {problem}")]
    Field { field: &'static str, problem: &'static str },
}

/// The one form of `event`; details are sorted and stripped of doubles.
pub fn encode(event: &AuditEvent) -> Vec<u8> {
    let mut out = Writer(vec![if event.personal.is_empty() { VERSION } else { VERSION_SEALED }]);
    out.field(0x01, &event.kind.number().to_be_bytes());
    out.field(0x02, &[event.severity.number()]);
    out.field(0x03, event.tenant.as_str().as_bytes());
    out.field(0x04, &actor_parts(&event.actor));
    out.optional(0x05, event.impersonator.as_ref().map(actor_parts));
    out.field(0x06, event.action.as_bytes());
    out.field(0x07, &parts([event.resource.kind.as_str(), event.resource.id.as_str()]));
    out.field(0x08, &[event.outcome.number()]);
    out.field(0x09, event.reason.as_bytes());
    out.optional(0x0a, event.call.map(|id| id.0));
    out.optional(0x0b, event.decision.map(|id| id.0));
    out.optional(0x0c, event.revision.map(|revision| revision.0.to_be_bytes()));
    out.field(0x0d, &event.node.0.to_be_bytes());
    out.field(0x0e, &event.observed_at.0.to_be_bytes());
    out.field(0x0f, &event.log_time.0.to_be_bytes());
    out.field(0x10, event.request_id.as_bytes());
    out.field(0x11, event.session_id.as_bytes());
    out.optional(0x12, event.ip_address.map(address_bytes));
    out.field(0x13, event.user_agent.as_bytes());
    out.optional(0x14, event.geo_location.as_ref());
    out.optional(0x15, event.before_state.as_ref());
    out.optional(0x16, event.after_state.as_ref());
    out.optional(0x17, event.diff.as_ref());
    out.optional(0x18, event.signature.as_ref());
    let mut details: Vec<(&str, &str)> =
        event.details.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    details.sort_unstable();
    details.dedup();
    out.field(0x19, &parts(details.into_iter().flat_map(|(name, value)| [name, value])));
    if !event.personal.is_empty() {
        out.field(0x1a, &personal_parts(&event.personal));
    }
    out.0
}

/// Reads what [`encode`] writes, and nothing else: what it accepts encodes to the same bytes again.
pub fn decode(bytes: &[u8]) -> Result<AuditEvent, CanonicalError> {
    let mut input = Reader(bytes);
    let [version] = input.array::<1>("version")?;
    if version != VERSION && version != VERSION_SEALED {
        return Err(CanonicalError::Version(version));
    }
    let mut fields = Fields { input };
    let mut event = AuditEvent {
        kind: fields.number4(0x01, "kind").and_then(|n| known("kind", EventKind::from_number(n)))?,
        severity: fields
            .number1(0x02, "severity")
            .and_then(|n| known("severity", Severity::from_number(n)))?,
        tenant: TenantId::new(fields.text(0x03, "tenant")?)
            .map_err(|_| fault("tenant", "is no tenant id"))?,
        actor: read_actor(fields.need(0x04, "actor")?, "actor")?,
        impersonator: fields.take(0x05)?.map(|value| read_actor(value, "impersonator")).transpose()?,
        action: fields.text(0x06, "action")?,
        resource: read_resource(fields.need(0x07, "resource")?)?,
        outcome: fields
            .number1(0x08, "outcome")
            .and_then(|n| known("outcome", EventOutcome::from_number(n)))?,
        reason: fields.text(0x09, "reason")?,
        call: fields.take(0x0a)?.map(|value| exact(value, "call").map(CallId)).transpose()?,
        decision: fields.take(0x0b)?.map(|value| exact(value, "decision").map(DecisionId)).transpose()?,
        revision: fields.take(0x0c)?.map(|value| number8(value, "revision").map(Revision)).transpose()?,
        node: NodeId(number8(fields.need(0x0d, "node")?, "node")?),
        observed_at: TimestampMs(number8(fields.need(0x0e, "observed_at")?, "observed_at")?),
        log_time: TimestampMs(number8(fields.need(0x0f, "log_time")?, "log_time")?),
        request_id: fields.text(0x10, "request_id")?,
        session_id: fields.text(0x11, "session_id")?,
        ip_address: fields.take(0x12)?.map(read_address).transpose()?,
        user_agent: fields.text(0x13, "user_agent")?,
        geo_location: fields.optional_text(0x14, "geo_location")?,
        before_state: fields.optional_text(0x15, "before_state")?,
        after_state: fields.optional_text(0x16, "after_state")?,
        diff: fields.optional_text(0x17, "diff")?,
        signature: fields.take(0x18)?.map(<[u8]>::to_vec),
        details: read_details(fields.need(0x19, "details")?)?,
        personal: Vec::new(),
    };
    if version == VERSION_SEALED {
        event.personal = read_personal(fields.need(0x1a, "personal")?)?;
    }
    match fields.input.0.len() {
        0 => Ok(event),
        rest => Err(CanonicalError::Trailing(rest)),
    }
}

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn field(&mut self, tag: u8, value: &[u8]) {
        self.0.push(tag);
        push_part(&mut self.0, value);
    }

    fn optional(&mut self, tag: u8, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.field(tag, value.as_ref());
        }
    }
}

/// Every text of an event is bounded far below 4 GiB, by the limits of entries; a longer one is cut here.
fn push_part(out: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(value.iter().take(usize::try_from(length).unwrap_or(usize::MAX)));
}

pub(super) fn parts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    texts.into_iter().for_each(|text| push_part(&mut out, text.as_bytes()));
    out
}

pub(super) fn actor_parts(actor: &EventActor) -> Vec<u8> {
    parts([actor.tenant.as_str(), actor.id.as_str(), actor.via.as_str()])
}

fn personal_parts(personal: &[(SlotPart, Slot)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (part, slot) in personal {
        push_part(&mut out, &[part.number()]);
        push_part(&mut out, &slot.key.0);
        push_part(&mut out, &slot.commitment.0);
        push_part(&mut out, &slot.ciphertext);
    }
    out
}

/// At least one: an event without any is of version 1.
fn read_personal(value: &[u8]) -> Result<Vec<(SlotPart, Slot)>, CanonicalError> {
    const FIELD: &str = "personal";
    let mut input = Reader(value);
    let mut out = Vec::new();
    while !input.0.is_empty() {
        let [number] = exact(input.part(FIELD)?, FIELD)?;
        let part = known(FIELD, SlotPart::from_number(number))?;
        let key = SubjectKeyId(exact(input.part(FIELD)?, FIELD)?);
        let commitment = Digest(exact(input.part(FIELD)?, FIELD)?);
        out.push((part, Slot { key, commitment, ciphertext: input.part(FIELD)?.to_vec() }));
    }
    if out.is_empty() { Err(fault(FIELD, "is empty")) } else { Ok(out) }
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn fault(field: &'static str, problem: &'static str) -> CanonicalError {
    CanonicalError::Field { field, problem }
}

fn known<T>(field: &'static str, value: Option<T>) -> Result<T, CanonicalError> {
    value.ok_or(fault(field, "is an unknown number"))
}

fn text(value: &[u8], field: &'static str) -> Result<String, CanonicalError> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| fault(field, "is not UTF-8"))
}

fn exact<const N: usize>(value: &[u8], field: &'static str) -> Result<[u8; N], CanonicalError> {
    value.try_into().map_err(|_| fault(field, "has the wrong length"))
}

fn number8(value: &[u8], field: &'static str) -> Result<u64, CanonicalError> {
    exact(value, field).map(u64::from_be_bytes)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], CanonicalError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(CanonicalError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CanonicalError> {
        self.bytes(N).and_then(|value| exact(value, field))
    }

    fn part(&mut self, field: &'static str) -> Result<&'a [u8], CanonicalError> {
        let length = self.array(field).map(u32::from_be_bytes)?;
        self.bytes(usize::try_from(length).map_err(|_| CanonicalError::Short)?)
    }
}

struct Fields<'a> {
    input: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The value of the next field if that is `tag`. Tags are asked for in ascending order, so that a field out of
    /// order, doubled or unknown is met as a missing one or as trailing bytes.
    fn take(&mut self, tag: u8) -> Result<Option<&'a [u8]>, CanonicalError> {
        if self.input.0.first() != Some(&tag) {
            return Ok(None);
        }
        self.input.bytes(1)?;
        self.input.part("length").map(Some)
    }

    fn need(&mut self, tag: u8, field: &'static str) -> Result<&'a [u8], CanonicalError> {
        match self.take(tag)? {
            Some(value) => Ok(value),
            None if self.input.0.is_empty() => Err(CanonicalError::Short),
            None => Err(fault(field, "is missing or out of order")),
        }
    }

    fn text(&mut self, tag: u8, field: &'static str) -> Result<String, CanonicalError> {
        self.need(tag, field).and_then(|value| text(value, field))
    }

    fn optional_text(&mut self, tag: u8, field: &'static str) -> Result<Option<String>, CanonicalError> {
        self.take(tag)?.map(|value| text(value, field)).transpose()
    }

    fn number4(&mut self, tag: u8, field: &'static str) -> Result<u32, CanonicalError> {
        self.need(tag, field).and_then(|value| exact(value, field)).map(u32::from_be_bytes)
    }

    fn number1(&mut self, tag: u8, field: &'static str) -> Result<u8, CanonicalError> {
        self.need(tag, field).and_then(|value| exact(value, field)).map(u8::from_be_bytes)
    }
}

fn read_parts<const N: usize>(value: &[u8], field: &'static str) -> Result<[String; N], CanonicalError> {
    let mut input = Reader(value);
    let mut out = [const { String::new() }; N];
    for slot in &mut out {
        *slot = text(input.part(field).map_err(|_| fault(field, "ends early"))?, field)?;
    }
    if input.0.is_empty() { Ok(out) } else { Err(fault(field, "has trailing bytes")) }
}

fn read_actor(value: &[u8], field: &'static str) -> Result<EventActor, CanonicalError> {
    read_parts(value, field).map(|[tenant, id, via]| EventActor { tenant, id, via })
}

fn read_resource(value: &[u8]) -> Result<EventResource, CanonicalError> {
    read_parts(value, "resource").map(|[kind, id]| EventResource { kind, id })
}

fn read_address(value: &[u8]) -> Result<IpAddr, CanonicalError> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Ok(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    exact::<16>(value, "ip_address").map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
}

fn read_details(value: &[u8]) -> Result<Vec<(String, String)>, CanonicalError> {
    const FIELD: &str = "details";
    let mut input = Reader(value);
    let mut out: Vec<(String, String)> = Vec::new();
    while !input.0.is_empty() {
        let mut part = || input.part(FIELD).map_err(|_| fault(FIELD, "ends early"));
        let pair = (text(part()?, FIELD)?, text(part()?, FIELD)?);
        if out.last().is_some_and(|last| *last >= pair) {
            return Err(fault(FIELD, "is out of order"));
        }
        out.push(pair);
    }
    Ok(out)
}

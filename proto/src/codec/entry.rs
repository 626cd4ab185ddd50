//! One log entry: who, under which command id, what.

use bytes::Bytes;
use only1mcp_domain::command::{Actor, Command, Entry, Signed, Via};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_domain::time::TimestampMs;
use prost::Message as _;

use super::error::DecodeError;
use super::parts::{
    Raw as _, Text as _, fixed, message, optional_raw, optional_text, parsed, raw, record, required, text,
    write_text,
};
use crate::log;

/// The entry's bytes, as they stand in the Raft log and travel to the leader.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    log::Entry::from(entry).encode_to_vec()
}

/// Reads what [`encode_entry`] wrote. A proposer calls it on its own bytes before it proposes them: what it refuses
/// would stop every node that has to apply it.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    message::<log::Entry>("Entry", bytes, limits::ENTRY_BYTES_MAX)?.try_into()
}

impl From<&Entry> for log::Entry {
    fn from(entry: &Entry) -> Self {
        Self {
            actor: Some((&entry.actor).into()),
            command_id: entry.command_id.map(|id| id.written()),
            request_digest: entry.request_digest.written(),
            observed_at_ms: entry.observed_at.0,
            command: Some((&entry.command).into()),
            signed: entry.signature.as_ref().map(|signed| log::Signed {
                node: signed.node.0,
                content: signed.content.written(),
                signature: Bytes::copy_from_slice(&signed.signature),
            }),
        }
    }
}

impl TryFrom<log::Entry> for Entry {
    type Error = DecodeError;

    fn try_from(wire: log::Entry) -> Result<Self, DecodeError> {
        Ok(Self {
            actor: record("Entry.actor", wire.actor)?,
            command_id: optional_raw("Entry.command_id", wire.command_id.as_deref())?,
            request_digest: raw("Entry.request_digest", &wire.request_digest)?,
            observed_at: TimestampMs(wire.observed_at_ms),
            command: record("Entry.command", wire.command)?,
            signature: wire.signed.map(read_signed).transpose()?,
        })
    }
}

fn read_signed(wire: log::Signed) -> Result<Signed, DecodeError> {
    Ok(Signed {
        node: NodeId(wire.node),
        content: raw("Signed.content", &wire.content)?,
        signature: fixed("Signed.signature", &wire.signature)?,
    })
}

/// A command's bytes as they stand in an entry.
pub fn encode_command(command: &Command) -> Vec<u8> {
    log::Command::from(command).encode_to_vec()
}

impl From<&Actor> for log::Actor {
    fn from(actor: &Actor) -> Self {
        use log::via::Kind;
        let via = match actor.via {
            Via::ApiKey => Kind::ApiKey(log::Nothing {}),
            Via::ClientCertificate => Kind::ClientCertificate(log::Nothing {}),
            Via::LocalSocket => Kind::LocalSocket(log::Nothing {}),
            Via::Node(node) => Kind::Node(node.0),
        };
        Self {
            tenant: actor.tenant.written(),
            principal: actor.principal.written(),
            key: write_text(actor.key.as_ref()),
            via: Some(log::Via { kind: Some(via) }),
            ip: actor.ip.map(|ip| ip.to_string()),
            user_agent: actor.user_agent.clone(),
            personal: actor.personal.as_ref().map(Into::into),
            request_id: actor.request_id.clone(),
        }
    }
}

impl TryFrom<log::Actor> for Actor {
    type Error = DecodeError;

    fn try_from(wire: log::Actor) -> Result<Self, DecodeError> {
        use log::via::Kind;
        let via = match required("Actor.via", wire.via.and_then(|via| via.kind))? {
            Kind::ApiKey(_) => Via::ApiKey,
            Kind::ClientCertificate(_) => Via::ClientCertificate,
            Kind::LocalSocket(_) => Via::LocalSocket,
            Kind::Node(node) => Via::Node(NodeId(node)),
        };
        Ok(Self {
            tenant: text("Actor.tenant", &wire.tenant)?,
            principal: text("Actor.principal", &wire.principal)?,
            key: optional_text("Actor.key", wire.key.as_deref())?,
            via,
            ip: wire.ip.as_deref().map(|ip| parsed("Actor.ip", ip)).transpose()?,
            user_agent: wire.user_agent,
            personal: wire.personal.map(TryInto::try_into).transpose()?,
            request_id: wire.request_id,
        })
    }
}

//! What the proposer of a critical event signs: what it knew of the event when it proposed it.
//!
//! Shape: the line `only1mcp event 1\n`, then fields in the form of the canonical bytes: `04` actor, `06` action, `07`
//! resource, `0d` the signing node, `0e` observed_at, `19` the content's digest (32 bytes; the event's detail `content`).

use super::canonical::{Writer, actor_parts, parts};
use super::event::{AuditEvent, EventActor, EventResource};
use crate::ids::{Digest, NodeId};
use crate::time::TimestampMs;

const HEAD: &[u8] = b"only1mcp event 1\n";
/// The event's detail that says what was proposed.
pub const CONTENT_DETAIL: &str = "content";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    pub node: NodeId,
    pub actor: EventActor,
    pub action: String,
    pub resource: EventResource,
    pub observed_at: TimestampMs,
    pub content: Digest,
}

impl Statement {
    /// What is signed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Writer(HEAD.to_vec());
        out.field(0x04, &actor_parts(&self.actor));
        out.field(0x06, self.action.as_bytes());
        out.field(0x07, &parts([self.resource.kind.as_str(), self.resource.id.as_str()]));
        out.field(0x0d, &self.node.0.to_be_bytes());
        out.field(0x0e, &self.observed_at.0.to_be_bytes());
        out.field(0x19, &self.content.0);
        out.0
    }

    /// The statement of a signed event and its signature; `None` where the event has none, or none of this form.
    pub fn of(event: &AuditEvent) -> Option<(Self, [u8; 64])> {
        let (node, signature) = event.signature.as_deref()?.split_first_chunk::<8>()?;
        let content = event.details.iter().find(|(name, _)| name == CONTENT_DETAIL)?;
        let statement = Self {
            node: NodeId(u64::from_be_bytes(*node)),
            actor: event.actor.clone(),
            action: event.action.clone(),
            resource: event.resource.clone(),
            observed_at: event.observed_at,
            content: Digest::parse_hex(&content.1)?,
        };
        Some((statement, signature.try_into().ok()?))
    }
}

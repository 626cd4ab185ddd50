//! Who signs checkpoints: the voters and their keys, as events of the chain tell them.

use std::collections::BTreeMap;

use super::event::{AuditEvent, EventOutcome};
use crate::ids::{NodeId, PublicKey};

/// A detail of that name and a voter's number says what it signs with.
pub const SIGNER_DETAIL: &str = "signer ";
/// In place of a key: the voter has none yet.
pub const SIGNER_NONE: &str = "none";
/// The events that tell all signers. In others a detail of that name means nothing.
const ACTIONS: [&str; 5] =
    ["cluster.recover_unsafe", "cluster.restore", "node.remove", "node.set_role", "node.set_signing_key"];

/// All voters; a voter without a key counts, and cannot sign.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signers(pub BTreeMap<NodeId, Option<PublicKey>>);

impl Signers {
    /// The signers from this event on; `None` where it does not change them.
    pub fn told_by(event: &AuditEvent) -> Option<Self> {
        let tells = event.tenant.is_system()
            && event.outcome == EventOutcome::Success
            && ACTIONS.contains(&event.action.as_str());
        let told = event.details.iter().filter_map(|(name, value)| {
            let node = name.strip_prefix(SIGNER_DETAIL)?.parse().ok()?;
            Some((NodeId(node), PublicKey::parse_hex(value)))
        });
        let signers: BTreeMap<_, _> = if tells { told.collect() } else { BTreeMap::new() };
        (!signers.is_empty()).then_some(Self(signers))
    }

    /// How many of them have to sign.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    pub fn keys(&self) -> impl Iterator<Item = (NodeId, PublicKey)> {
        self.0.iter().filter_map(|(node, key)| Some((*node, (*key)?)))
    }
}

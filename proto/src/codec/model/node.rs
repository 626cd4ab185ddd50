//! Members of the cluster.

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::{NodeRecord, NodeRole};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{Raw as _, enumeration, optional_raw, wire_enum};
use crate::model;

wire_enum!(NodeRole, model::NodeRole, "NodeRole", [Learner, Voter, Removed]);

impl From<&NodeRecord> for model::NodeRecord {
    fn from(node: &NodeRecord) -> Self {
        Self {
            id: node.id.0,
            name: node.name.clone(),
            peer_address: node.peer_address.clone(),
            admin_address: node.admin_address.clone(),
            http_address: node.http_address.clone(),
            region: node.region.clone(),
            zone: node.zone.clone(),
            version: node.version.clone(),
            role: model::NodeRole::from(node.role).into(),
            joined_at_ms: node.joined_at.0,
            signing_key: node.signing_key.map(|key| key.written()),
        }
    }
}

impl TryFrom<model::NodeRecord> for NodeRecord {
    type Error = DecodeError;

    fn try_from(wire: model::NodeRecord) -> Result<Self, DecodeError> {
        Ok(Self {
            id: NodeId(wire.id),
            name: wire.name,
            peer_address: wire.peer_address,
            admin_address: wire.admin_address,
            http_address: wire.http_address,
            region: wire.region,
            zone: wire.zone,
            version: wire.version,
            role: enumeration::<model::NodeRole, _>("NodeRecord.role", wire.role)?,
            joined_at: TimestampMs(wire.joined_at_ms),
            signing_key: optional_raw("NodeRecord.signing_key", wire.signing_key.as_deref())?,
        })
    }
}

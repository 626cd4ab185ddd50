//! Forming a cluster and registering nodes: the commands with the most fields of their own.

use only1mcp_domain::command::{FormCluster, RegisterNode, Secret32};

use super::error::DecodeError;
use super::parts::{Raw as _, fixed, optional_text, raw, record, required, write_text};
use crate::log;

pub(crate) fn write_secret(secret: &Secret32) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&secret.0)
}

impl From<&RegisterNode> for log::RegisterNode {
    fn from(node: &RegisterNode) -> Self {
        Self {
            token: write_text(node.token.as_ref()),
            name: node.name.clone(),
            peer_address: node.peer_address.clone(),
            admin_address: node.admin_address.clone(),
            http_address: node.http_address.clone(),
            region: node.region.clone(),
            zone: node.zone.clone(),
            version: node.version.clone(),
        }
    }
}

impl TryFrom<log::RegisterNode> for RegisterNode {
    type Error = DecodeError;

    fn try_from(wire: log::RegisterNode) -> Result<Self, DecodeError> {
        Ok(Self {
            token: optional_text("RegisterNode.token", wire.token.as_deref())?,
            name: wire.name,
            peer_address: wire.peer_address,
            admin_address: wire.admin_address,
            http_address: wire.http_address,
            region: wire.region,
            zone: wire.zone,
            version: wire.version,
        })
    }
}

impl From<&FormCluster> for log::FormCluster {
    fn from(form: &FormCluster) -> Self {
        Self {
            cluster_id: form.cluster_id.written(),
            settings: Some((&form.settings).into()),
            node: Some((&form.node).into()),
            administrator: Some((&form.administrator).into()),
            administrator_key: Some((&form.administrator_key).into()),
            key_hash_key: write_secret(&form.key_hash_key),
            session_key: write_secret(&form.session_key),
        }
    }
}

impl TryFrom<log::FormCluster> for FormCluster {
    type Error = DecodeError;

    fn try_from(wire: log::FormCluster) -> Result<Self, DecodeError> {
        Ok(Self {
            cluster_id: raw("FormCluster.cluster_id", &wire.cluster_id)?,
            settings: required("FormCluster.settings", wire.settings)?.into(),
            node: record("FormCluster.node", wire.node)?,
            administrator: record("FormCluster.administrator", wire.administrator)?,
            administrator_key: record("FormCluster.administrator_key", wire.administrator_key)?,
            key_hash_key: Secret32(fixed("FormCluster.key_hash_key", &wire.key_hash_key)?),
            session_key: Secret32(fixed("FormCluster.session_key", &wire.session_key)?),
        })
    }
}

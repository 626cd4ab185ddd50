//! Settings equal on every node.

use only1mcp_domain::model::{ClusterSettings, SealMode};

use crate::codec::parts::wire_enum;
use crate::model;

wire_enum!(SealMode, model::SealMode, "SealMode", [Journaled, Sealed, BeforeDispatch, Completion]);

impl From<&ClusterSettings> for model::ClusterSettings {
    fn from(settings: &ClusterSettings) -> Self {
        Self {
            cluster_name: settings.cluster_name.clone(),
            heartbeat_ms: settings.heartbeat_ms,
            election_ms_min: settings.election_ms_min,
            election_ms_max: settings.election_ms_max,
            staleness_ms_max: settings.staleness_ms_max,
            stale_wait_ms_max: settings.stale_wait_ms_max,
            feature_level: settings.feature_level,
        }
    }
}

impl From<model::ClusterSettings> for ClusterSettings {
    fn from(wire: model::ClusterSettings) -> Self {
        Self {
            cluster_name: wire.cluster_name,
            heartbeat_ms: wire.heartbeat_ms,
            election_ms_min: wire.election_ms_min,
            election_ms_max: wire.election_ms_max,
            staleness_ms_max: wire.staleness_ms_max,
            stale_wait_ms_max: wire.stale_wait_ms_max,
            feature_level: wire.feature_level,
        }
    }
}

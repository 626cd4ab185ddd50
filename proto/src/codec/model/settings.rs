//! Settings equal on every node.

use only1mcp_domain::limits;
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
            // Settings of before this field read and write as they always did.
            stable_ms: if settings.stable_ms == limits::STABLE_MS_DEFAULT { 0 } else { settings.stable_ms },
            leader_region: settings.leader_region.clone(),
            leader_zone: settings.leader_zone.clone(),
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
            stable_ms: if wire.stable_ms == 0 { limits::STABLE_MS_DEFAULT } else { wire.stable_ms },
            leader_region: wire.leader_region,
            leader_zone: wire.leader_zone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_feature_level_2_are_there_again_and_older_ones_keep_their_bytes() {
        let old = ClusterSettings::new("x");
        let wire = model::ClusterSettings::from(&old);
        assert_eq!((wire.stable_ms, wire.leader_region.len(), wire.leader_zone.len()), (0, 0, 0));
        assert_eq!(ClusterSettings::from(wire), old);
        let new = ClusterSettings {
            feature_level: 2,
            stable_ms: 7,
            leader_region: "eu".to_owned(),
            leader_zone: "a".to_owned(),
            ..old
        };
        assert_eq!(ClusterSettings::from(model::ClusterSettings::from(&new)), new);
    }
}

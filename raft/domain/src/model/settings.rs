//! Settings equal on every node: replicated, so that a node set otherwise can be told apart.

use crate::limits;

/// When the answer to a call may leave a node (P2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealMode {
    /// The admission is on this node's disk. Its receipt says `pending`.
    Journaled,
    /// The admission is committed by a quorum; that runs while the upstream works.
    Sealed,
    /// The admission is committed before the call is sent.
    BeforeDispatch,
    /// The admission, and the outcome too, before the result leaves.
    Completion,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSettings {
    pub cluster_name: String,
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    pub election_ms_max: u64,
    /// P4: how old the state may be on which a call is admitted.
    pub staleness_ms_max: u64,
    pub stale_wait_ms_max: u64,
    /// Switches behaviour at one log index on all nodes.
    pub feature_level: u32,
    /// How long a member must have kept up before it is made a voter, or a leader by preference. Feature level 2.
    pub stable_ms: u64,
    /// Where the leader should be; empty: anywhere. Feature level 2.
    pub leader_region: String,
    pub leader_zone: String,
}

impl ClusterSettings {
    /// How well a node at `region` and `zone` suits as leader; more is better, 0 where nothing is asked for.
    pub fn leader_rank(&self, region: &str, zone: &str) -> u8 {
        let in_region = !self.leader_region.is_empty() && self.leader_region == region;
        let region_is_right = in_region || self.leader_region.is_empty();
        let in_zone = region_is_right && !self.leader_zone.is_empty() && self.leader_zone == zone;
        u8::from(in_region) + u8::from(in_zone)
    }

    /// Says something that nodes below feature level 2 do not understand.
    pub fn needs_level_2(&self) -> bool {
        let Self { stable_ms, leader_region, leader_zone, .. } = self;
        *stable_ms != limits::STABLE_MS_DEFAULT || !leader_region.is_empty() || !leader_zone.is_empty()
    }

    pub fn new(cluster_name: impl Into<String>) -> Self {
        Self {
            cluster_name: cluster_name.into(),
            heartbeat_ms: 100,
            election_ms_min: 500,
            election_ms_max: 1_000,
            staleness_ms_max: limits::STALENESS_MS_DEFAULT,
            stale_wait_ms_max: limits::STALE_WAIT_MS_MAX,
            feature_level: 1,
            stable_ms: limits::STABLE_MS_DEFAULT,
            leader_region: String::new(),
            leader_zone: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_wanted_in_a_region_and_there_in_a_zone() {
        let anywhere = ClusterSettings::new("x");
        assert_eq!(anywhere.leader_rank("eu", "a"), 0);
        let region = ClusterSettings { leader_region: "eu".to_owned(), ..anywhere.clone() };
        assert_eq!((region.leader_rank("eu", "a"), region.leader_rank("us", "a")), (1, 0));
        let zone = ClusterSettings { leader_zone: "a".to_owned(), ..anywhere.clone() };
        assert_eq!((zone.leader_rank("eu", "a"), zone.leader_rank("eu", "b")), (1, 0));
        let both = ClusterSettings { leader_zone: "a".to_owned(), ..region };
        assert_eq!((both.leader_rank("eu", "a"), both.leader_rank("eu", "b")), (2, 1));
        assert_eq!((both.leader_rank("us", "a"), both.leader_rank("", "")), (0, 0));
    }
}

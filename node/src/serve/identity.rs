//! Who this node is, as its data folder remembers it: written once, before it first takes part.

use anyhow::Context as _;
use only1mcp_consensus::{Seed, Timing};
use only1mcp_domain::ids::NodeId;
use only1mcp_storage::DataFolder;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    pub format: u32,
    pub node: u64,
    pub cluster_name: String,
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    pub election_ms_max: u64,
    /// The members this node was told of when it joined.
    pub seeds: Vec<KnownMember>,
    /// The longest `election_ms_max` this node ever ran with: what it may have promised before it was started anew.
    #[serde(default)]
    pub promised_ms_max: u64,
    /// It took part in the cluster: from then on an empty Raft log is a lost one.
    #[serde(default)]
    pub took_part: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownMember {
    pub node: u64,
    pub name: String,
    pub peer_address: String,
}

const FORMAT: u32 = 1;

impl Identity {
    pub fn new(node: NodeId, cluster_name: String, timing: Timing, seeds: Vec<KnownMember>) -> Self {
        Self {
            format: FORMAT,
            node: node.0,
            cluster_name,
            heartbeat_ms: timing.heartbeat_ms,
            election_ms_min: timing.election_ms_min,
            election_ms_max: timing.election_ms_max,
            seeds,
            promised_ms_max: timing.election_ms_max,
            took_part: false,
        }
    }

    /// `None` for a folder that never took part in a cluster.
    pub fn read(folder: &DataFolder) -> anyhow::Result<Option<Self>> {
        let Some(bytes) = folder.identity()? else { return Ok(None) };
        let identity: Self = serde_json::from_slice(&bytes).context("the identity file is not readable")?;
        anyhow::ensure!(identity.format == FORMAT, "the identity file has format {}", identity.format);
        Ok(Some(identity))
    }

    pub fn write(&self, folder: &DataFolder) -> anyhow::Result<()> {
        folder.write_identity(&serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// To be called before the node runs with `timing`: what it then promises it must remember.
    pub fn runs_with(&mut self, timing: Timing, folder: &DataFolder) -> anyhow::Result<()> {
        if timing == self.timing() && timing.election_ms_max <= self.promised_ms_max {
            return Ok(());
        }
        self.promised_ms_max = self.promised_ms_max.max(self.election_ms_max).max(timing.election_ms_max);
        self.heartbeat_ms = timing.heartbeat_ms;
        self.election_ms_min = timing.election_ms_min;
        self.election_ms_max = timing.election_ms_max;
        self.write(folder)
    }

    pub fn timing(&self) -> Timing {
        Timing {
            heartbeat_ms: self.heartbeat_ms,
            election_ms_min: self.election_ms_min,
            election_ms_max: self.election_ms_max,
        }
    }

    pub fn seeds(&self) -> Vec<Seed> {
        let seed = |member: &KnownMember| Seed {
            node: NodeId(member.node),
            name: member.name.clone(),
            peer_address: member.peer_address.clone(),
        };
        self.seeds.iter().map(seed).collect()
    }
}

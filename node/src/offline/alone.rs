//! Consensus of one node that reaches nobody: leads, has one entry committed and applied, and ends.

use std::sync::Arc;

use anyhow::ensure;
use only1mcp_consensus::offline::NoPeers;
use only1mcp_consensus::{Consensus, Options, Stores, Timing};
use only1mcp_domain::State;
use only1mcp_domain::command::{BeginEpoch, Command, EpochCause};
use only1mcp_domain::ids::{NodeId, PrincipalId};
use tokio::time::{Duration, Instant};

use crate::config::NodeConfig;
use crate::serve::{socket_entry, wall_clock::WallClock};

/// To lead a node waits for its own elections to be over; a log of any length is applied before.
const LEAD: Duration = Duration::from_secs(120);

/// Begins an epoch on stores whose only voter is `node`, then has `further` commands applied. Returns the state after it, which is durable.
pub async fn begin_epoch(
    config: &NodeConfig,
    stores: Stores,
    node: NodeId,
    before: &State,
    cause: EpochCause,
    further: Vec<Command>,
) -> anyhow::Result<Arc<State>> {
    let Some(cluster) = &before.cluster else { anyhow::bail!("the cluster is not formed") };
    let settings = &cluster.settings.value;
    let mut options = Options::new(node, config.name.clone(), config.peer_address(), Arc::new(WallClock));
    options.cluster_name = settings.cluster_name.clone();
    options.timing = Timing::of_settings(settings);
    let consensus = Consensus::start(options, stores, Arc::new(NoPeers)).await?;
    let handle = consensus.handle();
    let by = PrincipalId::new("host")?;
    let epoch = cluster.epoch.saturating_add(1);
    let begin = Command::BeginEpoch(Box::new(BeginEpoch { epoch, cause }));
    let until = Instant::now() + LEAD;
    let committed = handle.propose(socket_entry(&by, begin), until).await?;
    committed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection} ({})", rejection.code()))?;
    let mut state = handle.wait_applied(committed.log_index, until).await?;
    for command in further {
        let committed = handle.propose(socket_entry(&by, command), until).await?;
        committed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection} ({})", rejection.code()))?;
        state = handle.wait_applied(committed.log_index, until).await?;
    }
    handle.shutdown().await?;
    let begun = state.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
    ensure!(begun == epoch, "epoch {begun} was begun in place of {epoch}");
    Ok(state)
}

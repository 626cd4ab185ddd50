//! `only1mcp cluster recover --unsafe`: a node goes on without the majority it had.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use only1mcp_consensus::offline::{Survey, strand};
use only1mcp_domain::command::EpochCause;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_storage::DataFolder;
use serde_json::json;

use super::restore::Output;
use super::{alone, stores};
use crate::config::NodeConfig;
use crate::print;
use crate::serve::Identity;

const WHAT: &str = "only1mcp cluster recover --unsafe";

/// Makes this node the only voter, when most voters are lost for good.
///
/// Run it on the host of a stopped node: the one whose log goes furthest, if several are left (it is told before anything
/// is done). What the lost nodes acknowledged and this one does not have is lost. The other members are removed and their
/// certificates barred, also those that may come back; what they were lent of budgets counts as spent. The cluster's epoch
/// is raised, and all of it stands in the audit trail. Other nodes then join anew, under new names.
///
/// If the lost nodes come back and are a majority, they go on without this one, as if it had never been told otherwise:
/// make sure that they never do.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  only1mcp cluster recover --unsafe --config node.yaml && only1mcp serve --config node.yaml"
)]
pub struct RecoverArgs {
    /// The configuration of the node.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_CONFIG")]
    config: PathBuf,
    /// Acknowledged writes may be lost by this.
    #[arg(long = "unsafe", required = true)]
    is_unsafe: bool,
    /// In place of typing the cluster's name.
    #[arg(long)]
    yes_i_lost_the_majority: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub async fn recover(args: &RecoverArgs) -> anyhow::Result<()> {
    ensure!(args.is_unsafe, "this is unsafe, and has to be asked for as such: --unsafe");
    let config = NodeConfig::load(&args.config)?;
    let folder = DataFolder::existing(&config.data_dir).with_context(|| {
        format!("{}: a node runs on it, or it is no data folder", config.data_dir.display())
    })?;
    let begun = stores::unfinished(&folder)?;
    ensure!(
        begun.as_deref().is_none_or(|begun| begun == WHAT),
        "another work was begun in this folder: {}",
        begun.unwrap_or_default()
    );
    let identity = Identity::read(&folder)?.context("this node never took part in a cluster")?;
    let node = NodeId(identity.node);
    let keys = stores::keys(&config, &folder).await?;
    let stores = stores::open(&folder, keys.as_ref())?;
    let survey = Survey::of(&stores).context("try `only1mcp doctor` on the folder")?;
    let others = survey.others(node);
    refuse(&survey, node, &others)?;
    tell(&survey, node, &others);
    confirm(args, &identity.cluster_name)?;

    stores::begin(&folder, WHAT)?;
    strand(&stores, node, &config.name, &config.peer_address())?;
    let cause = EpochCause::MajorityLost { node };
    let state = alone::begin_epoch(&config, stores, node, &survey.state, cause, Vec::new()).await?;
    let alone = Identity { seeds: Vec::new(), ..identity };
    alone.write(&folder)?;
    stores::end(&folder)?;
    let epoch = state.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
    match args.output {
        Output::Json => println!(
            "{:#}",
            json!({
                "node": node.0, "epoch": epoch, "removed": others.iter().map(|node| node.0).collect::<Vec<_>>(),
                "log_index": state.last_applied, "audit_index": state.chain.index.0,
                "audit_hash": state.chain.hash.to_string(),
            })
        ),
        Output::Table => println!(
            "node {node} is the only member now, in epoch {epoch}; {} events.\nStart it with `only1mcp serve`; other nodes \
             join by `only1mcp ctl cluster join-token`.",
            state.chain.index
        ),
    }
    Ok(())
}

fn refuse(survey: &Survey, node: NodeId, others: &[NodeId]) -> anyhow::Result<()> {
    let Some(record) = survey.state.nodes.get(&node).map(|record| &record.value) else {
        bail!("node {node} is not a member as far as it knows: it holds too little to go on with");
    };
    ensure!(record.role != NodeRole::Removed, "node {node} was removed from its cluster");
    ensure!(!others.is_empty(), "node {node} is the only member: start it with `only1mcp serve`");
    Ok(())
}

/// What will be done, and what may be lost by it.
fn tell(survey: &Survey, node: NodeId, others: &[NodeId]) {
    let state = &survey.state;
    let name = |id: &NodeId| state.nodes.get(id).map_or("", |record| record.value.name.as_str()).to_owned();
    let lent = |id: NodeId| {
        let accounts = state.ledger.accounts.values();
        accounts.filter(|account| account.lent_to(id).outstanding > 0).count()
    };
    print::progress(format!(
        "node {node} has the log up to entry {}; it knew entry {} to be committed, and has applied {}.",
        survey.last_index, survey.committed_index, state.last_applied
    ));
    print::progress(format!(
        "Entries after {} that others acknowledged will be lost. Entries up to it will count, also those that were never \
         acknowledged.",
        survey.last_index
    ));
    for other in others {
        print::progress(format!(
            "Node {other} ({}) will be removed and its certificate barred; what it was lent of {} accounts, as of entry {}, \
             counts as spent.",
            name(other),
            lent(*other),
            state.last_applied
        ));
    }
    if !survey.lacking.is_empty() {
        let (first, last) = (survey.lacking.first(), survey.lacking.last());
        let events = first.zip(last).map(|(first, last)| format!("{} to {}", first.first, last.last));
        print::progress(format!(
            "{} segments of the audit trail, within events {}, are not on this node: put their files into its `segments` \
             folder if any other node's disk or a backup still has them.",
            survey.lacking.len(),
            events.unwrap_or_default()
        ));
    }
}

fn confirm(args: &RecoverArgs, cluster: &str) -> anyhow::Result<()> {
    if args.yes_i_lost_the_majority {
        return Ok(());
    }
    ensure!(std::io::stdin().is_terminal(), "nothing was done: confirm with --yes-i-lost-the-majority");
    print::progress(format!("Type the name of the cluster, {cluster}, to go on:"));
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    ensure!(typed.trim() == cluster, "nothing was done: that is not its name");
    Ok(())
}

//! Forming the simulated cluster: node 1 forms it and lets the others in, as its administrator would; each of those
//! becomes a voter, and says so in the records.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_consensus::Handle;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::{IdError, NodeId};
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_enforcer::Entropy as _;
use tokio::time::{Instant, sleep};

use super::Site;
use crate::scene;

const PATIENCE: Duration = Duration::from_secs(10);

/// Returns when this node is a voter; at once, at every start but the first.
pub async fn enter(site: &Arc<Site>, handle: &Handle) -> Result<(), String> {
    if site.node == NodeId(1) && handle.state().cluster.is_none() && handle.status().last_log == 0 {
        first(site, handle).await?;
    }
    let me = site.node;
    loop {
        let role = handle.state().nodes.get(&me).map(|record| record.value.role);
        match role {
            Some(NodeRole::Voter) => return Ok(()),
            Some(NodeRole::Learner) if !site.promotes() => return Ok(()),
            Some(NodeRole::Learner) if handle.promote(me, deadline()).await.is_ok() => {
                let told = Command::SetNodeRole { node: me, role: NodeRole::Voter };
                // Asked again if its end is unknown.
                let _ = handle.propose(local(site, told)?, deadline()).await;
            }
            _ => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn first(site: &Arc<Site>, handle: &Handle) -> Result<(), String> {
    let form = scene::form(site.timing).map_err(|error| error.to_string())?;
    let formed = handle.form(local(site, form)?, deadline()).await.map_err(|error| error.to_string())?;
    formed.outcome.map_err(|rejection| rejection.to_string())?;
    let furniture = scene::furnish().map_err(|error| error.to_string())?;
    for command in furniture {
        must(site, handle, command).await?;
    }
    for budget in site.stage.budgets.clone() {
        must(site, handle, Command::PutBudget { budget: Box::new(budget), if_revision: None }).await?;
    }
    for id in 2..=site.stage.shape.founders {
        let [token, register] = scene::admit_node(NodeId(id)).map_err(|error| error.to_string())?;
        must(site, handle, token).await?;
        let registered = handle.propose(local(site, register)?, deadline()).await;
        match registered.map_err(|error| error.to_string())?.outcome {
            Ok(Outcome::NodeRegistered { node }) if node == NodeId(id) => {}
            other => return Err(format!("registering node {id} gave {other:?}")),
        }
        handle.add_learner(NodeId(id), deadline()).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn must(site: &Arc<Site>, handle: &Handle, command: Command) -> Result<(), String> {
    let words = format!("{command:?}");
    let entry = scene::write(id(site), command).map_err(|error: IdError| error.to_string())?;
    let committed = handle.propose(entry, deadline()).await.map_err(|error| error.to_string())?;
    committed.outcome.map(drop).map_err(|rejection: Rejection| format!("{words}: {rejection}"))
}

fn local(site: &Site, command: Command) -> Result<Entry, String> {
    scene::local(id(site), command).map_err(|error| error.to_string())
}

fn id(site: &Site) -> [u8; 16] {
    let mut id = [0; 16];
    site.entropy.fill(&mut id);
    id
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

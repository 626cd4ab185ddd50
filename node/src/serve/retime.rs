//! The cluster's times change while it runs. Raft takes its times when it starts, so each node starts anew, one after
//! the other, the leader last. Meanwhile some run with the old ones: a lease is worth the shortest promise it rests on,
//! and a node that starts keeps from voting for as long as it ever promised.

use std::pin::Pin;

use only1mcp_consensus::{Handle, Timing};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::peer;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::config::{NodeConfig, TimingConfig};

const LOOK: Duration = Duration::from_millis(250);
const ASK: Duration = Duration::from_secs(1);
/// Those before this node in the line are waited for no longer than this, each.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is left of the node's tasks has ended within this; a thread that reads standard input does not.
const SHUT_DOWN: Duration = Duration::from_millis(300);

/// The times of the cluster's settings, as this node has applied them.
pub fn replicated(handle: &Handle) -> Option<Timing> {
    handle.state().cluster.as_ref().map(|cluster| Timing::of_settings(&cluster.settings.value))
}

/// The times another node says it runs with.
pub fn told(status: &peer::StatusResponse) -> Timing {
    Timing {
        heartbeat_ms: status.heartbeat_ms,
        election_ms_min: status.election_ms_min,
        election_ms_max: status.election_ms_max,
    }
}

/// The times this node's configuration asks for.
pub fn configured(config: &NodeConfig) -> Option<Timing> {
    let TimingConfig { heartbeat_ms, election_ms_min, election_ms_max } = config.timing?;
    Some(Timing { heartbeat_ms, election_ms_min, election_ms_max })
}

/// Errors: the configuration asks for other times than the cluster's.
pub fn refuse_others(config: &NodeConfig, cluster: Timing) -> anyhow::Result<()> {
    let Some(configured) = configured(config) else { return Ok(()) };
    anyhow::ensure!(
        configured == cluster,
        "timing: {configured:?} is not the cluster's {cluster:?}, and voters timed differently break each other's \
         leases: take it out of the configuration, or change the cluster's with `ctl cluster settings set`"
    );
    Ok(())
}

/// Returns when this node is to start anew. Never, where its configuration forbids the times that are in force.
pub async fn turn(config: NodeConfig, handle: Handle) {
    let mut changed_at = None;
    loop {
        sleep(LOOK).await;
        let Some(wanted) = replicated(&handle).filter(|wanted| *wanted != handle.timing()) else {
            changed_at = None;
            continue;
        };
        let since = *changed_at.get_or_insert_with(Instant::now);
        if let Err(error) = refuse_others(&config, wanted) {
            tracing::error!(%error, "this node goes on with the times it has, and would not start again");
            return std::future::pending().await;
        }
        let before = before_this(&handle);
        let patience = PATIENCE.saturating_mul(u32::try_from(before.len()).unwrap_or(u32::MAX));
        if since.elapsed() >= patience || all_run_with(&handle, &before, wanted).await {
            return;
        }
    }
}

/// The members that go first: those with smaller ids, and all before the leader.
fn before_this(handle: &Handle) -> Vec<NodeId> {
    let leader = handle.leader();
    let place = |node: NodeId| (leader == Some(node), node);
    let state = handle.state();
    let members = state.nodes.values().map(|record| &record.value);
    members
        .filter(|record| record.role != NodeRole::Removed && place(record.id) < place(handle.node()))
        .map(|record| record.id)
        .collect()
}

/// And are up to date again: two at a time would be too many to be away. Before the leader starts anew they vote again,
/// too: otherwise nobody could take its place for as long as they keep from it.
async fn all_run_with(handle: &Handle, nodes: &[NodeId], wanted: Timing) -> bool {
    let leads = handle.leader() == Some(handle.node());
    for node in nodes {
        let Some(mut client) = handle.peer(*node) else { return false };
        let request = peer::StatusRequest { from: handle.node().0, ..Default::default() };
        let Ok(Ok(answer)) = timeout(ASK, client.status(request)).await else { return false };
        let status = answer.into_inner();
        if told(&status) != wanted || status.decides_at == 0 || status.leader == 0 {
            return false;
        }
        if leads && status.votes_withheld {
            return false;
        }
    }
    true
}

/// Runs `stopping` to its end, and tells whether `ended` came about meanwhile.
pub async fn stop_watching<T>(
    stopping: impl Future<Output = T>,
    mut ended: Pin<&mut impl Future<Output = ()>>,
) -> (T, bool) {
    let mut told_to_end = false;
    let mut stopping = std::pin::pin!(stopping);
    loop {
        tokio::select! {
            biased;
            () = &mut ended, if !told_to_end => told_to_end = true,
            stopped = &mut stopping => return (stopped, told_to_end),
        }
    }
}

/// The same program with the same arguments in place of this one, as if it had ended and been started. Returns `Ok` when
/// it was told to end meanwhile.
///
/// `runtime` is shut down first: on the way to another program a process dies of a write to a connection that its peer has
/// closed, which otherwise is an error as any other.
#[cfg(unix)]
pub fn start_anew(runtime: tokio::runtime::Runtime) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    use tokio::signal::unix::{SignalKind, signal};
    let watch = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _here = watch.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    runtime.shutdown_timeout(SHUT_DOWN);
    let told_to_end = watch.block_on(async {
        tokio::select! {
            biased;
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = sleep(Duration::from_millis(1)) => false,
        }
    });
    if told_to_end {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    let error = std::process::Command::new(program).arg0(name).args(arguments).exec();
    Err(anyhow::Error::new(error).context("the node could not start anew"))
}

/// Whoever watches over the process starts it.
#[cfg(not(unix))]
pub fn start_anew(_: tokio::runtime::Runtime) -> anyhow::Result<()> {
    anyhow::bail!("the cluster's times were changed: start the node again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_end_while_it_stops_does_not_start_anew() {
        let in_ms = |ms| sleep(Duration::from_millis(ms));
        for (ended_ms, told) in [(10, true), (90, true), (110, false)] {
            let mut ended = std::pin::pin!(in_ms(ended_ms));
            let stopping = async {
                in_ms(100).await;
                7
            };
            assert_eq!(stop_watching(stopping, ended.as_mut()).await, (7, told), "{ended_ms}");
        }
    }
}

//! Duties on this node: the leader gives them out, and whoever has one does it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use only1mcp_consensus::{AppliedNote, Handle, ProposeError, Role};
use only1mcp_domain::State;
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::command::{Command, DutyProgress};
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_enforcer::Enforcer;
use only1mcp_gateway::Outbound;
use only1mcp_sinks::ports::{DutyPort, HttpPort};
use only1mcp_sinks::{Runner, plan, silence};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::host::{HostClock, HostEntropy};
use crate::serve::admin_port::propose_own;
use crate::serve::join::node_entry;
use crate::serve::retention;

/// How often the leader looks whether each duty is in the hands of a node that lives.
const LOOK: Duration = Duration::from_millis(500);
/// One word to the log.
const TELL: Duration = Duration::from_secs(5);

struct Port {
    handle: Handle,
    enforcer: Arc<Enforcer>,
}

impl DutyPort for Port {
    fn node(&self) -> NodeId {
        self.handle.node()
    }

    fn state(&self) -> Arc<State> {
        self.handle.state()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.handle.applied()
    }

    fn is_fresh(&self) -> bool {
        self.enforcer.freshness().is_fresh(staleness_ms_max(&self.handle.state()))
    }

    fn events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, String> {
        self.handle.audit_events(from, limit).map_err(|error| error.to_string())
    }

    fn advance(&self, progress: DutyProgress) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, String>> {
        Box::pin(async move {
            let entry = node_entry(self.handle.node(), Command::AdvanceDuty(progress));
            let told = self.handle.propose(entry, Instant::now() + TELL).await;
            told.map(|committed| committed.outcome).map_err(|error: ProposeError| error.to_string())
        })
    }

    fn now_ms(&self) -> u64 {
        HostClock.now_ms()
    }

    fn random(&self) -> u64 {
        u64::from_be_bytes(HostEntropy.bytes())
    }
}

struct Outside(Outbound);

impl HttpPort for Outside {
    fn send(
        &self,
        request: hyper::Request<Full<Bytes>>,
    ) -> BoxFuture<'_, Result<hyper::Response<Incoming>, String>> {
        Box::pin(self.0.send(request))
    }
}

fn staleness_ms_max(state: &State) -> u64 {
    let settings = state.cluster.as_ref().map(|cluster| cluster.settings.value.staleness_ms_max);
    settings.unwrap_or(limits::STALENESS_MS_DEFAULT)
}

/// Starts this node's part.
pub fn start(
    handle: &Handle,
    enforcer: &Arc<Enforcer>,
    outside: Outbound,
    tasks: &mut JoinSet<()>,
) -> Runner {
    let notes = handle.notes();
    let port = Arc::new(Port { handle: handle.clone(), enforcer: enforcer.clone() });
    let runner = Runner::new(port, Arc::new(Outside(outside)));
    tasks.spawn(pass_on(notes, runner.clone()));
    tasks.spawn(runner.clone().run());
    tasks.spawn(give_out(handle.clone()));
    tasks.spawn(retention::run(handle.clone(), enforcer.clone()));
    runner
}

async fn pass_on(mut notes: Receiver<Arc<AppliedNote>>, runner: Runner) {
    loop {
        match notes.recv().await {
            Ok(note) if note.resync => runner.notes_missed(),
            Ok(note) => runner.note(note.log_index, &note.effects),
            Err(RecvError::Lagged(_)) => runner.notes_missed(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// While this node leads: a duty whose holder was not heard for long enough is given to another. A leader counts from
/// the moment it took over for nodes that have not answered it yet.
async fn give_out(handle: Handle) {
    let mut leads_since = None;
    loop {
        sleep(LOOK).await;
        let status = handle.status();
        if status.role != Role::Leader {
            leads_since = None;
            continue;
        }
        let since = *leads_since.get_or_insert_with(Instant::now);
        let state = handle.state();
        let bound = silence(staleness_ms_max(&state));
        let heard = |ms: Option<u64>| ms.map_or(since.elapsed(), Duration::from_millis) < bound;
        let alive: BTreeSet<NodeId> = status
            .members
            .iter()
            .filter(|member| member.voter && (member.node == status.node || heard(member.last_heard_ms)))
            .map(|member| member.node)
            .filter(|node| state.is_member(*node))
            .collect();
        for only1mcp_sinks::Assignment { duty, node, after } in plan(&state, &alive) {
            let told = duty.to_string();
            match propose_own(&handle, Command::AssignDuty { duty, node, after }, TELL).await {
                Ok(_) => tracing::info!(duty = told, %node, "a duty was given out"),
                Err(error) => {
                    tracing::info!(duty = told, %error, "a duty is not given out yet");
                    break;
                }
            }
        }
    }
}

//! What runs on a simulated host, from each start to the next crash: the same parts as `only1mcp serve` puts together.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use only1mcp_consensus::{Consensus, Handlers, Options, Seed, Stores};
use only1mcp_domain::ids::NodeId;
use only1mcp_enforcer::{Parts, Service, SystemZones};
use only1mcp_storage::{
    Journal as _, JournalPosition, RaftLog, SealedEngine, SealedJournal, SealedLog, SealedSegments,
};
use turmoil::net::TcpListener;

use super::cluster_port::ConsensusPort;
use super::disk::{WatchedJournal, WatchedLog};
use super::journal_port::JournalFile;
use super::network::{SimConnector, peers};
use super::repeats::RepeatingPort;
use super::{FRONT_PORT, Live, PEER_PORT, Site, front, observer, sealing, setup};
use crate::oracle::Life;
use crate::scene;
use crate::stage::locked;

/// How often a spare looks whether it is to join.
const LOOK: Duration = Duration::from_millis(20);

/// One life. A node that ends by itself is a fault of ours, unless it was removed or its disk fails.
pub async fn software(site: Arc<Site>) -> turmoil::Result {
    while !site.is_wanted() {
        tokio::time::sleep(LOOK).await;
    }
    let life = site.begin_life();
    site.stage.trace.line(&site.name, format_args!("starts as {life}"));
    if let Err(why) = live(&site, life).await {
        if site.is_dismissed() {
            site.stage.trace.line(&site.name, format_args!("{life} ends: {why}"));
            return std::future::pending().await;
        }
        if site.is_failing() {
            site.stage.trace.line(&site.name, format_args!("{life} stops: {why}"));
            site.exit();
            return std::future::pending().await;
        }
        site.stage.violated("no node stops by itself", format_args!("{life}: {why}"));
    }
    std::future::pending().await
}

/// Who forms the cluster, and this node.
fn seeds(own: NodeId, founders: u64) -> Vec<Seed> {
    (1..=founders)
        .chain((own.0 > founders).then_some(own.0))
        .map(|id| {
            let node = NodeId(id);
            let name = scene::node_name(node);
            Seed { node, peer_address: format!("{name}:{PEER_PORT}"), name }
        })
        .collect()
}

async fn live(site: &Arc<Site>, life: Life) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let sealer = sealing::sealer(life).map_err(|error| text(&error))?;
    let log = WatchedLog {
        node: site.node,
        inner: SealedLog::new(site.disk.log(), sealer.clone()),
        stage: site.stage.clone(),
        mutant: site.mutant,
    };
    let journal = WatchedJournal {
        inner: SealedJournal::new(site.disk.journal(), sealer.clone()),
        mutant: site.mutant,
        appended: AtomicU64::new(0),
    };
    // As opening them on files does: all is read, and what is damaged ends the node before it takes part.
    let found = log.state().map_err(|error| text(&error))?.vote;
    log.read(0, u64::MAX).map_err(|error| text(&error))?;
    journal.read_after(JournalPosition(0)).map_err(|error| text(&error))?;
    log.opened();
    let kept = locked(&site.stage.watch).votes.found(site.node, found);
    site.stage.check("votes", kept);
    tokio::spawn(turn_disk(site.clone()));
    site.hurry.begin(site);

    let address = format!("{}:{PEER_PORT}", site.name);
    let mut options = Options::new(site.node, site.name.clone(), address, site.clock.clone());
    options.seeds = seeds(site.node, site.stage.shape.founders);
    options.timing = site.timing;
    options.snapshot_every_entries = 80;
    options.keep_entries = 20;
    options.segment_events = 16;
    let stores = Stores {
        log: Arc::new(log),
        engine: Arc::new(SealedEngine::new(site.disk.engine(), sealer.clone())),
        segments: Arc::new(SealedSegments::new(site.disk.segments(), sealer)),
    };
    let connector = Arc::new(SimConnector { name: site.name.clone() });
    let consensus = Consensus::start(options, stores, connector).await.map_err(|error| text(&error))?;
    let handle = consensus.handle();
    site.set_live(Some(Live { life, handle: handle.clone(), enforcer: None }));
    let listener = TcpListener::bind(("0.0.0.0", PEER_PORT)).await.map_err(|error| text(&error))?;
    let server = tonic::transport::Server::builder()
        .add_service(consensus.peer_service(Handlers::default()))
        .serve_with_incoming(peers(listener));
    tokio::spawn(server);
    tokio::spawn(observer::observe(site.clone(), life, handle.clone()));
    tokio::spawn(observer::read_lease(site.clone(), handle.clone()));
    setup::enter(site, &handle).await?;

    let parts = Parts {
        cluster: Arc::new(RepeatingPort { inner: ConsensusPort::new(handle.clone()), site: site.clone() }),
        journal: Arc::new(JournalFile(Arc::new(journal))),
        clock: site.clock.clone(),
        entropy: site.entropy.clone(),
        zones: Arc::new(SystemZones),
        personal: Arc::new(only1mcp_enforcer::InTheClear),
    };
    let mut service = Service::start(parts).await?;
    let enforcer = service.enforcer();
    site.stage.trace.line(&site.name, format_args!("{life} admits calls"));
    site.set_live(Some(Live { life, handle: handle.clone(), enforcer: Some(enforcer.clone()) }));
    let listener = TcpListener::bind(("0.0.0.0", FRONT_PORT)).await.map_err(|error| text(&error))?;
    tokio::spawn(front::serve(site.clone(), life, listener, handle.clone(), enforcer));
    tokio::select! {
        why = service.failed() => Err(why),
        why = handle.stopped() => Err(why),
    }
}

/// Syncs what waits: mostly quickly, now and then only after a while.
async fn turn_disk(site: Arc<Site>) {
    loop {
        let pause = {
            let mut times = locked(&site.disk_times);
            if times.percent(1) { times.ms(20, 250) } else { times.ms(1, 5) }
        };
        tokio::time::sleep(pause).await;
        if !site.is_paused() {
            site.disk.pump();
        }
    }
}

//! What runs on a simulated host, from each start to the next crash: the same parts as `only1mcp serve` puts together.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use only1mcp_consensus::{Consensus, Handlers, Options, Seed, StartError, Stores};
use only1mcp_domain::ids::NodeId;
use only1mcp_enforcer::{Parts, Service, SystemZones};
use only1mcp_storage::{
    Engine as _, Journal as _, JournalPosition, MemEngine, RaftLog, SealedEngine, SealedJournal, SealedLog,
    SealedSegments, Sealer, StorageError,
};
use turmoil::net::TcpListener;

use super::cluster_port::ConsensusPort;
use super::disk::{WatchedJournal, WatchedLog};
use super::journal_port::JournalFile;
use super::network::{SimConnector, peers};
use super::repeats::RepeatingPort;
use super::{FRONT_PORT, Live, PEER_PORT, Site, front, observer, sealing, setup};
use crate::faults::{Part, ROW_ROT};
use crate::oracle::Life;
use crate::scene;
use crate::stage::locked;

/// How often a spare looks whether it is to join.
const LOOK: Duration = Duration::from_millis(20);
/// After so long a process that ended by itself is started again.
const STARTED_AGAIN: Duration = Duration::from_millis(300);
/// Behind every row's key.
const END_OF_ROWS: &[u8] = &[0xff];
/// A log that was cut at its end when it was opened.
const CUT: &str = "torn log";

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

/// What is damaged ends the node before it takes part.
fn sound<T>(site: &Site, part: Part, read: Result<T, StorageError>) -> Result<T, String> {
    read.map_err(|error| {
        if matches!(error, StorageError::Corrupt { .. }) {
            site.noticed(part.rot());
        }
        error.to_string()
    })
}

/// As `only1mcp serve` does: all are read when they are opened, the audit trail's too, and where one is damaged all are
/// discarded, to be made again.
fn rows(site: &Site, sealer: &Arc<Sealer>) -> Result<SealedEngine<MemEngine>, StorageError> {
    let open = || SealedEngine::new(site.disk.engine(), sealer.clone());
    let engine = open();
    match engine.scan(&[], END_OF_ROWS, usize::MAX) {
        Ok(_) => Ok(engine),
        Err(StorageError::Corrupt { .. }) => {
            site.noticed(ROW_ROT);
            locked(&site.stage.oracle).rotten_rows.retain(|node| *node != site.node);
            site.disk.engine().discard()?;
            Ok(open())
        }
        Err(error) => Err(error),
    }
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
        late: Mutex::new(None),
    };
    // As opening them on files does: all is read.
    let found = sound(site, Part::Vote, log.state())?.vote;
    sound(site, Part::Log, log.read(0, u64::MAX))?;
    sound(site, Part::Journal, journal.read_after(JournalPosition(0)))?;
    let engine = rows(site, &sealer).map_err(|error| text(&error))?;
    if log.cut_at_open().is_some() {
        site.noticed(CUT);
    }
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
        engine: Arc::new(engine),
        segments: Arc::new(SealedSegments::new(site.disk.segments(), sealer)),
    };
    let connector = Arc::new(SimConnector { name: site.name.clone() });
    let consensus = loop {
        match Consensus::start(options.clone(), stores.clone(), connector.clone()).await {
            // Its rows are lost and nobody can be reached who has them.
            Err(StartError::NoSnapshot { .. }) => {
                site.stage.trace.line(&site.name, format_args!("{life} has no rows, and is started again"));
                tokio::time::sleep(STARTED_AGAIN).await;
            }
            started => break started.map_err(|error| text(&error))?,
        }
    };
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

//! Driving a world: a step is a millisecond of everybody's time; between steps faults strike and invariants are judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use only1mcp_domain::ids::NodeId;
use only1mcp_storage::Fault as DiskFault;

use super::judge;
use super::options::Options;
use super::shape::Shape;
use crate::client::{Client, Job};
use crate::faults::{Fault, Faults, Part};
use crate::node::{Live, Site, observer, software};
use crate::oracle::Life;
use crate::report::Report;
use crate::rng::Rng;
use crate::scenarios::Scenario;
use crate::scene;
use crate::stage::{Stage, locked};

const STEP: Duration = Duration::from_millis(1);
const HOUR_MS: u64 = 3_600_000;
/// A cluster that is not formed within this never will be.
const FORMED_WITHIN_MS: u64 = 30_000;

/// Of the milliseconds of a lossy link.
const LOST_PERCENT: u64 = 2;
/// Clients that read and write registers.
const REGISTRARS: u64 = 3;

pub struct World {
    pub options: Options,
    pub stage: Arc<Stage>,
    pub sites: Vec<Arc<Site>>,
    pub rng: Rng,
    sim: turmoil::Sim<'static>,
    /// Links that lose messages, and which way each does at this moment.
    lossy: Vec<(u64, u64, Option<bool>)>,
}

impl World {
    pub fn new(options: Options) -> Self {
        options.mutant.choose();
        let mut rng = Rng::new(options.seed);
        let mut lots = rng.fork();
        let budgets = scene::budgets(&mut lots).unwrap_or_default();
        // In most worlds a minute, an hour with it, ends while faults strike.
        let lead_ms = HOUR_MS.saturating_sub(lots.between(1_500, 11_000));
        let latency_max = rng.ms(2, 12);
        let near = options.scenario.latencies(latency_max);
        let shape = if options.scenario == Scenario::Storm {
            Shape::draw(options.seed, near, &mut lots)
        } else {
            Shape::plain(near)
        };
        let stage = Arc::new(Stage::new(shape, budgets));
        let mut sim = turmoil::Builder::new()
            .rng_seed(rng.next_u64())
            .tick_duration(STEP)
            .simulation_duration(Duration::from_secs(24 * 3_600))
            .min_message_latency(near.0)
            .max_message_latency(near.1)
            .tcp_capacity(4_096)
            .enable_random_order()
            .build();
        let sites: Vec<Arc<Site>> = (1..=shape.spare())
            .map(|id| {
                let mut site = Site::new(NodeId(id), stage.clone(), options.mutant, lead_ms, &mut rng);
                site.timing = options.scenario.timing();
                Arc::new(if id == shape.spare() { site.spare() } else { site })
            })
            .collect();
        for site in &sites {
            if options.scenario.hurries() {
                site.hurry.allow();
            }
            let site = site.clone();
            sim.host(site.name.clone(), move || software(site.clone()));
        }
        let world = Self { options, stage, sites, rng, sim, lossy: Vec::new() };
        if shape.zones > Duration::ZERO {
            for (a, b) in world.links() {
                world.set_latency(a, b, shape.latency(a, b));
            }
        }
        world
    }

    fn links(&self) -> Vec<(u64, u64)> {
        let nodes = || self.sites.iter().map(|site| site.node.0);
        nodes().flat_map(|a| nodes().filter(move |b| a < *b).map(move |b| (a, b))).collect()
    }

    fn set_latency(&self, a: u64, b: u64, (min, max): (Duration, Duration)) {
        let (a, b) = (scene::node_name(NodeId(a)), scene::node_name(NodeId(b)));
        self.sim.set_link_latency(a.clone(), b.clone(), min);
        self.sim.set_link_max_message_latency(a, b, max);
    }

    pub fn run(mut self) -> Report {
        self.options.scenario.play(&mut self);
        let (nodes, summary) = (self.nodes(), judge::summary(&self.stage));
        let [faults, noticed] = judge::faults(&self.stage);
        self.stop();
        Report {
            options: self.options,
            trace: self.stage.trace.take(),
            violations: self.stage.violations(),
            nodes,
            faults,
            noticed,
            summary,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.stage.time.ms()
    }

    /// One millisecond. False once an invariant is broken: there is nothing more to learn.
    pub fn step(&mut self) -> bool {
        self.stage.time.set_ms(self.now_ms().saturating_add(1));
        self.lose_messages();
        if let Err(error) = self.sim.step() {
            self.stage.violated("the harness", error);
        }
        let leaving = locked(&self.stage.oracle).leaving;
        for site in self.sites.clone() {
            if Some(site.node.0) == leaving {
                site.dismiss();
            }
            if site.take_exit() {
                self.crash(site.node.0);
            }
        }
        !self.stage.is_violated()
    }

    /// What is sent on a lossy link within a millisecond is lost now and then.
    fn lose_messages(&mut self) {
        let mut lossy = std::mem::take(&mut self.lossy);
        for (a, b, loses) in &mut lossy {
            let (from, to) = (scene::node_name(NodeId(*a)), scene::node_name(NodeId(*b)));
            let way =
                |first: bool| if first { (from.clone(), to.clone()) } else { (to.clone(), from.clone()) };
            if let Some(first) = loses.take() {
                let (from, to) = way(first);
                self.sim.repair_oneway(from, to);
            }
            if self.rng.percent(LOST_PERCENT) {
                let first = self.rng.percent(50);
                let (from, to) = way(first);
                self.sim.partition_oneway(from, to);
                *loses = Some(first);
            }
        }
        self.lossy = lossy;
    }

    pub fn steps(&mut self, count: u64) -> bool {
        (0..count).all(|_| self.step())
    }

    /// Steps until `done` or `within_ms` have passed; false if not done.
    pub fn until(&mut self, within_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now_ms().saturating_add(within_ms);
        while self.now_ms() < end {
            if done(self) {
                return true;
            }
            if !self.step() {
                return false;
            }
        }
        done(self)
    }

    /// All three nodes are voters and admit calls.
    pub fn form(&mut self) -> bool {
        let formed = self.until(FORMED_WITHIN_MS, |world| world.all_admit());
        if !formed && !self.stage.is_violated() {
            self.stage.violated("liveness", "the cluster was not formed");
        }
        self.stage.trace.line("--", "formed");
        formed
    }

    pub fn all_admit(&self) -> bool {
        self.members().all(|site| site.live().is_some_and(|live| live.enforcer.is_some()))
    }

    /// The nodes that are to heal and serve.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Site>> {
        let members = locked(&self.stage.oracle).members.clone();
        self.sites.iter().filter(move |site| members.contains(&site.node.0))
    }

    pub fn site(&self, node: u64) -> Option<&Arc<Site>> {
        self.sites.iter().find(|site| site.node.0 == node)
    }

    pub fn live(&self, node: u64) -> Option<Live> {
        self.site(node).and_then(|site| site.live())
    }

    pub fn hire(&mut self, callers: u64, spenders: u64) {
        for number in 1..=callers {
            self.client(format!("c{number}"), Job::Call);
        }
        for number in 1..=spenders {
            self.client(format!("t{number}"), Job::Spend);
        }
        self.client("adm".to_owned(), Job::Administrate);
        if self.stage.shape.transfers {
            self.client("mv".to_owned(), Job::Transfer);
        }
        for number in 1..=REGISTRARS {
            self.client(format!("r{number}"), Job::Register);
        }
    }

    /// Node `gone` is to be removed, and the spare to take its place.
    pub fn replace(&mut self, gone: u64) {
        if let Some(site) = self.site(gone) {
            site.dismiss();
            locked(&self.stage.oracle).forgotten.push(Life { node: site.node, number: u64::MAX });
        }
        let new = self.stage.shape.spare();
        if let Some(site) = self.site(new) {
            site.want();
        }
        self.client("op".to_owned(), Job::Replace { gone, new });
    }

    /// A learner joins, and may be promoted and removed.
    pub fn change(&mut self) {
        let new = self.stage.shape.spare();
        if let Some(site) = self.site(new) {
            site.stay_learner();
            site.want();
        }
        self.client("op".to_owned(), Job::Change(new));
    }

    pub fn client(&mut self, name: String, job: Job) {
        let rng = self.rng.fork();
        let stage = self.stage.clone();
        self.sim.host(name.clone(), move || {
            let client = Client { name: name.clone(), stage: stage.clone(), rng: rng.clone() };
            async move {
                match job {
                    Job::Call => client.call().await,
                    Job::Spend => client.spend().await,
                    Job::Administrate => client.administrate().await,
                    Job::Intrude => client.intrude().await,
                    Job::Register => client.register().await,
                    Job::Replace { gone, new } => client.replace(gone, new).await,
                    Job::Change(new) => client.change(new).await,
                    Job::Transfer => client.transfer().await,
                }
                Ok(())
            }
        });
    }

    pub fn inflict(&mut self, fault: &Fault) {
        Faults::tell(&self.stage, fault);
        let struck = self.strike(fault);
        if let Some(kind) = fault.kind().filter(|_| struck) {
            locked(&self.stage.oracle).struck(kind);
        }
    }

    /// False: there is nothing yet that it could strike.
    fn strike(&mut self, fault: &Fault) -> bool {
        let name = |node: &u64| scene::node_name(NodeId(*node));
        match fault {
            Fault::Crash(node) => self.crash(*node),
            Fault::Restart(node) => self.restart(*node),
            Fault::Cut(a, b) => self.sim.partition(name(a), name(b)),
            Fault::CutOneWay(from, to) => self.sim.partition_oneway(name(from), name(to)),
            Fault::Hold(a, b) => self.sim.hold(name(a), name(b)),
            Fault::Slow(a, b, ms) => {
                let slow = Duration::from_millis(*ms);
                self.set_latency(*a, *b, (slow, slow));
            }
            Fault::Lossy(a, b) => self.lossy.push((*a, *b, None)),
            Fault::DiskFails(node, after, full) => {
                if let Some(site) = self.site(*node) {
                    site.fails(true);
                    site.disk.fail_after(*after, if *full { DiskFault::Full } else { DiskFault::Io });
                }
            }
            Fault::Rot(node) => {
                self.crash(*node);
                let seed = self.rng.next_u64();
                let Some(site) = self.site(*node).filter(|site| site.disk.rot_row(seed)) else {
                    return false;
                };
                locked(&self.stage.oracle).rotten_rows.push(site.node);
            }
            Fault::RotSegment(node) => {
                let seed = self.rng.next_u64();
                return self.site(*node).is_some_and(|site| self.rot_segment(site, seed));
            }
            Fault::RotForGood(node, part) => {
                self.crash(*node);
                let seed = self.rng.next_u64();
                let Some(site) = self.site(*node) else { return false };
                return match part {
                    Part::Log => site.disk.rot_log(seed),
                    Part::Journal => site.disk.rot_journal(seed),
                    Part::Vote => {
                        site.disk.rot_vote();
                        true
                    }
                };
            }
            Fault::Lied(node, records, torn) => self.lose(*node, *records, *torn),
            Fault::Mend(a, b) => {
                let same = |link: &(u64, u64, Option<bool>)| {
                    (link.0, link.1) == (*a, *b) || (link.1, link.0) == (*a, *b)
                };
                self.lossy.retain(|link| !same(link));
                self.set_latency(*a, *b, self.stage.shape.latency(*a, *b));
                self.sim.release(name(a), name(b));
                self.sim.repair(name(a), name(b));
            }
            Fault::Clock(node, jump_ms) => {
                if let Some(site) = self.site(*node) {
                    site.clock.jump(*jump_ms);
                }
            }
            Fault::Pause(node, ms) => {
                if let Some(site) = self.site(*node) {
                    site.paused_until_ms.store(self.now_ms().saturating_add(*ms), Ordering::Relaxed);
                }
            }
            Fault::OldJournal(node) => self.put_back(*node, false),
            Fault::OldFolder(node) => self.put_back(*node, true),
            Fault::Lost(node) => self.crash(*node),
        }
        true
    }

    fn rot_segment(&self, site: &Site, seed: u64) -> bool {
        let Some(address) = site.disk.rot_some_segment(seed) else { return false };
        let bytes = site.disk.segment_bytes(&address).unwrap_or_default();
        locked(&self.stage.oracle).rotten_segments.push((site.node, address, bytes));
        true
    }

    /// With a disk that works again, where it failed.
    fn restart(&mut self, node: u64) {
        if let Some(site) = self.site(node).cloned()
            && site.is_failing()
        {
            self.crash(node);
            site.disk.heal();
            site.fails(false);
        }
        self.sim.bounce(scene::node_name(NodeId(node)));
    }

    /// Whether there is an older copy of this node's folder.
    pub fn has_copy(&self, node: u64) -> bool {
        self.site(node).is_some_and(|site| locked(&site.backup).is_some())
    }

    fn put_back(&mut self, node: u64, whole: bool) {
        let backup = self.site(node).and_then(|site| locked(&site.backup).clone());
        self.crash(node);
        let (Some(site), Some(copy)) = (self.site(node), backup) else { return };
        if whole {
            site.disk.put_back(copy);
            let vote = site.disk.log_state().and_then(|state| state.vote);
            locked(&self.stage.watch).restored(site.node, vote);
        } else {
            site.disk.put_journal_back(copy);
        }
        locked(&self.stage.oracle).forgotten.push(site.life());
    }

    fn lose(&mut self, node: u64, records: usize, torn: bool) {
        self.crash(node);
        let Some(site) = self.site(node) else { return };
        site.disk.lose_log_end(records, torn);
        let vote = site.disk.log_state().and_then(|state| state.vote);
        locked(&self.stage.watch).restored(site.node, vote);
    }

    fn crash(&mut self, node: u64) {
        let Some(site) = self.site(node).cloned() else { return };
        site.set_live(None);
        self.sim.crash(site.name.clone());
        site.disk.crash(self.rng.next_u64());
        site.paused_until_ms.store(0, Ordering::Relaxed);
        let mut backup = locked(&site.backup);
        if let Some(copy) = site.disk.copy()
            && (backup.is_none() || self.rng.percent(30))
        {
            *backup = Some(copy);
        }
        drop(backup);
        let mut oracle = locked(&self.stage.oracle);
        oracle.crashes = oracle.crashes.saturating_add(1);
    }

    /// What every node thinks.
    fn nodes(&self) -> Vec<String> {
        let told = |site: &Arc<Site>| match site.live() {
            None => format!("{} is down", site.name),
            Some(live) => {
                let digest = live.handle.state_digest();
                let status = observer::words(&live.handle.status());
                format!(
                    "{} {} {status}; state {} at {}; vote {:?}",
                    site.name,
                    live.life,
                    digest.digest,
                    digest.index,
                    locked(&self.stage.watch).votes.latest(site.node)
                )
            }
        };
        self.sites.iter().map(told).collect()
    }

    fn stop(&mut self) {
        for site in self.sites.clone() {
            site.set_live(None);
            self.sim.crash(site.name.clone());
        }
    }
}

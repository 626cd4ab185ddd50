//! Members come, stay learners or become voters, lead where they are wanted, and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use only1mcp_consensus::{Consensus, Handle, MembershipError, ProposeError, Role, StartError};
use only1mcp_domain::command::{Command, Entry, Via};
use only1mcp_domain::ids::{Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::time::TimestampMs;
use tokio::time::{Instant, sleep};

use crate::world::{PlainConnector, START_MS, World, name, soon};

fn tick(node: u64) -> Entry {
    let node = NodeId(node);
    Entry {
        actor: only1mcp_domain::command::Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::of_node(node),
            key: None,
            via: Via::Node(node),
            ip: None,
            user_agent: String::new(),
            request_id: String::new(),
            personal: None,
        },
        command_id: None,
        request_digest: Digest([1; 32]),
        observed_at: TimestampMs(START_MS),
        command: Command::Tick { node },
        signature: None,
    }
}

/// Proposes on one member, again and again, and notes the furthest index that was acknowledged.
struct Load {
    acknowledged: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(handle: Handle) -> Self {
        let (acknowledged, writes, stop) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn({
            let (acknowledged, writes, stop) = (acknowledged.clone(), writes.clone(), stop.clone());
            async move {
                let node = handle.node().0;
                while !stop.load(Ordering::Relaxed) {
                    match handle.propose(tick(node), soon()).await {
                        Ok(committed) => {
                            committed.outcome.unwrap();
                            acknowledged.fetch_max(committed.log_index, Ordering::Relaxed);
                            writes.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(ProposeError::Unknown { .. } | ProposeError::NotReady) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        Self { acknowledged, writes, stop, task }
    }

    async fn more(&self, count: u64) {
        let (goal, deadline) = (self.writes.load(Ordering::Relaxed) + count, soon());
        while self.writes.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "the load stands still");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

async fn voters(world: &World, at: u64, expected: &[u64]) {
    let deadline = soon();
    loop {
        let status = world.handle(at).status();
        let voters: Vec<u64> =
            status.members.iter().filter(|member| member.voter).map(|member| member.node.0).collect();
        if voters == expected && !status.changing {
            return;
        }
        assert!(Instant::now() < deadline, "the voters are {voters:?}, not {expected:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Three voters become five and again three, two of them new, while everybody writes and the log is purged behind
/// them: nothing acknowledged is lost, and all agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_to_five_to_three_under_load_while_purging() {
    let mut world = World::new(3).await;
    world.snapshot_every = 40;
    world.keep = 10;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    let loads: Vec<Load> = [1, 2].map(|node| Load::start(world.handle(node))).into();
    loads[0].more(60).await;
    for id in [4, 5] {
        world.add_node(id).await;
        world.join(id).await;
        loads[1].more(30).await;
    }
    voters(&world, 1, &[1, 2, 3, 4, 5]).await;
    assert!(world.handle(1).status().purged > 0, "nothing was purged");
    assert!(world.handle(5).status().snapshot > 0, "the last came by the log alone");

    // One that lives, and one that is dead.
    world.take_out(1, 3).await;
    world.kill(3).await;
    loads[0].more(30).await;
    world.kill(4).await;
    world.take_out(1, 4).await;
    loads[1].more(30).await;
    voters(&world, 1, &[1, 2, 5]).await;
    let mut acknowledged = 0;
    for load in loads {
        acknowledged = acknowledged.max(load.end().await);
    }
    let state = world.agree(&[1, 2, 5]).await;
    assert!(state.last_applied >= acknowledged);
    // Ids go on: the next one is none that was.
    world.add_node(6).await;
    world.join(6).await;
    let state = world.agree(&[1, 2, 5, 6]).await;
    let removed = |id| state.nodes[&NodeId(id)].value.role == NodeRole::Removed;
    assert!(removed(3) && removed(4));
}

/// The same again and again, with members that are new each time; one that leaves is dead as often as not, and now and
/// then the leadership moves. Node 1 stays, so that there is one to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a second or so a change: cargo xtask soak --membership"]
async fn as_many_changes_as_one_wants() {
    let wanted: u64 = std::env::var("ONLY1MCP_MEMBERSHIP_CHANGES").map_or(24, |text| text.parse().unwrap());
    let begin = Instant::now();
    let mut world = World::new(3).await;
    (world.snapshot_every, world.keep) = (200, 50);
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    let load = Load::start(world.handle(1));
    let mut members = vec![1, 2, 3];
    // In two steps each: a learner, then a voter; out of the records, then out of Raft.
    let (mut changes, mut next, mut transfers) = (0, 4, 0);
    while changes < wanted {
        for _ in 0..2 {
            world.add_node(next).await;
            world.learn_through(1, next).await;
            world.promote(1, next).await;
            (changes, members, next) = (changes + 2, [members, vec![next]].concat(), next + 1);
        }
        if next % 4 == 0 {
            let to = members[1 + usize::try_from(next).unwrap() % (members.len() - 1)];
            // A transfer that fails leaves a leader, or an election.
            let _ = world.handle(1).transfer_leader(NodeId(to), soon()).await;
            transfers += 1;
        }
        for place in [1, 2] {
            let leaves = members.remove(place);
            if next % 3 == 0 {
                world.kill(leaves).await;
                world.take_out(1, leaves).await;
            } else {
                world.take_out(1, leaves).await;
                world.kill(leaves).await;
            }
            world.forget(leaves);
            changes += 1;
        }
        load.more(5).await;
    }
    let writes = load.writes.load(Ordering::Relaxed);
    let acknowledged = load.end().await;
    let state = world.agree(&members).await;
    assert!(state.last_applied >= acknowledged);
    let removed = state.nodes.values().filter(|node| node.value.role == NodeRole::Removed).count();
    println!(
        "membership: {changes} changes in {} s: {} members came, {removed} left for good, the leadership was moved \
         {transfers} times on request; {writes} writes were acknowledged meanwhile, the log was purged up to {} of {}",
        begin.elapsed().as_secs(),
        next - 4,
        world.handle(1).status().purged,
        world.handle(1).status().last_log
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_becomes_a_voter_only_after_it_kept_up_for_as_long_as_is_set() {
    let mut world = World::new(2).await;
    world.form().await;
    world.learn(2).await;
    world.agree(&[1, 2]).await;
    assert_eq!(world.handle(2).status().role, Role::Learner);
    // An hour: nobody waits for it.
    world.set(1, |settings| settings.stable_ms = 3_600_000).await;
    let refused = world.handle(1).promote(NodeId(2), Instant::now() + Duration::from_secs(1)).await;
    assert!(
        matches!(refused, Err(MembershipError::NotReady | MembershipError::Unknown { .. })),
        "{refused:?}"
    );
    voters(&world, 1, &[1]).await;
    world.set(1, |settings| settings.stable_ms = 100).await;
    world.promote(1, 2).await;
    voters(&world, 1, &[1, 2]).await;
    // Dead, it is caught up for ever, and keeps up with nothing.
    world.add_node(3).await;
    world.learn(3).await;
    world.agree(&[1, 2, 3]).await;
    world.kill(3).await;
    sleep(Duration::from_millis(crate::world::timing().election_ms_max)).await;
    let refused = world.handle(1).promote(NodeId(3), Instant::now() + Duration::from_secs(1)).await;
    assert!(refused.is_err(), "a dead node was made a voter");
    voters(&world, 1, &[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_hands_over_to_where_it_is_wanted() {
    let mut world = World::new(3).await;
    world.places = [(2, ("us", "a")), (3, ("us", "b"))].into();
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    let set = |region: &'static str, zone: &'static str| {
        move |settings: &mut only1mcp_domain::model::ClusterSettings| {
            (settings.leader_region, settings.leader_zone) = (region.to_owned(), zone.to_owned());
        }
    };
    world.set(1, set("us", "b")).await;
    assert_eq!(world.wait_leader(&[3]).await, 3);
    world.set(1, set("", "")).await;
    world.set(1, set("eu", "")).await;
    assert_eq!(world.wait_leader(&[1]).await, 1);
    // Where nobody is, it stays.
    world.set(1, set("mars", "")).await;
    world.tick(2).await;
    world.agree(&[1, 2, 3]).await;
}

/// Once asked for, a transfer stops the leader's writes and heartbeats, whatever becomes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_successor_would_refuse_goes_on_leading() {
    let mut world = World::new(3).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    let before = world.handle(1).status();
    assert_eq!(before.role, Role::Leader);
    world.kill(2).await;
    world.promised_ms = 600_000;
    world.start(2).await;
    assert!(world.handle(2).status().votes_withheld);
    assert!(
        !world.handle(1).may_lead(NodeId(2), soon()).await
            && world.handle(1).may_lead(NodeId(3), soon()).await
    );
    let refused = world.handle(1).transfer_leader(NodeId(2), Instant::now() + Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(MembershipError::Refused { .. })), "{refused:?}");
    world.tick(1).await;
    let after = world.handle(1).status();
    assert_eq!((after.role, after.term), (Role::Leader, before.term));
    world.handle(1).transfer_leader(NodeId(3), soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_know_the_feature_level_takes_no_part() {
    let mut world = World::new(2).await;
    world.form().await;
    let mut options = world.options(1);
    options.feature_level_max = 1;
    world.kill(1).await;
    let connector = Arc::new(PlainConnector { name: name(1) });
    match Consensus::start(options, world.stores(1), connector).await {
        Err(error @ StartError::FeatureLevel { cluster: 2, known: 1 }) => {
            assert!(error.to_string().contains("start a newer one"), "{error}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
}

/// It ran when the level was raised, by mistake: it stops with the entry unapplied, so that a newer one can go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_stops_before_the_entry_that_raises_the_level() {
    let mut world = World::new(2).await;
    world.level = 1;
    world.form().await;
    world.old.insert(2);
    world.join(2).await;
    let before = world.agree(&[1, 2]).await.last_applied;
    let old = world.handle(2);
    world.set(1, |settings| settings.feature_level = 2).await;
    let why = old.stopped().await;
    assert!(why.contains("knows levels up to 1"), "{why}");
    assert_eq!(old.state().last_applied, before);
    world.kill(2).await;
    world.old.clear();
    world.start(2).await;
    world.agree(&[1, 2]).await;
}

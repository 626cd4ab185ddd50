//! P2, P4: a leader that stood still (a paused virtual machine, a long stop of the scheduler) wakes up believing what is
//! no longer so. It must not act on it.

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{JOURNALED, TENANT, World, play};
use crate::mcp::{Client, Exchange};

const STOPPED: Duration = Duration::from_millis(3_000);
/// How many callers of each tenant wait for the stopped node.
const WAITING: usize = 3;
/// For how long the woken node is asked.
const ASKED: Duration = Duration::from_millis(2_000);

/// Calls until `until`, from a session that was opened while all was well.
async fn ask(mut client: Client, until: Instant) -> Vec<(Instant, Exchange)> {
    let mut answers = Vec::new();
    loop {
        let sent = Instant::now();
        answers.push((sent, client.call("demo__echo", json!({"text": "I was dismissed"})).await));
        if Instant::now() >= until {
            return answers;
        }
    }
}

async fn the_leader_stands_still(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let leader = world.leader().await;
    let others = world.others(leader);
    let mut sessions = Vec::new();
    for tenant in [TENANT, JOURNALED] {
        let dismissed = world.developer(tenant, "dismissed").await;
        for _ in 0..WAITING {
            let mut session = world.client(leader, &dismissed);
            assert_eq!(session.initialize().await.status, 200);
            let heard = session.call("demo__echo", json!({"text": "still here"})).await;
            assert_eq!(heard.text(), Some("still here"), "{}", heard.answer);
            sessions.push(session);
        }
    }
    let load = Load::start(world, &key, 2).await;

    // What is sent from now on was not seen by anybody before it wakes.
    world.stop(leader).await;
    let stopped_at = Instant::now();
    let wakes_at = stopped_at + STOPPED;
    let mut waiting = JoinSet::new();
    for session in sessions {
        // The first request of each lies in the stopped node's socket when it wakes.
        waiting.spawn(ask(session, wakes_at + ASKED));
    }
    let first = load.sealed(others[0], stopped_at, 1).await;
    eprintln!(
        "node {} gave its next sealed answer {:?} after the leader stopped",
        others[0],
        first - stopped_at
    );
    for tenant in [TENANT, JOURNALED] {
        world.ctl(others[0], &["grant", "revoke", "dismissed", "--tenant", tenant]).await;
    }
    eprintln!("the grants were revoked {:?} after the leader stopped", stopped_at.elapsed());
    sleep_until(wakes_at).await;
    let woken_at = Instant::now();
    world.wake(leader);

    let answers: Vec<(Instant, Exchange)> = waiting.join_all().await.into_iter().flatten().collect();
    load.sealed(leader, woken_at, 10).await;
    for other in &others {
        load.sealed(*other, woken_at, 10).await;
    }
    let told = load.end().await;

    // INVARIANT: P4
    for (sent, answer) in &answers {
        let sent = *sent - stopped_at;
        let told = format!("sent {sent:?} after the leader stopped: {}", answer.answer);
        let code = answer.refusal().unwrap_or_else(|| panic!("a dismissed caller was answered; {told}"));
        assert!(["stale", "no_permission"].contains(&code), "{told}");
    }
    assert!(
        answers.iter().any(|(_, answer)| answer.refusal() == Some("no_permission")),
        "it never caught up"
    );
    let withheld = refusals(&told, &[leader]);
    eprintln!("what the woken node said instead of sealed answers: {withheld:?}");
    assert!(withheld.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{withheld:?}");
    assert_eq!(refusals(&told, &others), Vec::<String>::new(), "the majority refused");
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_a_leader_that_stood_still_does_not_act_on_what_it_remembers() {
    play(3, async |world| locally(the_leader_stands_still(world)).await);
}

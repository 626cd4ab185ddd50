//! P5, P6: a disk that fills up. The node says so and takes nothing new while there is still room for what it owes; when
//! there is none it stops rather than answer for what it could not write; with space again it is whole again.

use serde_json::json;
use tokio::time::Instant;

use crate::cluster::eventually;
use crate::faults::load::{Load, locally};
use crate::faults::oracle::{agree, exports};
use crate::faults::world::{SMALL, Setup, TENANT, World, play_with};

const DISK_BYTES: u64 = 192 << 20;
const LOW_BYTES: u64 = 32 << 20;
const WHY: &str = "is low on disk space";

async fn waits_for_room(world: &World) {
    eventually("the node says that it is low on disk space", async || {
        world.readiness(SMALL).await.is_some_and(|(status, text)| status == 503 && text.contains(WHY))
    })
    .await;
}

async fn the_disk_fills_up(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let mut probe = world.client(SMALL, &key);
    assert_eq!(probe.initialize().await.status, 200);
    let load = Load::start(world, &key, 2).await;
    let others = world.others(SMALL);

    world.disk(SMALL).fill(LOW_BYTES * 3 / 4);
    waits_for_room(world).await;
    let told = probe.call("demo__echo", json!({"text": "x"})).await;
    assert_eq!(told.refusal(), Some("disk_low"), "{}", told.answer);
    let refused =
        world.try_ctl(SMALL, &["principal", "create", "late", "--tenant", TENANT]).await.unwrap_err();
    assert!(refused.contains("DISK_LOW"), "{refused}");
    let since = Instant::now();
    for other in &others {
        load.sealed(*other, since, 20).await;
    }
    assert_ne!(world.leader_of(&others).await, SMALL, "who takes no work does not lead");
    world.disk(SMALL).free_up();
    let since = Instant::now();
    world.wait_ready(SMALL).await;
    load.sealed(SMALL, since, 5).await;

    // To the last byte, whatever the node gives back meanwhile, until something it must write does not fit.
    let full_at = Instant::now();
    eventually("the node ends", async || {
        if world.runs(SMALL) {
            world.disk(SMALL).fill(0);
        }
        !world.runs(SMALL)
    })
    .await;
    let how = world.ended(SMALL).await;
    assert!(!how.success(), "it ended as if all were well");
    let log = world.log(SMALL);
    assert!(log.contains("No space left on device"), "the node does not say why it ended");
    for other in &others {
        load.sealed(*other, full_at, 20).await;
    }
    // Without space it does not come back, and does no harm by trying.
    world.spawn(SMALL);
    eventually("it does not serve", async || !world.runs(SMALL) || !world.is_ready(SMALL).await).await;
    if world.runs(SMALL) {
        world.kill(SMALL);
    } else {
        world.ended(SMALL).await;
    }

    world.disk(SMALL).free_up();
    let since = Instant::now();
    world.spawn(SMALL);
    world.wait_ready(SMALL).await;
    load.sealed(SMALL, since, 10).await;
    let told = load.end().await;
    for refused in told.iter().filter(|told| told.node != SMALL) {
        assert!(refused.what.is_ok(), "another node refused: {:?}", refused.what.as_ref().err());
    }
    for refused in told.iter().filter_map(|told| told.what.as_ref().err()) {
        // A node that ends for want of space says so to whom it still hears.
        assert!(
            ["disk_low", "stale", "audit_unavailable", "draining"].contains(&refused.as_str()),
            "{refused}"
        );
    }
    agree(world, &told).await;
    assert!(exports(world).await[0].refusals("disk_low") > 0);
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_a_disk_that_fills_up_stops_its_node_and_takes_nothing_with_it() {
    let setup = Setup { small_disk: Some((DISK_BYTES, LOW_BYTES)), ..Setup::default() };
    play_with(12, setup, async |world| locally(the_disk_fills_up(world)).await);
}

//! P6: a disk that answers every read and write with an error (EIO), as one that breaks does. The node ends rather than
//! answer for what it could not write; the others go on; with its disk as it was, it is whole again. The disk is a file
//! that is cut short beneath its file system: what lies past its end the kernel answers with EIO.

use tokio::time::Instant;

use crate::cluster::eventually;
use crate::faults::load::{Load, locally};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, Setup, TENANT, World, play_with};

async fn disks_break(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let leader = world.leader().await;
    let mut broken = Vec::new();
    // The leader's, then a follower's.
    for leads in [true, false] {
        let leads_now = world.leader().await;
        let victim = if leads { leader } else { leads_now % NODES + 1 };
        // What it has written and not synced is of no concern: it is to come back with all of it.
        world.stop(victim).await;
        world.disk(victim).sync();
        world.disk(victim).photograph();
        let broken_at = Instant::now();
        world.disk(victim).break_off();
        world.wake(victim);
        eventually("the node ends", async || !world.runs(victim)).await;
        let how = world.ended(victim).await;
        assert!(!how.success(), "node {victim} ended as if all were well");
        let log = world.log(victim);
        assert!(log.contains("Input/output error"), "node {victim} does not say why it ended:\n{log}");
        for other in world.others(victim) {
            load.sealed(other, broken_at, 20).await;
        }
        eprintln!("node {victim}: ended {:?} after its disk broke ({how})", broken_at.elapsed());
        // It does not come back on such a disk, nor does harm by trying.
        world.spawn(victim);
        eventually("it ends again", async || !world.runs(victim)).await;
        assert!(!world.ended(victim).await.success());
        world.disk(victim).lose_power();
        let back_at = Instant::now();
        world.spawn(victim);
        world.wait_ready(victim).await;
        load.sealed(victim, back_at, 10).await;
        broken.push(victim);
    }
    let told = load.end().await;
    for refused in told.iter().filter(|told| !broken.contains(&told.node)) {
        assert!(refused.what.is_ok(), "another node refused: {:?}", refused.what.as_ref().err());
    }
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_a_disk_that_breaks_ends_its_node_and_takes_nothing_with_it() {
    let setup = Setup { forgetful: true, ..Setup::default() };
    play_with(15, setup, async |world| locally(disks_break(world)).await);
}

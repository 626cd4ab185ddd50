//! P3, P6: the power of all nodes fails at once, and every disk forgets what it had not been told to keep. What callers
//! were told is there all the same. The disks are files: the kernel writes to them what a program synced, and holds back
//! what it did not.

use std::io::Write as _;

use tokio::time::Instant;

use crate::faults::load::{Load, locally};
use crate::faults::oracle::{agree, exports};
use crate::faults::world::{NODES, Setup, TENANT, World, is_soak, play_with};

const CUTS: usize = 2;
const CUTS_SOAK: usize = 20;

/// A file beside the node's own that was never synced: what shows that a disk does forget.
fn leave_a_trace(world: &World, number: usize, cut: usize) -> std::path::PathBuf {
    let path = world.path(&format!("node-{number}/unsynced-{cut}"));
    std::fs::File::create(&path).unwrap().write_all(&[7; 4_096]).unwrap();
    path
}

async fn the_power_fails(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let mut told = Vec::new();
    for cut in 0..if is_soak() { CUTS_SOAK } else { CUTS } {
        let load = Load::start(world, &key, 4).await;
        let since = Instant::now();
        for number in 1..=NODES {
            load.sealed(number, since, 20).await;
        }
        let traces: Vec<_> = (1..=NODES).map(|number| leave_a_trace(world, number, cut)).collect();
        // At one moment for all: what a node was told by another in between would be on neither's disk.
        for number in 1..=NODES {
            world.stop(number).await;
        }
        let photographed_at = Instant::now();
        for number in 1..=NODES {
            world.disk(number).photograph();
        }
        for number in 1..=NODES {
            world.kill(number);
            world.disk(number).lose_power();
        }
        for trace in &traces {
            let kept = std::fs::read(trace).unwrap_or_default();
            assert!(kept.iter().all(|byte| *byte == 0), "this disk forgets nothing: {}", trace.display());
        }
        eprintln!("power cut {}: all disks photographed in {:?}", cut + 1, photographed_at.elapsed());
        let back_at = Instant::now();
        for number in 1..=NODES {
            world.spawn(number);
        }
        for number in 1..=NODES {
            world.wait_ready(number).await;
            load.sealed(number, back_at, 5).await;
        }
        told.extend(load.end().await);
        agree(world, &told).await;
    }
    // INVARIANT: P3 (every admission has its end, were it only that nobody knows it)
    for export in exports(world).await {
        let completions = export.completions();
        let open: Vec<&str> =
            export.admissions().into_keys().filter(|call| !completions.contains_key(call)).collect();
        assert!(open.is_empty(), "no end is recorded of {open:?}");
    }
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_the_power_of_all_nodes_fails_and_what_was_told_is_there() {
    let setup = Setup { forgetful: true, ..Setup::default() };
    play_with(13, setup, async |world| locally(the_power_fails(world)).await);
}

//! P6: a joiner that dies again and again while it fetches the sealed past: what had come stays, what lacks is fetched,
//! and meanwhile the others serve.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tokio::time::{Duration, Instant, sleep};

use crate::audit::agree;
use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::load::Load;
use crate::members::{is_voter, prepare, token};

/// A long past in little time, and a log that is purged soon, so that a joiner gets a snapshot.
const SMALL: [(&str, &str); 2] =
    [("ONLY1MCP_TEST_SEGMENT_EVENTS", "4"), ("ONLY1MCP_TEST_SNAPSHOT_ENTRIES", "50")];
const JOINER: usize = 4;
const DEATHS: usize = 3;
/// A hundred segments need two hundred calls; each step has a deadline of its own.
const PAST: usize = 100;
const PAST_STEPS: usize = 12;
const LOOK: Duration = Duration::from_millis(1);

/// Whole segments, and the file that each is.
fn whole(folder: &Path) -> BTreeMap<String, u64> {
    let Ok(files) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let named = files.flatten().filter_map(|file| {
        let name = file.file_name().into_string().unwrap();
        // Others are parts.
        (name.len() == 64).then_some((name, file.metadata().ok()?.ino()))
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: cargo xtask soak --faults"]
async fn faults_soak_a_joiner_dies_while_it_fetches_the_past_and_goes_on() {
    let mut cluster = Cluster::start_in(118, &[], &SMALL).await;
    let load = Load::start(&cluster, &[1, 2], 4).await;
    for _ in 0..PAST_STEPS {
        load.more(25).await;
    }
    let past = cluster.path("node-1/segments");
    eventually("the past is sealed", async || whole(&past).len() > PAST).await;
    let fresh = token(&cluster).await;
    prepare(&cluster, JOINER, "node-4", "pki", &fresh).await;
    let here = cluster.path("data-4/segments");
    let mut had = BTreeMap::new();
    for death in 1..=DEATHS {
        cluster.spawn_in(JOINER, &SMALL);
        let until = Instant::now() + PATIENCE;
        while whole(&here).len() < had.len() + 10 {
            assert!(Instant::now() < until, "it fetches nothing:\n{}", cluster.log("node-4.log"));
            sleep(LOOK).await;
        }
        cluster.kill(JOINER);
        let now = whole(&here);
        assert!(now.len() < whole(&past).len(), "it had all {} before its death {death}", now.len());
        eprintln!("death {death}: {} of {} segments were there", now.len(), whole(&past).len());
        // INVARIANT: P6 (what had come is the same file: it was not fetched twice)
        assert!(had.iter().all(|(name, file)| now.get(name) == Some(file)));
        had = now;
        load.more(5).await;
    }
    cluster.spawn_in(JOINER, &SMALL);
    cluster.wait_ready(JOINER).await;
    eventually("nothing is lacking", async || {
        cluster.metric(JOINER, "only1mcp_audit_segments_lacking").await == 0.0
    })
    .await;
    eventually("it votes", async || is_voter(&cluster, 1, "node-4").await).await;
    let now = whole(&here);
    assert!(had.iter().all(|(name, file)| now.get(name) == Some(file)));
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new(), "somebody joining is nobody's business");
    agree(&cluster, &[1, 2, 3, JOINER], &told.receipts).await;
}

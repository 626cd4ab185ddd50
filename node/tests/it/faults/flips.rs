//! P6: a bit is flipped in a file of a node that does not run. `doctor` names the file; the node, started all the same,
//! makes good what it can make good and otherwise ends, and says which file it was and what is to be done. The cluster
//! loses nothing by it. Segments, and the key ring of an encrypted folder, are tested in `scrub.rs` and `doctor.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{BINARY, eventually};
use crate::faults::load::{Load, locally};
use crate::faults::oracle::agree;
use crate::faults::world::{TENANT, World, play};

const VICTIM: usize = 3;
/// Its name is in rows and in the log.
const MARKED: &str = "flip-me-in-the-rows";

/// What a start on a damaged file comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Heals,
    /// Naming the file, and what is to be done.
    Refuses,
}

struct Flip {
    /// What `doctor` and the node call it by.
    named: String,
    path: PathBuf,
    at: Vec<usize>,
    start: Start,
}

/// The one that was written to last, or the only one.
fn newest(folder: &Path, suffix: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().ends_with(suffix)).max().unwrap()
}

fn places(path: &Path, text: &[u8]) -> Vec<usize> {
    let content = std::fs::read(path).unwrap();
    let windows = content.windows(text.len()).enumerate();
    let found: Vec<usize> =
        windows.filter(|(_, window)| *window == text).map(|(at, _)| at + text.len() / 2).collect();
    assert!(!found.is_empty(), "{} does not hold what was looked for", path.display());
    found
}

fn flips(data: &Path) -> Vec<Flip> {
    let flip = |named: &str, path: PathBuf, at, start| Flip { named: named.to_owned(), path, at, start };
    let at_end = |name: &str| std::fs::read(data.join(name)).unwrap().len() - 2;
    let wal = newest(&data.join("log/wal"), ".wal");
    let journal = newest(&data.join("journal"), ".log");
    let rows = newest(&data.join("state"), "");
    let rows = if rows.is_dir() { rows } else { data.join("state/rows-1") };
    let in_wal = places(&wal, MARKED.as_bytes());
    let in_rows = places(&rows.join("db"), MARKED.as_bytes());
    vec![
        flip("format", data.join("format"), vec![3], Start::Refuses),
        flip("identity", data.join("identity"), vec![60], Start::Refuses),
        flip("signing-key", data.join("signing-key"), vec![at_end("signing-key")], Start::Refuses),
        flip("checkpoints", data.join("checkpoints"), vec![at_end("checkpoints")], Start::Refuses),
        flip("generations", data.join("generations"), vec![at_end("generations")], Start::Refuses),
        flip("log/format", data.join("log/format"), vec![3], Start::Refuses),
        // The first record is the vote in the node's first term.
        flip(".wal", wal.clone(), vec![60], Start::Refuses),
        flip(".wal", wal, in_wal, Start::Refuses),
        flip("journal/format", data.join("journal/format"), vec![3], Start::Refuses),
        flip("journal-", journal, vec![1], Start::Refuses),
        flip("current", data.join("state/current"), vec![3], Start::Heals),
        flip("rows", rows.join("db"), in_rows, Start::Heals),
        flip("synced", rows.join("synced"), vec![2], Start::Heals),
    ]
}

fn doctor(data: &Path) -> (Option<i32>, String) {
    let told = Command::new(BINARY).arg("doctor").arg(data).output().unwrap();
    (told.status.code(), String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned())
}

/// What the node said since `from`.
fn said(world: &World, from: usize) -> String {
    world.log(VICTIM).split_off(from)
}

async fn bits_flip(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    world.ctl(1, &["principal", "create", MARKED, "--tenant", TENANT, "--kind", "service", "--wait"]).await;
    let load = Load::start(world, &key, 1).await;
    let data = world.path(&format!("node-{VICTIM}"));
    let mut told = load.end().await;
    world.end(VICTIM).await;
    let (code, words) = doctor(&data);
    assert_eq!(code, Some(0), "{words}");
    for number in 0..flips(&data).len() {
        // Looked up anew: what healed in the last round may have another name.
        let Flip { named, path, at, start } = flips(&data).swap_remove(number);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        at.iter().for_each(|at| bad[*at] ^= 4);
        std::fs::write(&path, bad).unwrap();
        let (code, words) = doctor(&data);
        assert!(code == Some(1) && words.contains(&named), "doctor on {}: {words}", path.display());
        let from = world.log(VICTIM).len();
        world.spawn(VICTIM);
        eventually(&format!("a start on a damaged {named} comes to something"), async || {
            !world.runs(VICTIM) || world.is_ready(VICTIM).await
        })
        .await;
        let log = said(world, from);
        if world.runs(VICTIM) {
            eprintln!("{named}: healed");
            assert_eq!(start, Start::Heals, "{named}: it serves on damaged files:\n{log}");
            world.end(VICTIM).await;
            let (code, words) = doctor(&data);
            assert_eq!(code, Some(0), "after {named} was healed: {words}");
            continue;
        }
        let how = world.ended(VICTIM).await;
        let last = log.lines().last().unwrap_or_default().to_owned();
        eprintln!("{named}: refused ({how}): {last}");
        assert_eq!(start, Start::Refuses, "{named}: it ended, though it can be healed:\n{log}");
        assert!(!how.success() && log.contains(&named), "{named}: the file is not named:\n{log}");
        assert!(log.contains("only1mcp doctor"), "{named}: it does not say what to do:\n{log}");
        std::fs::write(&path, good).unwrap();
    }
    world.spawn(VICTIM);
    world.wait_ready(VICTIM).await;
    let load = Load::start(world, &key, 1).await;
    told.extend(load.end().await);
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_a_bit_is_flipped_in_every_kind_of_file() {
    play(14, async |world| locally(bits_flip(world)).await);
}

//! The examination: part by part, each as the node itself would open it, on a copy where opening writes.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use only1mcp_consensus::{InspectFault, inspect};
use only1mcp_storage::{
    DataFolder, FileSegments, Journal, JournalPosition, RaftLog, SegmentCheck, Segments, StorageError,
    free_bytes,
};

use super::report::{Part, Report};
use crate::serve::erasure::plain_generations;
use crate::serve::proofs;
use crate::serve::stores::{self, Keys};

/// Log entries read at one time.
const STEP: u64 = 256;

const LOST_LOG: &str = "do not start this node: remove it with `ctl cluster remove`, and have it join anew with an \
                        empty folder";
const LOST_JOURNAL: &str = "what it held is lost: remove the node with `ctl cluster remove --lose-journal`, and have it \
                            join anew with an empty folder";
const REBUILT: &str =
    "start the node: it makes its rows again from its log or from another member's snapshot";
const FETCHED: &str =
    "start the node: it fetches the segment again from another member. Keep this file until it has";
const IDENTITY: &str =
    "put `node-id` and `identity` back from a backup, or have the node join anew with an empty folder";

const LOST_GENERATIONS: &str = "move `generations` away and start the node: it fetches the keys from another member; in a \
                                cluster of one they are gone, but for what `ctl backup keys` kept";
const LOST_SIGNING_KEY: &str =
    "move `signing-key` away and start the node: it makes itself a new key, and the chain says so";
const LOST_CHECKPOINTS: &str = "what this key has signed is not known any more: move `checkpoints` and `signing-key` away \
                                together and start the node, which then signs by a new key";

/// Everything there is to say about the data folder `root`.
/// `keys`: what it is encrypted with. Errors: it could not be looked at, or a node runs on it.
pub fn examine(root: &Path, scratch: &Path, keys: Keys<'_>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let view = match DataFolder::existing(root) {
        Ok(view) => view,
        Err(StorageError::Locked { .. }) => {
            anyhow::bail!("a node runs on {}: stop it first", root.display());
        }
        Err(error @ (StorageError::Corrupt { .. } | StorageError::Version { .. })) => {
            report.damaged(Part::Folder, error.to_string(), "use the program that wrote it, or a backup");
            return Ok(report);
        }
        Err(error) => return Err(error).with_context(|| format!("{} is no data folder", root.display())),
    };
    report.sound(Part::Folder, "its version is known here, and no node runs on it");
    identity(&view, &mut report);
    let copy = Copy::of(&view, scratch)?;
    if let Some(sealer) = keys {
        report.sound(Part::Keys, format!("its key ring opens; data key {} seals", sealer.current()));
    }
    generations(&view, &mut report);
    signing(&view, keys, &mut report);
    let end = log(&copy.part("log"), keys, &mut report)?;
    journal(&copy.part("journal"), keys, &mut report)?;
    let files = stores::segments(FileSegments::existing(view.segments()), keys);
    let applied = rows(&copy.part("state"), keys, &*files, &mut report)?;
    if let Some(applied) = applied {
        began(&view, applied, end, &mut report);
    }
    Ok(report)
}

fn identity(view: &DataFolder, report: &mut Report) {
    match (view.node_id(), view.identity()) {
        (Err(error), _) | (_, Err(error)) => report.damaged(Part::Identity, error.to_string(), IDENTITY),
        (Ok(_), Ok(None)) => report.note(Part::Identity, "the node never took part in a cluster", ""),
        (Ok(_), Ok(Some(bytes))) => match serde_json::from_slice::<crate::serve::Identity>(&bytes) {
            Ok(identity) => {
                let detail = format!("node {} of {}", identity.node, identity.cluster_name);
                report.sound(Part::Identity, detail);
            }
            Err(error) => report.damaged(Part::Identity, format!("identity: {error}"), IDENTITY),
        },
    }
}

/// Keys of generations have a file of their own only where nothing is encrypted; elsewhere they are in the ring.
fn generations(view: &DataFolder, report: &mut Report) {
    match plain_generations(view) {
        Ok(keys) if keys.is_empty() => {}
        Ok(keys) => report.sound(Part::Keys, format!("keys of {} generations, in the clear", keys.len())),
        Err(error) => report.damaged(Part::Keys, format!("{error:#}"), LOST_GENERATIONS),
    }
}

/// What the node signs with, and what it signed last.
fn signing(view: &DataFolder, keys: Keys<'_>, report: &mut Report) {
    match proofs::stored_seed(view, keys) {
        Ok(None) => {
            report.note(Part::Proofs, "the node has no signing key", "it makes itself one when it starts")
        }
        Ok(Some(_)) => report.sound(Part::Proofs, "its signing key opens"),
        Err(error) => report.damaged(Part::Proofs, format!("{error:#}"), LOST_SIGNING_KEY),
    }
    match proofs::last_signed(view) {
        Ok(None) => {}
        Ok(Some(events)) => report.sound(Part::Proofs, format!("it signed a checkpoint of {events} events")),
        Err(error) => report.damaged(Part::Proofs, format!("{error:#}"), LOST_CHECKPOINTS),
    }
}

/// Damage is a finding; that the copy cannot be read or written is none.
fn found<T>(
    result: Result<T, StorageError>,
    report: &mut Report,
    (part, advice): (Part, &'static str),
) -> anyhow::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ (StorageError::Corrupt { .. } | StorageError::Version { .. })) => {
            report.damaged(part, error.to_string(), advice);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Rows that were applied came out of a log: one that begins anew, or ends before them, has lost something.
fn began(view: &DataFolder, applied: u64, end: Option<u64>, report: &mut Report) {
    for (part, folder, advice) in
        [(Part::Log, view.log(), LOST_LOG), (Part::Journal, view.journal(), LOST_JOURNAL)]
    {
        if !folder.join("format").is_file() {
            let detail = format!("{} is missing, and there are rows", folder.join("format").display());
            report.damaged(part, detail, advice);
        }
    }
    if end.is_some_and(|end| end < applied) {
        let detail = format!("it ends at {}, the rows stand at {applied}: its end is lost", end.unwrap_or(0));
        report.damaged(Part::Log, detail, LOST_LOG);
    }
}

/// Where the log ends; `None` where it could not be read.
fn log(folder: &Path, keys: Keys<'_>, report: &mut Report) -> anyhow::Result<Option<u64>> {
    let opened = stores::log(folder, keys);
    let Some(log) = found(opened, report, (Part::Log, LOST_LOG))? else { return Ok(None) };
    if let Some(cut) = RaftLog::cut_at_open(&*log) {
        let advice =
            "a crash leaves such an end; the node cuts it when it starts, and catches up before it votes";
        report.note(Part::Log, cut, advice);
    }
    let state = log.state()?;
    let purged = state.purged.map_or(0, |purged| purged.index);
    let (mut from, end) =
        (state.purged.map_or(0, |purged| purged.index.saturating_add(1)), state.last.map(|last| last.index));
    while end.is_some_and(|end| from <= end) {
        let to = from.saturating_add(STEP).min(end.unwrap_or(0).saturating_add(1));
        let Some(_) = found(log.read(from, to), report, (Part::Log, LOST_LOG))? else { return Ok(None) };
        from = to;
    }
    let vote = state.vote.map_or("no vote".to_owned(), |vote| format!("vote in term {}", vote.term));
    let entries = match end.filter(|end| *end > purged || state.purged.is_none()) {
        Some(end) => format!("entries up to {end}, purged up to {purged}"),
        None => format!("no entries, purged up to {purged}"),
    };
    report.sound(Part::Log, format!("{entries}; {vote}"));
    Ok(Some(end.unwrap_or(0).max(purged)))
}

fn journal(folder: &Path, keys: Keys<'_>, report: &mut Report) -> anyhow::Result<()> {
    let opened = stores::journal(folder, keys);
    let Some(journal) = found(opened, report, (Part::Journal, LOST_JOURNAL))? else { return Ok(()) };
    if let Some(cut) = Journal::cut_at_open(&*journal) {
        report.note(Part::Journal, cut, "a crash leaves such an end; the node cuts it when it starts");
    }
    let read = journal.read_after(JournalPosition(0));
    if let Some(records) = found(read, report, (Part::Journal, LOST_JOURNAL))? {
        report.sound(Part::Journal, format!("{} records", records.len()));
    }
    Ok(())
}

/// Up to which entry of the log the rows stand; `None` where no log has to bear them out.
fn rows(
    folder: &Path,
    keys: Keys<'_>,
    files: &dyn Segments,
    report: &mut Report,
) -> anyhow::Result<Option<u64>> {
    let Some(engine) = found(stores::rows(folder, keys), report, (Part::Rows, REBUILT))? else {
        return Ok(None);
    };
    if !engine.is_complete()? {
        report.note(Part::Rows, "an installation was interrupted", REBUILT);
        return Ok(None);
    }
    let inspected = inspect(&*engine, files);
    for fault in &inspected.faults {
        let (part, advice) = match fault {
            InspectFault::Rows { .. } => (Part::Rows, REBUILT),
            InspectFault::Segment { .. } => (Part::Segments, FETCHED),
            InspectFault::Chain { .. } => (Part::Chain, REBUILT),
        };
        report.damaged(part, fault.to_string(), advice);
    }
    let faulty = |wanted: fn(&InspectFault) -> bool| inspected.faults.iter().any(wanted);
    if !faulty(|fault| matches!(fault, InspectFault::Rows { .. })) {
        let applied = inspected.applied.map_or("nothing".to_owned(), |index| format!("up to entry {index}"));
        report.sound(Part::Rows, format!("applied {applied}"));
    }
    if !faulty(|fault| matches!(fault, InspectFault::Segment { .. })) {
        let bytes: u64 = inspected.segments.iter().map(|name| name.bytes).sum();
        report.sound(Part::Segments, format!("{} in {bytes} bytes", inspected.segments.len()));
    }
    if inspected.faults.is_empty() {
        let (index, hash) = (inspected.head.index, inspected.head.hash);
        report.sound(Part::Chain, format!("{index} events; the last hash is {hash}"));
    }
    for address in inspected.unnamed {
        let advice = "nothing relies on it; the node takes it where it needs it";
        match SegmentCheck::of_file(address).run(files) {
            Ok(name) => {
                let detail =
                    format!("{address} holds events {} to {}, and no row names it", name.first, name.last);
                report.note(Part::Segments, detail, advice);
            }
            Err(error) => report.note(Part::Segments, format!("{error}; no row names it"), advice),
        }
    }
    // A snapshot just installed may stand ahead of the log.
    Ok(inspected.applied.filter(|_| inspected.applied != inspected.installed))
}

/// A copy of the parts that opening would change; removed when dropped.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn of(view: &DataFolder, scratch: &Path) -> anyhow::Result<Self> {
        let parts = [("log", view.log()), ("journal", view.journal()), ("state", view.state())];
        let needed: u64 = parts.iter().map(|(_, from)| bytes_in(from)).sum::<std::io::Result<u64>>()?;
        let free = free_bytes(scratch)?;
        anyhow::ensure!(
            needed < free,
            "the copy needs {needed} bytes, {} has {free}: name a folder with more room by --scratch",
            scratch.display()
        );
        let root = scratch.join(format!("only1mcp-doctor-{}", std::process::id()));
        // It holds what the folder holds, secrets too: for its owner only.
        let made = DirBuilder::new().mode(0o700).create(&root);
        made.with_context(|| format!("making {}", root.display()))?;
        let copy = Self { root };
        for (name, from) in parts {
            copy_folder(&from, &copy.part(name)).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(copy)
    }

    fn part(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, folder = %self.root.display(), "the copy could not be removed");
        }
    }
}

fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    if !folder.is_dir() {
        return Ok(0);
    }
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes = bytes.saturating_add(if meta.is_dir() { bytes_in(&entry.path())? } else { meta.len() });
    }
    Ok(bytes)
}

/// A folder that is not there is copied as an empty one: opening it says what is missing.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if !from.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_copy_is_its_owners_alone_and_goes() {
        let (root, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = DataFolder::open(root.path()).unwrap();
        std::fs::write(folder.journal().join("secret"), b"secret").unwrap();
        let copy = Copy::of(&folder, scratch.path()).unwrap();
        let mode = std::fs::metadata(&copy.root).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        assert_eq!(std::fs::read(copy.part("journal").join("secret")).unwrap(), b"secret");
        drop(copy);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}

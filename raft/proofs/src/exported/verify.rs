//! What is wrong with an exported file, if anything: edits, deletions, insertions, reorders, truncation, forks, and
//! text that says otherwise than the bytes beneath it.

use std::collections::BTreeSet;
use std::io::{BufRead, Seek};

use crate::{Pinned, Receipt, VerifierKey};
use only1mcp_domain::audit::merkle::{Frontier, leaf};
use only1mcp_domain::audit::{self, ChainFault, ChainHead, SealedEvent, Verifier};
use only1mcp_domain::ids::{AuditIndex, Digest};

use super::expired::Expiries;
use super::format::{Head, Header, Trailer, readable};
use super::read::{FileFault, Item, Reader, Record, last_line};
use super::signed::{Notes, Signatures};

/// Why a file is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    File(#[from] FileFault),
    #[error("line {line}: {fault}")]
    Chain { line: u64, fault: ChainFault },
    #[error("line {line}: event {found} follows event {previous}: {}", out_of_order(code, *previous, *found))]
    OutOfOrder { line: u64, code: &'static str, previous: u64, found: u64 },
    #[error(transparent)]
    Proof(#[from] crate::Fault),
    #[error("line {line}: event {index} reads otherwise than its bytes say: the text was edited")]
    TextDiffers { line: u64, index: u64 },
    #[error("line {line}: event {index} has text but no bytes that it could be checked against")]
    TextWithoutBytes { line: u64, index: u64 },
    #[error("the header's start is no place of a chain, or its frontier no tree's of that size")]
    BadStart,
    #[error("the file starts from {found}, not from {expected}")]
    OtherStart { expected: String, found: String },
    #[error("{0}")]
    End(ChainFault),
    #[error("the file starts at {start}; whether {asked} is in the same chain cannot be told from it")]
    BeforeStart { start: u64, asked: u64 },
}

fn out_of_order(code: &str, previous: u64, found: u64) -> String {
    let next = previous.saturating_add(1);
    match code {
        MOVED => format!("event {next} was moved, it stands further on"),
        INSERTED => format!("event {found} was inserted, or stands there twice"),
        _ => format!("event {next} was deleted"),
    }
}

const MOVED: &str = "MOVED";
const DELETED: &str = "DELETED";
const INSERTED: &str = "INSERTED";

impl Fault {
    /// Stable; those that the other verifier can find too are its codes, and stand in `raft/proofs/FORMAT.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfOrder { code, .. } => code,
            Self::Proof(fault) => fault.code,
            Self::Chain { fault, .. } | Self::End(fault) => match fault {
                ChainFault::OutOfOrder { .. } => DELETED,
                ChainFault::DigestMismatch { .. } => "EDITED",
                ChainFault::HashMismatch { .. } => "CHAIN_BROKEN",
                ChainFault::Unreadable { .. } => "MALFORMED",
                ChainFault::Truncated { .. } => "TRUNCATED",
                ChainFault::Forked { .. } => "FORKED",
                ChainFault::PayloadMissing { .. } => "PAYLOAD_MISSING",
            },
            Self::File(_) | Self::BadStart | Self::TextWithoutBytes { .. } => "MALFORMED",
            Self::TextDiffers { .. } => "TEXT_DIFFERS",
            Self::OtherStart { .. } => "OTHER_START",
            Self::BeforeStart { .. } => "NOT_COVERED",
        }
    }
}

/// What a verifier holds besides the file.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What it knows of the beginning.
    pub start: Option<Head>,
    /// Places it was promised.
    pub heads: Vec<Head>,
    pub receipts: Vec<Receipt>,
    /// Whose signatures count; without them none is looked at.
    pub keys: Option<Pinned>,
    /// Signed notes.
    pub checkpoints: Vec<String>,
    pub witnesses: Vec<VerifierKey>,
}

/// What a sound file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub events: u64,
    /// Of which only the places are told.
    pub places: u64,
    pub start: Head,
    pub end: Head,
    pub tenant: String,
    pub cluster_id: String,
    /// As the file's header tells it.
    pub epoch: u64,
    /// Promised heads and receipts found in the file.
    pub heads: usize,
    /// Sizes of the signed checkpoints that the file was held against.
    pub checkpoints: Vec<u64>,
    /// Events whose proposer's signature was checked.
    pub signed_events: u64,
    /// Places of which a record of the file says that the payload was dropped.
    pub expired: u64,
    /// The exporting node, where its signature was checked.
    pub exported_by: Option<u64>,
}

/// Reads the whole file.
/// Errors: the first fault found, in the order in which `raft/proofs/FORMAT.md` lists the checks.
pub fn verify<R: BufRead + Seek>(mut input: R, asked: &Asked) -> Result<Report, Fault> {
    // The export's own checkpoint stands in its last line, and its size has to be known before it is passed.
    let own = last_line(&mut input)?.and_then(|line| serde_json::from_str::<Trailer>(&line).ok());
    let mut reader = Reader::open(input)?;
    let header = reader.header.clone();
    let begins = header.start.parse().ok_or(Fault::BadStart)?;
    let peaks: Option<Vec<Digest>> = header.frontier.iter().map(|hash| Digest::parse_hex(hash)).collect();
    let frontier = match peaks {
        // Of before there were trees: nothing signed can be checked, which is said where it is asked for.
        Some(peaks) if peaks.is_empty() && begins.index.0 > 0 => None,
        Some(peaks) => Some(Frontier::of(begins.index.0, peaks).ok_or(Fault::BadStart)?),
        None => return Err(Fault::BadStart),
    };
    // Before the first event there is one possible hash; it needs no trust.
    let known = (begins.index.0 == 0).then(|| Head::of(ChainHead::default()));
    if let Some(known) = asked.start.clone().or(known).filter(|known| *known != header.start) {
        return Err(Fault::OtherStart { expected: known.to_string(), found: header.start.to_string() });
    }
    if let Some(before) = asked.heads.iter().find(|head| head.index < begins.index.0) {
        return Err(Fault::BeforeStart { start: begins.index.0, asked: before.index });
    }
    let notes = match &asked.keys {
        Some(keys) => Notes::of(keys, asked, own.as_ref())?,
        None => Notes::none(),
    };
    let wanted: BTreeSet<u64> = asked.receipts.iter().map(|receipt| receipt.audit_index).collect();
    let mut walk = Walk {
        verifier: Verifier::after(begins),
        frontier,
        signatures: Signatures::new(asked.keys.as_ref(), &header),
        notes,
        expiries: Expiries::new(begins.index.0, &header.tenant),
        wanted,
        found: Vec::new(),
        places: 0,
        events: 0,
    };
    walk.stop(&asked.heads)?;
    let mut trailer = None;
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Record(record) if trailer.is_none() => {
                let next = walk.verifier.head().index.0.saturating_add(1);
                if record.index != next {
                    return Err(out_of_place(reader, record, next));
                }
                walk.take(record)?;
                walk.stop(&asked.heads)?;
            }
            Item::Trailer(signed) if trailer.is_none() => trailer = Some(signed),
            Item::Record(_) | Item::Trailer(_) => return Err(FileFault::AfterTheEnd.into()),
        }
    }
    finish(walk, header, trailer, asked)
}

struct Walk {
    verifier: Verifier,
    frontier: Option<Frontier>,
    signatures: Signatures,
    notes: Notes,
    expiries: Expiries,
    wanted: BTreeSet<u64>,
    /// Hashes of the places wanted.
    found: Vec<Head>,
    places: u64,
    events: u64,
}

impl Walk {
    /// At a place: what has to be compared there.
    fn stop(&mut self, heads: &[Head]) -> Result<(), Fault> {
        let here = self.verifier.head();
        if let Some(head) = heads.iter().find(|head| head.index == here.index.0)
            && *head != Head::of(here)
        {
            return Err(Fault::End(ChainFault::Forked { index: head.index }));
        }
        if self.wanted.contains(&here.index.0) {
            self.found.push(Head::of(here));
        }
        self.notes.pass(here, self.frontier.as_ref());
        Ok(())
    }

    fn take(&mut self, record: Record) -> Result<(), Fault> {
        let Record { line, index, digest, hash, bytes, event, expired } = record;
        let chain = |fault| Fault::Chain { line, fault };
        let place = AuditIndex(index);
        self.signatures.add(place, digest, hash, bytes.is_some());
        self.events += 1;
        match bytes {
            None => {
                self.places += 1;
                self.verifier.push_place(place, digest, hash).map_err(chain)?;
                self.expiries.place(place, digest, expired)?;
                if event.is_some() {
                    return Err(Fault::TextWithoutBytes { line, index });
                }
            }
            Some(bytes) => {
                if expired.is_some() {
                    let problem = "an event has bytes, and is said to be expired".to_owned();
                    return Err(FileFault::Line { line, problem }.into());
                }
                let sealed = SealedEvent { index: place, bytes, digest, hash };
                self.verifier.push(&sealed).map_err(chain)?;
                if let Ok(said) = audit::decode(&sealed.bytes) {
                    self.signatures.event(index, &said)?;
                    self.expiries.event(index, &said)?;
                    self.notes.event(index, &said);
                    if event != Some(readable(&said)) {
                        return Err(Fault::TextDiffers { line, index });
                    }
                }
            }
        }
        if let Some(frontier) = &mut self.frontier {
            frontier.append(leaf(place, digest));
        }
        Ok(())
    }
}

/// Which of the ways to put a record where it does not belong it is.
fn out_of_place<R: BufRead>(mut reader: Reader<R>, record: Record, next: u64) -> Fault {
    let Record { line, index: found, .. } = record;
    let mut code = if found < next { INSERTED } else { DELETED };
    while code == DELETED {
        match reader.next_item() {
            Ok(Some(Item::Record(later))) if later.index == next => code = MOVED,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    Fault::OutOfOrder { line, code, previous: next.saturating_sub(1), found }
}

fn finish(walk: Walk, header: Header, trailer: Option<Trailer>, asked: &Asked) -> Result<Report, Fault> {
    let Walk { verifier, signatures, notes, expiries, found, places, events, .. } = walk;
    let (start, end) = (header.start.index, verifier.head().index.0);
    if end != header.end_index {
        return Err(Fault::End(ChainFault::Truncated { expected: header.end_index, found: end }));
    }
    let expired = expiries.finish()?;
    let signed_events = signatures.checked();
    let exported_by = match &asked.keys {
        Some(_) => Some(signatures.finish(&header, trailer.as_ref())?),
        None => None,
    };
    let checkpoints = notes.finish(start, end)?;
    if let Some(later) = asked.heads.iter().find(|head| head.index > end) {
        return Err(Fault::End(ChainFault::Truncated { expected: later.index, found: end }));
    }
    for receipt in &asked.receipts {
        let Receipt { audit_index: index, event_hash } = receipt;
        if *index < start {
            return Err(Fault::BeforeStart { start, asked: *index });
        }
        if *index > end {
            return Err(Fault::End(ChainFault::Truncated { expected: *index, found: end }));
        }
        if !found.iter().any(|head| head.index == *index && head.hash == *event_hash) {
            return Err(Fault::End(ChainFault::Forked { index: *index }));
        }
    }
    Ok(Report {
        events,
        places,
        start: header.start,
        end: Head::of(verifier.head()),
        tenant: header.tenant,
        cluster_id: header.cluster_id,
        epoch: header.epoch,
        heads: asked.heads.len() + asked.receipts.len(),
        checkpoints,
        signed_events,
        expired,
        exported_by,
    })
}

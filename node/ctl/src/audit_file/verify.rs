//! What is wrong with an exported file, if anything: edits, deletions, insertions, reorders, truncation, forks, and
//! text that says otherwise than the bytes beneath it.

use std::io::BufRead;

use only1mcp_domain::audit::{self, ChainFault, ChainHead, SealedEvent, Verifier};
use only1mcp_domain::ids::AuditIndex;

use super::format::{Head, readable};
use super::read::{FileFault, Reader, Record};

/// Why a file is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    File(#[from] FileFault),
    #[error("line {line}: {fault}")]
    Chain { line: u64, fault: ChainFault },
    #[error("line {line}: event {index} reads otherwise than its bytes say: the text was edited")]
    TextDiffers { line: u64, index: u64 },
    #[error("line {line}: event {index} has text but no bytes that it could be checked against")]
    TextWithoutBytes { line: u64, index: u64 },
    #[error("the header's start is no place of a chain")]
    BadStart,
    #[error("the file starts from {found}, not from {expected}")]
    OtherStart { expected: String, found: String },
    #[error("{0}")]
    End(ChainFault),
    #[error("the file starts at {start}; whether {asked} is in the same chain cannot be told from it")]
    BeforeStart { start: u64, asked: u64 },
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
    /// Promised heads found in the file.
    pub heads: usize,
}

/// Reads the whole file. `start` is what a verifier knows of the beginning, `heads` what it was promised later:
/// checkpoints, or the audit index and event hash of receipts.
/// Errors: the first fault found.
pub fn verify<R: BufRead>(input: R, start: Option<&Head>, heads: &[Head]) -> Result<Report, Fault> {
    let mut reader = Reader::open(input)?;
    let header = reader.header.clone();
    let begins = header.start.parse().ok_or(Fault::BadStart)?;
    // Before the first event there is one possible hash; it needs no trust.
    let known = start.cloned().or_else(|| (begins.index.0 == 0).then(|| Head::of(ChainHead::default())));
    if let Some(known) = known.filter(|known| *known != header.start) {
        return Err(Fault::OtherStart { expected: known.to_string(), found: header.start.to_string() });
    }
    if let Some(before) = heads.iter().find(|head| head.index < begins.index.0) {
        return Err(Fault::BeforeStart { start: begins.index.0, asked: before.index });
    }
    let mut verifier = Verifier::after(begins);
    let (mut events, mut places) = (0, 0);
    check_heads(&verifier, heads)?;
    while let Some(record) = reader.next_record()? {
        places += u64::from(record.bytes.is_none());
        events += 1;
        take(&mut verifier, record)?;
        check_heads(&verifier, heads)?;
    }
    let promised = heads.iter().map(|head| head.index).chain([header.end_index]).max().unwrap_or_default();
    let found = verifier.head().index.0;
    if found < promised {
        return Err(Fault::End(ChainFault::Truncated { expected: promised, found }));
    }
    Ok(Report {
        events,
        places,
        start: header.start,
        end: Head::of(verifier.head()),
        tenant: header.tenant,
        cluster_id: header.cluster_id,
        epoch: header.epoch,
        heads: heads.len(),
    })
}

fn check_heads(verifier: &Verifier, heads: &[Head]) -> Result<(), Fault> {
    let here = Head::of(verifier.head());
    match heads.iter().find(|head| head.index == here.index && head.hash != here.hash) {
        Some(head) => Err(Fault::End(ChainFault::Forked { index: head.index })),
        None => Ok(()),
    }
}

fn take(verifier: &mut Verifier, record: Record) -> Result<(), Fault> {
    let Record { line, index, digest, hash, bytes, event } = record;
    let chain = |fault| Fault::Chain { line, fault };
    let Some(bytes) = bytes else {
        verifier.push_place(AuditIndex(index), digest, hash).map_err(chain)?;
        return if event.is_some() { Err(Fault::TextWithoutBytes { line, index }) } else { Ok(()) };
    };
    let sealed = SealedEvent { index: AuditIndex(index), bytes, digest, hash };
    verifier.push(&sealed).map_err(chain)?;
    let said = audit::decode(&sealed.bytes).ok().map(|event| readable(&event));
    if event != said {
        return Err(Fault::TextDiffers { line, index });
    }
    Ok(())
}

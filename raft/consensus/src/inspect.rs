//! Reads the rows and segments of a node that does not run, and tells what is wrong with them; writes nothing.

use only1mcp_domain::audit::{ChainHead, Verifier};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_storage::{Engine, SegmentCheck, SegmentCopy, SegmentName, Segments};

use crate::store::rows;

/// Events read at one time.
const STEP: usize = 1_024;

/// What rows and segments hold.
#[derive(Debug)]
pub struct Inspected {
    /// Index of the last entry applied; `None` before the first.
    pub applied: Option<u64>,
    /// That of the last snapshot installed from another node.
    pub installed: Option<u64>,
    /// That the state names: the chain has to end there.
    pub head: ChainHead,
    pub segments: Vec<SegmentName>,
    /// Whole files that no row names.
    pub unnamed: Vec<Digest>,
    /// What is wrong, in the order of the chain.
    pub faults: Vec<InspectFault>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectFault {
    #[error("{detail}")]
    Rows { detail: String },
    #[error("events {first} to {last}, file {address}: {detail}")]
    Segment { first: AuditIndex, last: AuditIndex, address: Digest, detail: String },
    #[error("the audit chain: {detail}")]
    Chain { detail: String },
}

/// Loads the state, checks every segment the rows name, and recomputes the chain from its first event to the head.
pub fn inspect(engine: &dyn Engine, files: &dyn Segments) -> Inspected {
    let mut out = Inspected {
        applied: None,
        installed: None,
        head: ChainHead::default(),
        segments: Vec::new(),
        unnamed: Vec::new(),
        faults: Vec::new(),
    };
    match rows::load(engine) {
        Ok(loaded) => {
            out.applied = loaded.meta.last_log_id.as_ref().map(|id| id.index);
            out.installed = loaded.installed.as_ref().map(|id| id.index);
            out.head = loaded.state.chain;
            out.segments = loaded.segments;
        }
        Err(error) => {
            out.faults.push(InspectFault::Rows { detail: error.to_string() });
            return out;
        }
    }
    let mut before = ChainHead::default();
    for name in &out.segments {
        if let Err(error) = SegmentCheck::of(*name, before.hash, SegmentCopy::Whole).run(files) {
            out.faults.push(InspectFault::Segment {
                first: name.first,
                last: name.last,
                address: name.address,
                detail: error.to_string(),
            });
        }
        before = name.head();
    }
    if let Err(detail) = rest_of_chain(engine, before, out.head) {
        out.faults.push(InspectFault::Chain { detail });
    }
    match files.addresses() {
        Ok(addresses) => {
            let named = |address: &Digest| out.segments.iter().any(|name| name.address == *address);
            out.unnamed = addresses.into_iter().filter(|address| !named(address)).collect();
        }
        Err(error) => out.faults.push(InspectFault::Rows { detail: error.to_string() }),
    }
    out
}

/// The events that are rows, from the last segment to the head.
fn rest_of_chain(engine: &dyn Engine, sealed: ChainHead, head: ChainHead) -> Result<(), String> {
    let mut verifier = Verifier::after(sealed).promising(head);
    loop {
        let next = AuditIndex(verifier.head().index.0.saturating_add(1));
        let events = rows::audit_events(engine, next, STEP).map_err(|error| error.to_string())?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            verifier.push(event).map_err(|fault| fault.to_string())?;
        }
    }
    let end = verifier.finish().map_err(|fault| fault.to_string())?;
    if end == head {
        Ok(())
    } else {
        Err(format!("it goes on to {} behind its head {}", end.index, head.index))
    }
}

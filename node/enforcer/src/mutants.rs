//! What recovery, freshness and the batcher do wrong when told to (feature `mutants`).

use bytes::Bytes;
use only1mcp_domain::activity::Record;
use only1mcp_domain::mutants::{Mutant, is};
use only1mcp_proto::codec::encode_records;

type Batches = Vec<(Bytes, Vec<Record>)>;

/// The completions that recovery makes, and the batches it found, with what the chosen mutant leaves of their charges.
pub(crate) fn refunded(mut unknown: Vec<Record>, mut unposted: Batches) -> (Vec<Record>, Batches) {
    if is(Mutant::RefundAtRestart) || is(Mutant::ReleaseUnknown) {
        forgive(&mut unknown);
    }
    if is(Mutant::RefundAtRestart) {
        for (bytes, records) in &mut unposted {
            forgive(records);
            *bytes = encode_records(records).into();
        }
    }
    (unknown, unposted)
}

/// Whether a node gets back what it cannot account for.
pub(crate) fn refunds() -> bool {
    is(Mutant::RefundAtRestart)
}

/// Whether a node is fresh as of when it was answered.
pub(crate) fn is_fresh_at_receipt() -> bool {
    is(Mutant::FreshnessAtReceipt)
}

/// How many batches are on their way at once: with one, none could overtake another.
pub(crate) fn in_flight(max: usize) -> usize {
    if is(Mutant::GapAccepted) { 4 } else { max }
}

fn forgive(records: &mut [Record]) {
    for record in records {
        if let Record::Completion(completion) = record {
            completion.charges.clear();
        }
    }
}

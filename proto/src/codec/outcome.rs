//! What an entry came to: remembered under its command id, and told to the node that forwarded it.

use only1mcp_domain::activity::RecordApplied;
use only1mcp_domain::ids::{AuditIndex, Incarnation, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Outcome, Rejection};
use prost::Message as _;

use super::error::DecodeError;
use super::parts::{Decoded, Raw as _, message, raw, required};
use crate::log;
use crate::log::outcome::Kind;

/// The bytes of an outcome or a rejection.
pub fn encode_outcome(outcome: &Result<Outcome, Rejection>) -> Vec<u8> {
    write(outcome).encode_to_vec()
}

/// Reads what [`encode_outcome`] wrote. The outer result is the reading's, the inner one the entry's.
pub fn decode_outcome(bytes: &[u8]) -> Result<Result<Outcome, Rejection>, DecodeError> {
    read(message("Outcome", bytes, limits::OUTCOME_BYTES_MAX)?)
}

pub(super) fn write(outcome: &Result<Outcome, Rejection>) -> log::Outcome {
    let kind = match outcome {
        Ok(Outcome::Done { log_index }) => Kind::Done(*log_index),
        Ok(Outcome::NodeRegistered { node }) => Kind::NodeRegistered(node.0),
        Ok(Outcome::IncarnationOpened { incarnation, last_sequence }) => {
            Kind::IncarnationOpened(log::IncarnationOpened {
                incarnation: incarnation.0,
                last_sequence: *last_sequence,
            })
        }
        Ok(Outcome::BatchApplied { records }) => {
            Kind::BatchApplied(log::BatchApplied { records: records.iter().map(write_applied).collect() })
        }
        Ok(Outcome::BatchDuplicate { first_index }) => Kind::BatchDuplicate(*first_index),
        Err(rejection) => Kind::Rejected(rejection.into()),
    };
    log::Outcome { kind: Some(kind) }
}

pub(super) fn read(wire: log::Outcome) -> Decoded<Result<Outcome, Rejection>> {
    Ok(match required("Outcome.kind", wire.kind)? {
        Kind::Done(log_index) => Ok(Outcome::Done { log_index }),
        Kind::NodeRegistered(node) => Ok(Outcome::NodeRegistered { node: NodeId(node) }),
        Kind::IncarnationOpened(opened) => Ok(Outcome::IncarnationOpened {
            incarnation: Incarnation(opened.incarnation),
            last_sequence: opened.last_sequence,
        }),
        Kind::BatchApplied(applied) => {
            let records = applied.records.into_iter().map(read_applied).collect::<Result<_, _>>()?;
            Ok(Outcome::BatchApplied { records })
        }
        Kind::BatchDuplicate(first_index) => Ok(Outcome::BatchDuplicate { first_index }),
        Kind::Rejected(rejection) => Err(rejection.try_into()?),
    })
}

fn write_applied(record: &RecordApplied) -> log::RecordApplied {
    let position = |(index, hash): (AuditIndex, _)| log::AuditPosition {
        index: index.0,
        hash: only1mcp_domain::ids::Digest::written(&hash),
    };
    log::RecordApplied { audit: record.audit.map(position), revoked_in_flight: record.revoked_in_flight }
}

fn read_applied(wire: log::RecordApplied) -> Decoded<RecordApplied> {
    let position = |p: log::AuditPosition| Ok((AuditIndex(p.index), raw("AuditPosition.hash", &p.hash)?));
    Ok(RecordApplied {
        audit: wire.audit.map(position).transpose()?,
        revoked_in_flight: wire.revoked_in_flight,
    })
}

//! Epochs and backups.

use only1mcp_domain::command::{BackupNote, BeginEpoch, EpochCause, Restored, Secret32};
use only1mcp_domain::ids::NodeId;

use super::error::DecodeError;
use super::form::write_secret;
use super::parts::{Raw as _, fixed, raw, record, required};
use crate::log;
use crate::log::begin_epoch::Cause;

/// The first epoch is left out: rows were written before there were others.
pub(crate) fn write_epoch(epoch: u64) -> u64 {
    if epoch == 1 { 0 } else { epoch }
}

pub(crate) fn read_epoch(written: u64) -> u64 {
    written.max(1)
}

impl From<&BeginEpoch> for log::BeginEpoch {
    fn from(begin: &BeginEpoch) -> Self {
        let cause = match &begin.cause {
            EpochCause::Restored(restored) => Cause::Restored(log::Restored {
                cluster_id: restored.cluster_id.written(),
                session_key: write_secret(&restored.session_key),
                node: Some((&restored.node).into()),
                backup: restored.backup.written(),
            }),
            EpochCause::MajorityLost { node } => Cause::MajorityLost(log::MajorityLost { node: node.0 }),
        };
        Self { epoch: begin.epoch, cause: Some(cause) }
    }
}

impl TryFrom<log::BeginEpoch> for BeginEpoch {
    type Error = DecodeError;

    fn try_from(wire: log::BeginEpoch) -> Result<Self, DecodeError> {
        let cause = match required("BeginEpoch.cause", wire.cause)? {
            Cause::Restored(restored) => EpochCause::Restored(Box::new(Restored {
                cluster_id: raw("Restored.cluster_id", &restored.cluster_id)?,
                session_key: Secret32(fixed("Restored.session_key", &restored.session_key)?),
                node: record("Restored.node", restored.node)?,
                backup: raw("Restored.backup", &restored.backup)?,
            })),
            Cause::MajorityLost(lost) => EpochCause::MajorityLost { node: NodeId(lost.node) },
        };
        Ok(Self { epoch: wire.epoch, cause })
    }
}

impl From<&BackupNote> for log::BackupNote {
    fn from(note: &BackupNote) -> Self {
        Self { node: note.node.0 }
    }
}

impl From<log::BackupNote> for BackupNote {
    fn from(wire: log::BackupNote) -> Self {
        Self { node: NodeId(wire.node) }
    }
}

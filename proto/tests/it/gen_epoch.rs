//! Epochs and backups.

use only1mcp_domain::command::{BackupNote, BeginEpoch, Command, EpochCause, Restored};
use only1mcp_domain::row::{MetaRow, RowValue};

use crate::random::Gen;

/// Where the numbers of this file's values begin.
const APART: u64 = 151;

impl Gen {
    pub fn epoch_commands(&self) -> Vec<Command> {
        let mut g = self.apart(APART);
        let restored = Restored {
            cluster_id: g.digest(),
            session_key: g.secret(),
            node: g.register_node(),
            backup: g.digest(),
        };
        let begin = |epoch, cause| Command::BeginEpoch(Box::new(BeginEpoch { epoch, cause }));
        vec![
            begin(g.number(), EpochCause::Restored(Box::new(restored))),
            begin(g.number(), EpochCause::MajorityLost { node: g.node_id() }),
            Command::NoteBackup(BackupNote { node: g.node_id() }),
        ]
    }

    /// The row of a cluster that was restored.
    pub fn epoch_rows(&self) -> Vec<RowValue> {
        let mut g = self.apart(APART + 1);
        vec![RowValue::Meta(MetaRow {
            cluster_id: g.digest(),
            settings: g.versioned(Gen::settings),
            key_hash_key: g.secret(),
            session_key: g.secret(),
            next_node: g.node_id(),
            epoch: g.number().saturating_add(2),
        })]
    }
}

//! What administration asks of personal data: to open it for those who may read it, and the key table for a backup.

use only1mcp_admin::{GenerationCopy, Opened, PersonalPort};
use only1mcp_domain::State;
use only1mcp_domain::model::{Slot, SlotPart};
use only1mcp_keys::{RecoveryPublic, open_slot};

use super::keys::PersonalKeys;
use crate::keys::table_context;

impl PersonalPort for PersonalKeys {
    fn open(&self, state: &State, part: SlotPart, slot: &Slot) -> Opened {
        if state.lookup.subject_of(slot.key).is_none() {
            return Opened::Erased;
        }
        let Some(key) = self.by_id(state, slot.key) else { return Opened::Sealed };
        match open_slot(&key, part, slot) {
            Ok(fields) => Opened::Open(fields),
            Err(error) => {
                tracing::error!(key = %slot.key, %error, "sealed personal data does not open");
                Opened::Sealed
            }
        }
    }

    fn generation_for(&self, state: &State, recovery_public: &str) -> Result<GenerationCopy, String> {
        let (generation, key) =
            self.in_force(state).ok_or("this node has no key of the generation in force")?;
        let recovery = RecoveryPublic::parse(recovery_public).map_err(|error| error.to_string())?;
        let wrapped = recovery.wrap(&key, &table_context(generation)).map_err(|error| error.to_string())?;
        Ok(GenerationCopy { generation, wrapped })
    }
}

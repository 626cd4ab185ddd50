//! Sealed parts, opened for whoever was found to have the right to read the record they are of.

use only1mcp_domain::audit::AuditEvent;
use only1mcp_domain::model::{Principal, SlotPart};
use only1mcp_domain::state::State;
use only1mcp_proto::model as m;

use super::port::Opened;
use crate::core::Core;

/// What stands in place of what nobody reads any more.
const ERASED: &str = "erased";

/// The event as it is told: its sealed parts beside what its bytes say.
pub(crate) fn opened_event(core: &Core, state: &State, event: &AuditEvent) -> m::AuditEvent {
    let mut told = m::AuditEvent::from(event);
    for ((part, slot), shown) in event.personal.iter().zip(&mut told.personal) {
        let opened = core.ports.personal.open(state, *part, slot);
        opened.status().clone_into(&mut shown.status);
        if let Opened::Open(fields) = opened {
            let detail = |(name, value)| m::EventDetail { name, value };
            shown.inside = fields.into_iter().map(detail).collect();
        }
    }
    told
}

/// The principal as the API gives it: never sealed.
pub(crate) fn opened_principal(core: &Core, state: &State, record: &Principal) -> m::Principal {
    let mut told = m::Principal::from(record);
    told.personal = None;
    let Some(personal) = &record.personal else { return told };
    match core.ports.personal.open(state, SlotPart::After, &personal.slot) {
        Opened::Open(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "display_name" => told.display_name = value,
                    "email" => told.email = value,
                    _ => {}
                }
            }
        }
        // It stands in no record of a living principal but that of a cluster restored without its key table.
        Opened::Erased => ERASED.clone_into(&mut told.display_name),
        Opened::Sealed => "sealed".clone_into(&mut told.display_name),
    }
    told
}

//! Every text of a record is cut to its bound before it is journaled: a batch past a bound would be refused by every
//! node for ever, so no caller may be able to make one.

use only1mcp_domain::activity::{Caller, Record};
use only1mcp_domain::limits;

/// The longest name of an item: an upstream's id, the separator, and a resource's URI.
pub(crate) const ITEM_BYTES_MAX: usize = limits::SLUG_BYTES_MAX + 2 + limits::RESOURCE_URI_BYTES_MAX;

/// Marks a text that was longer.
const CUT: &str = "…";

pub(crate) fn bound(record: &mut Record) {
    let text = limits::EVENT_TEXT_BYTES_MAX;
    match record {
        Record::Admission(admission) => {
            caller(&mut admission.caller);
            cut(&mut admission.item, ITEM_BYTES_MAX);
        }
        Record::Refusal(refusal) => {
            caller(&mut refusal.caller);
            cut(&mut refusal.item, ITEM_BYTES_MAX);
        }
        Record::SessionOpened(event) | Record::SessionClosed(event) => {
            caller(&mut event.caller);
            cut(&mut event.client_name, text);
            cut(&mut event.client_version, text);
            cut(&mut event.protocol_version, text);
        }
        Record::NodeNotice { detail, .. } => cut(detail, text),
        // Their names come from records that were checked, or are digests past their bound.
        Record::Ask(_) | Record::Return(_) | Record::Restarted { .. } | Record::SettledThrough(_) => {}
        Record::AuditRead(read) => {
            caller(&mut read.caller);
            cut(&mut read.asked, text);
        }
        Record::Completion(_) | Record::Unauthenticated(_) | Record::KeyUsed { .. } => {}
    }
}

/// Of the records that have one.
pub(crate) fn caller_of(record: &mut Record) -> Option<&mut Caller> {
    match record {
        Record::Admission(admission) => Some(&mut admission.caller),
        Record::Refusal(refusal) => Some(&mut refusal.caller),
        Record::SessionOpened(event) | Record::SessionClosed(event) => Some(&mut event.caller),
        Record::AuditRead(read) => Some(&mut read.caller),
        Record::NodeNotice { .. }
        | Record::Ask(_)
        | Record::Return(_)
        | Record::Restarted { .. }
        | Record::SettledThrough(_)
        | Record::Completion(_)
        | Record::Unauthenticated(_)
        | Record::KeyUsed { .. } => None,
    }
}

fn caller(caller: &mut Caller) {
    cut(&mut caller.user_agent, limits::EVENT_TEXT_BYTES_MAX);
    cut(&mut caller.request_id, limits::EVENT_TEXT_BYTES_MAX);
}

/// Cuts `text` to its bound, and marks that it was longer.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() <= bytes_max {
        return;
    }
    let mut end = bytes_max.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text.push_str(CUT);
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::activity::{AuditRead, AuditReadKind};
    use only1mcp_domain::ids::{PrincipalId, TenantId};
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    #[test]
    fn what_was_asked_of_the_trail_is_cut_to_its_bound() {
        let long = "x".repeat(limits::EVENT_TEXT_BYTES_MAX + 1);
        let mut record = Record::AuditRead(Box::new(AuditRead {
            kind: AuditReadKind::Query,
            caller: Caller {
                tenant: TenantId::system(),
                principal: PrincipalId::new("root").unwrap(),
                key: None,
                session: None,
                project: None,
                ip: None,
                user_agent: long.clone(),
                personal: None,
                request_id: long.clone(),
            },
            tenant: TenantId::system(),
            everyone: true,
            asked: long,
            events: 0,
            count: 1,
            first_at: TimestampMs(1),
            last_at: TimestampMs(1),
        }));
        bound(&mut record);
        let Record::AuditRead(read) = record else { panic!("another record") };
        for text in [&read.asked, &read.caller.user_agent, &read.caller.request_id] {
            assert!(text.len() <= limits::EVENT_TEXT_BYTES_MAX && text.ends_with(CUT), "{text}");
        }
    }

    #[test]
    fn a_text_at_its_bound_stays_and_one_past_it_is_cut_and_marked() {
        let mut fits = "a".repeat(10);
        cut(&mut fits, 10);
        assert_eq!(fits, "a".repeat(10));
        let mut long = "a".repeat(11);
        cut(&mut long, 10);
        assert_eq!(long, format!("{}…", "a".repeat(7)));
        // Never in the middle of a character.
        let mut wide = "ä".repeat(6);
        cut(&mut wide, 10);
        assert_eq!(wide, "äää…");
    }
}

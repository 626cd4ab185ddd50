//! Which events a query wants.

use only1mcp_domain::audit::{AuditEvent, EventKind, EventOutcome};
use only1mcp_proto::admin as pb;

use super::Trail;
use crate::audit_event::outcome_name;
use crate::call::Call;
use crate::error::AdminError;

const OUTCOMES: [EventOutcome; 4] =
    [EventOutcome::Success, EventOutcome::Failure, EventOutcome::Denied, EventOutcome::Unknown];

pub(super) struct Filter {
    pub(super) trail: Trail,
    principal: String,
    kind: Option<EventKind>,
    outcome: Option<EventOutcome>,
    item: String,
    from_ms: u64,
    to_ms: u64,
}

impl Filter {
    /// Errors: a kind or outcome that does not exist, a tenant that cannot.
    pub(super) fn parse(call: &Call, filter: &pb::AuditFilter) -> Result<Self, AdminError> {
        let kind = match filter.kind.as_str() {
            "" => None,
            name => Some(EventKind::parse(name).ok_or_else(|| unknown("kind", name, kinds()))?),
        };
        let outcome = match filter.outcome.as_str() {
            "" => None,
            name => {
                let found = OUTCOMES.into_iter().find(|outcome| outcome_name(*outcome) == name);
                Some(found.ok_or_else(|| unknown("outcome", name, OUTCOMES.map(outcome_name).join(", ")))?)
            }
        };
        Ok(Self {
            trail: Trail::named(call, &filter.tenant)?,
            principal: filter.principal.clone(),
            kind,
            outcome,
            item: filter.item.clone(),
            from_ms: filter.from_ms,
            to_ms: if filter.to_ms == 0 { u64::MAX } else { filter.to_ms },
        })
    }

    pub(super) fn wants(&self, event: &AuditEvent) -> bool {
        let item = match self.item.strip_suffix('*') {
            Some(beginning) => event.resource.id.starts_with(beginning),
            None => self.item.is_empty() || event.resource.id == self.item,
        };
        self.trail.holds(&event.tenant)
            && (self.principal.is_empty() || event.actor.id == self.principal)
            && self.kind.is_none_or(|kind| kind == event.kind)
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
            && item
            && (self.from_ms..self.to_ms).contains(&event.log_time.0)
    }
}

fn kinds() -> String {
    EventKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn unknown(field: &str, found: &str, known: String) -> AdminError {
    AdminError::invalid(format!("filter.{field}"), format!("{found:?} is none of {known}"))
}

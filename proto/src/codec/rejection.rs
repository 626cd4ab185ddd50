//! Deterministic refusals, by their persisted numbers.

use only1mcp_domain::outcome::Rejection;

use super::error::DecodeError;
use super::parts::required;
use crate::log;
use crate::log::rejection::Kind;

fn item(kind: &str, id: &str) -> log::Item {
    log::Item { kind: kind.to_owned(), id: id.to_owned() }
}

impl From<&Rejection> for log::Rejection {
    fn from(rejection: &Rejection) -> Self {
        let nothing = log::Nothing {};
        let kind = match rejection {
            Rejection::NotFormed {} => Kind::NotFormed(nothing),
            Rejection::AlreadyFormed {} => Kind::AlreadyFormed(nothing),
            Rejection::NotFound { kind, id } => Kind::NotFound(item(kind, id)),
            Rejection::AlreadyExists { kind, id } => Kind::AlreadyExists(item(kind, id)),
            Rejection::RevisionMismatch { expected, found } => {
                Kind::RevisionMismatch(log::RevisionMismatch { expected: *expected, found: *found })
            }
            Rejection::Forbidden { permission } => Kind::Forbidden(permission.clone()),
            Rejection::Invalid { field, problem } => {
                Kind::Invalid(log::Invalid { field: field.clone(), problem: problem.clone() })
            }
            Rejection::LimitReached { what, max } => {
                Kind::LimitReached(log::LimitReached { what: what.clone(), max: *max })
            }
            Rejection::InUse { kind, id, by } => {
                Kind::InUse(log::InUse { kind: kind.clone(), id: id.clone(), by: by.clone() })
            }
            Rejection::Cycle { role } => Kind::Cycle(role.clone()),
            Rejection::BuiltIn { kind, id } => Kind::BuiltIn(item(kind, id)),
            Rejection::CommandIdConflict {} => Kind::CommandIdConflict(nothing),
            Rejection::SecretNotRecoverable { id } => Kind::SecretNotRecoverable(id.clone()),
            Rejection::TokenInvalid {} => Kind::TokenInvalid(nothing),
            Rejection::NodeBarred { name } => Kind::NodeBarred(name.clone()),
            Rejection::JournalUnposted { node, last_sequence } => {
                Kind::JournalUnposted(log::JournalUnposted { node: *node, last_sequence: *last_sequence })
            }
            Rejection::Fenced { incarnation } => Kind::Fenced(*incarnation),
            Rejection::Gap { expected, found } => Kind::Gap(log::Gap { expected: *expected, found: *found }),
            Rejection::BatchMismatch { sequence } => Kind::BatchMismatch(*sequence),
            Rejection::LastAdministrator {} => Kind::LastAdministrator(nothing),
            Rejection::Escalation { permission } => Kind::Escalation(permission.clone()),
            Rejection::TenantClosed { tenant } => Kind::TenantClosed(tenant.clone()),
            Rejection::QuotaExceeded { quota, max } => {
                Kind::QuotaExceeded(log::QuotaExceeded { quota: quota.clone(), max: *max })
            }
            Rejection::DutyFenced { assigned_at } => Kind::DutyFenced(*assigned_at),
            Rejection::RetentionTooEarly { class, days } => {
                Kind::RetentionTooEarly(log::RetentionTooEarly { class: class.clone(), days: *days })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<log::Rejection> for Rejection {
    type Error = DecodeError;

    fn try_from(wire: log::Rejection) -> Result<Self, DecodeError> {
        Ok(match required("Rejection.kind", wire.kind)? {
            Kind::NotFormed(_) => Self::NotFormed {},
            Kind::AlreadyFormed(_) => Self::AlreadyFormed {},
            Kind::NotFound(item) => Self::NotFound { kind: item.kind, id: item.id },
            Kind::AlreadyExists(item) => Self::AlreadyExists { kind: item.kind, id: item.id },
            Kind::RevisionMismatch(r) => Self::RevisionMismatch { expected: r.expected, found: r.found },
            Kind::Forbidden(permission) => Self::Forbidden { permission },
            Kind::Invalid(r) => Self::Invalid { field: r.field, problem: r.problem },
            Kind::LimitReached(r) => Self::LimitReached { what: r.what, max: r.max },
            Kind::InUse(r) => Self::InUse { kind: r.kind, id: r.id, by: r.by },
            Kind::Cycle(role) => Self::Cycle { role },
            Kind::BuiltIn(item) => Self::BuiltIn { kind: item.kind, id: item.id },
            Kind::CommandIdConflict(_) => Self::CommandIdConflict {},
            Kind::SecretNotRecoverable(id) => Self::SecretNotRecoverable { id },
            Kind::TokenInvalid(_) => Self::TokenInvalid {},
            Kind::NodeBarred(name) => Self::NodeBarred { name },
            Kind::JournalUnposted(r) => {
                Self::JournalUnposted { node: r.node, last_sequence: r.last_sequence }
            }
            Kind::Fenced(incarnation) => Self::Fenced { incarnation },
            Kind::Gap(r) => Self::Gap { expected: r.expected, found: r.found },
            Kind::BatchMismatch(sequence) => Self::BatchMismatch { sequence },
            Kind::LastAdministrator(_) => Self::LastAdministrator {},
            Kind::Escalation(permission) => Self::Escalation { permission },
            Kind::TenantClosed(tenant) => Self::TenantClosed { tenant },
            Kind::QuotaExceeded(r) => Self::QuotaExceeded { quota: r.quota, max: r.max },
            Kind::DutyFenced(assigned_at) => Self::DutyFenced { assigned_at },
            Kind::RetentionTooEarly(r) => Self::RetentionTooEarly { class: r.class, days: r.days },
        })
    }
}

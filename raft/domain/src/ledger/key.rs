//! What names an account: the limit, whose use it counts, and the period.

use std::fmt;
use std::str::FromStr;

use crate::ids::{BudgetId, GrantId, IdError, RoleId, RuleId, TenantId};
use crate::limits;
use crate::model::PeriodKind;
use crate::time::TimestampMs;

/// Which limit. Written `budget/ID`, `quota/requests` and the like; the texts are persisted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LimitId {
    Budget(BudgetId),
    /// `max_requests_per_minute` of the tenant's quotas.
    QuotaRequests,
    /// `max_tokens_per_day` of the tenant's quotas.
    QuotaTokens,
    /// `max_requests_per_hour` and `cost_limit_daily` that the tenant sets for all its calls together.
    TenantRequests,
    TenantCost,
    /// The same of a role, for each principal that calls by it.
    RoleRequests(RoleId),
    RoleCost(RoleId),
    /// The same of a grant.
    GrantRequests(GrantId),
    GrantCost(GrantId),
    /// The rate limit of a tool restriction, for all callers together.
    RuleRate(RuleId),
    /// `max_concurrent_requests` of the tenant's quotas: permits, each lent to one call at a time. Soft where a node is
    /// thought lost: its permits go back to the others when it is removed, closed by force or started anew, and calls
    /// that a cut-off node still runs are then beyond the limit until they end. So no node can take permits with it.
    QuotaConcurrency,
    /// `max_connections` of the tenant's quotas: permits, each held by one open MCP session from its start until its home
    /// node ends it (closed, revoked, expired, or unused for too long). Soft as [`LimitId::QuotaConcurrency`] is; and as
    /// a session's token outlives its home node's memory, what of it needs no home may go on, at other nodes or after a
    /// restart, and is then beyond the limit until the token expires. So are sessions opened before the limit was set.
    QuotaConnections,
}

impl LimitId {
    /// Whether it counts what is in use and not what was used: the end of a call or session gives back all that it held, nothing
    /// is ever posted, and the one period never ends.
    pub fn is_standing(&self) -> bool {
        matches!(self, Self::QuotaConcurrency | Self::QuotaConnections)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitIdError {
    #[error("{0:?} is no kind of limit")]
    Kind(String),
    #[error(transparent)]
    Id(#[from] IdError),
}

impl fmt::Display for LimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget(id) => write!(f, "budget/{id}"),
            Self::QuotaRequests => f.write_str("quota/requests"),
            Self::QuotaTokens => f.write_str("quota/tokens"),
            Self::TenantRequests => f.write_str("tenant/requests"),
            Self::TenantCost => f.write_str("tenant/cost"),
            Self::RoleRequests(id) => write!(f, "role-requests/{id}"),
            Self::RoleCost(id) => write!(f, "role-cost/{id}"),
            Self::GrantRequests(id) => write!(f, "grant-requests/{id}"),
            Self::GrantCost(id) => write!(f, "grant-cost/{id}"),
            Self::RuleRate(id) => write!(f, "rule-rate/{id}"),
            Self::QuotaConcurrency => f.write_str("quota/concurrent"),
            Self::QuotaConnections => f.write_str("quota/connections"),
        }
    }
}

impl FromStr for LimitId {
    type Err = LimitIdError;

    fn from_str(text: &str) -> Result<Self, LimitIdError> {
        let unknown = || LimitIdError::Kind(text.to_owned());
        let (kind, id) = text.split_once('/').ok_or_else(unknown)?;
        Ok(match (kind, id) {
            ("budget", id) => Self::Budget(BudgetId::new(id)?),
            ("quota", "requests") => Self::QuotaRequests,
            ("quota", "tokens") => Self::QuotaTokens,
            ("quota", "concurrent") => Self::QuotaConcurrency,
            ("quota", "connections") => Self::QuotaConnections,
            ("tenant", "requests") => Self::TenantRequests,
            ("tenant", "cost") => Self::TenantCost,
            ("role-requests", id) => Self::RoleRequests(RoleId::new(id)?),
            ("role-cost", id) => Self::RoleCost(RoleId::new(id)?),
            ("grant-requests", id) => Self::GrantRequests(GrantId::new(id)?),
            ("grant-cost", id) => Self::GrantCost(GrantId::new(id)?),
            ("rule-rate", id) => Self::RuleRate(RuleId::new(id)?),
            _ => return Err(unknown()),
        })
    }
}

/// From `start` inclusive to `end` exclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Period {
    pub start: TimestampMs,
    pub end: TimestampMs,
}

impl Period {
    /// The one period of a limit that never begins anew.
    pub const TOTAL: Self = Self { start: TimestampMs(0), end: TimestampMs(u64::MAX) };

    /// The period that holds `at`, where its kind follows the epoch.
    pub fn without_calendar(kind: PeriodKind, at: TimestampMs) -> Option<Self> {
        let length = match kind {
            PeriodKind::Minute | PeriodKind::Hour => kind.ms_max(),
            PeriodKind::Total => return Some(Self::TOTAL),
            PeriodKind::Day
            | PeriodKind::Week
            | PeriodKind::Month
            | PeriodKind::Quarter
            | PeriodKind::Year => {
                return None;
            }
        };
        let start = TimestampMs(at.0 - at.0 % length);
        Some(Self { start, end: start.plus_ms(length) })
    }

    pub fn contains(&self, at: TimestampMs) -> bool {
        (self.start..self.end).contains(&at)
    }
}

/// One account. The order is: tenant, limit, subject, period.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountKey {
    pub tenant: TenantId,
    pub limit: LimitId,
    /// Whose use is counted, where a limit counts for each; otherwise empty.
    pub subject: std::sync::Arc<str>,
    pub start: TimestampMs,
}

impl AccountKey {
    /// The first key that an account of the same limit and subject could have.
    pub fn first(&self) -> Self {
        Self { start: TimestampMs(0), ..self.clone() }
    }

    /// Of the same limit and subject, whatever the period.
    pub fn is_sibling(&self, other: &Self) -> bool {
        self.subject == other.subject && self.limit == other.limit && self.tenant == other.tenant
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tenant, self.limit)?;
        if !self.subject.is_empty() {
            write!(f, " of {}", self.subject)?;
        }
        write!(f, " from {}", self.start.0)
    }
}

/// A subject as a key holds it: a text past the bound is replaced by its head and a digest, so that two long ones do
/// not meet.
pub fn subject(text: &str) -> std::sync::Arc<str> {
    use sha3::{Digest as _, Sha3_256};
    let clean = !text.chars().any(char::is_control);
    if text.len() <= limits::SUBJECT_BYTES_MAX && clean {
        return text.into();
    }
    let digest = Sha3_256::digest(text.as_bytes());
    let tail: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let room = limits::SUBJECT_BYTES_MAX.saturating_sub(tail.len() + 1);
    let mut head = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if head.len() + c.len_utf8() > room {
            break;
        }
        head.push(c);
    }
    format!("{head}~{tail}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_ids_read_back() {
        let all = [
            LimitId::Budget(BudgetId::new("b/1").unwrap()),
            LimitId::QuotaRequests,
            LimitId::QuotaTokens,
            LimitId::TenantRequests,
            LimitId::TenantCost,
            LimitId::RoleRequests(RoleId::new("r").unwrap()),
            LimitId::RoleCost(RoleId::new("r").unwrap()),
            LimitId::GrantRequests(GrantId::new("g").unwrap()),
            LimitId::GrantCost(GrantId::new("g").unwrap()),
            LimitId::RuleRate(RuleId::new("t").unwrap()),
            LimitId::QuotaConcurrency,
            LimitId::QuotaConnections,
        ];
        for id in all {
            assert_eq!(id.to_string().parse::<LimitId>().unwrap(), id);
        }
        for bad in ["", "budget", "budget/", "quota/x", "role/x", "budget/a b"] {
            assert!(bad.parse::<LimitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subject_bytes_max() {
        let exact = "x".repeat(limits::SUBJECT_BYTES_MAX);
        assert_eq!(&*subject(&exact), exact);
        let (one, two) = (subject(&format!("{exact}1")), subject(&format!("{exact}2")));
        assert!(one.len() <= limits::SUBJECT_BYTES_MAX && two.len() <= limits::SUBJECT_BYTES_MAX);
        assert_ne!(one, two);
        assert!(subject(&"é".repeat(limits::SUBJECT_BYTES_MAX)).len() <= limits::SUBJECT_BYTES_MAX);
        assert!(!subject("a\u{0}b").contains('\u{0}'));
    }
}

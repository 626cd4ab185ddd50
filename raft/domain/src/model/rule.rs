//! Rules over tools that stand beside roles: restrictions narrow, denies forbid.

use crate::ids::{PrincipalId, RoleId, RuleId, TenantId};
use crate::model::Glob;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RatePeriod {
    Minute,
    Hour,
    Day,
}

/// For all callers together; a limit of the ledger (`ledger/limit.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    pub count: u32,
    pub per: RatePeriod,
}

/// Besides what roles allow, the caller must be a member of one of these roles, its membership's conditions holding.
/// Source: specification, `tool_permissions`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolRestriction {
    pub tenant: TenantId,
    pub id: RuleId,
    pub tools: Glob,
    /// Empty: nobody.
    pub allowed_roles: Vec<RoleId>,
    pub rate_limit: Option<RateLimit>,
    pub description: String,
}

/// Whom a deny concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DenySubject {
    Everyone,
    Principal(PrincipalId),
    /// Members of the role by any grant that has not expired, its conditions disregarded: a deny is never dodged by context.
    Role(RoleId),
}

/// Wins over every allow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DenyRule {
    pub tenant: TenantId,
    pub id: RuleId,
    pub tools: Glob,
    pub subject: DenySubject,
    pub description: String,
}

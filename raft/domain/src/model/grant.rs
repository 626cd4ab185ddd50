//! One assignment of a role to a principal, with its own conditions.

use crate::ids::{GrantId, PrincipalId, ProjectId, RoleId, TenantId};
use crate::model::Constraints;
use crate::time::TimestampMs;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    pub tenant: TenantId,
    pub id: GrantId,
    pub principal: PrincipalId,
    pub role: RoleId,
    /// Empty: every project. Otherwise the request must name one of these.
    pub projects: Vec<ProjectId>,
    /// Joined with those of the roles along the path.
    pub conditions: Constraints,
    /// Waives `mfa_required` along this grant's paths; only for service accounts, named in the audit.
    pub waive_mfa: bool,
    pub expires_at: Option<TimestampMs>,
    pub created_at: TimestampMs,
    pub created_by: String,
}

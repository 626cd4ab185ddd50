//! Roles, and the four that are built in.

use crate::ids::{RoleId, TenantId};
use crate::model::{Constraints, Glob, Permission};
use crate::time::TimestampMs;

/// Ids no tenant may define anew.
pub const BUILT_IN_ROLES: [&str; 4] = ["admin", "developer", "viewer", "auditor"];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// Built-in roles stand under `system` and are visible in every tenant.
    pub tenant: TenantId,
    pub id: RoleId,
    pub name: String,
    pub description: String,
    /// Sorted, without doubles.
    pub permissions: Vec<Permission>,
    pub inherits_from: Vec<RoleId>,
    pub constraints: Constraints,
    pub created_at: TimestampMs,
    pub created_by: String,
}

/// The specification's built-in roles, as adjusted by the design ("Access rules in short").
pub fn built_in_roles() -> Vec<Role> {
    let role = |id: &str, name: &str, description: &str, permissions: Vec<Permission>| {
        let id = RoleId::new(id).ok()?;
        Some(Role {
            tenant: TenantId::system(),
            id,
            name: name.to_owned(),
            description: description.to_owned(),
            permissions,
            inherits_from: Vec::new(),
            constraints: Constraints::default(),
            created_at: TimestampMs(0),
            created_by: "system".to_owned(),
        })
    };
    let everything = Glob::new("*").map(Permission::ToolView).into_iter();
    let viewer_permissions = std::iter::once(Permission::ServerView).chain(everything).collect();
    let mut developer = role(
        "developer",
        "Developer",
        "Standard developer access",
        vec![Permission::ServerView, Permission::ToolAll, Permission::CostView],
    );
    if let Some(developer) = &mut developer {
        developer.inherits_from = RoleId::new("viewer").into_iter().collect();
        developer.constraints.max_requests_per_hour = Some(1_000);
        developer.constraints.cost_limit_daily_pico_usd = Some(100 * 1_000_000_000_000);
    }
    let mut auditor = role(
        "auditor",
        "Compliance Auditor",
        "Read-only access to all audit trails",
        vec![Permission::GlobalRead, Permission::AuditView, Permission::AuditExport],
    );
    if let Some(auditor) = &mut auditor {
        auditor.constraints.mfa_required = true;
    }
    [
        role("admin", "Administrator", "Full access to the tenant", vec![Permission::GlobalAdmin]),
        developer,
        role("viewer", "Viewer", "Sees servers and tools", viewer_permissions),
        auditor,
    ]
    .into_iter()
    .flatten()
    .collect()
}

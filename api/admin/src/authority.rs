//! What each RPC needs, in one table. For writes it means the same as the domain's own table, which `apply` consults
//! again; a test walks the service descriptors, so that an RPC without a line here cannot be missed.

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::Permission::{
    self, AuditExport, AuditView, GlobalAdmin, GlobalRead, RoleAssign, ServerCreate, ServerDelete, ServerModify,
    ServerView, UserCreate, UserDelete, UserModify,
};

/// The authority an RPC needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Need {
    /// Valid credentials, nothing more.
    Authenticated,
    /// The permission in the tenant that the request is about.
    InTenant(Permission),
    /// The permission in the operators' tenant, whatever the request is about.
    InSystem(Permission),
}

use Need::{Authenticated, InSystem, InTenant};

/// `Service/Method` and what it needs.
static AUTHORITY: [(&str, Need); 51] = [
    ("Cluster/Status", InSystem(GlobalRead)),
    ("Cluster/CreateJoinToken", InSystem(GlobalAdmin)),
    ("Cluster/RemoveNode", InSystem(GlobalAdmin)),
    ("Cluster/TransferLeader", InSystem(GlobalAdmin)),
    ("Cluster/GetSettings", InSystem(GlobalRead)),
    ("Cluster/SetSettings", InSystem(GlobalAdmin)),
    ("Cluster/PromoteNode", InSystem(GlobalAdmin)),
    ("Cluster/WatchConfiguration", InTenant(GlobalRead)),
    ("Tenants/CreateTenant", InSystem(GlobalAdmin)),
    ("Tenants/GetTenant", InTenant(GlobalRead)),
    ("Tenants/ListTenants", InSystem(GlobalRead)),
    ("Tenants/UpdateTenant", InSystem(GlobalAdmin)),
    ("Tenants/SetTenantStatus", InSystem(GlobalAdmin)),
    ("Tenants/ListTemplates", Authenticated),
    ("Principals/CreatePrincipal", InTenant(UserCreate)),
    ("Principals/GetPrincipal", InTenant(GlobalRead)),
    ("Principals/ListPrincipals", InTenant(GlobalRead)),
    ("Principals/UpdatePrincipal", InTenant(UserModify)),
    ("Principals/DeletePrincipal", InTenant(UserDelete)),
    ("Principals/CreateKey", InTenant(UserModify)),
    ("Principals/ListKeys", InTenant(GlobalRead)),
    ("Principals/RotateKey", InTenant(UserModify)),
    ("Principals/RevokeKey", InTenant(UserModify)),
    ("Principals/WhoAmI", Authenticated),
    ("Roles/PutRole", InTenant(GlobalAdmin)),
    ("Roles/GetRole", InTenant(GlobalRead)),
    ("Roles/ListRoles", InTenant(GlobalRead)),
    ("Roles/DeleteRole", InTenant(GlobalAdmin)),
    ("Roles/CreateGrant", InTenant(RoleAssign)),
    ("Roles/ListGrants", InTenant(GlobalRead)),
    ("Roles/RevokeGrant", InTenant(RoleAssign)),
    ("Roles/PutRestriction", InTenant(GlobalAdmin)),
    ("Roles/ListRestrictions", InTenant(GlobalRead)),
    ("Roles/DeleteRestriction", InTenant(GlobalAdmin)),
    ("Roles/PutDeny", InTenant(GlobalAdmin)),
    ("Roles/ListDenies", InTenant(GlobalRead)),
    ("Roles/DeleteDeny", InTenant(GlobalAdmin)),
    // One's own rights; another's need GlobalRead besides (`decisions.rs`).
    ("Decisions/Check", Authenticated),
    ("Decisions/Explain", Authenticated),
    // A new upstream needs ServerCreate instead, one that starts processes GlobalAdmin of the operators
    // (`upstreams.rs`).
    ("Upstreams/PutUpstream", InTenant(ServerModify)),
    ("Upstreams/GetUpstream", InTenant(ServerView)),
    ("Upstreams/ListUpstreams", InTenant(ServerView)),
    ("Upstreams/DeleteUpstream", InTenant(ServerDelete)),
    ("Upstreams/SetUpstreamEnabled", InTenant(ServerModify)),
    ("Upstreams/SetToolEnabled", InTenant(ServerModify)),
    ("Audit/QueryAudit", InTenant(AuditView)),
    ("Audit/VerifyAudit", InTenant(AuditView)),
    ("Audit/ExportAudit", InTenant(AuditExport)),
    ("Audit/GetAuditHead", InTenant(AuditView)),
    ("Audit/WatchAudit", InTenant(AuditView)),
    // Reflection tells what the product can do, to those who may use it.
    ("Reflection/ServerReflectionInfo", Authenticated),
];

/// Needed instead of the table's line to put an upstream that is not there yet.
pub static NEW_UPSTREAM: Need = InTenant(ServerCreate);
/// Needed besides to put an upstream that starts processes on the nodes.
pub static PROCESS_UPSTREAM: Need = InSystem(GlobalAdmin);
/// Needed to ask about another's rights.
pub static OTHERS_RIGHTS: Need = InTenant(GlobalRead);

/// The table's line; `None` for a method it does not know, which is refused (P5).
pub fn need(method: &str) -> Option<&'static Need> {
    AUTHORITY.iter().find(|(name, _)| *name == method).map(|(_, need)| need)
}

/// Every method of the table.
pub fn methods() -> impl Iterator<Item = (&'static str, &'static Need)> {
    AUTHORITY.iter().map(|(name, need)| (*name, need))
}

impl Need {
    /// The permission and the tenant it must be held in, for a request about `target`; `None`: credentials suffice.
    pub fn resolve(&self, target: &TenantId) -> Option<(&Permission, TenantId)> {
        match self {
            Self::Authenticated => None,
            Self::InTenant(permission) => Some((permission, target.clone())),
            Self::InSystem(permission) => Some((permission, TenantId::system())),
        }
    }
}

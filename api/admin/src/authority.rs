//! What each RPC needs, in one table, checked before anything about the request's subject is looked up. A write's
//! command is then held against the domain's own table, which `apply` consults again. A test walks the service
//! descriptors, so that an RPC without a line here cannot be missed.

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::Permission::{
    self, AuditDelete, AuditExport, AuditView, CostBudgetSet, CostView, GlobalAdmin, GlobalRead, RoleAssign,
    ServerCreate, ServerDelete, ServerModify, ServerView, UserCreate, UserDelete, UserModify,
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
    /// What the domain's table asks for the command that the request becomes; the permission, in the tenant that the
    /// request is about, to be told why it becomes none.
    OfCommand(Permission),
}

use Need::{Authenticated, InSystem, InTenant, OfCommand};

/// `Service/Method` and what it needs.
static AUTHORITY: [(&str, Need); 96] = [
    ("Cluster/Status", InSystem(GlobalRead)),
    ("Cluster/CreateJoinToken", InSystem(GlobalAdmin)),
    ("Cluster/RemoveNode", InSystem(GlobalAdmin)),
    ("Cluster/TransferLeader", InSystem(GlobalAdmin)),
    ("Cluster/GetSettings", InSystem(GlobalRead)),
    ("Cluster/SetSettings", InSystem(GlobalAdmin)),
    ("Cluster/PromoteNode", InSystem(GlobalAdmin)),
    ("Cluster/FinishUpgrade", InSystem(GlobalAdmin)),
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
    // One's own key needs nothing more.
    ("Principals/RotateKey", OfCommand(UserModify)),
    ("Principals/RevokeKey", OfCommand(UserModify)),
    ("Principals/WhoAmI", Authenticated),
    ("Roles/PutRole", InTenant(RoleAssign)),
    ("Roles/GetRole", InTenant(GlobalRead)),
    ("Roles/ListRoles", InTenant(GlobalRead)),
    ("Roles/DeleteRole", InTenant(RoleAssign)),
    ("Roles/CreateGrant", InTenant(RoleAssign)),
    ("Roles/ListGrants", InTenant(GlobalRead)),
    ("Roles/RevokeGrant", InTenant(RoleAssign)),
    ("Roles/PutRestriction", InTenant(RoleAssign)),
    ("Roles/ListRestrictions", InTenant(GlobalRead)),
    ("Roles/DeleteRestriction", InTenant(RoleAssign)),
    ("Roles/PutDeny", InTenant(RoleAssign)),
    ("Roles/ListDenies", InTenant(GlobalRead)),
    ("Roles/DeleteDeny", InTenant(RoleAssign)),
    // One's own rights; another's need GlobalRead besides (`decisions.rs`).
    ("Decisions/Check", Authenticated),
    ("Decisions/Explain", Authenticated),
    // A new one needs another permission than a known one; one that starts processes is the operators'.
    ("Upstreams/PutUpstream", OfCommand(ServerCreate)),
    ("Upstreams/GetUpstream", InTenant(ServerView)),
    ("Upstreams/ListUpstreams", InTenant(ServerView)),
    ("Upstreams/DeleteUpstream", InTenant(ServerDelete)),
    ("Upstreams/SetUpstreamEnabled", InTenant(ServerModify)),
    ("Upstreams/SetToolEnabled", InTenant(ServerModify)),
    ("Budgets/PutBudget", InTenant(CostBudgetSet)),
    ("Budgets/GetBudget", InTenant(CostView)),
    ("Budgets/ListBudgets", InTenant(CostView)),
    ("Budgets/DeleteBudget", InTenant(CostBudgetSet)),
    ("Budgets/ListAccounts", InTenant(CostView)),
    ("Budgets/ForceClose", InSystem(GlobalAdmin)),
    ("Budgets/Recall", InTenant(CostBudgetSet)),
    ("Webhooks/PutWebhook", InTenant(CostBudgetSet)),
    ("Webhooks/GetWebhook", InTenant(CostView)),
    ("Webhooks/ListWebhooks", InTenant(CostView)),
    ("Webhooks/DeleteWebhook", InTenant(CostBudgetSet)),
    ("Prices/PutPrice", InTenant(CostBudgetSet)),
    ("Prices/GetPrice", InTenant(CostView)),
    ("Prices/ListPrices", InTenant(CostView)),
    ("Prices/DeletePrice", InTenant(CostBudgetSet)),
    ("Prices/PutMetering", InTenant(CostBudgetSet)),
    ("Prices/GetMetering", InTenant(CostView)),
    ("Prices/ListMeterings", InTenant(CostView)),
    ("Prices/DeleteMetering", InTenant(CostBudgetSet)),
    ("Prices/PutDiscount", InTenant(CostBudgetSet)),
    ("Prices/GetDiscount", InTenant(CostView)),
    ("Prices/ListDiscounts", InTenant(CostView)),
    ("Prices/DeleteDiscount", InTenant(CostBudgetSet)),
    // Rates hold for all tenants.
    ("Prices/PutExchangeRate", InSystem(CostBudgetSet)),
    ("Prices/ListExchangeRates", InTenant(CostView)),
    ("Prices/DeleteExchangeRate", InSystem(CostBudgetSet)),
    ("Costs/ReportCosts", InTenant(CostView)),
    ("Costs/ExportCosts", InTenant(CostView)),
    ("Costs/CorrectCost", InTenant(CostBudgetSet)),
    ("Audit/QueryAudit", InTenant(AuditView)),
    ("Audit/VerifyAudit", InTenant(AuditView)),
    ("Audit/ExportAudit", InTenant(AuditExport)),
    ("Audit/GetAuditHead", InTenant(AuditView)),
    ("Audit/GetCheckpoint", InTenant(AuditView)),
    ("Audit/ProveAudit", InTenant(AuditView)),
    ("Audit/GetSigners", InTenant(AuditView)),
    ("Audit/WatchAudit", InTenant(AuditView)),
    ("Audit/GetRetention", InTenant(AuditView)),
    // It holds for all tenants.
    ("Audit/SetRetention", InSystem(GlobalAdmin)),
    ("Audit/RunRetention", InSystem(AuditDelete)),
    ("Audit/PlanRetention", InSystem(AuditDelete)),
    // They hold every secret of the cluster.
    ("Backups/CreateBackup", InSystem(GlobalAdmin)),
    ("Backups/ReadSegment", InSystem(GlobalAdmin)),
    ("Subjects/GetSubject", InTenant(GlobalRead)),
    ("Subjects/EraseSubject", InTenant(UserDelete)),
    // Whoever may erase may not lift what keeps from it.
    ("Subjects/HoldSubject", InTenant(GlobalAdmin)),
    ("Subjects/GetErasure", InSystem(GlobalRead)),
    ("Subjects/RenewErasure", InSystem(GlobalAdmin)),
    ("Subjects/ReadKeyTable", InSystem(GlobalAdmin)),
    // Reflection tells what the product can do, to those who may use it.
    ("Reflection/ServerReflectionInfo", Authenticated),
];

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
            Self::InTenant(permission) | Self::OfCommand(permission) => Some((permission, target.clone())),
            Self::InSystem(permission) => Some((permission, TenantId::system())),
        }
    }
}

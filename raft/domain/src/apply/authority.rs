//! Who may give which command, checked again when it is applied: authority may have been reduced on its way through
//! the log. Context (address, second factor, time window) was judged by the node that admitted the command.

use crate::apply::holdings::{Holdings, is_past};
use crate::command::{Actor, Command, Via};
use crate::ids::{ApiKeyId, NodeId, TenantId};
use crate::model::{Permission, Transport};
use crate::outcome::Rejection;
use crate::state::State;

/// What a command asks of its actor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Required {
    /// The permission in `tenant`, or `GlobalAdmin` in `system`.
    Permission { tenant: TenantId, permission: Permission },
    /// Any enabled principal of `tenant`: what it does concerns itself alone.
    Member { tenant: TenantId },
    /// A member of the cluster acting for itself; this one, where it is named.
    Node { node: Option<NodeId> },
    /// A member of the cluster, or whoever may open a member's local socket.
    Host,
    /// Whoever may open a member's local socket.
    LocalSocket,
}

use Required::{Host, LocalSocket, Member, Node};

/// The one table of commands and the authority they need.
pub fn required(state: &State, command: &Command, actor: &Actor) -> Required {
    use Permission::{
        CostBudgetSet, RoleAssign, ServerCreate, ServerDelete, ServerModify, UserCreate, UserDelete,
        UserModify,
    };
    let within = |tenant: &TenantId, permission| Required::Permission { tenant: tenant.clone(), permission };
    let operator = || within(&TenantId::system(), Permission::GlobalAdmin);
    match command {
        Command::FormCluster(_) => Host,
        // Offered by no node that runs: the tools that raise it have the data folder to themselves.
        Command::RecoverAdmin { .. } | Command::BeginEpoch(_) | Command::AdoptKeys(_) => LocalSocket,
        Command::Tick { node }
        | Command::OpenIncarnation { node }
        | Command::SealJournal { node }
        | Command::SetSigningKey { node, .. } => Node { node: Some(*node) },
        Command::Activity(batch) => Node { node: Some(batch.node) },
        Command::UpdateNode { node, .. } => match actor.via {
            Via::Node(_) => Node { node: Some(*node) },
            Via::LocalSocket => Host,
            Via::ApiKey | Via::ClientCertificate => operator(),
        },
        Command::RegisterNode(_) | Command::SetNodeRole { .. } => match actor.via {
            Via::Node(_) | Via::LocalSocket => Host,
            Via::ApiKey | Via::ClientCertificate => operator(),
        },
        // A node may leave by itself; to give up what only its disk knows takes an operator.
        Command::RemoveNode { node, lose_journal: false } if matches!(actor.via, Via::Node(_)) => {
            Node { node: Some(*node) }
        }
        Command::PutBudget { budget, .. } => within(&budget.tenant, CostBudgetSet),
        Command::DeleteBudget { tenant, .. } => within(tenant, CostBudgetSet),
        Command::ForceClose { .. } | Command::PutExchangeRate(_) | Command::DeleteExchangeRate { .. } => {
            operator()
        }
        Command::PutPrice { price, .. } => within(&price.tenant, CostBudgetSet),
        Command::PutMetering { metering, .. } => within(&metering.tenant, CostBudgetSet),
        Command::PutDiscount { discount, .. } => within(&discount.tenant, CostBudgetSet),
        Command::DeletePrice { tenant, .. }
        | Command::DeleteMetering { tenant, .. }
        | Command::DeleteDiscount { tenant, .. } => within(tenant, CostBudgetSet),
        Command::CorrectCost(correction) => within(&correction.tenant, CostBudgetSet),
        Command::PutWebhook { webhook, .. } => within(&webhook.tenant, CostBudgetSet),
        Command::DeleteWebhook { tenant, .. } => within(tenant, CostBudgetSet),
        Command::AssignDuty { .. }
        | Command::AdvanceDuty(_)
        | Command::AddSubjectKeys(_)
        | Command::OfferGeneration(_)
        | Command::BeginGeneration { .. }
        | Command::RewrapSubjects(_) => Node { node: None },
        Command::DropPayloads { .. } => Node { node: None },
        Command::RunRetention => within(&TenantId::system(), Permission::AuditDelete),
        Command::TellGenerations { node, .. } => Node { node: Some(*node) },
        Command::EraseSubject { tenant, .. } => within(tenant, UserDelete),
        // Whoever may erase may not lift what keeps from it.
        Command::HoldSubject { tenant, .. } => within(tenant, Permission::GlobalAdmin),
        Command::SetSettings { .. }
        | Command::CreateJoinToken(_)
        | Command::RemoveNode { .. }
        | Command::WantGeneration
        | Command::SetRetention { .. }
        | Command::NoteBackup(_) => operator(),
        Command::CreateTenant(_) | Command::UpdateTenant { .. } | Command::SetTenantStatus { .. } => {
            operator()
        }
        Command::CreatePrincipal(principal) => within(&principal.tenant, UserCreate),
        Command::UpdatePrincipal { principal, .. } => within(&principal.tenant, UserModify),
        Command::DeletePrincipal { tenant, .. } => within(tenant, UserDelete),
        Command::CreateApiKey(key) => within(&key.tenant, UserModify),
        Command::RotateApiKey { old, new, .. } => own_key(state, &new.tenant, old, actor),
        Command::RevokeApiKey { tenant, key } => own_key(state, tenant, key, actor),
        Command::PutRole { role, .. } => within(&role.tenant, RoleAssign),
        Command::CreateGrant(grant) => within(&grant.tenant, RoleAssign),
        Command::PutRestriction { rule, .. } => within(&rule.tenant, RoleAssign),
        Command::PutDeny { rule, .. } => within(&rule.tenant, RoleAssign),
        Command::DeleteRole { tenant, .. }
        | Command::RevokeGrant { tenant, .. }
        | Command::DeleteRestriction { tenant, .. }
        | Command::DeleteDeny { tenant, .. } => within(tenant, RoleAssign),
        // A process on every node is the operators' business.
        Command::PutUpstream { upstream, .. } if matches!(upstream.transport, Transport::Stdio { .. }) => {
            operator()
        }
        Command::PutUpstream { upstream, .. } => {
            let known = state.upstreams.contains_key(&(upstream.tenant.clone(), upstream.id.clone()));
            within(&upstream.tenant, if known { ServerModify } else { ServerCreate })
        }
        Command::DeleteUpstream { tenant, .. } => within(tenant, ServerDelete),
        Command::SetUpstreamEnabled { tenant, .. } | Command::SetToolEnabled { tenant, .. } => {
            within(tenant, ServerModify)
        }
        Command::CloseMcpSession { tenant, .. } => match actor.via {
            Via::Node(_) => Node { node: None },
            _ => Member { tenant: tenant.clone() },
        },
    }
}

/// A principal rotates and revokes its own keys without further permission.
fn own_key(state: &State, tenant: &TenantId, key: &ApiKeyId, actor: &Actor) -> Required {
    let own = state.api_keys.get(key).is_some_and(|record| {
        record.value.tenant == *tenant && actor.tenant == *tenant && record.value.principal == actor.principal
    });
    let tenant = tenant.clone();
    if own { Member { tenant } } else { Required::Permission { tenant, permission: Permission::UserModify } }
}

/// Errors: `Forbidden`, naming what is needed. INVARIANT: P5
pub(super) fn check(state: &State, command: &Command, actor: &Actor) -> Result<(), Rejection> {
    let need = required(state, command, actor);
    let granted = match &need {
        Required::Permission { tenant, permission } => may_administer(state, actor, tenant, permission),
        Member { tenant } => {
            is_somebody(state, actor) && (actor.tenant == *tenant || is_operator(state, actor))
        }
        Node { node } => match actor.via {
            Via::Node(via) => state.is_member(via) && node.is_none_or(|node| node == via),
            _ => false,
        },
        Host => match actor.via {
            // Before the cluster is formed there is no member: the forming node is taken at its word.
            Via::Node(via) => state.cluster.is_none() || state.is_member(via),
            Via::LocalSocket => true,
            Via::ApiKey | Via::ClientCertificate => false,
        },
        LocalSocket => actor.via == Via::LocalSocket,
    };
    if granted { Ok(()) } else { Err(Rejection::Forbidden { permission: name(&need) }) }
}

fn name(need: &Required) -> String {
    match need {
        Required::Permission { tenant, permission } => format!("{} in {tenant}", permission.text()),
        Member { tenant } => format!("member of {tenant}"),
        Node { .. } => "cluster member".to_owned(),
        Host => "cluster member or local socket".to_owned(),
        LocalSocket => "local socket".to_owned(),
    }
}

/// Errors: `Escalation`, naming the first permission of `given` that the actor does not hold itself.
pub(super) fn may_give(
    state: &State,
    actor: &Actor,
    tenant: &TenantId,
    given: &Holdings,
) -> Result<(), Rejection> {
    if is_operator(state, actor) {
        return Ok(());
    }
    let held = if actor.tenant == *tenant {
        Holdings::of(state, tenant, &actor.principal, state.log_time)
    } else {
        Holdings::default()
    };
    match held.lacks(given) {
        None => Ok(()),
        Some(permission) => Err(Rejection::Escalation { permission: permission.text() }),
    }
}

fn may_administer(state: &State, actor: &Actor, tenant: &TenantId, permission: &Permission) -> bool {
    if !is_somebody(state, actor) || has_tool_scope(state, actor) {
        return false;
    }
    let held = Holdings::of(state, &actor.tenant, &actor.principal, state.log_time);
    (actor.tenant == *tenant && held.has(permission))
        || (actor.tenant.is_system() && held.has(&Permission::GlobalAdmin))
}

fn is_operator(state: &State, actor: &Actor) -> bool {
    actor.tenant.is_system() && may_administer(state, actor, &TenantId::system(), &Permission::GlobalAdmin)
}

/// A key for certain tools administers nothing.
fn has_tool_scope(state: &State, actor: &Actor) -> bool {
    let key = actor.key.as_ref().and_then(|id| state.api_keys.get(id));
    key.is_some_and(|record| !record.value.tools.is_empty())
}

/// The principal is there and enabled, its tenant active, its key, if it came by one, its own and still good.
fn is_somebody(state: &State, actor: &Actor) -> bool {
    let key_needed = match actor.via {
        Via::ApiKey => true,
        Via::ClientCertificate => false,
        // Neither proves who the principal is.
        Via::LocalSocket | Via::Node(_) => return false,
    };
    if key_needed && actor.key.is_none() {
        return false;
    }
    let identity = (actor.tenant.clone(), actor.principal.clone());
    is_active(state, &actor.tenant)
        && state.principals.get(&identity).is_some_and(|record| record.value.enabled)
        && actor.key.as_ref().is_none_or(|key| is_good_key(state, key, &identity))
}

pub(super) fn is_active(state: &State, tenant: &TenantId) -> bool {
    state.tenants.get(tenant).is_some_and(|record| record.value.status == crate::model::TenantStatus::Active)
}

pub(super) fn is_good_key(
    state: &State,
    key: &ApiKeyId,
    (tenant, principal): &(TenantId, crate::ids::PrincipalId),
) -> bool {
    state.api_keys.get(key).map(|record| &record.value).is_some_and(|key| {
        key.tenant == *tenant
            && key.principal == *principal
            && !is_past(key.expires_at, state.log_time)
            && !is_past(key.revoked_at, state.log_time)
    })
}

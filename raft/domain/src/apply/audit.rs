//! The one audit event of an administrative command, applied or rejected.

use crate::apply::change::Change;
use crate::apply::member;
use crate::audit::{
    AuditEvent, CONTENT_DETAIL, DROP_ACTION, EventActor, EventKind, EventOutcome, EventResource, Severity,
    Statement,
};
use crate::command::{Actor, Command, Entry, EpochCause, Via};
use crate::ids::{Digest, NodeId, TenantId};
use crate::limits;
use crate::model::{Personal, Slot, SlotPart};
use crate::outcome::{Outcome, Rejection};

/// What a command has to say of itself once it is applied.
pub(super) struct Report {
    /// `None`: [`Outcome::Done`].
    pub(super) outcome: Option<Outcome>,
    /// JSON text.
    before: Option<String>,
    after: Option<String>,
    details: Vec<(String, String)>,
    personal: Vec<(SlotPart, Slot)>,
    severity: Severity,
    /// Where the outcome says it better than the command.
    kind: Option<EventKind>,
    silent: bool,
}

impl Report {
    /// Leaves no event.
    pub(super) fn silent() -> Self {
        Self { silent: true, ..Self::changed(None, None) }
    }

    /// `before` and `after` are JSON text without secrets.
    pub(super) fn changed(before: Option<String>, after: Option<String>) -> Self {
        Self {
            outcome: None,
            before,
            after,
            details: Vec::new(),
            personal: Vec::new(),
            severity: Severity::Notice,
            kind: None,
            silent: false,
        }
    }

    pub(super) fn answering(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    pub(super) fn detail(mut self, name: &str, value: impl Into<String>) -> Self {
        self.details.push((name.to_owned(), value.into()));
        self
    }

    /// The sealed part of the record that was changed.
    pub(super) fn personal(mut self, part: SlotPart, of: Option<&Personal>) -> Self {
        self.personal.extend(of.map(|personal| (part, personal.slot.clone())));
        self
    }

    pub(super) fn kind(self, kind: EventKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    pub(super) fn severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// The tenant whose records a command is about.
pub(super) fn tenant_of(command: &Command) -> TenantId {
    subject(command).tenant
}

/// Seals the command's event, if it leaves one. INVARIANT: P3
pub(super) fn record(change: &mut Change<'_>, result: Result<&Report, &Rejection>) {
    let command = &change.entry.command;
    if by_nature_silent(command) || result.is_ok_and(|report| report.silent) {
        return;
    }
    let mut event = event(change, command, result);
    if let Some(signed) = change.entry.signature.as_ref().filter(|_| member::signs(change)) {
        event.signature = Some([signed.node.0.to_be_bytes().as_slice(), &signed.signature].concat());
        event.details.push((CONTENT_DETAIL.to_owned(), signed.content.to_string()));
    }
    change.seal(&event);
}

/// What the proposer of `entry` signs; `None` where the command leaves no event of its own.
pub fn statement(entry: &Entry, node: NodeId, content: Digest) -> Option<Statement> {
    let command = &entry.command;
    if by_nature_silent(command) {
        return None;
    }
    let Subject { action, resource, .. } = subject(command);
    let actor = event_actor(&entry.actor);
    Some(Statement {
        node,
        actor,
        action: action.to_owned(),
        resource,
        observed_at: entry.observed_at,
        content,
    })
}

fn by_nature_silent(command: &Command) -> bool {
    matches!(
        command,
        Command::Tick { .. }
            | Command::OpenIncarnation { .. }
            | Command::Activity(_)
            | Command::AdvanceDuty(_)
    )
}

fn event(change: &Change<'_>, command: &Command, result: Result<&Report, &Rejection>) -> AuditEvent {
    let actor = change.actor();
    let Subject { kind, action, tenant, resource } = subject(command);
    let event = AuditEvent {
        kind,
        severity: Severity::Notice,
        tenant,
        actor: event_actor(actor),
        impersonator: None,
        action: action.to_owned(),
        resource,
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: Some(change.state.policy_revision),
        node: match actor.via {
            Via::Node(node) => node,
            _ => NodeId(0),
        },
        observed_at: change.entry.observed_at,
        log_time: change.now(),
        request_id: cut(&actor.request_id),
        session_id: String::new(),
        ip_address: actor.ip,
        user_agent: cut(&actor.user_agent),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: Vec::new(),
        personal: actor.personal.iter().map(|slot| (SlotPart::Context, slot.clone())).collect(),
        signature: None,
    };
    match result {
        Ok(report) => AuditEvent {
            kind: report.kind.unwrap_or(event.kind),
            severity: report.severity,
            before_state: report.before.clone(),
            after_state: report.after.clone(),
            details: report.details.iter().map(|(name, value)| (name.clone(), cut(value))).collect(),
            personal: event.personal.iter().chain(&report.personal).cloned().collect(),
            ..event
        },
        Err(rejection) => rejected(event, actor, rejection),
    }
}

fn rejected(event: AuditEvent, actor: &Actor, rejection: &Rejection) -> AuditEvent {
    let denied = matches!(rejection, Rejection::Forbidden { .. } | Rejection::Escalation { .. });
    // A tenant's trail does not fill with what outsiders tried in vain: that stands in their own.
    let tenant = if denied && !actor.tenant.is_system() { actor.tenant.clone() } else { event.tenant };
    AuditEvent {
        kind: if denied { EventKind::AccessDenied } else { event.kind },
        severity: if denied { Severity::Warning } else { Severity::Notice },
        outcome: if denied { EventOutcome::Denied } else { EventOutcome::Failure },
        reason: rejection.code().to_owned(),
        details: vec![("rejection".to_owned(), cut(&rejection.to_string()))],
        tenant,
        ..event
    }
}

pub(super) fn event_actor(actor: &Actor) -> EventActor {
    let via = match (actor.via, &actor.key) {
        (Via::ApiKey, Some(key)) => format!("key:{key}"),
        (Via::ApiKey, None) => "key".to_owned(),
        (Via::ClientCertificate, _) => "certificate".to_owned(),
        (Via::LocalSocket, _) => "local_socket".to_owned(),
        (Via::Node(node), _) => format!("node:{node}"),
    };
    EventActor { tenant: actor.tenant.as_str().to_owned(), id: actor.principal.as_str().to_owned(), via }
}

/// At most `limits::EVENT_TEXT_BYTES_MAX` bytes; what was cut is marked.
pub(super) fn cut(text: &str) -> String {
    const MARK: &str = "…[cut]";
    if text.len() <= limits::EVENT_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = limits::EVENT_TEXT_BYTES_MAX - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

/// What a command is about, told from the command alone, so that a rejected one can say it too.
struct Subject {
    kind: EventKind,
    action: &'static str,
    tenant: TenantId,
    resource: EventResource,
}

fn subject(command: &Command) -> Subject {
    use EventKind::{
        BackupCreated, BackupRestored, ConfigurationChange, DataDeletion, DataModification, LogoutUser,
        PermissionChanged, RoleAssigned, RoleRevoked, SecurityAlert, ServerModified, ServerRemoved,
    };
    let of = |kind, action, tenant: &TenantId, resource: &str, id: &dyn std::fmt::Display| Subject {
        kind,
        action,
        tenant: tenant.clone(),
        resource: EventResource { kind: resource.to_owned(), id: id.to_string() },
    };
    let system = &TenantId::system();
    let cluster = |action, resource: &str, id: &dyn std::fmt::Display| {
        of(ConfigurationChange, action, system, resource, id)
    };
    match command {
        Command::FormCluster(form) => cluster("cluster.form", "cluster", &form.cluster_id),
        Command::SetSettings { .. } => cluster("cluster.set_settings", "cluster", &"settings"),
        Command::CreateJoinToken(token) => cluster("join_token.create", "join_token", &token.id),
        Command::BeginEpoch(begin) => {
            let (kind, action) = match begin.cause {
                EpochCause::Restored(_) => (BackupRestored, "cluster.restore"),
                EpochCause::MajorityLost { .. } => (SecurityAlert, "cluster.recover_unsafe"),
            };
            of(kind, action, system, "cluster", &"epoch")
        }
        Command::NoteBackup(_) => of(BackupCreated, "backup.create", system, "cluster", &"backup"),
        Command::RegisterNode(node) => cluster("node.register", "node", &cut(&node.name)),
        Command::SetNodeRole { node, .. } => cluster("node.set_role", "node", node),
        Command::RemoveNode { node, .. } => cluster("node.remove", "node", node),
        Command::UpdateNode { node, .. } => cluster("node.update", "node", node),
        Command::SetSigningKey { node, .. } => cluster("node.set_signing_key", "node", node),
        Command::Tick { node } => cluster("node.tick", "node", node),
        Command::OpenIncarnation { node } => cluster("node.open_incarnation", "node", node),
        Command::Activity(batch) => cluster("node.activity", "node", &batch.node),
        Command::SealJournal { node } => cluster("node.seal_journal", "node", node),
        Command::CreateTenant(tenant) => {
            of(ConfigurationChange, "tenant.create", &tenant.id, "tenant", &tenant.id)
        }
        Command::UpdateTenant { tenant, .. } => {
            of(ConfigurationChange, "tenant.update", &tenant.id, "tenant", &tenant.id)
        }
        Command::SetTenantStatus { tenant, .. } => {
            of(ConfigurationChange, "tenant.set_status", tenant, "tenant", tenant)
        }
        Command::CreatePrincipal(p) => {
            of(DataModification, "principal.create", &p.tenant, "principal", &p.id)
        }
        Command::UpdatePrincipal { principal: p, .. } => {
            of(DataModification, "principal.update", &p.tenant, "principal", &p.id)
        }
        Command::DeletePrincipal { tenant, principal, .. } => {
            of(DataDeletion, "principal.delete", tenant, "principal", principal)
        }
        Command::CreateApiKey(key) => {
            of(PermissionChanged, "api_key.create", &key.tenant, "api_key", &key.id)
        }
        Command::RotateApiKey { old, new, .. } => {
            of(PermissionChanged, "api_key.rotate", &new.tenant, "api_key", old)
        }
        Command::RevokeApiKey { tenant, key } => {
            of(PermissionChanged, "api_key.revoke", tenant, "api_key", key)
        }
        Command::RecoverAdmin { key } => {
            of(SecurityAlert, "principal.recover_admin", system, "principal", &key.principal)
        }
        Command::PutRole { role, .. } => of(PermissionChanged, "role.put", &role.tenant, "role", &role.id),
        Command::DeleteRole { tenant, role, .. } => {
            of(PermissionChanged, "role.delete", tenant, "role", role)
        }
        Command::CreateGrant(grant) => of(RoleAssigned, "grant.create", &grant.tenant, "grant", &grant.id),
        Command::RevokeGrant { tenant, grant } => of(RoleRevoked, "grant.revoke", tenant, "grant", grant),
        Command::PutRestriction { rule, .. } => {
            of(PermissionChanged, "restriction.put", &rule.tenant, "rule", &rule.id)
        }
        Command::DeleteRestriction { tenant, rule } => {
            of(PermissionChanged, "restriction.delete", tenant, "rule", rule)
        }
        Command::PutDeny { rule, .. } => of(PermissionChanged, "deny.put", &rule.tenant, "rule", &rule.id),
        Command::DeleteDeny { tenant, rule } => of(PermissionChanged, "deny.delete", tenant, "rule", rule),
        Command::PutBudget { budget, .. } => {
            of(ConfigurationChange, "budget.put", &budget.tenant, "budget", &budget.id)
        }
        Command::DeleteBudget { tenant, budget } => {
            of(ConfigurationChange, "budget.delete", tenant, "budget", budget)
        }
        Command::ForceClose { node, account: None } => cluster("budget.force_close", "node", node),
        Command::ForceClose { node, account: Some(key) } => {
            let id = cut(&format!("{key} on node {node}"));
            of(ConfigurationChange, "budget.force_close", &key.tenant, "account", &id)
        }
        Command::PutPrice { price: p, .. } => of(ConfigurationChange, "price.put", &p.tenant, "price", &p.id),
        Command::DeletePrice { tenant, price } => {
            of(ConfigurationChange, "price.delete", tenant, "price", price)
        }
        Command::PutMetering { metering: m, .. } => {
            of(ConfigurationChange, "metering.put", &m.tenant, "metering", &m.id)
        }
        Command::DeleteMetering { tenant, metering } => {
            of(ConfigurationChange, "metering.delete", tenant, "metering", metering)
        }
        Command::PutDiscount { discount: d, .. } => {
            of(ConfigurationChange, "discount.put", &d.tenant, "discount", &d.id)
        }
        Command::DeleteDiscount { tenant, discount } => {
            of(ConfigurationChange, "discount.delete", tenant, "discount", discount)
        }
        Command::PutExchangeRate(rate) => cluster("exchange_rate.put", "exchange_rate", &rate.currency),
        Command::DeleteExchangeRate { currency, .. } => {
            cluster("exchange_rate.delete", "exchange_rate", currency)
        }
        Command::CorrectCost(correction) => {
            let index = &correction.record.index;
            of(DataModification, "cost.correct", &correction.tenant, "cost_record", index)
        }
        Command::PutWebhook { webhook, .. } => {
            of(ConfigurationChange, "webhook.put", &webhook.tenant, "webhook", &webhook.id)
        }
        Command::DeleteWebhook { tenant, webhook } => {
            of(ConfigurationChange, "webhook.delete", tenant, "webhook", webhook)
        }
        Command::AssignDuty { duty, .. } => cluster("duty.assign", "duty", duty),
        Command::AdvanceDuty(progress) => cluster("duty.advance", "duty", &progress.duty),
        Command::AddSubjectKeys(_) => cluster("subject.add_keys", "cluster", &"erasure"),
        Command::OfferGeneration(_) => cluster("erasure.offer_generation", "cluster", &"erasure"),
        Command::BeginGeneration { .. } => cluster("erasure.begin_generation", "cluster", &"erasure"),
        Command::TellGenerations { node, .. } => of(DataDeletion, "erasure.destroyed", system, "node", node),
        Command::RewrapSubjects(_) => cluster("subject.rewrap", "cluster", &"erasure"),
        Command::WantGeneration => cluster("erasure.want_generation", "cluster", &"erasure"),
        Command::AdoptKeys(_) => of(BackupRestored, "erasure.adopt_keys", system, "cluster", &"erasure"),
        Command::EraseSubject { tenant, principal } => {
            of(DataDeletion, "subject.erase", tenant, "principal", principal)
        }
        Command::HoldSubject { tenant, principal, .. } => {
            of(ConfigurationChange, "subject.hold", tenant, "principal", principal)
        }
        Command::SetRetention { .. } => cluster("audit.set_retention", "audit", &"retention"),
        Command::RunRetention => of(DataDeletion, "audit.run_retention", system, "audit", &"retention"),
        Command::DropPayloads { drop, .. } => {
            let range = format!("{}-{}", drop.first, drop.last);
            of(DataDeletion, DROP_ACTION, system, "audit", &range)
        }
        Command::PutUpstream { upstream, .. } => {
            of(ServerModified, "upstream.put", &upstream.tenant, "upstream", &upstream.id)
        }
        Command::DeleteUpstream { tenant, upstream } => {
            of(ServerRemoved, "upstream.delete", tenant, "upstream", upstream)
        }
        Command::SetUpstreamEnabled { tenant, upstream, .. } => {
            of(ServerModified, "upstream.set_enabled", tenant, "upstream", upstream)
        }
        Command::SetToolEnabled { tenant, upstream, tool, .. } => {
            let item = format!("{upstream}__{}", cut(tool));
            of(ServerModified, "tool.set_enabled", tenant, "tool", &item)
        }
        Command::CloseMcpSession { tenant, session, .. } => {
            of(LogoutUser, "session.close", tenant, "session", session)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_text_bytes_max() {
        let exact = "x".repeat(limits::EVENT_TEXT_BYTES_MAX);
        assert_eq!(cut(&exact), exact);
        let over = cut(&format!("{exact}x"));
        assert!(over.ends_with("…[cut]") && over.len() == limits::EVENT_TEXT_BYTES_MAX);
        assert!(cut(&"é".repeat(limits::EVENT_TEXT_BYTES_MAX)).len() <= limits::EVENT_TEXT_BYTES_MAX);
    }
}

//! The audit event of each kind of activity record.

use crate::activity::{
    Admission, AuditRead, AuditReadKind, CallOutcome, Caller, Completion, ItemKind, NoticeKind, Refusal,
    SessionEvent, Unauthenticated, trail,
};
use crate::apply::audit::cut;
use crate::apply::change::Change;
use crate::apply::describe::seal_mode;
use crate::audit::{AuditEvent, EventActor, EventKind, EventOutcome, EventResource, Severity};
use crate::decide::Reason;
use crate::ids::{NodeId, TenantId};
use crate::ledger::{AccountKey, Forfeit, Level, Posted};
use crate::model::SlotPart;
use crate::price::Meter;
use crate::time::TimestampMs;

/// What the state says of an admission when it is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Stands,
    Revoked,
    /// Revoked, but its answer may be out already.
    RevokedLate,
}

pub(super) fn admission(
    change: &Change<'_>,
    node: NodeId,
    admission: &Admission,
    standing: Standing,
) -> AuditEvent {
    let event = by_caller(change, node, (&admission.caller, &admission.tenant), admission.observed_at);
    let path: Vec<&str> = admission.role_path.iter().map(|role| role.as_str()).collect();
    let mut details = vec![
        detail("argument_digest", admission.argument_digest.to_string()),
        detail("grant", admission.grant.as_str()),
        detail("role_path", path.join(" > ")),
        detail("seal_mode", seal_mode(admission.mode)),
        detail("upstream", admission.upstream.as_str()),
    ];
    details.extend(admission.caller.project.as_ref().map(|project| detail("project", project.as_str())));
    details.extend(admission.holds.iter().map(|hold| amount("held", &hold.account, hold.amount)));
    if standing == Standing::RevokedLate {
        details.push(detail("revoked_in_flight", "late"));
    }
    let event = AuditEvent {
        kind: EventKind::AccessGranted,
        action: action(admission.kind, &admission.item),
        resource: item(admission.kind, &admission.item),
        call: Some(admission.call),
        decision: Some(admission.decision),
        revision: Some(admission.revision),
        details,
        ..event
    };
    if standing != Standing::Revoked {
        return event;
    }
    AuditEvent {
        severity: Severity::Warning,
        outcome: EventOutcome::Denied,
        reason: Reason::RevokedInFlight.code().to_owned(),
        ..event
    }
}

pub(super) fn completion(
    change: &Change<'_>,
    node: NodeId,
    completion: &Completion,
    over: &[(Meter, u64)],
) -> AuditEvent {
    let (outcome, reason) = match completion.outcome {
        CallOutcome::Success => (EventOutcome::Success, "success"),
        CallOutcome::ToolError => (EventOutcome::Failure, "tool_error"),
        CallOutcome::UpstreamError => (EventOutcome::Failure, "upstream_error"),
        CallOutcome::UpstreamFailed => (EventOutcome::Failure, "upstream_failed"),
        CallOutcome::TimedOut => (EventOutcome::Failure, "timed_out"),
        CallOutcome::Cancelled => (EventOutcome::Failure, "cancelled"),
        CallOutcome::Withheld => (EventOutcome::Denied, "withheld"),
        CallOutcome::Unknown => (EventOutcome::Unknown, "unknown"),
    };
    AuditEvent {
        kind: EventKind::DataAccess,
        tenant: completion.tenant.clone(),
        action: "call.complete".to_owned(),
        resource: EventResource { kind: "call".to_owned(), id: completion.call.to_string() },
        outcome,
        reason: reason.to_owned(),
        call: Some(completion.call),
        details: [
            detail("duration_ms", completion.duration_ms.to_string()),
            detail("result_bytes", completion.result_bytes.to_string()),
            detail("result_digest", completion.result_digest.to_string()),
        ]
        .into_iter()
        .chain(completion.charges.iter().map(|charge| amount("charged", &charge.account, charge.amount)))
        .chain(over.iter().map(|(meter, units)| detail(&format!("over_bound {meter}"), units.to_string())))
        .collect(),
        ..by_node(change, node, completion.observed_at)
    }
}

/// An amount of an account, in the units of its measure.
fn amount(what: &str, account: &AccountKey, amount: i128) -> (String, String) {
    (cut(&format!("{what} {account}")), amount.to_string())
}

/// What its readers cannot look up any more once the account or its limit is gone.
fn about(change: &Change<'_>, key: &AccountKey) -> Vec<(String, String)> {
    let mut facts = vec![
        detail("account_limit", key.limit.to_string()),
        detail("period_start_ms", key.start.0.to_string()),
    ];
    if !key.subject.is_empty() {
        facts.push(detail("account_subject", &*key.subject));
    }
    if let Some(account) = change.state.ledger.accounts.get(key) {
        facts.push(detail("period_end_ms", account.end.0.to_string()));
    }
    if let Some(limit) = crate::ledger::amount_of(change.state, key) {
        facts.push(detail("measure", limit.measure.text()));
    }
    facts
}

/// As of this entry.
fn amounts(change: &Change<'_>, key: &AccountKey) -> Vec<(String, String)> {
    let posted = change.state.ledger.accounts.get(key).map(|account| account.posted);
    let limit = crate::ledger::amount_of(change.state, key).map(|limit| limit.amount);
    let named = [("posted", posted), ("limit", limit)];
    named.into_iter().filter_map(|(name, amount)| Some(detail(name, amount?.to_string()))).collect()
}

/// Usage went beyond what was held for it.
pub(super) fn overrun(
    change: &Change<'_>,
    node: NodeId,
    completion: &Completion,
    posted: &Posted,
) -> AuditEvent {
    AuditEvent {
        kind: EventKind::AnomalyDetected,
        severity: Severity::Warning,
        tenant: posted.account.tenant.clone(),
        action: "budget.overrun".to_owned(),
        resource: account(&posted.account),
        outcome: EventOutcome::Failure,
        reason: "overrun".to_owned(),
        call: Some(completion.call),
        details: [detail("beyond_the_hold", posted.overrun.to_string())]
            .into_iter()
            .chain(amounts(change, &posted.account))
            .chain(about(change, &posted.account))
            .collect(),
        ..by_node(change, node, completion.observed_at)
    }
}

/// A budget passed a share of its limit, for the first time in its period.
pub(super) fn level(
    change: &Change<'_>,
    node: NodeId,
    completion: &Completion,
    posted: &Posted,
    level: Level,
    (spent, limit): (i128, i128),
) -> AuditEvent {
    let severity = match level {
        Level::Notice => Severity::Notice,
        Level::Warning => Severity::Warning,
        Level::Exceeded => Severity::Critical,
    };
    AuditEvent {
        kind: EventKind::PolicyViolation,
        severity,
        tenant: posted.account.tenant.clone(),
        action: format!("budget.{}", level.text()),
        resource: account(&posted.account),
        outcome: EventOutcome::Success,
        reason: level.text().to_owned(),
        call: Some(completion.call),
        details: [
            detail("percent", level.percent().to_string()),
            detail("posted", spent.to_string()),
            detail("limit", limit.to_string()),
        ]
        .into_iter()
        .chain(about(change, &posted.account))
        .collect(),
        ..by_node(change, node, completion.observed_at)
    }
}

/// What a restarted node could not account for.
pub(super) fn unattributed(change: &Change<'_>, node: NodeId, forfeits: &[Forfeit]) -> AuditEvent {
    /// Further ones are in the ledger, and only counted here.
    const TOLD_MAX: usize = 64;
    let told = forfeits.iter().take(TOLD_MAX);
    let details = told.map(|forfeit| amount("posted in full", &forfeit.account, forfeit.amount));
    AuditEvent {
        kind: EventKind::AnomalyDetected,
        severity: Severity::Critical,
        action: "budget.unattributed_restart".to_owned(),
        resource: EventResource { kind: "node".to_owned(), id: node.to_string() },
        outcome: EventOutcome::Unknown,
        reason: "unattributed_restart".to_owned(),
        details: [detail("accounts", forfeits.len().to_string())].into_iter().chain(details).collect(),
        ..by_node(change, node, change.entry.observed_at)
    }
}

pub(super) fn account(key: &AccountKey) -> EventResource {
    EventResource { kind: "account".to_owned(), id: cut(&key.to_string()) }
}

pub(super) fn refusal(change: &Change<'_>, node: NodeId, refusal: &Refusal) -> AuditEvent {
    let mut details = vec![detail("count", refusal.count.to_string())];
    if refusal.count > 1 {
        details.push(detail("first_at_ms", refusal.first_at.0.to_string()));
        details.push(detail("last_at_ms", refusal.last_at.0.to_string()));
    }
    details.extend(refusal.caller.project.as_ref().map(|project| detail("project", project.as_str())));
    if refusal.kind == ItemKind::Administration {
        details.push(detail("permission", rpc(&refusal.item).1));
    }
    if trail(change.state, &refusal.caller.tenant, &refusal.tenant) != &refusal.tenant {
        details.push(detail("tenant", refusal.tenant.as_str()));
    }
    AuditEvent {
        kind: EventKind::AccessDenied,
        severity: Severity::Warning,
        action: action(refusal.kind, &refusal.item),
        resource: item(refusal.kind, &refusal.item),
        outcome: EventOutcome::Denied,
        reason: refusal.reason.code().to_owned(),
        decision: Some(refusal.decision),
        revision: Some(refusal.revision),
        details,
        ..by_caller(change, node, (&refusal.caller, &refusal.tenant), refusal.last_at)
    }
}

pub(super) fn session(change: &Change<'_>, node: NodeId, session: &SessionEvent, opened: bool) -> AuditEvent {
    let kind = if opened { EventKind::LoginSuccess } else { EventKind::LogoutUser };
    let id = session.caller.session.map(|id| id.to_string()).unwrap_or_default();
    AuditEvent {
        kind,
        action: if opened { "session.open" } else { "session.end" }.to_owned(),
        resource: EventResource { kind: "session".to_owned(), id },
        details: vec![
            detail("client", cut(&session.client_name)),
            detail("client_version", cut(&session.client_version)),
            detail("protocol_version", cut(&session.protocol_version)),
        ],
        ..by_caller(change, node, (&session.caller, &session.tenant), session.observed_at)
    }
}

/// Stands in the trail that was read, or in that of the tenant whose costs were.
pub(super) fn audit_read(change: &Change<'_>, node: NodeId, read: &AuditRead) -> AuditEvent {
    let (kind, action) = match read.kind {
        AuditReadKind::Query => (EventKind::AuditLogAccess, "audit.query"),
        AuditReadKind::Verify => (EventKind::AuditLogAccess, "audit.verify"),
        AuditReadKind::Watch => (EventKind::AuditLogAccess, "audit.watch"),
        AuditReadKind::Export => (EventKind::AuditLogExport, "audit.export"),
        AuditReadKind::CostReport => (EventKind::DataAccess, "cost.report"),
        AuditReadKind::CostExport => (EventKind::DataExport, "cost.export"),
    };
    let of = match read.kind {
        AuditReadKind::CostReport | AuditReadKind::CostExport => "cost",
        AuditReadKind::Query | AuditReadKind::Verify | AuditReadKind::Watch | AuditReadKind::Export => {
            "audit"
        }
    };
    let trail = if read.everyone { "*" } else { read.tenant.as_str() };
    let mut details = vec![
        detail("asked", read.asked.as_str()),
        detail("count", read.count.to_string()),
        detail("events", read.events.to_string()),
    ];
    if read.count > 1 {
        details.push(detail("first_at_ms", read.first_at.0.to_string()));
        details.push(detail("last_at_ms", read.last_at.0.to_string()));
    }
    AuditEvent {
        kind,
        action: action.to_owned(),
        resource: EventResource { kind: of.to_owned(), id: trail.to_owned() },
        details,
        ..by_caller(change, node, (&read.caller, &read.tenant), read.last_at)
    }
}

/// Nobody is known: the trail is the operators'.
pub(super) fn unauthenticated(change: &Change<'_>, node: NodeId, failures: &Unauthenticated) -> AuditEvent {
    let mut details = vec![
        detail("count", failures.count.to_string()),
        detail("first_at_ms", failures.first_at.0.to_string()),
        detail("last_at_ms", failures.last_at.0.to_string()),
    ];
    let sources = failures.sources.iter();
    details.extend(sources.map(|(source, count)| (format!("source {source}"), count.to_string())));
    AuditEvent {
        kind: EventKind::LoginFailure,
        severity: Severity::Warning,
        action: "authenticate".to_owned(),
        resource: EventResource { kind: "session".to_owned(), id: String::new() },
        outcome: EventOutcome::Failure,
        reason: "unauthenticated".to_owned(),
        details,
        ..by_node(change, node, failures.last_at)
    }
}

pub(super) fn notice(change: &Change<'_>, node: NodeId, kind: NoticeKind, text: &str) -> AuditEvent {
    let (kind, severity, action) = match kind {
        NoticeKind::Startup => (EventKind::SystemStartup, Severity::Info, "node.start"),
        NoticeKind::Shutdown => (EventKind::SystemShutdown, Severity::Info, "node.stop"),
        NoticeKind::Alarm => (EventKind::SecurityAlert, Severity::Critical, "node.alarm"),
    };
    AuditEvent {
        kind,
        severity,
        action: action.to_owned(),
        details: vec![detail("detail", cut(text))],
        ..by_node(change, node, change.entry.observed_at)
    }
}

pub(super) fn detail(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), cut(&value.into()))
}

fn action(kind: ItemKind, name: &str) -> String {
    match kind {
        ItemKind::Tool => "tools/call".to_owned(),
        ItemKind::Prompt => "prompts/get".to_owned(),
        ItemKind::Resource => "resources/read".to_owned(),
        ItemKind::Administration => format!("admin.{}", rpc(name).0),
    }
}

fn item(kind: ItemKind, name: &str) -> EventResource {
    let (kind, id) = match kind {
        ItemKind::Tool => ("tool", name),
        ItemKind::Prompt => ("prompt", name),
        ItemKind::Resource => ("resource", name),
        ItemKind::Administration => ("rpc", rpc(name).0),
    };
    EventResource { kind: kind.to_owned(), id: id.to_owned() }
}

/// An item of administration: the RPC and the permission.
fn rpc(name: &str) -> (&str, &str) {
    name.split_once(' ').unwrap_or((name, ""))
}

/// `tenant`: in which the caller acts.
fn by_caller(
    change: &Change<'_>,
    node: NodeId,
    (caller, tenant): (&Caller, &TenantId),
    at: TimestampMs,
) -> AuditEvent {
    let via = caller.key.as_ref().map_or_else(|| "session".to_owned(), |key| format!("key:{key}"));
    AuditEvent {
        tenant: trail(change.state, &caller.tenant, tenant).clone(),
        actor: EventActor {
            tenant: caller.tenant.as_str().to_owned(),
            id: caller.principal.as_str().to_owned(),
            via,
        },
        request_id: cut(&caller.request_id),
        session_id: caller.session.map(|id| id.to_string()).unwrap_or_default(),
        ip_address: caller.ip,
        user_agent: cut(&caller.user_agent),
        personal: caller.personal.iter().map(|slot| (SlotPart::Context, slot.clone())).collect(),
        ..by_node(change, node, at)
    }
}

/// What the node says of its own.
pub(super) fn by_node(change: &Change<'_>, node: NodeId, at: TimestampMs) -> AuditEvent {
    AuditEvent {
        kind: EventKind::DataAccess,
        severity: Severity::Info,
        tenant: TenantId::system(),
        actor: EventActor {
            tenant: TenantId::system().as_str().to_owned(),
            id: format!("node-{node}"),
            via: format!("node:{node}"),
        },
        impersonator: None,
        action: String::new(),
        resource: EventResource { kind: "node".to_owned(), id: node.to_string() },
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: None,
        node,
        observed_at: at,
        log_time: change.now(),
        request_id: String::new(),
        session_id: String::new(),
        ip_address: None,
        user_agent: String::new(),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: Vec::new(),
        personal: Vec::new(),
        signature: None,
    }
}

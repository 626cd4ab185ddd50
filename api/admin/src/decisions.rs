//! The Decisions service: the evaluator of calls and lists, asked without a call.

use std::net::IpAddr;
use std::sync::Arc;

use only1mcp_domain::decide::{self, Action, Context, Decision, Request as Asked};
use only1mcp_domain::ids::{ApiKeyId, PrincipalId, ProjectId, TenantId};
use only1mcp_domain::model::Permission;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::decisions_server::Decisions;
use pb::question::Action as AskedAction;
use tonic::{Request, Response, Status};

use crate::authority::OTHERS_RIGHTS;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::View;
use crate::wire;

pub(crate) struct DecisionsService(pub(crate) Arc<Core>);

/// A question with every name checked.
struct Parsed {
    tenant: TenantId,
    principal_tenant: TenantId,
    principal: PrincipalId,
    key: Option<ApiKeyId>,
    action: OwnedAction,
    project: Option<ProjectId>,
    ip: Option<IpAddr>,
    mfa: bool,
    at: Option<TimestampMs>,
}

enum OwnedAction {
    Execute(String),
    View(String),
    Administer(Permission),
}

impl DecisionsService {
    /// Reads a state on which the caller may ask, and the question.
    async fn ask(
        &self,
        call: &Call,
        consistency: Option<pb::Consistency>,
        question: Option<pb::Question>,
    ) -> Result<(View, Parsed), AdminError> {
        let parsed = parse(call, question.unwrap_or_default())?;
        let view = self.0.read(call, consistency, &parsed.tenant).await?;
        let own =
            parsed.principal == call.identity.principal && parsed.principal_tenant == call.identity.tenant;
        if !own {
            // The question touches two tenants where an operator's rights in another are asked for.
            self.0.authorize_need(call, &view, &parsed.principal_tenant, &OTHERS_RIGHTS)?;
            self.0.authorize_need(call, &view, &parsed.tenant, &OTHERS_RIGHTS)?;
        }
        // Another's key would tell of that key's scope.
        let foreign = |id: &ApiKeyId| {
            view.state.api_keys.get(id).is_none_or(|key| {
                key.value.tenant != parsed.principal_tenant || key.value.principal != parsed.principal
            })
        };
        if let Some(id) = parsed.key.as_ref().filter(|id| foreign(id)) {
            return Err(AdminError::not_found("api_key", id));
        }
        Ok((view, parsed))
    }

    fn asked<'a>(&'a self, view: &View, parsed: &'a Parsed) -> Asked<'a> {
        Asked {
            tenant: &parsed.tenant,
            caller_tenant: &parsed.principal_tenant,
            principal: &parsed.principal,
            key: parsed.key.as_ref(),
            action: match &parsed.action {
                OwnedAction::Execute(item) => Action::Execute(item),
                OwnedAction::View(item) => Action::View(item),
                OwnedAction::Administer(permission) => Action::Administer(permission),
            },
            context: Context {
                now: parsed.at.unwrap_or(view.now),
                ip: parsed.ip,
                mfa: parsed.mfa,
                project: parsed.project.as_ref(),
                zones: &*self.0.ports.zones,
            },
        }
    }
}

fn parse(call: &Call, question: pb::Question) -> Result<Parsed, AdminError> {
    let tenant = call.tenant(&question.tenant)?;
    let own = question.principal.is_empty();
    let principal =
        if own { call.identity.principal.clone() } else { wire::id("principal", &question.principal)? };
    let principal_tenant = match (question.principal_tenant.as_str(), own) {
        ("", true) => call.identity.tenant.clone(),
        ("", false) => tenant.clone(),
        (named, _) => wire::id("principal_tenant", named)?,
    };
    let ip = match question.ip.as_str() {
        "" if own => call.ip,
        "" => None,
        text => Some(text.parse().map_err(|error| AdminError::invalid("question.ip", error))?),
    };
    let action = match question.action {
        Some(AskedAction::Execute(item)) => OwnedAction::Execute(item),
        Some(AskedAction::View(item)) => OwnedAction::View(item),
        Some(AskedAction::Administer(name)) => {
            let plain = Permission::PLAIN.into_iter().find(|permission| permission.name() == name);
            let names = || Permission::PLAIN.map(|permission| permission.name()).join(", ");
            OwnedAction::Administer(plain.ok_or_else(|| {
                AdminError::invalid("question.administer", format!("{name:?} is none of {}", names()))
            })?)
        }
        None => return Err(AdminError::invalid("question.action", "is missing")),
    };
    Ok(Parsed {
        tenant,
        principal_tenant,
        principal,
        key: wire::optional_id("question.key_id", &question.key_id)?,
        action,
        project: wire::optional_id("question.project", &question.project)?,
        ip,
        mfa: question.mfa,
        at: (question.at_ms != 0).then_some(TimestampMs(question.at_ms)),
    })
}

fn path(path: &decide::RolePath) -> pb::RolePath {
    pb::RolePath {
        grant: path.grant.to_string(),
        roles: path.roles.iter().map(ToString::to_string).collect(),
    }
}

fn verdict(decision: &Decision) -> pb::Verdict {
    match decision {
        Decision::Allow(evidence) => pb::Verdict {
            allowed: true,
            policy_revision: evidence.revision.0,
            path: Some(path(&evidence.path)),
            permission: evidence.permission.text(),
            mfa_waived: evidence.mfa_waived,
            seal_mode: wire::seal_mode(evidence.seal_mode),
            ..pb::Verdict::default()
        },
        Decision::Deny(denial) => pb::Verdict {
            allowed: false,
            reason: denial.reason.code().to_owned(),
            ask: denial.reason.ask().to_owned(),
            policy_revision: denial.revision.0,
            path: denial.path.as_deref().map(path),
            rule: denial.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            ..pb::Verdict::default()
        },
    }
}

#[tonic::async_trait]
impl Decisions for DecisionsService {
    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let (call, message) = self.0.open("Decisions/Check", request).await?;
        let (view, parsed) = self.ask(&call, message.consistency, message.question).await?;
        let decision = view.policy.decide(&self.asked(&view, &parsed));
        let read = self.0.read_info(&view);
        Ok(Response::new(pb::CheckResponse { read, verdict: Some(verdict(&decision)) }))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        let (call, message) = self.0.open("Decisions/Explain", request).await?;
        let (view, parsed) = self.ask(&call, message.consistency, message.question).await?;
        let told = decide::explain(&view.policy, &view.state, &self.asked(&view, &parsed));
        let paths = told.paths.iter().map(|report| pb::explain_response::Path {
            path: Some(path(&report.path)),
            permission: report.permission.clone().unwrap_or_default(),
            failed: report.failed.iter().map(|reason| reason.code().to_owned()).collect(),
        });
        Ok(Response::new(pb::ExplainResponse {
            read: self.0.read_info(&view),
            verdict: Some(verdict(&told.decision)),
            summary: told.summary.clone(),
            paths: paths.collect(),
            remedies: told.remedies,
        }))
    }
}

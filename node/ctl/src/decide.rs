//! `ctl decide`.

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use pb::question::Action;
use serde_json::{Value, json};

use super::output::line;
use super::parse::time_ms;
use super::session::Session;
use super::tenant::seal_mode_name;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Would it be allowed?
    Check(QuestionArgs),
    /// Why, by which role path, and what would have to be granted.
    Explain(QuestionArgs),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("action").required(true))]
pub(super) struct QuestionArgs {
    /// Whose right; your own where left out.
    #[arg(long, default_value = "")]
    principal: String,
    /// Where the tool lives; your own tenant where left out.
    #[arg(long, default_value = "")]
    tenant: String,
    /// The principal's tenant where it is another (operators).
    #[arg(long, default_value = "")]
    principal_tenant: String,
    /// Calling this tool, by its name in the gateway, as github__create_issue.
    #[arg(long, group = "action", value_name = "TOOL")]
    tool: Option<String>,
    /// Seeing this tool in a list.
    #[arg(long, group = "action", value_name = "TOOL")]
    view: Option<String>,
    /// Administering with this permission, as UserCreate.
    #[arg(long, group = "action")]
    permission: Option<String>,
    #[arg(long, default_value = "")]
    project: String,
    /// From this address.
    #[arg(long, default_value = "")]
    ip: String,
    /// With a second factor.
    #[arg(long)]
    mfa: bool,
    /// At this time, as 2026-12-31T09:00:00Z; now where left out.
    #[arg(long, value_parser = time_ms)]
    at: Option<u64>,
    /// A key of the principal, by id, whose scope counts too.
    #[arg(long = "for-key", default_value = "")]
    for_key: String,
}

impl QuestionArgs {
    fn message(self) -> pb::Question {
        let action = match (self.tool, self.view, self.permission) {
            (Some(tool), _, _) => Some(Action::Execute(tool)),
            (None, Some(tool), _) => Some(Action::View(tool)),
            (None, None, permission) => permission.map(Action::Administer),
        };
        pb::Question {
            tenant: self.tenant,
            principal: self.principal,
            principal_tenant: self.principal_tenant,
            project: self.project,
            ip: self.ip,
            mfa: self.mfa,
            at_ms: self.at.unwrap_or_default(),
            key_id: self.for_key,
            action,
        }
    }
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(question) => {
            let (consistency, question) = (session.consistency(), Some(question.message()));
            let answer =
                session.decisions().check(pb::CheckRequest { consistency, question }).await?.into_inner();
            let verdict = answer.verdict.context("the server's answer is incomplete")?;
            session.printer.record(&shown(&verdict))
        }
        Command::Explain(question) => explain(session, question).await,
    }
}

async fn explain(session: &Session, question: QuestionArgs) -> anyhow::Result<()> {
    let (consistency, question) = (session.consistency(), Some(question.message()));
    let answer =
        session.decisions().explain(pb::ExplainRequest { consistency, question }).await?.into_inner();
    let verdict = answer.verdict.context("the server's answer is incomplete")?;
    let paths: Vec<Value> = answer.paths.iter().map(considered).collect();
    if !session.printer.is_table() {
        return session.printer.record(&json!({
            "verdict": shown(&verdict), "summary": answer.summary, "paths": paths, "remedies": answer.remedies,
        }));
    }
    line(&answer.summary)?;
    line(&format!("policy revision {}", verdict.policy_revision))?;
    if !paths.is_empty() {
        line("\nrole paths considered:")?;
        let columns =
            [("GRANT", "grant"), ("ROLES", "roles"), ("PERMISSION", "permission"), ("FAILED", "failed")];
        session.printer.list(&columns, paths)?;
    }
    if !answer.remedies.is_empty() {
        line("\nwhat would help:")?;
        for remedy in &answer.remedies {
            line(&format!("  - {remedy}"))?;
        }
    }
    Ok(())
}

fn roles(path: Option<&pb::RolePath>) -> Value {
    json!(path.map(|path| path.roles.join(" > ")))
}

fn considered(path: &pb::explain_response::Path) -> Value {
    json!({
        "grant": path.path.as_ref().map(|path| path.grant.clone()),
        "roles": roles(path.path.as_ref()),
        "permission": path.permission,
        "failed": path.failed,
    })
}

fn shown(verdict: &pb::Verdict) -> Value {
    let mut out = json!({
        "allowed": verdict.allowed,
        "policy_revision": verdict.policy_revision,
        "grant": verdict.path.as_ref().map(|path| path.grant.clone()),
        "roles": roles(verdict.path.as_ref()),
    });
    let more = if verdict.allowed {
        let seal_mode = m::SealMode::try_from(verdict.seal_mode).unwrap_or_default();
        json!({
            "permission": verdict.permission,
            "mfa_waived": verdict.mfa_waived,
            "seal_mode": seal_mode_name(seal_mode),
        })
    } else {
        json!({"reason": verdict.reason, "ask": verdict.ask, "rule": verdict.rule})
    };
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
    out
}

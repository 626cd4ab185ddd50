//! `ctl grant`.

use clap::{Args, Subcommand};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::conditions::{self, ConditionArgs};
use super::parse::{time_ms, time_text};
use super::session::Session;
use super::write::WriteArgs;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Gives a role to a principal.
    Create(Box<CreateArgs>),
    List {
        #[arg(long, default_value = "")]
        tenant: String,
        /// Of everybody where left out.
        #[arg(long, default_value = "")]
        principal: String,
        /// Of every role where left out.
        #[arg(long, default_value = "")]
        role: String,
    },
    /// Takes a grant back.
    Revoke {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    #[arg(long)]
    principal: String,
    #[arg(long)]
    role: String,
    /// Your own where left out.
    #[arg(long, default_value = "")]
    tenant: String,
    /// Names the grant; made where left out.
    #[arg(long, default_value = "")]
    id: String,
    /// Counts for this project only. May be repeated.
    #[arg(long)]
    project: Vec<String>,
    /// Waives the role's demand for a second factor; for service accounts only, named in the audit.
    #[arg(long)]
    waive_mfa: bool,
    /// Ends at this time, as 2026-12-31T00:00:00Z.
    #[arg(long, value_parser = time_ms)]
    expires: Option<u64>,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    write: WriteArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(session, *args).await,
        Command::List { tenant, principal, role } => list(session, tenant, principal, role).await,
        Command::Revoke { id, tenant, write } => {
            let request = pb::RevokeGrantRequest { options: write.options(), tenant, grant: id.clone() };
            let send = || async { session.roles().revoke_grant(request.clone()).await };
            session.written(
                &format!("grant {id} is revoked"),
                session.send(send).await?.result,
                json!({"grant": id}),
            )
        }
    }
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<()> {
    let sentence = format!("{} has role {}", args.principal, args.role);
    let grant = m::Grant {
        tenant: args.tenant,
        id: args.id,
        principal: args.principal,
        role: args.role,
        projects: args.project,
        conditions: Some(args.conditions.message()),
        waive_mfa: args.waive_mfa,
        expires_at_ms: args.expires,
        ..Default::default()
    };
    let request = pb::CreateGrantRequest { options: args.write.options(), grant: Some(grant) };
    let send = || async { session.roles().create_grant(request.clone()).await };
    let answer = session.send(send).await?;
    let record = json!({"grant": answer.grant_id});
    session.written(&format!("{sentence} by grant {}", answer.grant_id), answer.result, record)
}

async fn list(session: &Session, tenant: String, principal: String, role: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListGrantsRequest {
            consistency: session.consistency(),
            tenant: tenant.clone(),
            principal: principal.clone(),
            role: role.clone(),
            page_size: 500,
            page_token,
        };
        let page = session.roles().list_grants(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("PRINCIPAL", "principal"),
        ("ROLE", "role"),
        ("PROJECTS", "projects"),
        ("CONDITIONS", "conditions"),
        ("WAIVES MFA", "waive_mfa"),
        ("EXPIRES", "expires_at"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::GrantRecord) -> Value {
    let Some(grant) = &record.grant else { return Value::Null };
    let expires = grant.expires_at_ms.map(|at| {
        let text = time_text(at);
        if record.expired { format!("{text} (expired)") } else { text }
    });
    json!({
        "tenant": grant.tenant,
        "id": grant.id,
        "principal": grant.principal,
        "role": grant.role,
        "projects": grant.projects,
        "conditions": conditions::json_of(grant.conditions.as_ref()),
        "waive_mfa": grant.waive_mfa,
        "expires_at": expires,
        "expired": record.expired,
        "created_at": time_text(grant.created_at_ms),
        "created_by": grant.created_by,
        "revision": record.revision,
    })
}

//! `ctl role`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::conditions::{self, ConditionArgs};
use super::parse::time_text;
use super::session::Session;
use super::write::ConditionalArgs;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a role, or replaces it.
    Put(Box<PutArgs>),
    /// Your tenant's roles and the built-in ones.
    List {
        #[arg(long, default_value = "")]
        tenant: String,
    },
    Show {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
    },
    Delete {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: ConditionalArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct PutArgs {
    id: String,
    /// Your own where left out.
    #[arg(long, default_value = "")]
    tenant: String,
    /// The id where left out.
    #[arg(long)]
    name: Option<String>,
    #[arg(long, default_value = "")]
    description: String,
    /// As ServerView, ToolAll, or ToolExecute(github__*). May be repeated.
    #[arg(long)]
    permission: Vec<String>,
    /// A role whose permissions and conditions it has too. May be repeated.
    #[arg(long, value_name = "ROLE")]
    inherits: Vec<String>,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    write: ConditionalArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Put(args) => put(session, *args).await,
        Command::List { tenant } => list(session, tenant).await,
        Command::Show { id, tenant } => {
            let request = pb::GetRoleRequest { consistency: session.consistency(), tenant, role: id };
            let answer = session.roles().get_role(request).await?.into_inner();
            session.printer.record(&shown(&answer.record.context("the server's answer is incomplete")?))
        }
        Command::Delete { id, tenant, write } => {
            let request = pb::DeleteRoleRequest { options: write.options(), tenant, role: id.clone() };
            let send = || async { session.roles().delete_role(request.clone()).await };
            session.written(
                &format!("role {id} is deleted"),
                session.send(send).await?.result,
                json!({"role": id}),
            )
        }
    }
}

async fn put(session: &Session, args: PutArgs) -> anyhow::Result<()> {
    let id = args.id;
    let role = m::Role {
        tenant: args.tenant,
        id: id.clone(),
        name: args.name.unwrap_or_else(|| id.clone()),
        description: args.description,
        permissions: args.permission,
        inherits_from: args.inherits,
        constraints: Some(args.conditions.message()),
        ..Default::default()
    };
    let request = pb::PutRoleRequest { options: args.write.options(), role: Some(role) };
    let send = || async { session.roles().put_role(request.clone()).await };
    session.written(&format!("role {id} is set"), session.send(send).await?.result, json!({"role": id}))
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request =
            pb::ListRolesRequest { consistency, tenant: tenant.clone(), page_size: 500, page_token };
        let page = session.roles().list_roles(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("BUILT IN", "built_in"),
        ("PERMISSIONS", "permissions"),
        ("INHERITS", "inherits_from"),
        ("CONDITIONS", "conditions"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::RoleRecord) -> Value {
    let Some(role) = &record.role else { return Value::Null };
    json!({
        "tenant": role.tenant,
        "id": role.id,
        "name": role.name,
        "description": role.description,
        "built_in": record.built_in,
        "permissions": role.permissions,
        "inherits_from": role.inherits_from,
        "conditions": conditions::json_of(role.constraints.as_ref()),
        "created_at": time_text(role.created_at_ms),
        "created_by": role.created_by,
        "revision": record.revision,
    })
}

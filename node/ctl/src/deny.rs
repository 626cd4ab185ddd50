//! `ctl deny`.

use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Forbids tools, whatever roles allow; makes the rule or replaces it.
    Put {
        id: String,
        /// Tool pattern, as github__* or demo__echo.
        #[arg(long)]
        tools: String,
        #[command(flatten)]
        whom: Whom,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    List {
        #[arg(long, default_value = "")]
        tenant: String,
    },
    Delete {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("whom").required(true))]
pub(super) struct Whom {
    #[arg(long, group = "whom")]
    everyone: bool,
    #[arg(long, group = "whom")]
    principal: Option<String>,
    /// Members of this role.
    #[arg(long, group = "whom")]
    role: Option<String>,
}

impl Whom {
    fn message(self) -> m::DenySubject {
        use m::deny_subject::Subject;
        let subject = match (self.principal, self.role) {
            (Some(principal), _) => Subject::Principal(principal),
            (None, Some(role)) => Subject::Role(role),
            (None, None) => Subject::Everyone(m::Everyone {}),
        };
        m::DenySubject { subject: Some(subject) }
    }
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Put { id, tools, whom, description, tenant, write } => {
            let rule =
                m::DenyRule { tenant, id: id.clone(), tools, subject: Some(whom.message()), description };
            let request = pb::PutDenyRequest { options: write.options(), deny: Some(rule) };
            let send = || async { session.roles().put_deny(request.clone()).await };
            session.written(
                &format!("deny {id} is set"),
                session.send(send).await?.result,
                json!({"rule": id}),
            )
        }
        Command::List { tenant } => list(session, tenant).await,
        Command::Delete { id, tenant, write } => {
            let request = pb::DeleteDenyRequest { options: write.options(), tenant, rule: id.clone() };
            let send = || async { session.roles().delete_deny(request.clone()).await };
            session.written(
                &format!("deny {id} is deleted"),
                session.send(send).await?.result,
                json!({"rule": id}),
            )
        }
    }
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request =
            pb::ListDeniesRequest { consistency, tenant: tenant.clone(), page_size: 500, page_token };
        let page = session.roles().list_denies(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [("ID", "id"), ("TOOLS", "tools"), ("WHOM", "whom"), ("DESCRIPTION", "description")];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::DenyRecord) -> Value {
    use m::deny_subject::Subject;
    let Some(rule) = &record.deny else { return Value::Null };
    let whom = match rule.subject.as_ref().and_then(|subject| subject.subject.as_ref()) {
        None => "-".to_owned(),
        Some(Subject::Everyone(m::Everyone {})) => "everyone".to_owned(),
        Some(Subject::Principal(principal)) => format!("principal {principal}"),
        Some(Subject::Role(role)) => format!("role {role}"),
    };
    json!({
        "tenant": rule.tenant,
        "id": rule.id,
        "tools": rule.tools,
        "whom": whom,
        "description": rule.description,
        "revision": record.revision,
    })
}

//! `ctl principal`.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::parse::{pair, set_pairs, time_text};
use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a person or a service account; without a key or a role it can do nothing yet.
    Create {
        #[command(flatten)]
        who: Who,
        #[arg(long, value_enum, default_value_t)]
        kind: Kind,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        write: WriteArgs,
    },
    List {
        /// Your own where left out.
        #[arg(long, default_value = "")]
        tenant: String,
    },
    Show(Who),
    /// Changes the fields that are named; the others stay.
    Update {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    /// Lets a disabled principal in again.
    Enable {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    /// Refuses the principal everywhere.
    Disable {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    /// Deletes it with its keys and grants.
    Delete {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        write: ConditionalArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct Who {
    id: String,
    /// Your own where left out.
    #[arg(long, default_value = "")]
    tenant: String,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(super) enum Kind {
    #[default]
    Person,
    Service,
}

#[derive(Args, Debug)]
pub(super) struct Fields {
    #[arg(long)]
    display_name: Option<String>,
    #[arg(long)]
    email: Option<String>,
    /// Project it may act in. May be repeated.
    #[arg(long)]
    project: Vec<String>,
    /// NAME=VALUE; an empty value takes it away. May be repeated.
    #[arg(long, value_parser = pair)]
    attribute: Vec<(String, String)>,
}

impl Fields {
    fn set(self, principal: &mut m::Principal) {
        if let Some(name) = self.display_name {
            principal.display_name = name;
        }
        if let Some(email) = self.email {
            principal.email = email;
        }
        if !self.project.is_empty() {
            principal.projects = self.project;
        }
        set_pairs(&mut principal.attributes, self.attribute);
    }
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { who, kind, fields, write } => create(session, who, kind, fields, write).await,
        Command::List { tenant } => list(session, tenant).await,
        Command::Show(who) => session.printer.record(&shown(&get(session, &who).await?)),
        Command::Update { who, fields, write } => update(session, who, write, |p| fields.set(p)).await,
        Command::Enable { who, write } => update(session, who, write, |p| p.enabled = true).await,
        Command::Disable { who, write } => update(session, who, write, |p| p.enabled = false).await,
        Command::Delete { who, write } => delete(session, who, write).await,
    }
}

async fn create(
    session: &Session,
    who: Who,
    kind: Kind,
    fields: Fields,
    write: WriteArgs,
) -> anyhow::Result<()> {
    let kind = match kind {
        Kind::Person => m::PrincipalKind::Person,
        Kind::Service => m::PrincipalKind::Service,
    };
    let mut principal = m::Principal {
        tenant: who.tenant,
        id: who.id.clone(),
        kind: kind.into(),
        display_name: who.id.clone(),
        ..Default::default()
    };
    fields.set(&mut principal);
    let request = pb::CreatePrincipalRequest { options: write.options(), principal: Some(principal) };
    let send = || async { session.principals().create_principal(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("principal {} is created", who.id), result, json!({"principal": who.id}))
}

async fn get(session: &Session, who: &Who) -> anyhow::Result<pb::PrincipalRecord> {
    let (tenant, principal) = (who.tenant.clone(), who.id.clone());
    let request = pb::GetPrincipalRequest { consistency: session.consistency(), tenant, principal };
    let answer = session.principals().get_principal(request).await?.into_inner();
    answer.record.context("the server's answer is incomplete")
}

async fn update(
    session: &Session,
    who: Who,
    write: ConditionalArgs,
    change: impl FnOnce(&mut m::Principal),
) -> anyhow::Result<()> {
    let present = get(session, &who).await?;
    let mut principal = present.principal.context("the server's answer is incomplete")?;
    change(&mut principal);
    let options = write.options_or(present.revision);
    let request = pb::UpdatePrincipalRequest { options, principal: Some(principal) };
    let send = || async { session.principals().update_principal(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("principal {} is changed", who.id), result, json!({"principal": who.id}))
}

async fn delete(session: &Session, who: Who, write: ConditionalArgs) -> anyhow::Result<()> {
    let (tenant, principal) = (who.tenant, who.id.clone());
    let request = pb::DeletePrincipalRequest { options: write.options(), tenant, principal };
    let send = || async { session.principals().delete_principal(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("principal {} is deleted", who.id), result, json!({"principal": who.id}))
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request =
            pb::ListPrincipalsRequest { consistency, tenant: tenant.clone(), page_size: 500, page_token };
        let page = session.principals().list_principals(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("KIND", "kind"),
        ("NAME", "display_name"),
        ("EMAIL", "email"),
        ("PROJECTS", "projects"),
        ("ENABLED", "enabled"),
        ("CREATED", "created_at"),
    ];
    session.printer.list(&columns, records)
}

pub(super) fn shown(record: &pb::PrincipalRecord) -> Value {
    let Some(principal) = &record.principal else { return Value::Null };
    let kind = match principal.kind() {
        m::PrincipalKind::Unspecified => "unspecified",
        m::PrincipalKind::Person => "person",
        m::PrincipalKind::Service => "service",
    };
    json!({
        "tenant": principal.tenant,
        "id": principal.id,
        "kind": kind,
        "display_name": principal.display_name,
        "email": principal.email,
        "projects": principal.projects,
        "attributes": principal.attributes,
        "enabled": principal.enabled,
        "created_at": time_text(principal.created_at_ms),
        "updated_at": time_text(principal.updated_at_ms),
        "revision": record.revision,
    })
}

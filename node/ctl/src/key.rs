//! `ctl key`.

use clap::Subcommand;
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};

use super::parse::{duration_ms, time_text};
use super::session::Session;
use super::write::WriteArgs;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes an API key; shown once.
    Create {
        /// Whose key it is.
        #[arg(long)]
        principal: String,
        /// Your own where left out.
        #[arg(long, default_value = "")]
        tenant: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// How long it lives, as 90d; for ever where left out.
        #[arg(long, value_parser = duration_ms)]
        ttl: Option<u64>,
        /// Good for this project only. May be repeated.
        #[arg(long)]
        project: Vec<String>,
        /// Good for tools of this pattern only; such a key administers nothing. May be repeated.
        #[arg(long)]
        tool: Vec<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    List {
        #[arg(long, default_value = "")]
        tenant: String,
        /// Of everybody where left out.
        #[arg(long, default_value = "")]
        principal: String,
    },
    /// Replaces a key; the new one is shown once.
    Rotate {
        /// The id of the old one.
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        /// How long the old key works on.
        #[arg(long, value_parser = duration_ms, default_value = "0s")]
        overlap: u64,
        /// How long the new one lives; as long as the old one was made to where left out.
        #[arg(long, value_parser = duration_ms)]
        ttl: Option<u64>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Ends a key at once.
    Revoke {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { principal, tenant, label, ttl, project, tool, write } => {
            let request = pb::CreateKeyRequest {
                options: write.options(),
                tenant,
                principal,
                label,
                ttl_ms: ttl.unwrap_or_default(),
                projects: project,
                tools: tool,
            };
            let send = || async { session.principals().create_key(request.clone()).await };
            let answer = session.send(send).await?;
            let record = json!({"id": answer.key_id, "key": answer.key, "expires_at": answer.expires_at_ms.map(time_text)});
            let sentence = format!("key {} is made and shown this once\n{}", answer.key_id, answer.key);
            session.written(&sentence, answer.result, record)
        }
        Command::List { tenant, principal } => list(session, tenant, principal).await,
        Command::Rotate { id, tenant, overlap, ttl, write } => {
            let request = pb::RotateKeyRequest {
                options: write.options(),
                tenant,
                key_id: id,
                overlap_ms: overlap,
                ttl_ms: ttl.unwrap_or_default(),
            };
            let send = || async { session.principals().rotate_key(request.clone()).await };
            let answer = session.send(send).await?;
            let until = time_text(answer.old_valid_until_ms);
            let record = json!({
                "id": answer.key_id, "key": answer.key, "old_valid_until": until,
                "expires_at": answer.expires_at_ms.map(time_text),
            });
            let sentence = format!(
                "key {} is made and shown this once; the old one ends at {until}\n{}",
                answer.key_id, answer.key
            );
            session.written(&sentence, answer.result, record)
        }
        Command::Revoke { id, tenant, write } => {
            let request = pb::RevokeKeyRequest { options: write.options(), tenant, key_id: id.clone() };
            let send = || async { session.principals().revoke_key(request.clone()).await };
            session.written(
                &format!("key {id} is revoked"),
                session.send(send).await?.result,
                json!({"id": id}),
            )
        }
    }
}

async fn list(session: &Session, tenant: String, principal: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListKeysRequest {
            consistency: session.consistency(),
            tenant: tenant.clone(),
            principal: principal.clone(),
            page_size: 500,
            page_token,
        };
        let page = session.principals().list_keys(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("PRINCIPAL", "principal"),
        ("LABEL", "label"),
        ("STATUS", "status"),
        ("EXPIRES", "expires_at"),
        ("LAST USED", "last_used_at"),
        ("PROJECTS", "projects"),
        ("TOOLS", "tools"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::KeyRecord) -> Value {
    let Some(key) = &record.key else { return Value::Null };
    json!({
        "id": key.id,
        "tenant": key.tenant,
        "principal": key.principal,
        "label": key.label,
        "status": record.status,
        "created_at": time_text(key.created_at_ms),
        "expires_at": key.expires_at_ms.map(time_text),
        "revoked_at": key.revoked_at_ms.map(time_text),
        "last_used_at": key.last_used_at_ms.map(time_text),
        "projects": key.projects,
        "tools": key.tools,
        "rotated_from": key.rotated_from,
        "revision": record.revision,
    })
}

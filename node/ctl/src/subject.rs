//! `ctl subject` and `ctl erasure`: persons' data, and the generations of keys that end it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};
use tonic::Code;

use super::audit::shown as shown_event;
use super::parse::time_text;
use super::record::{Named, PAGE, Removal};
use super::session::Session;
use super::write::WriteArgs;
use only1mcp_proofs::hex;

const ERASE_EXAMPLE: &str = "The principal, its grants and its keys are removed, and with them the key that the person's names, addresses
and user agents are sealed under: from then on every query and export shows them as erased. The audit trail stays as it is and verifies
as before. Ids are not personal data to this program and stay: the id is not given again.

A copy of the wrapped key, as in a backup, can still be opened by whoever has the key of the generation that wrapped it. That key is
destroyed on every node within 30 days, or at once with `only1mcp ctl erasure renew`; `ctl subject show` then says since when the
person is unrecoverable: where a KMS wraps the generation, from the day on which it deletes that key, a week ahead. Destroy copies of the key table (`ctl backup keys`) that are older than that, too.

Example:
  only1mcp ctl subject erase ann --tenant acme";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// What is known of a person's data, also after the person is gone.
    Show(Named),
    /// Ends a person's data, for ever.
    #[command(after_help = ERASE_EXAMPLE)]
    Erase(Removal),
    /// Forbids erasing a person, for a reason.
    Hold {
        #[command(flatten)]
        of: Named,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Lifts what forbids erasing a person.
    Release(Removal),
    /// Writes what there is of a person to a file: the record, and every event by the person or about it.
    Export {
        #[command(flatten)]
        of: Named,
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum ErasureCommand {
    /// Generations of keys: which is in force, and which node still holds which.
    Status,
    /// Begins the next generation now: what was erased is unrecoverable once every node has destroyed the ones before.
    Renew(RenewArgs),
}

#[derive(Args, Debug)]
pub(super) struct RenewArgs {
    #[command(flatten)]
    write: WriteArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show(Named { id, tenant }) => session.printer.record(&subject(session, tenant, id).await?),
        Command::Erase(Removal { of: Named { id, tenant }, write }) => {
            let request = pb::EraseSubjectRequest { options: write.options(), tenant, principal: id.clone() };
            let send = || async { session.subjects().erase_subject(request.clone()).await };
            session.write_record(("subject", &id), "erased", send).await
        }
        Command::Hold { of, reason, write } => hold(session, of, reason, write, "held").await,
        Command::Release(Removal { of, write }) => {
            hold(session, of, String::new(), write, "held no more").await
        }
        Command::Export { of: Named { id, tenant }, file } => export(session, tenant, id, &file).await,
    }
}

pub(super) async fn run_erasure(session: &Session, command: ErasureCommand) -> anyhow::Result<()> {
    match command {
        ErasureCommand::Status => {
            let request = pb::GetErasureRequest { consistency: session.consistency() };
            let answer = session.subjects().get_erasure(request).await?.into_inner();
            let held = answer.held.iter().map(
                |held| json!({
                    "node": held.node,
                    "oldest": held.oldest,
                    "newest": held.newest,
                    "check": hex(&held.check),
                    "older_can_be_called_back_until": (held.destroyed_at_ms > 0).then(|| time_text(held.destroyed_at_ms)),
                }),
            );
            session.printer.record(&json!({
                "generation": answer.generation,
                "since": time_text(answer.since_ms),
                "renewal_under_way": answer.wanted,
                "persons": answer.subjects,
                "persons_behind": answer.behind,
                "erased": answer.erased,
                "erased_but_recoverable": answer.recoverable,
                "held": held.collect::<Vec<_>>(),
            }))
        }
        ErasureCommand::Renew(RenewArgs { write }) => {
            let request = pb::RenewErasureRequest { options: write.options() };
            let send = || async { session.subjects().renew_erasure(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written("the next generation begins; `ctl erasure status` follows it", result, json!({}))
        }
    }
}

async fn hold(
    session: &Session,
    Named { id, tenant }: Named,
    hold: String,
    write: WriteArgs,
    done: &str,
) -> anyhow::Result<()> {
    let request = pb::HoldSubjectRequest { options: write.options(), tenant, principal: id.clone(), hold };
    let send = || async { session.subjects().hold_subject(request.clone()).await };
    session.write_record(("subject", &id), done, send).await
}

async fn subject(session: &Session, tenant: String, principal: String) -> anyhow::Result<Value> {
    let request = pb::GetSubjectRequest { consistency: session.consistency(), tenant, principal };
    let found = session.subjects().get_subject(request).await?.into_inner();
    let time = |ms: u64| (ms > 0).then(|| time_text(ms));
    Ok(json!({
        "tenant": found.tenant,
        "principal": found.principal,
        "status": found.status,
        "generation": found.generation,
        "hold": found.hold,
        "erased_at": time(found.erased_at_ms),
        "unrecoverable_since": time(found.unrecoverable_since_ms),
    }))
}

async fn export(session: &Session, tenant: String, id: String, file: &Path) -> anyhow::Result<()> {
    let known = subject(session, tenant.clone(), id.clone()).await?;
    let request = pb::GetPrincipalRequest {
        consistency: session.consistency(),
        tenant: tenant.clone(),
        principal: id.clone(),
    };
    let record = match session.principals().get_principal(request).await {
        Ok(answer) => answer.into_inner().record.as_ref().map(super::principal::shown),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(status.into()),
    };
    let by = pb::AuditFilter { tenant: tenant.clone(), principal: id.clone(), ..Default::default() };
    let about = pb::AuditFilter { tenant, item: id.clone(), ..Default::default() };
    let mut events = BTreeMap::new();
    for (filter, kind) in [(by, None), (about, Some("principal"))] {
        let mut page_token = String::new();
        loop {
            let request = pb::QueryAuditRequest {
                consistency: session.consistency(),
                filter: Some(filter.clone()),
                oldest_first: true,
                page_size: PAGE,
                page_token,
            };
            let page = session.audit().query_audit(request).await?.into_inner();
            for record in &page.records {
                let event = shown_event(record)?;
                let is_of_kind =
                    |kind: &str| event.pointer("/event/resource/kind").and_then(Value::as_str) == Some(kind);
                if kind.is_none_or(is_of_kind) {
                    events.insert(event.get("index").and_then(Value::as_u64).unwrap_or_default(), event);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    let count = events.len();
    let all = json!({
        "format": "only1mcp-subject-1",
        "subject": known,
        "principal": record,
        "events": events.into_values().collect::<Vec<_>>(),
    });
    let mut out = std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(out, "{all:#}")?;
    out.sync_all()?;
    let record = json!({"file": file.display().to_string(), "events": count});
    session.printer.done(&format!("{count} events and the record are in {}", file.display()), &record)
}

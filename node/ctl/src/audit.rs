//! `ctl audit`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use only1mcp_domain::audit::{self, ChainHead, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::model::SlotPart;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use pb::export_audit_response::Part;
use serde_json::{Map, Value, json};

use super::parse::{time_ms, time_text};
use super::session::Session;
use super::{audit_prove, audit_retention};
use only1mcp_proofs::exported::{Expired, ExportSigned, FORMAT, Head, Header, Line, Trailer, readable};
use only1mcp_proofs::hex;

/// Streams live as long as this command does.
const STREAM: Duration = Duration::from_secs(3_600 * 24 * 30);
/// A walk over all records takes longer than one of them; the server takes no longer than two minutes.
pub(super) const WALK: Duration = Duration::from_secs(110);

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Events by filter, newest first.
    Query(Box<QueryArgs>),
    /// Has the asked node recompute the chain.
    Verify {
        /// 0: from the beginning.
        #[arg(long, default_value_t = 0)]
        from_index: u64,
        /// 0: up to the head.
        #[arg(long, default_value_t = 0)]
        to_index: u64,
    },
    /// Writes a file that `only1mcp audit verify` checks without any server.
    Export {
        #[arg(long)]
        file: PathBuf,
        #[command(flatten)]
        trail: Trail,
        /// 0: from the beginning. With --all-tenants the file begins earlier where payloads were dropped from the middle of
        /// what is sealed together.
        #[arg(long, default_value_t = 0)]
        from_index: u64,
        /// 0: up to the newest.
        #[arg(long, default_value_t = 0)]
        to_index: u64,
    },
    /// Events as they happen, until stopped.
    Watch {
        #[command(flatten)]
        trail: Trail,
        /// First index; 0: only events to come.
        #[arg(long, default_value_t = 0)]
        from_index: u64,
    },
    /// How long payloads of events are kept, and dropping what is past its days.
    #[command(subcommand)]
    Retention(audit_retention::Command),
    /// Where the chain ends, as INDEX:HASH.
    Head,
    /// Who signs checkpoints. Keep the file where nobody of the cluster can change it: verifying starts from it.
    Keys {
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// The newest checkpoint, signed by a majority of the voters.
    Checkpoint {
        #[arg(long)]
        file: Option<PathBuf>,
        /// An older checkpoint: writes both, and the proof that it is the beginning of the new one.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Waits for one of at least so many events.
        #[arg(long, default_value_t = 0)]
        size_min: u64,
    },
    /// Writes the proof that an event stands in the chain, which `only1mcp audit verify --proof` checks without any server.
    Prove {
        /// A file with the receipt, or the answer that holds it.
        receipt: Option<PathBuf>,
        /// The event, without a receipt.
        #[arg(long, conflicts_with = "receipt")]
        index: Option<u64>,
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(super) struct Trail {
    /// Your own where left out.
    #[arg(long, default_value = "")]
    tenant: String,
    /// Of all tenants: for operators.
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
}

impl Trail {
    fn name(self) -> String {
        if self.all_tenants { "*".to_owned() } else { self.tenant }
    }
}

#[derive(Args, Debug)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    trail: Trail,
    /// Who did it.
    #[arg(long, default_value = "")]
    principal: String,
    /// As AccessDenied or ConfigurationChange.
    #[arg(long, default_value = "")]
    kind: String,
    /// success, failure, denied or unknown.
    #[arg(long, default_value = "")]
    outcome: String,
    /// What it was done to, as demo__echo or demo__*.
    #[arg(long, default_value = "")]
    item: String,
    /// From this time on, as 2026-12-31T09:00:00Z.
    #[arg(long, value_parser = time_ms, default_value = "0")]
    from: u64,
    /// Before this time.
    #[arg(long, value_parser = time_ms, default_value = "0")]
    to: u64,
    #[arg(long, default_value_t = 0)]
    from_index: u64,
    #[arg(long, default_value_t = 0)]
    to_index: u64,
    #[arg(long)]
    oldest_first: bool,
    /// Events at most; 0: all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Query(args) => query(session, *args).await,
        Command::Verify { from_index, to_index } => verify(session, from_index, to_index).await,
        Command::Export { file, trail, from_index, to_index } => {
            let request = pb::ExportAuditRequest { tenant: trail.name(), from_index, to_index };
            export(session, request, &file).await
        }
        Command::Watch { trail, from_index } => watch(session, trail.name(), from_index).await,
        Command::Retention(command) => audit_retention::run(session, command).await,
        Command::Keys { file } => audit_prove::keys(session, file).await,
        Command::Checkpoint { file, since, size_min } => {
            audit_prove::checkpoint(session, file, since, size_min).await
        }
        Command::Prove { receipt, index, file } => audit_prove::prove(session, receipt, index, file).await,
        Command::Head => {
            let request = pb::GetAuditHeadRequest { consistency: session.consistency() };
            let answer = session.audit().get_audit_head(request).await?.into_inner();
            let hash = hex(&answer.hash);
            session
                .printer
                .done(&format!("{}:{hash}", answer.index), &json!({"index": answer.index, "hash": hash}))
        }
    }
}

/// For streams: the command line's deadline is one for single answers.
pub(super) fn without_deadline<T>(request: &mut tonic::Request<T>) {
    request.set_timeout(STREAM);
}

async fn query(session: &Session, args: QueryArgs) -> anyhow::Result<()> {
    let filter = pb::AuditFilter {
        tenant: args.trail.name(),
        principal: args.principal,
        kind: args.kind,
        outcome: args.outcome,
        item: args.item,
        from_ms: args.from,
        to_ms: args.to,
        from_index: args.from_index,
        to_index: args.to_index,
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::QueryAuditRequest {
            consistency: session.consistency(),
            filter: Some(filter.clone()),
            oldest_first: args.oldest_first,
            page_size: u32::try_from((limit - records.len()).min(500))?,
            page_token,
        };
        let page = session.audit().query_audit(request).await?.into_inner();
        for record in &page.records {
            records.push(shown(record)?);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() || records.len() >= limit {
            break;
        }
    }
    let columns = [
        ("INDEX", "index"),
        ("TIME", "time"),
        ("TENANT", "tenant"),
        ("KIND", "kind"),
        ("ACTOR", "actor"),
        ("ACTION", "action"),
        ("RESOURCE", "resource"),
        ("OUTCOME", "outcome"),
        ("REASON", "reason"),
    ];
    session.printer.list(&columns, records)
}

async fn verify(session: &Session, from_index: u64, to_index: u64) -> anyhow::Result<()> {
    let mut request = tonic::Request::new(pb::VerifyAuditRequest { from_index, to_index });
    request.set_timeout(session.timeout.max(WALK));
    let answer = session.audit().verify_audit(request).await?.into_inner();
    let record = json!({
        "valid": answer.valid, "events": answer.events, "from_index": answer.from_index, "to_index": answer.to_index,
        "hash": hex(&answer.hash), "fault": answer.fault, "fault_index": answer.fault_index,
        "node": answer.read.map(|read| read.node),
    });
    if !answer.valid {
        if !session.printer.is_table() {
            session.printer.record(&record)?;
        }
        bail!("the chain is not valid at event {}: {}", answer.fault_index, answer.fault);
    }
    let sentence = format!(
        "valid: events {} to {} ({} in all); the last hash is {}",
        answer.from_index,
        answer.to_index,
        answer.events,
        hex(&answer.hash)
    );
    session.printer.done(&sentence, &record)
}

async fn export(session: &Session, request: pb::ExportAuditRequest, file: &Path) -> anyhow::Result<()> {
    let mut request = tonic::Request::new(request);
    without_deadline(&mut request);
    let mut parts = session.audit().export_audit(request).await?.into_inner();
    let Some(Part::Header(header)) = parts.message().await?.and_then(|part| part.part) else {
        bail!("the export begins without a header");
    };
    // The file takes its name only when it is complete.
    let partial = file.with_extension("partial");
    let created = std::fs::File::create(&partial);
    let created = created.with_context(|| format!("cannot write {}", partial.display()))?;
    let mut out = std::io::BufWriter::new(created);
    let start = ChainHead { index: AuditIndex(header.start_index), hash: digest(&header.start_hash)? };
    let first = Header {
        format: FORMAT.to_owned(),
        cluster_id: hex(&header.cluster_id),
        tenant: header.tenant.clone(),
        start: Head::of(start),
        end_index: header.end_index,
        log_time_ms: header.log_time_ms,
        epoch: header.epoch,
        frontier: header.frontier.iter().map(|hash| hex(hash)).collect(),
    };
    writeln!(out, "{}", serde_json::to_string(&first)?)?;
    let (mut events, mut whole, mut last) = (0_u64, 0_u64, start.index.0);
    while let Some(part) = parts.message().await? {
        let record = match part.part {
            Some(Part::Record(record)) => record,
            Some(Part::Signature(signature)) => {
                let signed = ExportSigned {
                    node: signature.node,
                    key: hex(&signature.key),
                    signature: hex(&signature.signature),
                };
                let checkpoint = (!signature.checkpoint.is_empty()).then_some(signature.checkpoint);
                writeln!(out, "{}", serde_json::to_string(&Trailer { signed, checkpoint })?)?;
                continue;
            }
            Some(Part::Header(_)) | None => bail!("the export has a second header"),
        };
        let sealed = sealed(&record)?;
        let event = if sealed.bytes.is_empty() { None } else { audit::decode(&sealed.bytes).ok() };
        let line = Line {
            index: sealed.index.0,
            digest: sealed.digest.to_string(),
            hash: sealed.hash.to_string(),
            bytes: (!sealed.bytes.is_empty()).then(|| hex(&sealed.bytes)),
            expired: record
                .expired
                .as_ref()
                .map(|expired| Expired { record: expired.record, class: expired.class.clone() }),
            event: event.as_ref().map(readable),
            personal: personal(&record),
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        events += 1;
        whole += u64::from(event.is_some());
        last = sealed.index.0;
    }
    if last != header.end_index {
        bail!("the export ended at event {last} instead of {}", header.end_index);
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))?;
    let record =
        json!({"file": file.display().to_string(), "events": events, "whole": whole, "end_index": last});
    session
        .printer
        .done(&format!("{events} events, {whole} whole, up to index {last}, in {}", file.display()), &record)
}

async fn watch(session: &Session, tenant: String, from_index: u64) -> anyhow::Result<()> {
    let mut request = tonic::Request::new(pb::WatchAuditRequest { tenant, from_index });
    without_deadline(&mut request);
    let mut records = session.audit().watch_audit(request).await?.into_inner();
    while let Some(told) = records.message().await? {
        let record = shown(&told.record.context("the server's answer is incomplete")?)?;
        let field = |name: &str| {
            record.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let text = || {
            let names =
                ["index", "time", "tenant", "kind", "actor", "action", "resource", "outcome", "reason"];
            names
                .iter()
                .filter_map(|name| field(name))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("  ")
        };
        session.printer.event(text, &record)?;
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> anyhow::Result<Digest> {
    Ok(Digest(bytes.try_into().context("the server's answer holds a hash that is none")?))
}

fn sealed(record: &pb::AuditRecord) -> anyhow::Result<SealedEvent> {
    let sealed = record.sealed.as_ref().context("the server's answer is incomplete")?;
    Ok(SealedEvent {
        index: AuditIndex(sealed.index),
        bytes: sealed.canonical.to_vec(),
        digest: digest(&sealed.digest)?,
        hash: digest(&sealed.hash)?,
    })
}

/// The event as its canonical bytes say, with a few fields put together for the eye.
pub(super) fn shown(record: &pb::AuditRecord) -> anyhow::Result<Value> {
    let sealed = sealed(record)?;
    let event =
        audit::decode(&sealed.bytes).with_context(|| format!("event {} cannot be read", sealed.index))?;
    let resource = match (event.resource.kind.as_str(), event.resource.id.as_str()) {
        ("", id) => id.to_owned(),
        (kind, "") => kind.to_owned(),
        (kind, id) => format!("{kind} {id}"),
    };
    let mut out = json!({
        "index": sealed.index.0,
        "time": time_text(event.log_time.0),
        "tenant": event.tenant.as_str(),
        "kind": event.kind.name(),
        "actor": format!("{}/{}", event.actor.tenant, event.actor.id),
        "action": event.action,
        "resource": resource,
        "outcome": "",
        "reason": event.reason,
        "digest": sealed.digest.to_string(),
        "hash": sealed.hash.to_string(),
        "event": readable(&event),
    });
    let outcome = out.pointer("/event/outcome").cloned().unwrap_or_default();
    if let Some(field) = out.get_mut("outcome") {
        *field = outcome;
    }
    if let (Some(personal), Some(out)) = (personal(record), out.as_object_mut()) {
        out.insert("personal".to_owned(), personal);
    }
    Ok(out)
}

/// What the server read of the event's sealed parts; `None` where it has none.
fn personal(record: &pb::AuditRecord) -> Option<Value> {
    let sealed = &record.event.as_ref()?.personal;
    let part = |part: &m::SealedPart| {
        let number = u8::try_from(part.part).ok().and_then(SlotPart::from_number);
        let mut out = Map::new();
        out.insert("of".to_owned(), json!(number.map_or("unknown", SlotPart::name)));
        out.insert("status".to_owned(), json!(part.status));
        let inside = part.inside.iter().filter(|field| !field.value.is_empty());
        out.extend(inside.map(|field| (field.name.clone(), json!(field.value))));
        Value::Object(out)
    };
    (!sealed.is_empty()).then(|| Value::Array(sealed.iter().map(part).collect()))
}

//! `ctl cost export`: every record of a period, as it was charged.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use only1mcp_domain::money::PicoUsd;
use only1mcp_proto::admin as pb;
use pb::export_costs_response::Part;
use serde_json::{Value, json};

use super::cost_period::{Range, range, zone};
use super::output::{Column, csv_head, csv_row};
use super::parse::tags_text;
use super::session::Session;
use super::{audit, parse};

pub(super) const EXAMPLE: &str = "Examples:
  Last month's records as lines of JSON:
    only1mcp ctl cost export --period last-month --file costs.jsonl
  Today's, for a spreadsheet:
    only1mcp ctl cost export --period today --output csv --file costs.csv

The file takes its name only when it is complete: as many records, and as much money, as the server told of.";

const COLUMNS: [Column<'_>; 23] = [
    ("ID", "id"),
    ("TIME", "time"),
    ("KIND", "kind"),
    ("TENANT", "tenant"),
    ("CALLER TENANT", "caller_tenant"),
    ("PRINCIPAL", "principal"),
    ("PROJECT", "project"),
    ("COST CENTER", "cost_center"),
    ("TAGS", "tags_text"),
    ("TYPE", "request_type"),
    ("TOOL", "tool"),
    ("UPSTREAM", "upstream"),
    ("PROVIDER", "provider"),
    ("MODEL", "model"),
    ("UNITS", "units"),
    ("TOKENS", "token_usd"),
    ("COMPUTE", "compute_usd"),
    ("STORAGE", "storage_usd"),
    ("NETWORK", "network_usd"),
    ("COST", "cost_usd"),
    ("AT HOLD", "at_hold"),
    ("CORRECTS", "corrects"),
    ("CALL", "call"),
];

#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// this-month, last-month, today, yesterday, this-year, 2026, 2026-11, 2026-11-03, or FROM..TO.
    #[arg(long, default_value = "this-month")]
    period: String,
    /// Whose calendar the period follows, as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// Where to; the terminal where it is left out.
    #[arg(long)]
    file: Option<PathBuf>,
    #[arg(long, default_value = "")]
    tenant: String,
}

pub(super) async fn run(session: &Session, args: ExportArgs) -> anyhow::Result<()> {
    let zone = zone(&args.zone).map_err(|problem| anyhow!(problem))?;
    let now_ms = only1mcp_tls::host::HostClock.now_ms();
    let Range { from_ms, to_ms } = range(&args.period, &zone, now_ms).map_err(|problem| anyhow!(problem))?;
    let request = pb::ExportCostsRequest { tenant: args.tenant, from_ms, to_ms };
    let Some(file) = args.file else {
        let mut out = std::io::BufWriter::new(std::io::stdout());
        let written = write(session, request, &mut out).await.and_then(|_| Ok(out.flush()?));
        // A reader that went away is no failure of ours.
        return match written {
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => other,
        };
    };
    let partial = file.with_extension("partial");
    let created = std::fs::File::create(&partial);
    let created = created.with_context(|| format!("cannot write {}", partial.display()))?;
    let mut out = std::io::BufWriter::new(created);
    let footer = write(session, request, &mut out).await?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&partial, &file).with_context(|| format!("cannot write {}", file.display()))?;
    let told =
        json!({"file": file.display().to_string(), "records": footer.records, "cost_usd": footer.cost});
    let sentence = format!("{} records, {} USD, in {}", footer.records, footer.cost, file.display());
    session.printer.done(&sentence, &told)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Errors: the stream broke off, or does not come to what its footer says.
async fn write(
    session: &Session,
    request: pb::ExportCostsRequest,
    out: &mut (impl Write + Send),
) -> anyhow::Result<pb::export_costs_response::Footer> {
    let mut request = tonic::Request::new(request);
    audit::without_deadline(&mut request);
    let mut parts = session.costs().export_costs(request).await?.into_inner();
    let Some(Part::Header(_)) = parts.message().await?.and_then(|part| part.part) else {
        bail!("the export begins without a header");
    };
    let csv = session.printer.is_csv();
    if csv {
        writeln!(out, "{}", csv_head(&COLUMNS))?;
    }
    let (mut records, mut sum) = (0_u64, PicoUsd::ZERO);
    while let Some(part) = parts.message().await? {
        match part.part.context("the server's answer is incomplete")? {
            Part::Header(_) => bail!("the export has a second header"),
            Part::Record(record) => {
                records += 1;
                sum = PicoUsd::parse(&record.cost).and_then(|cost| {
                    sum.checked_add(cost).map_err(|_| only1mcp_domain::money::PicoUsdError::TooLarge)
                })?;
                let record = shown(&record);
                if csv {
                    writeln!(out, "{}", csv_row(&COLUMNS, &record))?;
                } else {
                    writeln!(out, "{record}")?;
                }
            }
            Part::Footer(footer) => {
                let (told, found) = ((footer.records, footer.cost.clone()), (records, sum.to_string()));
                if told != found {
                    bail!("the export holds {found:?} and should hold {told:?}");
                }
                return Ok(footer);
            }
        }
    }
    bail!("the export broke off after {records} records")
}

fn shown(record: &pb::CostRecord) -> Value {
    let lines = record.lines.iter().map(|line| {
        json!({
            "meter": line.meter, "units": line.units, "cost_usd": line.cost, "price": line.price,
            "price_version": line.price_version, "exchange_version": line.exchange_version,
        })
    });
    let charges = record.charges.iter().map(|charge| {
        json!({
            "limit": charge.limit, "subject": charge.subject, "period_start_ms": charge.period_start_ms,
            "measure": charge.measure, "amount": charge.amount,
        })
    });
    let discounts =
        record.discounts.iter().map(|taken| json!({"id": taken.discount, "version": taken.version}));
    let units = record.lines.iter().map(|line| format!("{} {}", line.meter, line.units));
    json!({
        "id": record.id,
        "time": parse::time_text(record.at_ms),
        "at_ms": record.at_ms,
        "audit_index": record.audit_index,
        "kind": record.kind,
        "node": record.node,
        "call": record.call,
        "observed_at_ms": record.observed_at_ms,
        "tenant": record.tenant,
        "caller_tenant": record.caller_tenant,
        "principal": record.principal,
        "project": record.project,
        "cost_center": record.cost_center,
        "tags": record.tags,
        "tags_text": tags_text(&record.tags),
        "request_type": record.request_type,
        "tool": record.tool,
        "upstream": record.upstream,
        "provider": record.provider,
        "model": record.model,
        "model_answered": record.model_answered,
        "metering": record.metering,
        "units": units.collect::<Vec<_>>().join(" "),
        "lines": lines.collect::<Vec<_>>(),
        "discounts": discounts.collect::<Vec<_>>(),
        "token_usd": record.token_cost,
        "compute_usd": record.compute_cost,
        "storage_usd": record.storage_cost,
        "network_usd": record.network_cost,
        "cost_usd": record.cost,
        "held_usd": record.held,
        "at_hold": record.at_hold,
        "charges": charges.collect::<Vec<_>>(),
        "corrects": record.corrects,
    })
}

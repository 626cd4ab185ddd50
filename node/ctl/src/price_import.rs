//! `ctl price import`: a price map taken in as a price for each model. What stands already is left alone, so that the
//! import can be run again, after a failure or with next month's file.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::Glob;
use only1mcp_domain::price::{PriceEntry, PriceSubject};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::price::Subject;
use serde_json::json;
use tonic::Status;

use super::price::{all, prices_text};
use super::price_map::{self, PriceMap, Skipped};
use super::session::Session;
use super::{error, parse};

pub(super) const EXAMPLE: &str = "Examples:
  See what a file would change:
    only1mcp ctl price import model_prices.json --tenant system --dry-run
  Take in one provider's models for all tenants:
    only1mcp ctl price import model_prices.json --tenant system --only 'anthropic/*'

Numbers are taken by the text they are written in. A price that is not understood is told, never guessed; one of a
model that has the same price already is left alone, so the import can be run again.";

/// Far above any price map.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Writes under way at one time.
const AT_ONCE: usize = 8;
/// Skipped models and prices told of one by one in a table; JSON has them all.
const TOLD_MAX: usize = 20;

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// A JSON object of models.
    file: PathBuf,
    /// Only prices whose id matches, as anthropic/*.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    only: Option<Glob>,
    /// From this moment on; now where it is left out.
    #[arg(long, value_parser = parse::time_ms)]
    valid_from: Option<u64>,
    /// Changes nothing and tells what it would.
    #[arg(long)]
    dry_run: bool,
    /// Tells everything that is skipped.
    #[arg(long)]
    skipped: bool,
    #[arg(long, default_value = "")]
    tenant: String,
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).map_err(|error| error.to_string())
}

/// What an entry comes to.
enum Change {
    New,
    /// From the revision on.
    Changed(u64),
    Unchanged,
}

pub(super) async fn run(session: &Session, args: ImportArgs) -> anyhow::Result<()> {
    let map = read(&args)?;
    let known: BTreeMap<String, pb::PriceRecord> = all(session, &args.tenant)
        .await?
        .into_iter()
        .filter_map(|record| Some((id(&record)?, record)))
        .collect();
    let mut counts = Counts::default();
    let mut puts = Vec::new();
    for entry in &map.entries {
        let price = price(&args, entry);
        match change(&price, known.get(price.id.as_str())) {
            Change::Unchanged => counts.unchanged += 1,
            Change::New => {
                counts.new += 1;
                puts.push(request(price, 0));
            }
            Change::Changed(revision) => {
                counts.changed += 1;
                puts.push(request(price, revision));
            }
        }
    }
    let failed = if args.dry_run { Vec::new() } else { send(session, puts).await? };
    tell(session, &args, &counts, &map.skipped, &failed)?;
    if failed.is_empty() { Ok(()) } else { bail!("{} could not be set", prices_text(failed.len())) }
}

fn read(args: &ImportArgs) -> anyhow::Result<PriceMap> {
    let file = args.file.display();
    let cannot = || format!("cannot read {file}");
    let size = std::fs::metadata(&args.file).with_context(cannot)?.len();
    if size > FILE_BYTES_MAX {
        bail!("{file} has {size} bytes; a price map has at most {FILE_BYTES_MAX}");
    }
    let text = std::fs::read_to_string(&args.file).with_context(cannot)?;
    // Whose prices they are and when they begin is the request's to say.
    let mut map = price_map::parse(&text, &TenantId::system(), TimestampMs(0))
        .with_context(|| format!("{file} is no price map"))?;
    if let Some(only) = &args.only {
        map.entries.retain(|entry| only.matches(entry.id.as_str()));
        map.skipped.retain(|skipped| only.matches(&skipped.model));
    }
    Ok(map)
}

fn id(record: &pb::PriceRecord) -> Option<String> {
    record.price.as_ref().map(|price| price.id.clone())
}

fn price(args: &ImportArgs, entry: &PriceEntry) -> pb::Price {
    let subject = match &entry.subject {
        PriceSubject::Model { provider, model } => {
            Subject::Model(pb::ModelName { provider: provider.clone(), model: model.clone() })
        }
        PriceSubject::Tool(glob) => Subject::Tools(glob.as_str().to_owned()),
    };
    let lines = entry.lines.iter().map(|line| pb::PriceLine {
        meter: line.meter.code().to_owned(),
        tier_from: line.tier_from,
        unit: line.unit,
        price: line.price.to_string(),
    });
    pb::Price {
        tenant: args.tenant.clone(),
        id: entry.id.to_string(),
        subject: Some(subject),
        currency: entry.currency.to_string(),
        valid_from_ms: args.valid_from,
        lines: lines.collect(),
        free: entry.free.iter().map(|meter| meter.code().to_owned()).collect(),
        version: 0,
    }
}

/// Both sides write numbers the same way: in lowest terms, without an exponent.
fn change(wanted: &pb::Price, known: Option<&pb::PriceRecord>) -> Change {
    let Some(record) = known else { return Change::New };
    let same = record.price.as_ref().is_some_and(|known| {
        let moment = wanted.valid_from_ms.is_none() || wanted.valid_from_ms == known.valid_from_ms;
        moment
            && (&known.subject, &known.currency, &known.lines, &known.free)
                == (&wanted.subject, &wanted.currency, &wanted.lines, &wanted.free)
    });
    if same { Change::Unchanged } else { Change::Changed(record.revision) }
}

/// Under the revision it was compared at: a price that somebody else changes meanwhile is told, not overwritten.
fn request(price: pb::Price, if_revision: u64) -> pb::PutPriceRequest {
    let command_id = only1mcp_tls::host::HostEntropy.bytes::<16>().to_vec().into();
    let options = pb::WriteOptions { command_id, if_revision: Some(if_revision), wait: false };
    pb::PutPriceRequest { options: Some(options), price: Some(price) }
}

/// The prices that were refused, and why. Errors: what would be so for every price.
async fn send(session: &Session, puts: Vec<pb::PutPriceRequest>) -> anyhow::Result<Vec<(String, Status)>> {
    let total = puts.len();
    let mut writes = futures_util::stream::iter(puts)
        .map(|request| async move {
            let id = request.price.as_ref().map(|price| price.id.clone()).unwrap_or_default();
            let send = || async { session.prices().put_price(request.clone()).await };
            (id, session.send(send).await)
        })
        .buffered(AT_ONCE);
    let mut failed = Vec::new();
    let mut done = 0;
    while let Some((id, result)) = writes.next().await {
        done += 1;
        progress(done, total)?;
        match result {
            Ok(_) => {}
            Err(status) if matches!(error::code(&status).as_str(), "INVALID" | "REVISION_MISMATCH") => {
                failed.push((id, status));
            }
            Err(status) => {
                eprintln!(
                    "stopped at {id}, price {done} of {total}; what is written stands: run it again to go on"
                );
                return Err(status.into());
            }
        }
    }
    Ok(failed)
}

/// Over itself on a terminal, nothing elsewhere.
fn progress(done: usize, total: usize) -> std::io::Result<()> {
    let mut out = std::io::stderr();
    if !out.is_terminal() {
        return Ok(());
    }
    let end = if done == total { "\n" } else { "" };
    write!(out, "\r{done} of {} written{end}", prices_text(total))?;
    out.flush()
}

#[derive(Default)]
struct Counts {
    new: usize,
    changed: usize,
    unchanged: usize,
}

fn tell(
    session: &Session,
    args: &ImportArgs,
    counts: &Counts,
    skipped: &[Skipped],
    failed: &[(String, Status)],
) -> anyhow::Result<()> {
    let Counts { new, changed, unchanged } = counts;
    let told = |skipped: &Skipped| json!({"model": skipped.model, "field": skipped.field, "reason": skipped.reason.to_string()});
    let refused = |(id, status): &(String, Status)| json!({"price": id, "code": error::code(status), "message": status.message()});
    let record = json!({
        "new": new,
        "changed": changed,
        "unchanged": unchanged,
        "dry_run": args.dry_run,
        "skipped": skipped.iter().map(told).collect::<Vec<_>>(),
        "failed": failed.iter().map(refused).collect::<Vec<_>>(),
    });
    let would = if args.dry_run { " would be" } else { "" };
    let mut text =
        format!("{}{would} new, {changed}{would} changed, {unchanged} as before", prices_text(*new));
    if !skipped.is_empty() {
        text.push_str(&format!("\n{} not taken:", skipped.len()));
        let shown = if args.skipped { skipped.len() } else { TOLD_MAX };
        for skipped in skipped.iter().take(shown) {
            text.push_str(&format!("\n  {skipped}"));
        }
        if skipped.len() > shown {
            text.push_str(&format!("\n  and {} more: --skipped tells them all", skipped.len() - shown));
        }
    }
    for (id, status) in failed {
        text.push_str(&format!("\nrefused {id}: {} ({})", status.message(), error::code(status)));
    }
    session.printer.done(&text, &record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(valid_from: Option<u64>) -> ImportArgs {
        let file = PathBuf::new();
        ImportArgs { file, only: None, valid_from, dry_run: false, skipped: false, tenant: String::new() }
    }

    #[test]
    fn a_price_that_stands_is_left_alone() {
        let text = r#"{"m": {"litellm_provider": "p", "input_cost_per_token": 2.50e-6}}"#;
        let map = price_map::parse(text, &TenantId::system(), TimestampMs(0)).unwrap();
        let wanted = price(&args(None), &map.entries[0]);
        assert_eq!((wanted.id.as_str(), wanted.lines[0].price.as_str()), ("p/m", "0.0000025"));
        assert!(matches!(change(&wanted, None), Change::New));
        let stored =
            pb::Price { tenant: "system".into(), valid_from_ms: Some(7), version: 3, ..wanted.clone() };
        let record = |price| pb::PriceRecord { price: Some(price), revision: 9 };
        assert!(matches!(change(&wanted, Some(&record(stored.clone()))), Change::Unchanged));
        let later = price(&args(Some(8)), &map.entries[0]);
        assert!(matches!(change(&later, Some(&record(stored.clone()))), Change::Changed(9)));
        let mut dearer = stored;
        dearer.lines[0].price = "1".into();
        assert!(matches!(change(&wanted, Some(&record(dearer))), Change::Changed(9)));
    }
}

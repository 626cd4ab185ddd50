//! `ctl audit retention`: how long payloads of audit events are kept, and dropping what is past its days.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use only1mcp_domain::audit::RetentionClass;
use only1mcp_domain::limits;
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};

use super::audit::WALK;
use super::parse::time_text;
use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

const ABOUT: &str = "Each event of the audit trail is of one class, by its kind:
  authentication  logins, sessions, second factors
  data_access     what was read, changed, deleted, exported or imported
  configuration   settings, tenants, upstreams, nodes
  security        alerts, violations of policy, anomalies
  compliance      that the audit trail was read or exported
  default         admissions, refusals, roles, grants, keys, start and end of the system, backups

Once every event of a sealed segment is past its class's days, their payloads are dropped on every node alike. What stays for ever:
each event's index, digest and hash, so that receipts, proofs and checkpoints hold as before; what says who signs; and the records of
what was dropped, signed by the node that proposed it. What concerns a person under a legal hold (`ctl subject hold`) stays, too.
Events that no segment holds yet (the newest 16,384 or fewer) are not touched.

An export of all tenants names the record of each payload that is gone, and `only1mcp audit verify` holds both against each other.
A backup made before keeps what it holds.

Examples:
  only1mcp ctl audit retention show
  only1mcp ctl audit retention set authentication=400 compliance=3650
  only1mcp ctl audit retention run --dry-run";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Days by class, and what was dropped so far.
    #[command(after_help = ABOUT)]
    Show,
    /// Sets days for classes; those not named stay.
    #[command(after_help = ABOUT)]
    Set(SetArgs),
    /// Has payloads dropped now that are past their days, instead of with the next daily run. Needs AuditDelete.
    #[command(after_help = ABOUT)]
    Run(RunArgs),
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    /// As authentication=365.
    #[arg(required = true, value_name = "CLASS=DAYS", value_parser = class_days)]
    days: Vec<(RetentionClass, u32)>,
    #[command(flatten)]
    write: ConditionalArgs,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Only tells from which segments how many payloads would go.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    write: WriteArgs,
}

fn class_days(text: &str) -> Result<(RetentionClass, u32), String> {
    let (class, days) = text.split_once('=').ok_or("expected CLASS=DAYS")?;
    let names = RetentionClass::ALL.map(RetentionClass::name).join(", ");
    let class = RetentionClass::parse(class).ok_or_else(|| format!("{class:?} is none of {names}"))?;
    let (min, max) = (limits::RETENTION_DAYS_MIN, limits::RETENTION_DAYS_MAX);
    let days = days.parse().ok().filter(|days| (min..=max).contains(days));
    Ok((class, days.ok_or_else(|| format!("days are a number from {min} to {max}"))?))
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show => show(session).await,
        Command::Set(SetArgs { days, write }) => {
            let named: BTreeMap<String, u32> =
                days.iter().map(|(class, days)| (class.name().to_owned(), *days)).collect();
            if named.len() != days.len() {
                bail!("a class is named twice");
            }
            let request = pb::SetRetentionRequest { options: write.options(), days: named };
            let send = || async { session.audit().set_retention(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written("retention is set; `ctl audit retention show` tells it", result, json!({}))
        }
        Command::Run(RunArgs { dry_run: true, .. }) => plan(session).await,
        Command::Run(RunArgs { write, .. }) => {
            let request = pb::RunRetentionRequest { options: write.options() };
            let send = || async { session.audit().run_retention(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written("a run begins; `ctl audit retention show` follows it", result, json!({}))
        }
    }
}

async fn show(session: &Session) -> anyhow::Result<()> {
    let request = pb::GetRetentionRequest { consistency: session.consistency() };
    let answer = session.audit().get_retention(request).await?.into_inner();
    let mut record = json!({"revision": answer.revision});
    if let Some(record) = record.as_object_mut() {
        record.extend(answer.classes.iter().map(|class| (class.name.clone(), json!(class.days))));
        let looked = (answer.looked_at_ms > 0).then(|| time_text(answer.looked_at_ms));
        record.extend([
            ("run_under_way".to_owned(), json!(answer.wanted)),
            ("node".to_owned(), json!((answer.node > 0).then_some(answer.node))),
            ("last_run".to_owned(), json!(looked)),
            ("last_error".to_owned(), json!(answer.last_error)),
            ("payloads_dropped".to_owned(), json!(answer.dropped)),
            ("records".to_owned(), json!(answer.records)),
        ]);
    }
    session.printer.record(&record)
}

async fn plan(session: &Session) -> anyhow::Result<()> {
    let (mut found, mut from_index): (Vec<Value>, u64) = (Vec::new(), 0);
    loop {
        let mut request = tonic::Request::new(pb::PlanRetentionRequest { from_index });
        request.set_timeout(session.timeout.max(WALK));
        let page = session.audit().plan_retention(request).await?.into_inner();
        for segment in &page.segments {
            let mut record = json!({"first": segment.first, "last": segment.last});
            if let Some(record) = record.as_object_mut() {
                let counts = segment.counts.iter();
                record.extend(counts.map(|count| (count.class.clone(), json!(count.payloads))));
            }
            found.push(record);
        }
        from_index = page.next_index;
        if from_index == 0 {
            break;
        }
    }
    let columns = [
        ("FIRST", "first"),
        ("LAST", "last"),
        ("DEFAULT", "default"),
        ("AUTHENTICATION", "authentication"),
        ("DATA ACCESS", "data_access"),
        ("CONFIGURATION", "configuration"),
        ("SECURITY", "security"),
        ("COMPLIANCE", "compliance"),
    ];
    session.printer.list(&columns, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_by_class() {
        assert_eq!(class_days("authentication=365"), Ok((RetentionClass::Authentication, 365)));
        for bad in ["authentication", "authentication=29", "security=36501", "other=400", "default=x"] {
            assert!(class_days(bad).is_err(), "{bad}");
        }
    }
}

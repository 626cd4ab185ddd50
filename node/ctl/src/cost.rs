//! `ctl cost`: what was charged. The report and the export have files of their own.

use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use pb::correct_cost_request::Refund;
use serde_json::json;

use super::cost_export::{self, ExportArgs};
use super::cost_report::{self, ReportArgs};
use super::price_text::decimal;
use super::session::Session;
use super::write::WriteArgs;

const CORRECT_EXAMPLE: &str = "Examples:
  A call that failed at the provider and was charged all the same (`cost export` names the records):
    only1mcp ctl cost correct 1796047413083-97 --full --reason 'provider refunded it, case 4711'
  A part of it:
    only1mcp ctl cost correct 1796047413083-97 --refund 0.02 --reason 'cached input'

The record stays as it is; the correction stands beside it, and every account that was charged gets its part back. A
record is corrected once.";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Sums of a period by principal, project, tool and so on.
    #[command(after_help = cost_report::EXAMPLE)]
    Report(ReportArgs),
    /// Every record of a period, as lines of JSON or CSV.
    #[command(after_help = cost_export::EXAMPLE)]
    Export(ExportArgs),
    /// Gives back what one record charged, or a part of it.
    #[command(after_help = CORRECT_EXAMPLE)]
    Correct(CorrectArgs),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("how_much").required(true).args(["refund", "full"]))]
pub(super) struct CorrectArgs {
    /// The record's id.
    record: String,
    /// So much in USD, as 0.02.
    #[arg(long, value_name = "USD", value_parser = decimal)]
    refund: Option<String>,
    /// All that is left of it.
    #[arg(long)]
    full: bool,
    /// Why, for the audit trail.
    #[arg(long)]
    reason: String,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: WriteArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Report(args) => cost_report::run(session, args).await,
        Command::Export(args) => cost_export::run(session, args).await,
        Command::Correct(args) => correct(session, args).await,
    }
}

async fn correct(session: &Session, args: CorrectArgs) -> anyhow::Result<()> {
    let record = args.record.clone();
    let request = pb::CorrectCostRequest {
        options: args.write.options(),
        tenant: args.tenant,
        record: args.record,
        refund: Some(args.refund.map_or(Refund::Full(true), Refund::Amount)),
        reason: args.reason,
    };
    let send = || async { session.costs().correct_cost(request.clone()).await };
    let result = session.send(send).await?.result;
    session.written(&format!("record {record} is corrected"), result, json!({"record": record}))
}

//! `ctl budget recall`: what nodes hold and do not need goes back, to be lent elsewhere.

use clap::Args;
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};

use super::accounts::limit_text;
use super::budget::amount_text;
use super::session::Session;

pub(super) const EXAMPLE: &str = "Examples:
  What nodes hold of one budget and no call needs at the moment:
    only1mcp ctl budget recall monthly
  Of everything that has a limit:
    only1mcp ctl budget recall

A node that is at work on calls of the limit is lent some of it again. What a node that does not answer holds stays
with it: wait for it, or see `budget force-close`.";

#[derive(Args, Debug)]
pub(super) struct RecallArgs {
    /// A budget's id, or a limit as `budget show` names it; every limit where it is left out.
    limit: Option<String>,
    #[arg(long, default_value = "")]
    tenant: String,
}

pub(super) async fn run(session: &Session, args: RecallArgs) -> anyhow::Result<()> {
    let limit = args.limit.as_deref().map(limit_text).unwrap_or_default();
    let request = pb::RecallRequest { tenant: args.tenant, limit };
    let nodes = session.budgets().recall(request).await?.into_inner().nodes;
    let columns = [("NODE", "node"), ("CAME BACK", "came_back"), ("ACCOUNTS", "accounts")];
    session.printer.list(&columns, nodes.iter().map(shown).collect())
}

fn shown(node: &pb::NodeRecall) -> Value {
    let amounts: serde_json::Map<String, Value> =
        node.amounts.iter().map(|amount| (amount.measure.clone(), json!(amount.amount))).collect();
    let texts: Vec<String> =
        node.amounts.iter().map(|amount| amount_text(&amount.measure, &amount.amount)).collect();
    let came_back = match (node.answered, node.more) {
        (false, _) => "no answer".to_owned(),
        (true, false) if texts.is_empty() => "nothing".to_owned(),
        (true, false) => texts.join(", "),
        (true, true) => format!("{} (and there is more: ask again)", texts.join(", ")),
    };
    json!({
        "node": node.node,
        "answered": node.answered,
        "came_back": came_back,
        "amounts": amounts,
        "accounts": node.accounts,
        "more": node.more,
    })
}

//! `ctl budget`: what may be consumed, and what is.

use clap::{Args, Subcommand, ValueEnum};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::accounts::{self, ForceCloseArgs, ShowArgs};
use super::parse;
use super::recall::{self, RecallArgs};
use super::record::{Named, OfTenant, PAGE, Removal};
use super::session::Session;
use super::write::ConditionalArgs;

const SET_EXAMPLE: &str = "Examples:
  A month's budget for all calls, by Berlin's calendar:
    only1mcp ctl budget set monthly --amount 1000calls --per-period month --zone Europe/Berlin
  A hundred calls an hour of GitHub's tools for each principal:
    only1mcp ctl budget set github --amount 100calls --per-period hour --tools 'github__*' --each principal";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl budget list --output json";
const SHOW_EXAMPLE: &str = "Examples:
  What is used of everything that has a limit:
    only1mcp ctl budget show
  Of one budget, past periods too, and of the tenant's quota of requests:
    only1mcp ctl budget show github --closed
    only1mcp ctl budget show quota/requests";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl budget delete github";
const FORCE_CLOSE_EXAMPLE: &str = "Examples:
  All that node 3 was lent, after it is lost for good:
    only1mcp ctl budget force-close --node 3
  From one account alone, as `budget show` names it:
    only1mcp ctl budget force-close --node 3 --limit budget/github --of ann --period-start 2026-01-31T12:00:00Z";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a budget, or changes the amount, zone, hardness and description of one.
    #[command(after_help = SET_EXAMPLE)]
    Set(Box<SetArgs>),
    /// Budgets of the tenant.
    #[command(after_help = LIST_EXAMPLE)]
    List(OfTenant),
    /// What is used of budgets and of every other limit that counts: a row for each account.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(ShowArgs),
    /// Lifts a budget; what was used stays to be read.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete(Removal),
    /// Has nodes give back what they hold and no call needs, so that it is lent elsewhere. It comes back by itself where
    /// a call waits for it.
    #[command(after_help = recall::EXAMPLE)]
    Recall(RecallArgs),
    /// Counts all that is lent to a lost node as spent. Shows the amounts and asks first.
    #[command(after_help = FORCE_CLOSE_EXAMPLE)]
    ForceClose(ForceCloseArgs),
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Period {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Total,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Each {
    Principal,
    Project,
    Tool,
    Upstream,
    #[value(name = "cost_center")]
    CostCenter,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Amount {
    measure: m::Measure,
    text: String,
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    id: String,
    /// As 100USD, 50000tokens or 1000calls.
    #[arg(long, value_parser = amount)]
    amount: Amount,
    /// How long it lasts; minutes and hours follow UTC, `total` never begins anew.
    #[arg(long, value_enum)]
    per_period: Period,
    /// Whose calendar periods from a day on follow, as Europe/Berlin; UTC where it is left out.
    #[arg(long, default_value = "")]
    zone: String,
    /// Only calls for this project.
    #[arg(long)]
    project: Option<String>,
    /// Only calls of this principal.
    #[arg(long)]
    principal: Option<String>,
    /// Only these tools, as github__*.
    #[arg(long, value_name = "GLOB")]
    tools: Option<String>,
    /// Only calls of this upstream.
    #[arg(long)]
    upstream: Option<String>,
    /// Only calls that are charged to this cost center.
    #[arg(long)]
    cost_center: Option<String>,
    /// The amount is for each of them, and not for all together.
    #[arg(long, value_enum)]
    each: Option<Each>,
    /// Counts and tells, and refuses nothing.
    #[arg(long)]
    soft: bool,
    #[arg(long, default_value = "")]
    description: String,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(session, *args).await,
        Command::List(OfTenant { tenant }) => list(session, tenant).await,
        Command::Show(args) => accounts::show(session, args).await,
        Command::Delete(Removal { of: Named { id, tenant }, write }) => {
            let request = pb::DeleteBudgetRequest { options: write.options(), tenant, budget: id.clone() };
            let send = || async { session.budgets().delete_budget(request.clone()).await };
            session.write_record(("budget", &id), "deleted", send).await
        }
        Command::Recall(args) => recall::run(session, args).await,
        Command::ForceClose(args) => accounts::force_close(session, args).await,
    }
}

async fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let id = args.id.clone();
    let request = pb::PutBudgetRequest { options: args.write.options(), budget: Some(asked(args)) };
    let send = || async { session.budgets().put_budget(request.clone()).await };
    session.write_record(("budget", &id), "set", send).await
}

fn asked(args: SetArgs) -> pb::Budget {
    let period = match args.per_period {
        Period::Minute => m::PeriodKind::Minute,
        Period::Hour => m::PeriodKind::Hour,
        Period::Day => m::PeriodKind::Day,
        Period::Week => m::PeriodKind::Week,
        Period::Month => m::PeriodKind::Month,
        Period::Quarter => m::PeriodKind::Quarter,
        Period::Year => m::PeriodKind::Year,
        Period::Total => m::PeriodKind::Total,
    };
    let each = args.each.map(|each| match each {
        Each::Principal => m::Dimension::Principal,
        Each::Project => m::Dimension::Project,
        Each::Tool => m::Dimension::Tool,
        Each::Upstream => m::Dimension::Upstream,
        Each::CostCenter => m::Dimension::CostCenter,
    });
    pb::Budget {
        tenant: args.tenant,
        id: args.id,
        scope: Some(m::BudgetScope {
            project: args.project,
            principal: args.principal,
            tools: args.tools,
            upstream: args.upstream,
            model: None,
            cost_center: args.cost_center,
        }),
        per: each.map(Into::into),
        measure: args.amount.measure.into(),
        period: period.into(),
        zone: args.zone,
        amount: args.amount.text,
        soft: args.soft,
        description: args.description,
        ..pb::Budget::default()
    }
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request =
            pb::ListBudgetsRequest { consistency, tenant: tenant.clone(), page_size: PAGE, page_token };
        session.budgets().list_budgets(request).await
    });
    let records: Vec<Value> = records.await?.iter().map(shown).collect();
    let columns = [
        ("ID", "id"),
        ("AMOUNT", "allowed"),
        ("PER", "period"),
        ("ZONE", "zone"),
        ("OF", "scope"),
        ("EACH", "each"),
        ("KIND", "kind"),
        ("DESCRIPTION", "description"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::BudgetRecord) -> Value {
    let Some(budget) = &record.budget else { return Value::Null };
    let measure = measure_name(budget.measure());
    json!({
        "tenant": budget.tenant,
        "id": budget.id,
        "amount": budget.amount,
        "measure": measure,
        "allowed": amount_text(measure, &budget.amount),
        "period": period_name(budget.period()),
        "zone": budget.zone,
        "scope": scope(budget.scope.as_ref()),
        "each": budget.per.map(|_| each_name(budget.per())),
        "kind": if budget.soft { "soft" } else { "hard" },
        "description": budget.description,
        "created_at": parse::time_text(budget.created_at_ms),
        "created_by": budget.created_by,
        "revision": record.revision,
    })
}

/// What is named, by name.
fn scope(scope: Option<&m::BudgetScope>) -> Value {
    let scope = scope.cloned().unwrap_or_default();
    let named = [
        ("project", scope.project),
        ("principal", scope.principal),
        ("tools", scope.tools),
        ("upstream", scope.upstream),
        ("model", scope.model),
        ("cost_center", scope.cost_center),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect()
}

/// With its unit, as [`amount`] reads it.
pub(super) fn amount_text(measure: &str, amount: &str) -> String {
    match measure {
        "cost" => format!("{amount} USD"),
        // The limit is gone, and with it what it counted.
        "" => amount.to_owned(),
        counted => format!("{amount} {counted}"),
    }
}

fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || format!("{text:?} is no amount; write 100USD, 50000tokens or 1000calls");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number = number.trim_end();
    let measure = match unit.to_ascii_lowercase().as_str() {
        "usd" => m::Measure::Cost,
        "tokens" => m::Measure::Tokens,
        "calls" => m::Measure::Calls,
        _ => return Err(wrong()),
    };
    if measure == m::Measure::Cost {
        parse::usd(number)?;
    } else {
        number.parse::<u64>().map_err(|_| wrong())?;
    }
    Ok(Amount { measure, text: number.to_owned() })
}

fn measure_name(measure: m::Measure) -> &'static str {
    match measure {
        m::Measure::Unspecified => "unspecified",
        m::Measure::Cost => "cost",
        m::Measure::Tokens => "tokens",
        m::Measure::Calls => "calls",
    }
}

fn period_name(period: m::PeriodKind) -> &'static str {
    match period {
        m::PeriodKind::Unspecified => "unspecified",
        m::PeriodKind::Minute => "minute",
        m::PeriodKind::Hour => "hour",
        m::PeriodKind::Day => "day",
        m::PeriodKind::Week => "week",
        m::PeriodKind::Month => "month",
        m::PeriodKind::Quarter => "quarter",
        m::PeriodKind::Year => "year",
        m::PeriodKind::Total => "total",
    }
}

fn each_name(dimension: m::Dimension) -> &'static str {
    match dimension {
        m::Dimension::Unspecified => "unspecified",
        m::Dimension::Principal => "principal",
        m::Dimension::Project => "project",
        m::Dimension::Tool => "tool",
        m::Dimension::Upstream => "upstream",
        m::Dimension::Model => "model",
        m::Dimension::CostCenter => "cost_center",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_name_what_they_count() {
        let read = |text| amount(text).map(|amount| (amount.measure, amount.text));
        assert_eq!(read("100USD"), Ok((m::Measure::Cost, "100".to_owned())));
        assert_eq!(read("0.5 usd"), Ok((m::Measure::Cost, "0.5".to_owned())));
        assert_eq!(read("50000tokens"), Ok((m::Measure::Tokens, "50000".to_owned())));
        assert_eq!(read("1000calls"), Ok((m::Measure::Calls, "1000".to_owned())));
        for bad in
            ["", "100", "USD", "1.5calls", "-1USD", "1e3USD", "100EUR", "100calls/hour", "0.0000000000001USD"]
        {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}

//! The part of `ctl budget` that looks at accounts: what is used, and what a lost node holds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use only1mcp_domain::ledger::LimitId;
use only1mcp_proto::admin as pb;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tonic::Request;

use super::budget::amount_text;
use super::parse;
use super::session::Session;
use super::write::WriteArgs;
use only1mcp_proofs::hex;

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// A budget's id, or a limit as budget/ID, quota/requests, quota/concurrent, quota/connections, role-requests/ID,
    /// grant-requests/ID, rule-rate/ID; every limit where it is left out.
    limit: Option<String>,
    /// Only what is counted for this principal, tool and so on.
    #[arg(long, default_value = "")]
    of: String,
    /// Past periods too.
    #[arg(long)]
    closed: bool,
    #[arg(long, default_value = "")]
    tenant: String,
}

#[derive(Args, Debug)]
pub(super) struct ForceCloseArgs {
    /// The node that is thought lost.
    #[arg(long)]
    node: u64,
    /// Only the account of this limit, as budget/ID; with --period-start, and --of where the limit counts for each.
    #[arg(long, requires = "period_start")]
    limit: Option<String>,
    /// Whose account it is.
    #[arg(long, default_value = "", requires = "limit")]
    of: String,
    /// When the account's period began: 2026-01-31T12:00:00Z, or milliseconds since the Unix epoch.
    #[arg(long, value_parser = parse::time_ms, requires = "limit")]
    period_start: Option<u64>,
    /// Tenant of the limit; without --limit every tenant is concerned.
    #[arg(long, requires = "limit")]
    tenant: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    write: WriteArgs,
}

pub(super) async fn show(session: &Session, args: ShowArgs) -> anyhow::Result<()> {
    let limit = args.limit.as_deref().map(limit_text).unwrap_or_default();
    let request = pb::ListAccountsRequest {
        tenant: args.tenant,
        limit,
        subject: args.of,
        include_closed: args.closed,
        ..Default::default()
    };
    let accounts = all(session, request).await?;
    let drawn = session.printer.is_table() && std::io::stdout().is_terminal();
    let records = accounts.iter().map(|account| shown(account, drawn)).collect();
    let columns = [
        ("LIMIT", "limit"),
        ("OF", "of"),
        ("PERIOD", "period"),
        ("ALLOWED", "allowed"),
        ("POSTED", "posted"),
        ("OUTSTANDING", "outstanding"),
        ("AVAILABLE", "available"),
        ("USED", "used"),
        ("LENT", "lent_text"),
        ("NEXT RESET", "next_reset"),
    ];
    session.printer.list(&columns, records)
}

/// A budget's id alone stands for the budget.
pub(super) fn limit_text(text: &str) -> String {
    if text.parse::<LimitId>().is_ok() { text.to_owned() } else { format!("budget/{text}") }
}

async fn all(session: &Session, request: pb::ListAccountsRequest) -> anyhow::Result<Vec<pb::Account>> {
    let mut accounts = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let page = pb::ListAccountsRequest { consistency, page_size: 500, page_token, ..request.clone() };
        let page = session.budgets().list_accounts(page).await?.into_inner();
        accounts.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(accounts);
        }
    }
}

fn shown(account: &pb::Account, drawn: bool) -> Value {
    let name = account.name.clone().unwrap_or_default();
    let share = account.amount.as_deref().and_then(|amount| percent(&account.posted, amount));
    let lent = account
        .lent
        .iter()
        .map(|lent| json!({"node": lent.node, "outstanding": lent.outstanding, "reachable": lent.reachable}));
    let lent_text = account.lent.iter().map(|lent| {
        let stranded = if lent.reachable == Some(false) { " (unreachable)" } else { "" };
        format!("node {}: {}{stranded}", lent.node, lent.outstanding)
    });
    json!({
        "tenant": name.tenant,
        "limit": name.limit,
        "of": name.subject,
        "period": account.period,
        "period_start_ms": name.period_start_ms,
        "measure": account.measure,
        "amount": account.amount,
        "allowed": account.amount.as_deref().map(|amount| amount_text(&account.measure, amount)),
        "posted": account.posted,
        "outstanding": account.outstanding,
        "available": account.available,
        "overrun": account.overrun,
        "level": account.level,
        "used": share.map(|share| if drawn { bar(share) } else { format!("{share}%") }),
        "used_percent": share,
        "lent": lent.collect::<Vec<_>>(),
        "lent_text": lent_text.collect::<Vec<_>>(),
        "hard": account.hard,
        "provisional": account.provisional,
        "closed": account.closed,
        "next_reset": account.period_end_ms.map(|ms| local_text(ms, &account.zone)),
        "next_reset_ms": account.period_end_ms,
    })
}

/// Whole percent of `amount`, cut. `None` where nobody can say.
fn percent(posted: &str, amount: &str) -> Option<u64> {
    let number = |text| Decimal::from_str_exact(text).ok();
    let share = number(posted)?.checked_div(number(amount)?)?.checked_mul(Decimal::ONE_HUNDRED)?;
    share.trunc().try_into().ok()
}

/// Ten places; anything at all shows.
fn bar(percent: u64) -> String {
    const PLACES: usize = 10;
    let full = usize::try_from(percent.div_ceil(10)).unwrap_or(PLACES).min(PLACES);
    format!("{}{} {percent}%", "█".repeat(full), "░".repeat(PLACES - full))
}

/// As the limit's own calendar shows it; in UTC where this host does not know the zone.
fn local_text(ms: u64, zone: &str) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let local = at.and_then(|at| at.in_tz(zone).ok());
    local.map_or_else(
        || parse::time_text(ms),
        |local| format!("{} {zone}", local.strftime("%a %Y-%m-%d %H:%M")),
    )
}

pub(super) async fn force_close(session: &Session, args: ForceCloseArgs) -> anyhow::Result<()> {
    let name = args.limit.as_deref().map(|limit| pb::AccountName {
        tenant: args.tenant.clone().unwrap_or_default(),
        limit: limit_text(limit),
        subject: args.of.clone(),
        period_start_ms: args.period_start.unwrap_or_default(),
    });
    let held = held(session, args.node, name.as_ref()).await?;
    let node = args.node;
    if held.accounts == 0 && held.permits.is_zero() {
        let record = json!({"node": node, "accounts": 0, "amounts": {}});
        return session.printer.done(&format!("nothing is lent to node {node}"), &record);
    }
    if !args.yes {
        confirm(&held.consequence(node))?;
    }
    let account = held.only.filter(|_| name.is_some());
    let options = args.write.options();
    // The write's own id names the request too, so that an attempt whose answer was lost still tells the amounts.
    let id = options.as_ref().map(|options| hex(&options.command_id)).unwrap_or_default();
    let message = pb::ForceCloseRequest { options, node, account };
    let send = || async {
        let mut request = Request::new(message.clone());
        if let Ok(id) = id.parse() {
            request.metadata_mut().insert("x-request-id", id);
        }
        session.budgets().force_close(request).await
    };
    let answer = session.send(send).await?;
    let posted: Vec<String> =
        answer.posted.iter().map(|posted| amount_text(&posted.measure, &posted.amount)).collect();
    let sentence = match (answer.told, posted.is_empty()) {
        (false, _) => "it is done; the audit trail (budget.force_close) tells the amounts".to_owned(),
        (true, true) => format!("nothing more was lent to node {node}"),
        (true, false) => format!("{} of node {node} count as spent", posted.join(" and ")),
    };
    let amounts: serde_json::Map<String, Value> =
        answer.posted.iter().map(|posted| (posted.measure.clone(), json!(posted.amount))).collect();
    let record = json!({
        "node": node, "accounts": answer.accounts, "told": answer.told, "amounts": amounts,
    });
    session.written(&sentence, answer.result, record)
}

/// What is lent to a node.
#[derive(Default)]
struct Held {
    accounts: usize,
    /// For calls at once and open sessions: they are never spent.
    permits: Decimal,
    /// By measure.
    sums: BTreeMap<String, Decimal>,
    /// The account last seen.
    only: Option<pb::AccountName>,
}

impl Held {
    fn add(&mut self, account: pb::Account, node: u64) -> anyhow::Result<()> {
        let Some(lent) = account.lent.iter().find(|lent| lent.node == node) else { return Ok(()) };
        let amount =
            Decimal::from_str_exact(&lent.outstanding).context("the server's answer is no number")?;
        let limit = account.name.as_ref().and_then(|name| name.limit.parse::<LimitId>().ok());
        let standing = limit.is_some_and(|limit| limit.is_standing());
        self.accounts += usize::from(!standing);
        self.only = account.name;
        let sum = if standing { &mut self.permits } else { self.sums.entry(account.measure).or_default() };
        *sum = sum.checked_add(amount).context("the amounts are too large to be summed up")?;
        Ok(())
    }

    /// What closing by force does.
    fn consequence(&self, node: u64) -> String {
        let spent = || {
            let (sums, accounts) = (self.text(), self.accounts);
            format!("{sums}, lent to node {node} in {accounts} account(s), will count as spent")
        };
        let permits = || {
            let permits = self.permits.normalize();
            format!(
                "{permits} permits of node {node} for calls at once and open sessions go back to the others"
            )
        };
        match (self.accounts, self.permits.is_zero()) {
            (0, _) => permits(),
            (_, true) => spent(),
            (_, false) => format!("{}; {}", spent(), permits()),
        }
    }

    fn text(&self) -> String {
        let sums = self.sums.iter().map(|(measure, sum)| amount_text(measure, &sum.normalize().to_string()));
        sums.collect::<Vec<_>>().join(" and ")
    }
}

async fn held(session: &Session, node: u64, name: Option<&pb::AccountName>) -> anyhow::Result<Held> {
    let mut held = Held::default();
    let tenants = match name {
        Some(name) => vec![name.tenant.clone()],
        None => tenants(session).await?,
    };
    for tenant in tenants {
        let request = pb::ListAccountsRequest {
            tenant,
            limit: name.map(|name| name.limit.clone()).unwrap_or_default(),
            subject: name.map(|name| name.subject.clone()).unwrap_or_default(),
            include_closed: true,
            ..Default::default()
        };
        for account in all(session, request).await? {
            let found = account.name.as_ref();
            let wanted = name.is_none_or(|name| {
                found.is_some_and(|found| {
                    (found.period_start_ms, &found.subject) == (name.period_start_ms, &name.subject)
                })
            });
            if wanted {
                held.add(account, node)?;
            }
        }
    }
    Ok(held)
}

async fn tenants(session: &Session) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request = pb::ListTenantsRequest { consistency, page_size: 500, page_token };
        let page = session.tenants().list_tenants(request).await?.into_inner();
        ids.extend(page.records.into_iter().filter_map(|record| Some(record.tenant?.id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ids);
        }
    }
}

/// Errors: the answer is not yes, or there is nobody to ask.
fn confirm(what: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{what}; say so with --yes");
    }
    let mut prompt = std::io::stderr();
    write!(prompt, "{what}, whatever became of it.\nType yes to go on: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { bail!("nothing was changed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_alone_stands_for_the_budget() {
        assert_eq!(limit_text("quota/requests"), "quota/requests");
        assert_eq!(limit_text("budget/b"), "budget/b");
        assert_eq!(limit_text("b"), "budget/b");
        assert_eq!(limit_text("b/1"), "budget/b/1");
    }

    #[test]
    fn shares_are_exact_and_bars_are_bounded() {
        assert_eq!(percent("0.1", "0.3"), Some(33));
        assert_eq!(percent("1000000000", "1000000000"), Some(100));
        assert_eq!(percent("999999999.999999999999", "1000000000"), Some(99));
        assert_eq!((percent("1", "0"), percent("x", "1")), (None, None));
        assert_eq!(bar(0), "░░░░░░░░░░ 0%");
        assert_eq!(bar(1), "█░░░░░░░░░ 1%");
        assert_eq!(bar(250), "██████████ 250%");
    }

    #[test]
    fn resets_are_told_in_the_limits_own_time() {
        let ms = 1_772_319_600_000;
        assert_eq!(local_text(ms, "Europe/Berlin"), "Sun 2026-03-01 00:00 Europe/Berlin");
        assert_eq!(local_text(ms, "Europe/Atlantis"), "2026-02-28T23:00:00.000Z");
        assert_eq!(local_text(u64::MAX, "UTC"), u64::MAX.to_string());
    }

    #[test]
    fn what_a_node_holds_is_summed_up_by_measure() {
        let account = |measure: &str, lent: &[(u64, &str)]| pb::Account {
            measure: measure.into(),
            lent: lent
                .iter()
                .map(|(node, outstanding)| pb::AccountLent {
                    node: *node,
                    outstanding: (*outstanding).into(),
                    reachable: None,
                })
                .collect(),
            ..Default::default()
        };
        let mut held = Held::default();
        held.add(account("calls", &[(1, "5"), (3, "7")]), 3).unwrap();
        held.add(account("calls", &[(3, "8")]), 3).unwrap();
        held.add(account("cost", &[(3, "0.5")]), 3).unwrap();
        held.add(account("cost", &[(3, "1.5")]), 3).unwrap();
        held.add(account("tokens", &[(1, "9")]), 3).unwrap();
        assert_eq!((held.accounts, held.text().as_str()), (4, "15 calls and 2 USD"));
        // Permits are not spent, whatever becomes of their node.
        let name = pb::AccountName { limit: "quota/concurrent".into(), ..Default::default() };
        let permits = pb::Account { name: Some(name), ..account("calls", &[(3, "6")]) };
        held.add(permits.clone(), 3).unwrap();
        assert_eq!((held.accounts, held.text().as_str()), (4, "15 calls and 2 USD"));
        assert!(
            held.consequence(3)
                .ends_with("; 6 permits of node 3 for calls at once and open sessions go back to the others")
        );
        let mut alone = Held::default();
        alone.add(permits, 3).unwrap();
        assert!(alone.consequence(3).starts_with("6 permits"));
        assert!(held.add(account("calls", &[(3, "x")]), 3).is_err());
    }
}

//! Budgets: amounts exact and bounded, who may read and who may set, accounts as the ledger has them, and a lost node's
//! share posted in full.

use only1mcp_domain::activity::{Batch, Record};
use only1mcp_domain::command::{Actor, Command, Entry, Via};
use only1mcp_domain::ids::{CallId, Digest, Incarnation, NodeId, PrincipalId, TenantId};
use only1mcp_domain::ledger::{AccountKey, Ask, AskPart};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::{Code, Status};

use crate::memory::NOW_MS;
use crate::samples::budget;
use crate::world::{World, code, named};

const HOUR_MS: u64 = 3_600_000;

fn put(budget: pb::Budget) -> pb::PutBudgetRequest {
    pb::PutBudgetRequest { options: None, budget: Some(budget) }
}

fn money(amount: &str) -> pb::Budget {
    pb::Budget {
        measure: m::Measure::Cost.into(),
        period: m::PeriodKind::Month.into(),
        zone: "Europe/Berlin".into(),
        amount: amount.into(),
        ..budget("acme", "money")
    }
}

async fn get(world: &World, key: &str, id: &str) -> Result<pb::BudgetRecord, Status> {
    let request = pb::GetBudgetRequest { tenant: "acme".into(), budget: id.into(), ..Default::default() };
    world.budgets(key).get_budget(request).await.map(|answer| answer.into_inner().record.unwrap())
}

async fn accounts(world: &World, request: pb::ListAccountsRequest) -> pb::ListAccountsResponse {
    let request = pb::ListAccountsRequest { tenant: "acme".into(), ..request };
    world.budgets(&world.root_key).list_accounts(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_is_put_is_read_changed_and_deleted() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    world.budgets(&admin).put_budget(put(money("100.50"))).await.unwrap();
    world.budgets(&admin).put_budget(put(budget("", "calls"))).await.unwrap();
    let record = get(&world, &admin, "money").await.unwrap();
    let stored = record.budget.unwrap();
    assert_eq!((stored.amount.as_str(), stored.soft, stored.created_at_ms), ("100.5", false, NOW_MS));
    assert_eq!((stored.zone.as_str(), stored.created_by.as_str()), ("Europe/Berlin", "acme/admin"));
    get(&world, &admin, "calls").await.unwrap();
    // A change under the revision it was read at, and once more under the same, which is gone.
    let options = || Some(pb::WriteOptions { if_revision: Some(record.revision), ..Default::default() });
    let changed = pb::PutBudgetRequest { options: options(), budget: Some(money("7")) };
    world.budgets(&admin).put_budget(changed.clone()).await.unwrap();
    assert_eq!(get(&world, &admin, "money").await.unwrap().budget.unwrap().amount, "7");
    let refused = world.budgets(&admin).put_budget(changed).await.unwrap_err();
    assert_eq!(code(&refused), "REVISION_MISMATCH");
    // In pages, in the order of their ids.
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListBudgetsRequest { page_size: 1, page_token, ..Default::default() };
        let page = world.budgets(&admin).list_budgets(request).await.unwrap().into_inner();
        ids.extend(page.records.into_iter().map(|record| record.budget.unwrap().id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["calls", "money"]);
    let request = || pb::DeleteBudgetRequest { budget: "money".into(), ..Default::default() };
    world.budgets(&admin).delete_budget(request()).await.unwrap();
    assert_eq!(get(&world, &admin, "money").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.budgets(&admin).delete_budget(request()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn amounts_and_zones_that_cannot_be_are_refused() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let million = "1000000000";
    world.budgets(&admin).put_budget(put(money(million))).await.unwrap();
    let over = format!("{million}.000000000001");
    let long = "9".repeat(60);
    for amount in ["", "0", "-1", "1e3", "NaN", "0.0000000000001", over.as_str(), long.as_str()] {
        let refused = world.budgets(&admin).put_budget(put(money(amount))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{amount}: {refused}");
        assert!(refused.message().contains("amount"), "{amount}: {refused}");
    }
    for amount in ["0", "1.5", "-3", long.as_str()] {
        let asked = pb::Budget { amount: amount.into(), ..budget("acme", "calls") };
        let refused = world.budgets(&admin).put_budget(put(asked)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{amount}: {refused}");
    }
    let wrong = [
        ("zone", pb::Budget { zone: "Europe/Atlantis".into(), ..money("1") }),
        ("measure", pb::Budget { measure: 0, ..money("1") }),
        ("measure", pb::Budget { measure: 77, ..money("1") }),
        ("period", pb::Budget { period: 0, ..money("1") }),
        ("per", pb::Budget { per: Some(77), ..money("1") }),
        ("id", pb::Budget { id: "no spaces please".into(), ..money("1") }),
    ];
    for (field, asked) in wrong {
        let refused = world.budgets(&admin).put_budget(put(asked)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
        assert!(refused.message().contains(field), "{field}: {refused}");
    }
    assert_eq!(get(&world, &admin, "money").await.unwrap().budget.unwrap().amount, million);
}

#[tokio::test]
async fn what_a_budget_counts_stays() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    world.budgets(&admin).put_budget(put(budget("acme", "b"))).await.unwrap();
    let scope = m::BudgetScope { principal: Some("developer".into()), ..Default::default() };
    let others = [
        pb::Budget { scope: Some(scope), ..budget("acme", "b") },
        pb::Budget { per: Some(m::Dimension::Tool.into()), ..budget("acme", "b") },
        pb::Budget { measure: m::Measure::Tokens.into(), ..budget("acme", "b") },
        pb::Budget { period: m::PeriodKind::Minute.into(), ..budget("acme", "b") },
    ];
    for other in others {
        let refused = world.budgets(&admin).put_budget(put(other)).await.unwrap_err();
        assert_eq!(
            (refused.code(), code(&refused).as_str()),
            (Code::InvalidArgument, "INVALID"),
            "{refused}"
        );
    }
    let soft = pb::Budget { soft: true, amount: "5".into(), ..budget("acme", "b") };
    world.budgets(&admin).put_budget(put(soft)).await.unwrap();
    assert!(get(&world, &admin, "b").await.unwrap().budget.unwrap().soft);
}

#[tokio::test]
async fn who_may_see_costs_may_not_set_them() {
    let world = World::new().await;
    world.budgets(world.key("acme/admin")).put_budget(put(budget("acme", "b"))).await.unwrap();
    let developer = world.key("acme/developer").to_owned();
    get(&world, &developer, "b").await.unwrap();
    world.budgets(&developer).list_accounts(pb::ListAccountsRequest::default()).await.unwrap();
    let refused = world.budgets(&developer).put_budget(put(budget("acme", "b"))).await.unwrap_err();
    assert_eq!(code(&refused), "NO_PERMISSION");
    // What is lent to a node concerns every tenant.
    let request = pb::ForceCloseRequest { node: 1, ..Default::default() };
    let refused = world.budgets(world.key("acme/admin")).force_close(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

/// An entry of node 1's own.
pub fn by_node(command: Command) -> Entry {
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::new("node").unwrap(),
            key: None,
            via: Via::Node(NodeId(1)),
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: None,
        request_digest: Digest::default(),
        observed_at: TimestampMs(NOW_MS),
        command,
        signature: None,
    }
}

/// What node 1 hands in: it comes to life, and asks for slices.
fn lend(world: &World, limit: &str, subjects: &[&str], need: i128) {
    world.memory.apply(&by_node(Command::OpenIncarnation { node: NodeId(1) })).outcome.unwrap();
    let start = NOW_MS - NOW_MS % HOUR_MS;
    let part = |subject: &&str| AskPart {
        account: AccountKey {
            tenant: TenantId::new("acme").unwrap(),
            limit: limit.parse().unwrap(),
            subject: (*subject).into(),
            start: TimestampMs(start),
        },
        end: TimestampMs(start + HOUR_MS),
        need,
        want: need,
    };
    let parts = subjects.iter().map(part).collect();
    let ask = Ask { call: CallId([1; 16]), direct: false, until: TimestampMs(u64::MAX), parts };
    let state = world.memory.state();
    let known = &state.activity[&NodeId(1)];
    let batch = Batch {
        node: NodeId(1),
        incarnation: Incarnation(known.incarnation.0),
        sequence: 1,
        digest: Digest([limit.len() as u8; 32]),
        records: vec![Record::Ask(Box::new(ask))],
    };
    world.memory.apply(&by_node(Command::Activity(batch))).outcome.unwrap();
}

#[tokio::test]
async fn accounts_are_told_as_the_ledger_has_them() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let each = pb::Budget { per: Some(m::Dimension::Principal.into()), ..budget("acme", "each") };
    world.budgets(&admin).put_budget(put(each)).await.unwrap();
    let subjects = ["admin", "developer", "two words"];
    lend(&world, "budget/each", &subjects, 40);
    let all = accounts(&world, pb::ListAccountsRequest::default()).await.accounts;
    let names: Vec<_> = all.iter().map(|account| account.name.clone().unwrap().subject).collect();
    assert_eq!(names, subjects);
    let account = &all[1];
    let name = account.name.as_ref().unwrap();
    assert_eq!((name.tenant.as_str(), name.limit.as_str()), ("acme", "budget/each"));
    assert_eq!(account.period_end_ms, Some(name.period_start_ms + HOUR_MS));
    assert_eq!((account.measure.as_str(), account.period.as_str()), ("calls", "hour"));
    let told = (account.amount.as_deref(), account.posted.as_str(), account.outstanding.as_str());
    assert_eq!(told, (Some("1000"), "0", "40"));
    assert_eq!((account.available.as_deref(), account.overrun.as_str()), (Some("960"), "0"));
    assert_eq!((account.lent[0].node, account.lent[0].outstanding.as_str()), (1, "40"));
    assert!(account.provisional && account.hard && !account.closed);
    // One limit, one subject, one at a time.
    let of = |limit: &str, subject: &str| pb::ListAccountsRequest {
        limit: limit.into(),
        subject: subject.into(),
        ..Default::default()
    };
    assert_eq!(accounts(&world, of("budget/each", "developer")).await.accounts.len(), 1);
    assert!(accounts(&world, of("quota/requests", "")).await.accounts.is_empty());
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListAccountsRequest { page_size: 1, page_token, ..Default::default() };
        let page = accounts(&world, request).await;
        paged.extend(page.accounts.into_iter().map(|account| account.name.unwrap().subject));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, subjects);
    let mut client = world.budgets(&admin);
    let refused = client.list_accounts(of("salary/x", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    // The limit is gone, what it counted is not.
    let request = pb::DeleteBudgetRequest { budget: "each".into(), ..Default::default() };
    client.delete_budget(request).await.unwrap();
    let orphans = accounts(&world, pb::ListAccountsRequest::default()).await.accounts;
    assert_eq!((orphans.len(), orphans[0].amount.as_ref(), orphans[0].hard), (3, None, false));
    assert_eq!(orphans[0].outstanding, "40");
}

#[tokio::test]
async fn what_a_lost_node_holds_is_posted_in_full_and_told() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let each = pb::Budget { per: Some(m::Dimension::Principal.into()), ..budget("acme", "each") };
    world.budgets(&admin).put_budget(put(each)).await.unwrap();
    lend(&world, "budget/each", &["admin", "developer"], 40);
    let mut client = world.budgets(&world.root_key);
    let all = accounts(&world, pb::ListAccountsRequest::default()).await.accounts;
    let one = pb::ForceCloseRequest { options: named(9), node: 1, account: all[0].name.clone() };
    let answer = client.force_close(one.clone()).await.unwrap().into_inner();
    let amount = |amount: &str| pb::ForceClosedAmount { measure: "calls".into(), amount: amount.into() };
    assert_eq!((answer.told, answer.accounts, answer.posted), (true, 1, vec![amount("40")]));
    // Sent again it takes effect once, and says that it does not know the amounts any more.
    let again = client.force_close(one).await.unwrap().into_inner();
    assert_eq!(again.result.unwrap().log_index, answer.result.unwrap().log_index);
    assert_eq!((again.told, again.posted.len()), (false, 0));
    let after = accounts(&world, pb::ListAccountsRequest::default()).await.accounts;
    assert_eq!((after[0].posted.as_str(), after[0].outstanding.as_str()), ("40", "0"));
    assert_eq!((after[1].posted.as_str(), after[1].outstanding.as_str()), ("0", "40"));
    let rest = client.force_close(pb::ForceCloseRequest { node: 1, ..Default::default() }).await.unwrap();
    assert_eq!(rest.into_inner().posted, [amount("40")]);
    let none = client.force_close(pb::ForceCloseRequest { node: 1, ..Default::default() }).await.unwrap();
    let none = none.into_inner();
    assert_eq!((none.told, none.accounts, none.posted.len()), (true, 0, 0));
    // A node nobody knows, an account nobody has.
    let unknown = pb::ForceCloseRequest { node: 9, ..Default::default() };
    assert_eq!(client.force_close(unknown).await.unwrap_err().code(), Code::NotFound);
    let name = pb::AccountName { subject: "nobody".into(), ..all[0].name.clone().unwrap() };
    let nobodys = pb::ForceCloseRequest { node: 1, account: Some(name), ..Default::default() };
    assert_eq!(client.force_close(nobodys).await.unwrap_err().code(), Code::NotFound);
    let name = pb::AccountName { limit: "salary/x".into(), ..all[0].name.clone().unwrap() };
    let wrong = pb::ForceCloseRequest { node: 1, account: Some(name), ..Default::default() };
    assert_eq!(client.force_close(wrong).await.unwrap_err().code(), Code::InvalidArgument);
}

//! Single cases of the purse, in the world of the random runs: permits, what a call is told, and the bounds of the line.

use only1mcp_domain::ledger::Account;
use only1mcp_domain::row::RowValue;

use super::*;

/// The world at its start, with nothing under way.
async fn quiet() -> World {
    let mut world = World::new();
    world.heal();
    world
}

fn permit_waiters(world: &World) -> usize {
    world.state().ledger.waiters.values().filter(|waiter| waiter.parts[0].0 == permits()).count()
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_another_node_waits_for_is_not_kept_for_the_next_call_here() {
    let mut world = quiet().await;
    for _ in 0..10 {
        world.call(0, &[PERMIT], 1);
    }
    (0..20).for_each(|_| world.pass());
    assert_eq!(world.nodes[0].open.len(), 6, "node 1 has them all, and four calls wait there");
    world.call(1, &[PERMIT], 1);
    (0..20).for_each(|_| world.pass());
    assert!(permit_waiters(&world) >= 1);
    // Without a turn for the others, the calls that wait on node 1 would take every permit that is freed there.
    for _ in 0..3 {
        world.end(0, 0, 100);
        (0..5).for_each(|_| world.pass());
    }
    assert_eq!(world.nodes[1].open.len(), 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_lacks_a_permit_alone_leaves_the_other_accounts_where_they_are() {
    let mut world = quiet().await;
    for _ in 0..6 {
        world.call(0, &[PERMIT], 1);
    }
    world.call(1, &[0], 1);
    (0..20).for_each(|_| world.pass());
    let lent =
        |world: &World, node: u64| world.state().ledger.accounts[&key(0)].lent_to(NodeId(node)).outstanding;
    assert!(lent(&world, 2) > 1);
    world.call(1, &[0, PERMIT], 1);
    (0..20).for_each(|_| world.pass());
    assert_eq!(permit_waiters(&world), 1);
    assert!(world.state().ledger.waiters.values().all(|waiter| waiter.parts.len() == 1));
    assert!(lent(&world, 2) > 1, "nothing was called back for it");
    world.heal();
}

#[tokio::test(start_paused = true)]
async fn what_a_call_lacked_is_told() {
    let mut world = quiet().await;
    for _ in 0..7 {
        world.call(0, &[0, PERMIT], 1);
    }
    (0..20).for_each(|_| world.pass());
    assert_eq!((world.nodes[0].open.len(), world.nodes[0].waiting.len()), (6, 1));
    let purse = world.nodes[0].purse.clone();
    let InLineCall { call, line } = world.nodes[0].waiting.remove(0);
    let state = Arc::new(world.state().clone());
    let told =
        InLine::new(purse, call, line.unwrap()).wait(Instant::now() + Duration::from_secs(5), || state).await;
    assert!(matches!(told, Err(Shortage::Concurrency { .. })), "{told:?}");
    world.heal();
}

/// A dead node holds what is left of a budget: that its waiting calls had the permits called back is not the reason.
#[tokio::test(start_paused = true)]
async fn a_permit_that_is_in_the_pool_is_not_what_a_call_lacked() {
    let mut world = quiet().await;
    world.call(2, &[0], 40);
    (0..20).for_each(|_| world.pass());
    assert_eq!(world.nodes[2].open.len(), 1, "it has all of the budget");
    let state = world.state().clone();
    let of = |account: AccountKey| Need { account, end: TimestampMs(u64::MAX), amount: 1 };
    let inner = world.nodes[0].purse.lock();
    let told = inner.shortage(&state, NodeId(1), &[of(permits()), of(key(0))]);
    assert!(matches!(told, Shortage::Unavailable { .. }), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_room_for_another_account_is_told_so() {
    let world = quiet().await;
    let rows = world.state().rows().into_iter().filter_map(|row| row.value);
    let account = Account::new(TimestampMs(u64::MAX));
    let many = (0..limits::ACCOUNTS_PER_TENANT_MAX as u64).map(|number| RowValue::Account {
        key: AccountKey { limit: LimitId::QuotaRequests, start: TimestampMs(number), ..key(0) },
        account: account.clone(),
    });
    let state = State::from_rows(rows.chain(many)).unwrap();
    let need = Need { account: key(1), end: TimestampMs(u64::MAX), amount: 1 };
    let purse = &world.nodes[0].purse;
    let far = (Instant::now() + Duration::from_secs(9), TimestampMs(u64::MAX));
    let (mut answer, records) = purse.hold(|| &state, CallId([9; 16]), vec![need], far);
    assert!(matches!(answer.try_recv(), Ok(Err(Shortage::NoRoom { .. }))));
    assert!(records.is_empty(), "nobody is asked for what cannot be");
}

/// INVARIANT: P1 (a batch that is applied between the reading and the lock posts what the reading shows as lent, and ends
/// what was committed for it: both would be free)
#[tokio::test(start_paused = true)]
async fn the_state_is_read_where_no_batch_can_be_told_of_meanwhile() {
    let world = quiet().await;
    let purse = &world.nodes[0].purse;
    let state = || {
        assert!(purse.inner.try_lock().is_err(), "the purse is locked while the state is read");
        world.state()
    };
    let far = (Instant::now() + Duration::from_secs(9), TimestampMs(u64::MAX));
    let need = Need { account: key(0), end: TimestampMs(u64::MAX), amount: 1 };
    purse.hold(state, CallId([9; 16]), vec![need], far);
    purse.ended(state, &[]);
    purse.recall(state, &[key(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_recall_takes_what_no_call_holds_once() {
    let mut world = quiet().await;
    world.call(0, &[0], 1);
    (0..20).for_each(|_| world.pass());
    assert_eq!(world.nodes[0].open.len(), 1);
    let node = &world.nodes[0];
    let lent = world.state().ledger.accounts[&key(0)].lent_to(node.id).outstanding;
    assert!(lent > 1, "a slice: {lent}");
    let (parts, more) = node.purse.recall(|| world.state(), &[key(0), key(1)]);
    assert_eq!((parts.as_slice(), more), (&[Return { account: key(0), amount: lent - 1 }][..], false));
    let again = node.purse.recall(|| world.state(), &[key(0), key(1)]);
    assert_eq!(again, (Vec::new(), false), "it is on its way, and the call keeps its own");
}

#[tokio::test(start_paused = true)]
async fn recall_parts_max() {
    let world = quiet().await;
    let rows: Vec<RowValue> = world.state().rows().into_iter().filter_map(|row| row.value).collect();
    let of = |number: usize| AccountKey {
        start: TimestampMs(number as u64),
        limit: LimitId::QuotaRequests,
        ..key(0)
    };
    for (count, more) in [(limits::RECALL_PARTS_MAX, false), (limits::RECALL_PARTS_MAX + 1, true)] {
        let keys: Vec<AccountKey> = (0..count).map(of).collect();
        let mut account = Account::new(TimestampMs(u64::MAX));
        let one = only1mcp_domain::ledger::Lent { outstanding: 1, ..Default::default() };
        account.lent.push((NodeId(1), one));
        let lent = keys.iter().map(|key| RowValue::Account { key: key.clone(), account: account.clone() });
        let state = State::from_rows(rows.iter().cloned().chain(lent)).unwrap();
        let purse = Purse::new(NodeId(1), Arc::default());
        purse.open();
        let (parts, left) = purse.recall(|| &state, &keys);
        assert_eq!((parts.len(), left), (limits::RECALL_PARTS_MAX, more));
        assert_eq!(purse.recall(|| &state, &keys).0.len(), count - limits::RECALL_PARTS_MAX, "the rest");
    }
}

/// INVARIANT: P7
#[test]
fn line_max_and_line_per_tenant_max() {
    let mut inner = Inner::default();
    let of = |name: &str| TenantId::new(name).unwrap();
    let wait = |inner: &mut Inner, name: &str, count: usize| {
        for _ in 0..count {
            let account = AccountKey { tenant: of(name), ..key(0) };
            let needs = vec![Need { account, end: TimestampMs(u64::MAX), amount: 1 }];
            let (until, until_log) = (Instant::now(), TimestampMs(0));
            let (answer, _) = oneshot::channel();
            let call = CallId([0; 16]);
            inner.line.push_back(Waiting {
                call,
                until,
                until_log,
                needs,
                answer,
                sliced: false,
                attempts: 0,
            });
        }
    };
    wait(&mut inner, "a", limits::LINE_PER_TENANT_MAX - 1);
    assert!(inner.has_place(Some(&of("a"))));
    wait(&mut inner, "a", 1);
    assert!(!inner.has_place(Some(&of("a"))) && inner.has_place(Some(&of("b"))));
    for other in ["b", "c", "d"] {
        wait(&mut inner, other, limits::LINE_PER_TENANT_MAX - 1);
    }
    let rest = limits::LINE_MAX - inner.line.len();
    wait(&mut inner, "e", rest - 1);
    assert!(inner.has_place(Some(&of("b"))));
    wait(&mut inner, "e", 1);
    assert!(!inner.has_place(Some(&of("b"))));
}

/// INVARIANT: P7
#[test]
fn waiters_per_node_max_and_per_tenant() {
    let (node, tenant) = (limits::WAITERS_PER_NODE_MAX, limits::WAITERS_PER_TENANT_AND_NODE_MAX);
    assert!(may_ask(node - 1, tenant - 1));
    assert!(!may_ask(node, 0) && !may_ask(0, tenant));
}

#[tokio::test(start_paused = true)]
async fn a_commitment_that_ends_twice_frees_nothing() {
    let mut world = quiet().await;
    world.call(0, &[0], 2);
    (0..20).for_each(|_| world.pass());
    let purse = world.nodes[0].purse.clone();
    let free = |purse: &Purse| purse.lock().free(world.state(), NodeId(1), &key(0));
    let before = free(&purse);
    let hold = world.nodes[0].open[0].holds.clone();
    purse.release(CallId([1; 16]), &hold);
    purse.release(CallId([1; 16]), &hold);
    assert_eq!(free(&purse), before + 2, "no more than was held");
    assert_eq!(purse.lock().metrics.snapshot().ledger_broken, 1);
}

/// The line is served, and the call told, in the moment between the end of its patience and its asking what it lacked.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_answered_as_its_time_is_up_is_told_what_it_was_answered() {
    let world = quiet().await;
    let (purse, state) = (world.nodes[0].purse.clone(), world.history[world.nodes[0].seen].state.clone());
    let call = CallId([7; 16]);
    let needs = vec![Need { account: key(0), end: TimestampMs(u64::MAX), amount: 5 }];
    let until = Instant::now() + Duration::from_millis(1);
    purse.enter(call, START);
    let (answer, _) = purse.hold(|| &state, call, needs, (until, TimestampMs(u64::MAX)));
    tokio::time::advance(Duration::from_millis(2)).await;
    let newest = || {
        purse.moved(&state);
        std::sync::Arc::new(state.clone())
    };
    let told = InLine::new(purse.clone(), call, answer).wait(until, newest).await.unwrap_err();
    assert!(matches!(told, Shortage::Unavailable { .. }), "{told:?}");
}

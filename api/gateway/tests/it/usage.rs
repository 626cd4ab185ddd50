//! What a call used reaches whoever charges for it, whatever becomes of the call.

use std::time::Duration;

use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::ids::{MeteringId, TenantId};
use only1mcp_domain::model::Glob;
use only1mcp_domain::price::{Amounts, Meter, Metering, UsageSource};
use only1mcp_gateway::ports::Used;
use serde_json::{Value, json};

use crate::scripted::{Scripted, always, json_body, status};
use crate::world::{World, http, until};

fn metering() -> Metering {
    Metering {
        id: MeteringId::new("m").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        tools: Glob::new("up__*").unwrap(),
        provider: "maker".to_owned(),
        model: "m1".to_owned(),
        model_pointer: Some("/_meta/usage/model".to_owned()),
        tags: Default::default(),
        total_pointer: None,
        usage: vec![
            (Meter::Output, UsageSource::Pointer("/_meta/usage/out".to_owned())),
            (Meter::Call, UsageSource::Counted),
        ],
        bounds: Amounts::default().with(Meter::Output, 10),
    }
}

async fn world(upstream: &Scripted) -> World {
    let world = World::new(vec![http("up", upstream.addr)]).await;
    *world.fake.metering.lock().unwrap() = Some(metering());
    world
}

fn answer(usage: &Value) -> Value {
    json!({"content": [{"type": "text", "text": "x"}], "_meta": {"usage": usage}})
}

async fn used_by_an_answer(result: Value) -> (CallOutcome, Used) {
    let upstream = always(result).await;
    let world = world(&upstream).await;
    world.ann().await.call(1, "up__t", json!({})).await;
    let completed = world.fake.completed_once().await;
    world.shutdown().await;
    (completed.outcome, completed.used)
}

#[tokio::test]
async fn an_answer_tells_what_was_used() {
    let (outcome, used) = used_by_an_answer(answer(&json!({"out": 7, "model": "m1-2026"}))).await;
    assert_eq!(outcome, CallOutcome::Success);
    assert_eq!(used.amounts.get(Meter::Output), Some(7));
    assert_eq!(used.amounts.get(Meter::Call), Some(1));
    assert!(used.amounts.get(Meter::Byte).is_some_and(|bytes| bytes > 50));
    assert!(used.amounts.get(Meter::Second).is_some());
    assert_eq!(used.model.as_deref(), Some("m1-2026"));
    // More than declared is what it is; whoever charges for it says so.
    let (_, over) = used_by_an_answer(answer(&json!({"out": 4_000}))).await;
    assert_eq!((over.amounts.get(Meter::Output), over.model), (Some(4_000), None));
    // A tool that failed used it all the same.
    let mut failed = answer(&json!({"out": 3}));
    failed["isError"] = json!(true);
    let (outcome, used) = used_by_an_answer(failed).await;
    assert_eq!((outcome, used.amounts.get(Meter::Output)), (CallOutcome::ToolError, Some(3)));
}

/// What the enforcer bounds and paces by.
#[tokio::test]
async fn the_bytes_of_a_call_are_told_both_ways() {
    let result = answer(&json!({"out": 7}));
    let upstream = always(result.clone()).await;
    let world = world(&upstream).await;
    let arguments = json!({"text": "x".repeat(100)});
    world.ann().await.call(1, "up__t", arguments.clone()).await;
    world.fake.completed_once().await;
    let asked = world.fake.admitted.lock().unwrap()[0].clone();
    assert_eq!(asked.input_bytes, arguments.to_string().len() as u64);
    crate::world::until("the answer", || world.fake.paced.lock().unwrap().len() == 2).await;
    let paced = world.fake.paced.lock().unwrap().clone();
    assert!(paced.iter().all(|(tenant, _)| *tenant == asked.caller.tenant));
    let (there, back) = (paced[0].1, paced[1].1);
    assert!(there > asked.input_bytes && there < asked.input_bytes + 200, "{there}");
    assert!(back > result.to_string().len() as u64, "{back}");
    world.shutdown().await;
}

#[tokio::test]
async fn garbage_is_answered_and_not_believed() {
    for garbage in
        [json!({"out": -7}), json!({"out": "many"}), json!({"out": 1.5}), json!(null), json!([1, 2])]
    {
        let (outcome, used) = used_by_an_answer(answer(&garbage)).await;
        assert_eq!(outcome, CallOutcome::Success);
        assert_eq!(used.amounts.get(Meter::Output), None, "{garbage}");
        assert_eq!(used.amounts.get(Meter::Call), Some(1));
    }
}

#[tokio::test]
async fn of_a_call_that_was_not_answered_nobody_knows_what_it_used() {
    let dying = Scripted::new(|_| Box::pin(async { status(500) })).await;
    let world_of_dying = world(&dying).await;
    world_of_dying.ann().await.call(1, "up__t", json!({})).await;
    let completed = world_of_dying.fake.completed_once().await;
    assert_eq!((completed.outcome, completed.used), (CallOutcome::UpstreamFailed, Used::default()));
    world_of_dying.shutdown().await;

    let silent = Scripted::new(|_| Box::pin(std::future::pending())).await;
    let mut hanging = http("up", silent.addr);
    hanging.call_timeout_ms = 300;
    let world_of_silent = World::new(vec![hanging]).await;
    *world_of_silent.fake.metering.lock().unwrap() = Some(metering());
    world_of_silent.ann().await.call(1, "up__t", json!({})).await;
    let completed = world_of_silent.fake.completed_once().await;
    assert_eq!((completed.outcome, completed.used), (CallOutcome::TimedOut, Used::default()));
    world_of_silent.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_call_is_not_known_either() {
    let silent = Scripted::new(|_| Box::pin(std::future::pending())).await;
    let world = world(&silent).await;
    let client = world.ann().await;
    let cancelling = async {
        until("the call is sent", || !silent.texts("tools/call").is_empty()).await;
        let cancelled =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        client.post(&cancelled).await;
    };
    tokio::join!(client.call(1, "up__t", json!({})), cancelling);
    let completed = world.fake.completed_once().await;
    assert_eq!((completed.outcome, completed.used), (CallOutcome::Cancelled, Used::default()));
    world.shutdown().await;
}

/// A client that hangs up has not cancelled: its call is answered, and charged as what it used.
#[tokio::test]
async fn a_client_that_is_gone_is_charged_what_it_used() {
    let upstream = Scripted::new(|message| {
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": answer(&json!({"out": 5}))});
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            json_body(text.to_string())
        })
    })
    .await;
    let world = world(&upstream).await;
    let client = world.ann().await;
    tokio::select! {
        _ = client.call(1, "up__t", json!({})) => panic!("it was to be gone by then"),
        () = until("the call is sent", || !upstream.texts("tools/call").is_empty()) => {}
    }
    let completed = world.fake.completed_once().await;
    assert_eq!(
        (completed.outcome, completed.used.amounts.get(Meter::Output)),
        (CallOutcome::Success, Some(5))
    );
    world.shutdown().await;
}

#[tokio::test]
async fn a_call_that_never_left_used_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = listener.local_addr().unwrap();
    drop(listener);
    let world = World::new(vec![http("up", nowhere)]).await;
    *world.fake.metering.lock().unwrap() = Some(metering());
    world.ann().await.call(1, "up__t", json!({})).await;
    let completed = world.fake.completed_once().await;
    assert_eq!(completed.outcome, CallOutcome::UpstreamFailed);
    assert_eq!(completed.used.amounts.get(Meter::Output), Some(0));
    assert_eq!(completed.used.amounts.get(Meter::Call), Some(0));
    world.shutdown().await;
}

//! Names, policy and raw forwarding.

use only1mcp_domain::activity::{CallOutcome, ItemKind};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::Digest;
use serde_json::json;
use sha3::{Digest as _, Sha3_256};

use crate::real::serve;
use crate::scripted::{Scripted, always, json_body, text_result};
use crate::world::{World, http, stdio};

#[tokio::test]
async fn unknown_fields_and_number_formats_pass_unharmed_both_ways() {
    let upstream = Scripted::new(|message| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"zz":1.0e2,"content":[{{"x-new":[1,2.50]}}],"_meta":{{"b":1.10,"a":2}},"huge":12345678901234567890123}},"extra":true}}"#,
            message["id"]
        );
        Box::pin(async move { json_body(text) })
    })
    .await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    let mut client = client;
    client.set("x-only1mcp-project", "apollo");
    client.set("x-request-id", "r-1");
    let body = "{\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"method\":\"tools/call\",\"x-top\":1.50,\"params\":{\"name\":\"up__t\",\n\"arguments\":{\"n\": 1.000,\n\"big\":98765432109876543210},\"future\":{\"k\":1e5},\"_meta\":{\"trace\":\"x\"}}}";
    let answer = client.send(http::Method::POST, body).await;
    assert!(!answer.is_stream());
    let text = answer.text().await;
    let receipt = text.find(r#","only1mcp/receipt":"#).unwrap();
    assert_eq!(
        &text[..receipt],
        r#"{"jsonrpc":"2.0","id":"a-1","result":{"zz":1.0e2,"content":[{"x-new":[1,2.50]}],"_meta":{"b":1.10,"a":2"#
    );
    assert!(text.ends_with(r#""state":"sealed"}},"huge":12345678901234567890123},"extra":true}"#), "{text}");
    let sent = upstream.texts("tools/call").remove(0);
    let params = sent.split_once(r#""params":"#).unwrap().1;
    assert_eq!(
        params,
        r#"{"name":"t","arguments":{"n": 1.000, "big":98765432109876543210},"future":{"k":1e5},"_meta":{"trace":"x"}}}"#
    );
    let admitted = world.fake.admitted.lock().unwrap()[0].clone();
    let arguments = b"{\"n\": 1.000,\n\"big\":98765432109876543210}";
    assert_eq!(admitted.argument_digest, Digest(Sha3_256::digest(arguments).into()));
    assert_eq!(
        (admitted.kind, admitted.item.as_str(), admitted.own_name.as_str()),
        (ItemKind::Tool, "up__t", "t")
    );
    let caller = &admitted.caller;
    assert_eq!((caller.identity.principal.as_str(), caller.tenant.as_str()), ("ann", "acme"));
    assert_eq!(caller.project.as_ref().map(|project| project.as_str()), Some("apollo"));
    assert_eq!(caller.ip, Some(std::net::Ipv4Addr::LOCALHOST.into()));
    assert!(caller.session.is_some() && caller.request_id == "r-1");
    assert!(upstream.secrets.lock().unwrap().iter().all(|secret| secret == "hush"));
    world.shutdown().await;
}

#[tokio::test]
async fn prompts_and_resources_are_mapped_there_and_back() {
    let (addr, _) = serve().await;
    for upstream in [http("up", addr), stdio("up")] {
        let world = World::new(vec![upstream]).await;
        let client = world.ann().await;
        assert_eq!(client.names("prompts/list", "prompts").await, ["up__greet"]);
        let listed = client.ask(1, "resources/list", json!({})).await;
        let uri = "up+file:///a+b.txt";
        assert_eq!(listed["result"]["resources"][0]["uri"], uri);
        assert_eq!(listed["result"]["resources"][0]["name"], "up__a");
        let read = client.ask(2, "resources/read", json!({"uri": uri})).await;
        assert_eq!(read["result"]["contents"][0]["uri"], uri);
        assert_eq!(read["result"]["contents"][0]["text"], "contents");
        let got = client.ask(3, "prompts/get", json!({"name": "up__greet"})).await;
        assert_eq!(got["result"]["messages"][0]["content"]["text"], "greet");
        let items: Vec<String> = world.fake.admitted.lock().unwrap().iter().map(|a| a.item.clone()).collect();
        assert_eq!(items, ["up__file:///a+b.txt", "up__greet"]);
        world.shutdown().await;
    }
}

#[tokio::test]
async fn a_refused_call_says_why_and_reaches_nobody() {
    let upstream = always(text_result("no")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    world.fake.deny("up__t");
    let client = world.ann().await;
    let error = client.call(1, "up__t", json!({})).await["error"].clone();
    assert_eq!(error["code"], -32003);
    assert_eq!(error["data"]["code"], "no_permission");
    assert_eq!(error["data"]["revision"], 42);
    assert_eq!(error["data"]["decision"], "04".repeat(16));
    assert_eq!(error["data"]["ask"], Reason::NoPermission.ask());
    for unknown in ["gone__t", "plain", "Bad Name__t"] {
        assert_eq!(client.call(2, unknown, json!({})).await["error"]["data"]["code"], "upstream_unknown");
    }
    let refused = world.fake.refused.lock().unwrap().clone();
    assert_eq!(refused.len(), 3);
    assert_eq!(refused[1], ("plain".to_owned(), Reason::UpstreamUnknown));
    assert!(upstream.texts("tools/call").is_empty());
    assert!(world.fake.completed().is_empty());
}

#[tokio::test]
async fn outcomes_are_recorded_as_they_were() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    assert_eq!(client.call(1, "up__fail", json!({})).await["result"]["isError"], true);
    let error = client.call(2, "up__absent", json!({})).await["error"].clone();
    assert_eq!(error["code"], -32602);
    client.call(3, "up__echo", json!({})).await;
    let outcomes: Vec<CallOutcome> = world.fake.completed().iter().map(|c| c.outcome).collect();
    assert_eq!(outcomes, [CallOutcome::ToolError, CallOutcome::UpstreamError, CallOutcome::Success]);
    assert!(world.fake.completed().iter().all(|completed| completed.bytes > 10));
    world.shutdown().await;
}

#[tokio::test]
async fn lists_hide_what_is_denied_and_name_what_is_unavailable() {
    let (addr, _) = serve().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::new(vec![http("bad", nobody), http("up", addr)]).await;
    world.fake.deny("up__slow");
    let client = world.ann().await;
    let listed = client.ask(1, "tools/list", json!({})).await["result"].clone();
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["up__echo", "up__progress", "up__ask", "up__fail", "up__touch"]);
    let unavailable = &listed["_meta"]["only1mcp/unavailable"];
    assert_eq!(*unavailable, json!([{"upstream": "bad", "error": "cannot be reached (no connection)"}]));
    client.ask(2, "tools/list", json!({})).await;
    let third = client.ask(3, "tools/list", json!({})).await;
    let error = third["result"]["_meta"]["only1mcp/unavailable"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("tried again in"), "{error}");
    let health = world.gateway.upstream_health();
    assert!(matches!(&health[0].health, only1mcp_gateway::Health::Failing { failures: 2, .. }), "{health:?}");
    assert_eq!(health[1].health, only1mcp_gateway::Health::Ok);
    world.shutdown().await;
}

#[tokio::test]
async fn long_lists_are_gathered_from_pages_and_given_in_pages() {
    let upstream = Scripted::new(|message| {
        let result = match message["params"]["cursor"].as_str() {
            None => json!({"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "two"}),
            Some("two") => json!({"tools": [{"name": "c", "x": 1}]}),
            Some(_) => json!({"tools": 1}),
        };
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        Box::pin(async move { json_body(text) })
    })
    .await;
    let world = World::with(1, vec![http("a", upstream.addr), http("b", upstream.addr)], |config| {
        config.list_page_items_max = 2;
    })
    .await;
    world.fake.deny("b__a");
    let client = world.ann().await;
    let (mut names, mut params, mut pages) = (Vec::new(), json!({}), 0);
    loop {
        let page = client.ask(1, "tools/list", params).await["result"].clone();
        let tools = page["tools"].as_array().unwrap();
        names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => params = json!({"cursor": next}),
            None => break,
        }
    }
    assert_eq!(names, ["a__a", "a__b", "a__c", "b__b", "b__c"]);
    assert_eq!(pages, 3);
    let bad = client.ask(1, "tools/list", json!({"cursor": "two"})).await;
    assert_eq!(bad["error"]["code"], -32602);
    world.shutdown().await;
}

#[tokio::test]
async fn a_list_that_never_ends_is_cut_off() {
    let upstream = Scripted::new(|message| {
        let result = json!({"tools": [{"name": "a"}], "nextCursor": "again"});
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        Box::pin(async move { json_body(text) })
    })
    .await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let listed = world.ann().await.ask(1, "tools/list", json!({})).await;
    let error = &listed["result"]["_meta"]["only1mcp/unavailable"][0]["error"];
    assert_eq!(*error, "broke the protocol (its list does not end)");
    world.shutdown().await;
}

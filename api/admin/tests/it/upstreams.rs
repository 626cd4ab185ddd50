//! Upstreams: secrets are written and never read back, shared ones are offered, processes are the operators'.

use only1mcp_domain::model::Transport;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::Code;

use crate::samples::upstream;
use crate::world::World;

fn put(upstream: m::Upstream) -> pb::PutUpstreamRequest {
    pb::PutUpstreamRequest { options: None, upstream: Some(upstream) }
}

#[tokio::test]
async fn secrets_are_kept_and_not_shown() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let mut client = world.upstreams(&admin);
    client.put_upstream(put(upstream("acme", "files"))).await.unwrap();
    let request = pb::GetUpstreamRequest { upstream: "files".into(), ..Default::default() };
    let record = client.get_upstream(request).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.health.unwrap().status, "healthy");
    let mut shown = record.upstream.unwrap();
    assert_eq!((shown.headers[0].name.as_str(), &shown.headers[0].value), ("authorization", &None));
    // What was shown can be changed and put back.
    shown.description = "files of acme".into();
    client.put_upstream(put(shown)).await.unwrap();
    let state = world.memory.state();
    let stored = state.upstreams.values().next().unwrap();
    assert_eq!(
        (stored.value.description.as_str(), stored.value.headers[0].value.as_str()),
        ("files of acme", "hidden")
    );
    // A new header needs a value.
    let mut incomplete = upstream("acme", "more");
    incomplete.headers[0].value = None;
    assert_eq!(client.put_upstream(put(incomplete)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn shared_upstreams_are_offered_to_tenants() {
    let world = World::new().await;
    world.upstreams(&world.root_key).put_upstream(put(upstream("system", "shared"))).await.unwrap();
    world.upstreams(world.key("acme/admin")).put_upstream(put(upstream("acme", "own"))).await.unwrap();
    let list = |key: &str| {
        let mut client = world.upstreams(key);
        async move {
            let answer =
                client.list_upstreams(pb::ListUpstreamsRequest::default()).await.unwrap().into_inner();
            answer.records.into_iter().map(|record| record.upstream.unwrap().id).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(world.key("acme/viewer")).await, ["own", "shared"]);
    assert_eq!(list(world.key("other/viewer")).await, ["shared"]);
}

#[tokio::test]
async fn only_operators_register_processes() {
    let world = World::new().await;
    let stdio = m::StdioTransport { command: "/bin/true".into(), args: Vec::new(), env: Vec::new() };
    let mut process = upstream("acme", "process");
    process.transport = Some(m::Transport { kind: Some(m::transport::Kind::Stdio(stdio)) });
    let admin = world.key("acme/admin").to_owned();
    let refused = world.upstreams(&admin).put_upstream(put(process.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.upstreams(&world.root_key).put_upstream(put(process)).await.unwrap();
    let state = world.memory.state();
    assert!(matches!(state.upstreams.values().next().unwrap().value.transport, Transport::Stdio { .. }));
}

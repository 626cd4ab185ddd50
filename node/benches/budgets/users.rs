//! Many principals of one tenant, each with a key and an MCP session of its own.

use std::path::Path;

use only1mcp_node::ctl::{Api, Connection};
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::principals_client::PrincipalsClient;
use only1mcp_proto::admin::roles_client::RolesClient;
use only1mcp_proto::model;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use crate::cluster::Cluster;
use crate::load::{Client, Target};

/// So many are made at one time.
const WORKERS: usize = 32;
const ROLE: &str = "caller";
/// Looks at most so often whether a key has come.
const KNOWN_AFTER: usize = 1_000;
const LOOK: Duration = Duration::from_millis(20);

pub async fn make(cluster: &Cluster, tenant: &str, count: usize) -> Vec<Target> {
    cluster.ctl(&["role", "put", ROLE, "--tenant", tenant, "--permission", "ToolAll"]);
    cluster.ctl(&["tenant", "update", tenant, "--quota", "max_users=unlimited"]);
    let text = |name: &str| cluster.about[name].as_str().unwrap().to_owned();
    let endpoint = cluster.about["nodes"][0]["admin_url"].as_str().unwrap();
    let api = Connection::with_key(endpoint, Path::new(&text("ca")), &text("root_key")).api().await.unwrap();
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (api, tenant, addresses) = (api.clone(), tenant.to_owned(), cluster.addresses.clone());
        workers.spawn(async move {
            let mut made = Vec::new();
            for number in (worker..count).step_by(WORKERS) {
                let key = Some(principal(&api, &tenant, &format!("user-{number}")).await);
                let address = addresses[number % addresses.len()];
                let mut target = Target { address, tool: "bench__echo", key, session: None };
                target.session = Some(session(&target).await);
                made.push(target);
            }
            made
        });
    }
    workers.join_all().await.into_iter().flatten().collect()
}

/// An MCP session of its own. Its key was made through another node, and may not have come to this one yet.
async fn session(target: &Target) -> String {
    for _ in 0..KNOWN_AFTER {
        match Client::connect(target.clone()).await.initialize().await {
            Err(said) if said.contains("key_unknown") => sleep(LOOK).await,
            session => return session.unwrap(),
        }
    }
    panic!("the key of a user did not come to {}", target.address)
}

/// A service account that may call every tool; its key.
async fn principal(api: &Api, tenant: &str, id: &str) -> String {
    let mut principals = PrincipalsClient::new(api.clone());
    let principal = model::Principal {
        tenant: tenant.to_owned(),
        id: id.to_owned(),
        kind: model::PrincipalKind::Service.into(),
        enabled: true,
        ..model::Principal::default()
    };
    let request = pb::CreatePrincipalRequest { options: None, principal: Some(principal) };
    principals.create_principal(request).await.unwrap();
    let (tenant, principal, role) = (tenant.to_owned(), id.to_owned(), ROLE.to_owned());
    let grant =
        model::Grant { tenant: tenant.clone(), principal: principal.clone(), role, ..Default::default() };
    let request = pb::CreateGrantRequest { options: None, grant: Some(grant) };
    RolesClient::new(api.clone()).create_grant(request).await.unwrap();
    let request = pb::CreateKeyRequest { tenant, principal, ..Default::default() };
    principals.create_key(request).await.unwrap().into_inner().key
}

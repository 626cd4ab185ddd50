//! What a development cluster begins with: upstreams, two tenants, a key for each built-in role.

use anyhow::{Context as _, ensure};
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::cluster_client::ClusterClient;
use only1mcp_proto::admin::principals_client::PrincipalsClient;
use only1mcp_proto::admin::roles_client::RolesClient;
use only1mcp_proto::admin::tenants_client::TenantsClient;
use only1mcp_proto::admin::upstreams_client::UpstreamsClient;
use only1mcp_proto::model;
use tokio::time::{Duration, Instant, sleep};

use crate::ctl::{Api, Connection};
use crate::demo;
use crate::dev::Cluster;
use crate::dev::summary::{DevKeys, DevTenant};

const VOTERS: Duration = Duration::from_secs(20);
const TENANTS: [&str; 2] = ["acme", "globex"];
const CONCURRENCY: u32 = 256;
const CALL_TIMEOUT_MS: u64 = 60_000;

/// `--upstream NAME=…`.
pub struct NamedUpstream {
    name: String,
    transport: model::transport::Kind,
}

pub fn parse_upstreams(texts: &[String]) -> anyhow::Result<Vec<NamedUpstream>> {
    texts.iter().map(|text| parse_upstream(text)).collect()
}

fn parse_upstream(text: &str) -> anyhow::Result<NamedUpstream> {
    let (name, what) =
        text.split_once('=').with_context(|| format!("--upstream {text}: give NAME=URL-or-command"))?;
    only1mcp_domain::ids::UpstreamId::new(name).with_context(|| format!("--upstream {text}"))?;
    let transport = if what.starts_with("http://") || what.starts_with("https://") {
        model::transport::Kind::Http(model::HttpTransport { url: what.to_owned() })
    } else {
        let mut words = what.split_whitespace().map(str::to_owned);
        let command = words.next().with_context(|| format!("--upstream {text}: the command is empty"))?;
        model::transport::Kind::Stdio(model::StdioTransport {
            command,
            args: words.collect(),
            env: Vec::new(),
        })
    };
    Ok(NamedUpstream { name: name.to_owned(), transport })
}

async fn api(cluster: &Cluster, index: usize) -> anyhow::Result<Api> {
    let endpoint = cluster.node(index)?.file.admin_url.clone();
    Connection::with_key(&endpoint, &cluster.ca, &cluster.root_key).api().await
}

pub async fn join_token(cluster: &Cluster) -> anyhow::Result<String> {
    // The node that was just told to form the cluster opens its admin port in a moment.
    let until = Instant::now() + VOTERS;
    loop {
        let made = async {
            let mut client = ClusterClient::new(api(cluster, 0).await?);
            let made = client.create_join_token(pb::CreateJoinTokenRequest::default()).await?;
            anyhow::Ok(made.into_inner().token)
        };
        match made.await {
            Ok(token) => return Ok(token),
            Err(error) if Instant::now() >= until => return Err(error.context("no join token could be made")),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Id of the leader, as the node at `index` sees it.
pub async fn leader(cluster: &Cluster, index: usize) -> anyhow::Result<Option<u64>> {
    let mut client = ClusterClient::new(api(cluster, index).await?);
    Ok(client.status(pb::StatusRequest {}).await?.into_inner().leader)
}

/// Returns once the node of that name is registered.
pub async fn wait_for_member(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let until = Instant::now() + VOTERS;
    let mut client = ClusterClient::new(api(cluster, 0).await?);
    loop {
        let status = client.status(pb::StatusRequest {}).await?.into_inner();
        if status.members.iter().any(|member| member.name == name) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{name} was not taken in; see its log");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns once every node votes, so that any one may be killed.
pub async fn wait_for_voters(cluster: &Cluster) -> anyhow::Result<()> {
    let until = Instant::now() + VOTERS;
    let mut client = ClusterClient::new(api(cluster, 0).await?);
    loop {
        let status = client.status(pb::StatusRequest {}).await?.into_inner();
        if status.members.iter().filter(|member| member.role == "voter").count() == cluster.nodes.len() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "not every node became a voter");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Registers the demo server and those of the command line, for all tenants.
pub async fn upstreams(cluster: &Cluster, demo_port: u16, named: &[NamedUpstream]) -> anyhow::Result<()> {
    let mut client = UpstreamsClient::new(api(cluster, 0).await?);
    let demo = NamedUpstream {
        name: "demo".to_owned(),
        transport: model::transport::Kind::Http(model::HttpTransport {
            url: format!("http://127.0.0.1:{demo_port}{}", demo::DEMO_PATH),
        }),
    };
    for upstream in std::iter::once(&demo).chain(named) {
        let record = model::Upstream {
            tenant: "system".to_owned(),
            id: upstream.name.clone(),
            description: "registered by only1mcp dev".to_owned(),
            transport: Some(model::Transport { kind: Some(upstream.transport.clone()) }),
            session_mode: model::SessionMode::PerSession.into(),
            enabled: true,
            concurrency_max: CONCURRENCY,
            call_timeout_ms: CALL_TIMEOUT_MS,
            ..model::Upstream::default()
        };
        client.put_upstream(pb::PutUpstreamRequest { options: None, upstream: Some(record) }).await?;
    }
    Ok(())
}

/// Everything a new cluster gets; the tenants with their keys.
pub async fn everything(
    cluster: &Cluster,
    demo_port: u16,
    named: &[NamedUpstream],
) -> anyhow::Result<Vec<DevTenant>> {
    upstreams(cluster, demo_port, named).await?;
    let api = api(cluster, 0).await?;
    let mut tenants = Vec::new();
    for id in TENANTS {
        tenants.push(tenant(&api, id).await.with_context(|| format!("tenant {id}"))?);
    }
    Ok(tenants)
}

async fn tenant(api: &Api, id: &str) -> anyhow::Result<DevTenant> {
    let record = model::Tenant {
        id: id.to_owned(),
        name: id.to_owned(),
        tier: model::TenantTier::Professional.into(),
        seal_mode: model::SealMode::Sealed.into(),
        status: model::TenantStatus::Active.into(),
        ..model::Tenant::default()
    };
    let request = pb::CreateTenantRequest { options: None, tenant: Some(record) };
    TenantsClient::new(api.clone()).create_tenant(request).await?;
    let keys = DevKeys {
        admin: member(api, id, "admin").await?,
        developer: member(api, id, "developer").await?,
        viewer: member(api, id, "viewer").await?,
        auditor: member(api, id, "auditor").await?,
    };
    let restriction = model::ToolRestriction {
        tenant: id.to_owned(),
        id: "administrators-only".to_owned(),
        tools: "demo__admin_only".to_owned(),
        allowed_roles: vec!["admin".to_owned()],
        rate_limit: None,
        description: "shows how a single tool is kept for one role".to_owned(),
    };
    let request = pb::PutRestrictionRequest { options: None, restriction: Some(restriction) };
    RolesClient::new(api.clone()).put_restriction(request).await?;
    Ok(DevTenant { id: id.to_owned(), keys })
}

/// A service account named after the role it holds, and its key.
async fn member(api: &Api, tenant: &str, role: &str) -> anyhow::Result<String> {
    let mut principals = PrincipalsClient::new(api.clone());
    let principal = model::Principal {
        tenant: tenant.to_owned(),
        id: role.to_owned(),
        kind: model::PrincipalKind::Service.into(),
        display_name: format!("{role} of {tenant}"),
        enabled: true,
        ..model::Principal::default()
    };
    principals
        .create_principal(pb::CreatePrincipalRequest { options: None, principal: Some(principal) })
        .await?;
    let grant = model::Grant {
        tenant: tenant.to_owned(),
        principal: role.to_owned(),
        role: role.to_owned(),
        // A service account has no second factor; the waiver stands in the audit by name.
        waive_mfa: role == "auditor",
        ..model::Grant::default()
    };
    let request = pb::CreateGrantRequest { options: None, grant: Some(grant) };
    RolesClient::new(api.clone()).create_grant(request).await?;
    let request = pb::CreateKeyRequest {
        tenant: tenant.to_owned(),
        principal: role.to_owned(),
        label: "made by only1mcp dev".to_owned(),
        ..pb::CreateKeyRequest::default()
    };
    Ok(principals.create_key(request).await?.into_inner().key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_url_or_a_command() {
        let url = parse_upstream("files=http://127.0.0.1:9/mcp").unwrap();
        assert!(matches!(url.transport, model::transport::Kind::Http(_)));
        let command = parse_upstream("everything=npx -y server-everything stdio").unwrap();
        let model::transport::Kind::Stdio(stdio) = command.transport else { panic!("not a command") };
        assert_eq!((stdio.command.as_str(), stdio.args.len()), ("npx", 3));
        for bad in ["files", "=http://x", "Bad Name=x", "files="] {
            assert!(parse_upstream(bad).is_err(), "{bad}");
        }
    }
}

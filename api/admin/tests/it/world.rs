//! A formed cluster with two tenants, a key for each built-in role, and a server on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;

use only1mcp_admin::ports::Ports;
use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{ApiKeyId, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::{ApiKey, ClusterSettings, Principal, PrincipalKind};
use only1mcp_domain::secret;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use pb::audit_client::AuditClient;
use pb::budgets_client::BudgetsClient;
use pb::cluster_client::ClusterClient;
use pb::costs_client::CostsClient;
use pb::decisions_client::DecisionsClient;
use pb::prices_client::PricesClient;
use pb::principals_client::PrincipalsClient;
use pb::roles_client::RolesClient;
use pb::tenants_client::TenantsClient;
use pb::upstreams_client::UpstreamsClient;
use pb::webhooks_client::WebhooksClient;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::memory::{Memory, NOW_MS, TwoZones};

pub const KEY_HASH_KEY: Secret32 = Secret32([5; 32]);

#[derive(Clone)]
pub struct Bearer(Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        Ok(request)
    }
}

pub type Api = InterceptedService<Channel, Bearer>;

pub struct World {
    pub memory: Arc<Memory>,
    pub channel: Channel,
    pub root_key: String,
    /// `acme/viewer` and so on.
    pub keys: BTreeMap<String, String>,
}

macro_rules! clients {
    ($($name:ident $client:ident;)*) => {
        impl World {
            $(pub fn $name(&self, key: &str) -> $client<Api> {
                $client::new(self.api(Some(key)))
            })*
        }
    };
}

clients! {
    cluster ClusterClient;
    tenants TenantsClient;
    principals PrincipalsClient;
    roles RolesClient;
    decisions DecisionsClient;
    upstreams UpstreamsClient;
    budgets BudgetsClient;
    webhooks WebhooksClient;
    prices PricesClient;
    costs CostsClient;
    audit AuditClient;
}

fn form(memory: &Memory) -> String {
    let system = TenantId::system();
    let root = PrincipalId::new("root").unwrap();
    let id = secret::key_id([1; 8]);
    let text = secret::format_key(&id, &[2; 32]);
    let mac = secret::mac(&KEY_HASH_KEY, secret::parse_key(&text).unwrap().1);
    let administrator = Principal {
        tenant: system.clone(),
        id: root.clone(),
        kind: PrincipalKind::Person,
        display_name: "Root".into(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: TimestampMs(NOW_MS),
        updated_at: TimestampMs(NOW_MS),
    };
    let administrator_key = ApiKey {
        id,
        tenant: system.clone(),
        principal: root.clone(),
        mac,
        label: String::new(),
        created_at: TimestampMs(NOW_MS),
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    };
    let node = RegisterNode {
        token: None,
        name: "node-1".into(),
        peer_address: "127.0.0.1:1".into(),
        admin_address: "127.0.0.1:2".into(),
        http_address: "127.0.0.1:3".into(),
        region: "here".into(),
        zone: "a".into(),
        version: "0.1.0".into(),
    };
    let command = Command::FormCluster(FormCluster {
        cluster_id: Digest([9; 32]),
        settings: ClusterSettings::new("test"),
        node,
        administrator,
        administrator_key,
        key_hash_key: KEY_HASH_KEY,
        session_key: Secret32([6; 32]),
    });
    let actor = Actor {
        tenant: system,
        principal: root,
        key: None,
        via: Via::Node(NodeId(1)),
        ip: None,
        user_agent: String::new(),
        personal: None,
        request_id: String::new(),
    };
    let entry = Entry {
        actor,
        command_id: None,
        request_digest: Digest::default(),
        observed_at: TimestampMs(NOW_MS),
        command,
        signature: None,
    };
    memory.apply(&entry).outcome.unwrap();
    text
}

impl World {
    pub async fn new() -> Self {
        let memory = Memory::new();
        let root_key = form(&memory);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ports = Ports {
            cluster: memory.clone(),
            host: memory.clone(),
            backup: memory.clone(),
            proofs: memory.clone(),
            zones: Arc::new(TwoZones),
            personal: memory.clone(),
        };
        let routes = only1mcp_admin::routes(ports).unwrap();
        tokio::spawn(
            Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut world = Self { memory, channel, root_key, keys: BTreeMap::new() };
        for tenant in ["acme", "other"] {
            world.make_tenant(tenant).await;
        }
        world
    }

    async fn make_tenant(&mut self, tenant: &str) {
        let root = self.root_key.clone();
        let record = m::Tenant { id: tenant.into(), name: tenant.into(), ..Default::default() };
        let request = pb::CreateTenantRequest { options: None, tenant: Some(record) };
        self.tenants(&root).create_tenant(request).await.unwrap();
        for role in ["admin", "developer", "viewer"] {
            self.make_principal(tenant, role).await;
            self.grant(tenant, role, role).await;
            let key = self.make_key(tenant, role).await;
            self.keys.insert(format!("{tenant}/{role}"), key);
        }
    }

    pub async fn make_principal(&self, tenant: &str, id: &str) {
        let principal = m::Principal {
            tenant: tenant.into(),
            id: id.into(),
            kind: m::PrincipalKind::Person.into(),
            display_name: id.into(),
            ..Default::default()
        };
        let request = pb::CreatePrincipalRequest { options: None, principal: Some(principal) };
        self.principals(&self.root_key).create_principal(request).await.unwrap();
    }

    pub async fn grant(&self, tenant: &str, principal: &str, role: &str) -> pb::CreateGrantResponse {
        let grant = m::Grant {
            tenant: tenant.into(),
            principal: principal.into(),
            role: role.into(),
            ..Default::default()
        };
        let request = pb::CreateGrantRequest { options: None, grant: Some(grant) };
        self.roles(&self.root_key).create_grant(request).await.unwrap().into_inner()
    }

    pub async fn make_key(&self, tenant: &str, principal: &str) -> String {
        let request =
            pb::CreateKeyRequest { tenant: tenant.into(), principal: principal.into(), ..Default::default() };
        self.principals(&self.root_key).create_key(request).await.unwrap().into_inner().key
    }

    pub fn key(&self, name: &str) -> &str {
        &self.keys[name]
    }

    pub fn api(&self, key: Option<&str>) -> Api {
        InterceptedService::new(self.channel.clone(), Bearer(key.map(str::to_owned)))
    }
}

/// The stable code of an error.
pub fn code(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

pub fn key_id(text: &str) -> ApiKeyId {
    secret::parse_key(text).unwrap().0
}

/// Options with a command id made of one byte.
pub fn named(byte: u8) -> Option<pb::WriteOptions> {
    Some(pb::WriteOptions { command_id: vec![byte; 16].into(), ..Default::default() })
}

pub fn principal_request(options: Option<pb::WriteOptions>, id: &str) -> pb::CreatePrincipalRequest {
    let principal = m::Principal {
        tenant: "acme".into(),
        id: id.into(),
        kind: m::PrincipalKind::Person.into(),
        ..Default::default()
    };
    pb::CreatePrincipalRequest { options, principal: Some(principal) }
}

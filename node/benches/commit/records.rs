//! What the members are told at the start: a cluster, its members, one administrator, one upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{ApiKeyId, CommandId, Digest, PrincipalId, TenantId, UpstreamId};
use only1mcp_domain::model::{
    ApiKey, ClusterSettings, JoinToken, Principal, PrincipalKind, SessionMode, Transport, Upstream,
};
use only1mcp_domain::time::TimestampMs;
use only1mcp_node::host::{HostClock, HostEntropy};

use crate::plain::name;

pub fn now() -> TimestampMs {
    TimestampMs(HostClock.now_ms())
}

pub fn root() -> PrincipalId {
    PrincipalId::new("root").unwrap()
}

pub fn root_key() -> ApiKeyId {
    ApiKeyId::new("key-root").unwrap()
}

pub fn upstream_id() -> UpstreamId {
    UpstreamId::new("bench").unwrap()
}

/// Never called: admissions alone are measured.
pub fn upstream() -> Upstream {
    Upstream {
        tenant: TenantId::system(),
        id: upstream_id(),
        description: String::new(),
        transport: Transport::Http { url: "http://127.0.0.1:1/mcp".to_owned() },
        session_mode: SessionMode::SharedStateless,
        headers: Vec::new(),
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 1_000,
        call_timeout_ms: 10_000,
        created_at: now(),
        updated_at: now(),
    }
}

pub fn token(number: u8) -> JoinToken {
    JoinToken {
        id: ApiKeyId::new(format!("token-{number}")).unwrap(),
        mac: Digest([number; 32]),
        created_at: now(),
        expires_at: TimestampMs(now().0 + 3_600_000),
    }
}

pub fn registration(number: u8, address: SocketAddr, token: Option<ApiKeyId>) -> RegisterNode {
    RegisterNode {
        token,
        name: name(number),
        peer_address: address.to_string(),
        admin_address: format!("{}:7200", name(number)),
        http_address: format!("{}:7300", name(number)),
        region: "local".to_owned(),
        zone: "a".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub fn form(address: SocketAddr) -> FormCluster {
    FormCluster {
        cluster_id: Digest(HostEntropy.bytes()),
        settings: ClusterSettings::new("bench"),
        node: registration(1, address, None),
        administrator: Principal {
            tenant: TenantId::system(),
            id: root(),
            kind: PrincipalKind::Person,
            display_name: "root".to_owned(),
            email: String::new(),
            personal: None,
            projects: Vec::new(),
            attributes: BTreeMap::new(),
            enabled: true,
            created_at: now(),
            updated_at: now(),
        },
        administrator_key: ApiKey {
            id: root_key(),
            tenant: TenantId::system(),
            principal: root(),
            mac: Digest(HostEntropy.bytes()),
            label: "bench".to_owned(),
            created_at: now(),
            expires_at: None,
            revoked_at: None,
            projects: Vec::new(),
            tools: Vec::new(),
            last_used_at: None,
            rotated_from: None,
        },
        key_hash_key: Secret32(HostEntropy.bytes()),
        session_key: Secret32(HostEntropy.bytes()),
    }
}

pub fn entry(command: Command, via: Via) -> Entry {
    let is_node = matches!(via, Via::Node(_));
    let (principal, key) = match via {
        Via::Node(node) => (PrincipalId::of_node(node), None),
        Via::ApiKey => (root(), Some(root_key())),
        Via::LocalSocket | Via::ClientCertificate => (root(), None),
    };
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal,
            key,
            via,
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: (!is_node).then(|| CommandId(HostEntropy.bytes())),
        request_digest: Digest(HostEntropy.bytes()),
        observed_at: now(),
        command,
        signature: None,
    }
}

//! Forming a cluster, and replacing a lost administrator key: what the local socket alone may do.

use only1mcp_consensus::{Handle, Timing};
use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{CommandId, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::{ApiKey, ClusterSettings, Principal, PrincipalKind};
use only1mcp_domain::secret;
use only1mcp_domain::time::TimestampMs;
use tokio::time::{Duration, Instant};

use crate::config::{FormConfig, NodeConfig};
use crate::host::{HostClock, HostEntropy};
use crate::serve::identity::Identity;

const FORM: Duration = Duration::from_secs(20);
/// The id of the node that forms a cluster.
const FIRST: NodeId = NodeId(1);

/// The identity of a cluster's first node.
pub fn first_identity(config: &NodeConfig) -> Identity {
    let form = config.form.clone().unwrap_or_default();
    let timing = Timing {
        heartbeat_ms: form.heartbeat_ms,
        election_ms_min: form.election_ms_min,
        election_ms_max: form.election_ms_max,
    };
    Identity::new(FIRST, form.cluster_name, timing, Vec::new())
}

fn settings(form: &FormConfig) -> ClusterSettings {
    let mut settings = ClusterSettings::new(form.cluster_name.clone());
    settings.heartbeat_ms = form.heartbeat_ms;
    settings.election_ms_min = form.election_ms_min;
    settings.election_ms_max = form.election_ms_max;
    settings.feature_level = crate::serve::member::feature_level_max();
    settings
}

/// A cluster's first node, as it describes itself.
pub fn registration(config: &NodeConfig) -> RegisterNode {
    RegisterNode {
        token: None,
        name: config.name.clone(),
        peer_address: config.peer_address(),
        admin_address: config.admin_address(),
        http_address: config.http_address(),
        region: config.region.clone(),
        zone: config.zone.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub fn socket_entry(principal: &PrincipalId, command: Command) -> Entry {
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal: principal.clone(),
            key: None,
            via: Via::LocalSocket,
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: Some(CommandId(HostEntropy.bytes())),
        request_digest: Digest::default(),
        observed_at: TimestampMs(HostClock.now_ms()),
        command,
        signature: None,
    }
}

/// A new key of `principal`: the record, and the text that is shown once.
fn new_key(hash_key: &Secret32, principal: &PrincipalId, label: &str) -> (ApiKey, String) {
    let id = secret::key_id(HostEntropy.bytes());
    let text = secret::format_key(&id, &HostEntropy.bytes());
    // What is hashed is the secret's text, as whoever presents it sends it.
    let mac = secret::parse_key(&text).map(|(_, secret)| secret::mac(hash_key, secret)).unwrap_or_default();
    let key = ApiKey {
        id,
        tenant: TenantId::system(),
        principal: principal.clone(),
        mac,
        label: label.to_owned(),
        created_at: TimestampMs(HostClock.now_ms()),
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    };
    (key, text)
}

/// Forms a cluster of this one node. Gives the administrator's key and the cluster's id.
pub async fn form(
    config: &NodeConfig,
    handle: &Handle,
    administrator: &str,
) -> anyhow::Result<(String, Digest)> {
    let principal = PrincipalId::new(administrator)?;
    let key_hash_key = Secret32(HostEntropy.bytes());
    let (administrator_key, text) = new_key(&key_hash_key, &principal, "first administrator");
    let now = TimestampMs(HostClock.now_ms());
    let cluster_id = Digest(HostEntropy.bytes());
    let first = FormCluster {
        cluster_id,
        settings: settings(&config.form.clone().unwrap_or_default()),
        node: registration(config),
        administrator: Principal {
            tenant: TenantId::system(),
            id: principal.clone(),
            kind: PrincipalKind::Person,
            display_name: "First administrator".to_owned(),
            email: String::new(),
            personal: None,
            projects: Vec::new(),
            attributes: std::collections::BTreeMap::default(),
            enabled: true,
            created_at: now,
            updated_at: now,
        },
        administrator_key,
        key_hash_key,
        session_key: Secret32(HostEntropy.bytes()),
    };
    let entry = socket_entry(&principal, Command::FormCluster(first));
    let committed = handle.form(entry, Instant::now() + FORM).await?;
    committed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection} ({})", rejection.code()))?;
    Ok((text, cluster_id))
}

/// A new key for an administrator of `system`; all others of that principal are revoked.
pub async fn recover_administrator(handle: &Handle, administrator: &str) -> anyhow::Result<(String, Digest)> {
    let principal = PrincipalId::new(administrator)?;
    let state = handle.state();
    let cluster = state.cluster.as_ref().ok_or_else(|| anyhow::anyhow!("the cluster is not formed yet"))?;
    let (key, text) = new_key(&cluster.key_hash_key, &principal, "recovered on the host");
    let entry = socket_entry(&principal, Command::RecoverAdmin { key });
    let committed = handle.propose(entry, Instant::now() + FORM).await?;
    committed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection} ({})", rejection.code()))?;
    Ok((text, cluster.id))
}

//! Forming the cluster, its settings, and the tokens that let nodes in.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::validate::{at_most, ensure, filled, invalid, revision, text};
use crate::apply::{describe, key, member, principal};
use crate::command::FormCluster;
use crate::ids::{ApiKeyId, GrantId, NodeId, TenantId};
use crate::limits;
use crate::model::{
    BillingAccount, ClusterSettings, Constraints, Grant, IsolationMode, JoinToken, NetworkConfig, NodeRole,
    ResourceQuotas, SealMode, Tenant, TenantStatus, TenantTier, built_in_roles,
};
use crate::outcome::{Effect, Rejection};
use crate::state::{Cluster, Versioned};
use crate::time::TimestampMs;

/// The id the forming node gets.
const FIRST_NODE: NodeId = NodeId(1);
/// The grant of the first administrator.
const FIRST_GRANT: &str = "first-administrator";

pub(super) fn form(change: &mut Change<'_>, form: &FormCluster) -> Result<Report, Rejection> {
    if change.state.cluster.is_some() {
        return Err(Rejection::AlreadyFormed {});
    }
    let (administrator, administrator_key) = (&form.administrator, &form.administrator_key);
    check_settings(&form.settings, None)?;
    ensure(administrator.tenant.is_system(), "administrator.tenant", "is not system")?;
    ensure(administrator.enabled, "administrator.enabled", "is false")?;
    principal::check(administrator)?;
    let owned = administrator_key.tenant.is_system() && administrator_key.principal == administrator.id;
    ensure(owned, "administrator_key", "is not the administrator's")?;
    key::check(change, administrator_key)?;
    ensure(form.node.token.is_none(), "node.token", "is given, but nobody could have made it")?;
    member::check(&form.node)?;

    let settings = Versioned { revision: change.log_index, value: form.settings.clone() };
    change.put_cluster(Cluster {
        id: form.cluster_id,
        settings,
        key_hash_key: form.key_hash_key.clone(),
        session_key: form.session_key.clone(),
        next_node: NodeId(FIRST_NODE.0 + 1),
        epoch: 1,
    });
    change.put_tenant(system_tenant(change.entry.observed_at));
    built_in_roles().into_iter().for_each(|role| change.put_role(role));
    change.put_principal(administrator.clone());
    change.put_api_key(administrator_key.clone());
    let grant = administrator_grant(change, FIRST_GRANT, administrator_key)?;
    change.put_grant(grant);
    if let Some(price) = crate::apply::price::free_calls(change.log_index) {
        change.put_price(price);
    }
    let node = member::record(change, FIRST_NODE, NodeRole::Voter, &form.node);
    let after = describe::node(&node);
    change.put_node(node);
    change.put_clock(FIRST_NODE, change.entry.observed_at);
    change.policy_changed(None);
    change.effect(Effect::SettingsChanged);
    change.effect(Effect::NodesChanged);
    Ok(Report::changed(None, Some(describe::settings(&form.settings)))
        .detail("administrator", administrator.id.as_str())
        .detail("administrator_key", administrator_key.id.as_str())
        .detail("node", after))
}

fn system_tenant(at: TimestampMs) -> Tenant {
    Tenant {
        id: TenantId::system(),
        name: "System".to_owned(),
        tier: TenantTier::Enterprise,
        isolation_mode: IsolationMode::Logical { namespace: String::new(), database_schema: String::new() },
        quotas: ResourceQuotas::template(TenantTier::Enterprise),
        network_config: NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: String::new(),
        created_at: at,
        updated_at: at,
        status: TenantStatus::Active,
        seal_mode: SealMode::Sealed,
        tool_seal_modes: std::collections::BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: crate::model::CostTags::default(),
        constraints: Constraints::default(),
    }
}

/// The built-in `admin` role for the owner of `key`, without conditions.
pub(super) fn administrator_grant(
    change: &Change<'_>,
    id: &str,
    key: &crate::model::ApiKey,
) -> Result<Grant, Rejection> {
    let role = built_in_roles().into_iter().next().map(|role| role.id);
    Ok(Grant {
        tenant: TenantId::system(),
        id: GrantId::new(id).map_err(|error| invalid("grant", error.to_string()))?,
        principal: key.principal.clone(),
        role: role.ok_or_else(|| invalid("role", "no role is built in"))?,
        projects: Vec::new(),
        conditions: Constraints::default(),
        waive_mfa: false,
        expires_at: None,
        created_at: change.entry.observed_at,
        created_by: change.actor().principal.as_str().to_owned(),
    })
}

pub(super) fn set_settings(
    change: &mut Change<'_>,
    settings: &ClusterSettings,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let Some(cluster) = change.state.cluster.clone() else { return Err(Rejection::NotFormed {}) };
    revision(if_revision, cluster.settings.revision)?;
    let old = &cluster.settings.value;
    check_settings(settings, Some(old))?;
    let report = Report::changed(Some(describe::settings(old)), Some(describe::settings(settings)));
    let settings = Versioned { revision: change.log_index, value: settings.clone() };
    change.put_cluster(Cluster { settings, ..cluster });
    change.effect(Effect::SettingsChanged);
    Ok(report)
}

fn check_settings(settings: &ClusterSettings, old: Option<&ClusterSettings>) -> Result<(), Rejection> {
    let ClusterSettings {
        cluster_name,
        heartbeat_ms,
        election_ms_min,
        election_ms_max,
        staleness_ms_max,
        stale_wait_ms_max,
        feature_level,
        stable_ms,
        leader_region,
        leader_zone,
    } = settings;
    filled("cluster_name", cluster_name, limits::LABEL_BYTES_MAX)?;
    ensure(*heartbeat_ms >= limits::HEARTBEAT_MS_MIN, "heartbeat_ms", "is too short")?;
    ensure(heartbeat_ms < election_ms_min, "election_ms_min", "is not longer than a heartbeat")?;
    ensure(election_ms_min < election_ms_max, "election_ms_max", "is not longer than election_ms_min")?;
    ensure(*election_ms_max <= limits::ELECTION_MS_MAX, "election_ms_max", "is too long")?;
    ensure(staleness_ms_max > heartbeat_ms, "staleness_ms_max", "is not longer than a heartbeat")?;
    ensure(*staleness_ms_max <= limits::STALENESS_MS_MAX, "staleness_ms_max", "is too long")?;
    ensure(*stale_wait_ms_max <= limits::STALE_WAIT_MS_MAX, "stale_wait_ms_max", "is too long")?;
    let level_known = (1..=limits::FEATURE_LEVEL_MAX).contains(feature_level);
    ensure(level_known, "feature_level", "is not known to this version")?;
    let level_kept = old.is_none_or(|old| old.feature_level <= *feature_level);
    ensure(level_kept, "feature_level", "cannot be lowered")?;
    ensure((1..=limits::STABLE_MS_MAX).contains(stable_ms), "stable_ms", "is 0 or too long")?;
    text("leader_region", leader_region, limits::NAME_BYTES_MAX)?;
    text("leader_zone", leader_zone, limits::NAME_BYTES_MAX)?;
    let understood = *feature_level >= 2 || !settings.needs_level_2();
    ensure(understood, "feature_level", "is below 2, which stable_ms, leader_region and leader_zone need")
}

pub(super) fn create_join_token(change: &mut Change<'_>, token: &JoinToken) -> Result<Report, Rejection> {
    let now = change.now();
    if change.state.join_tokens.contains_key(&token.id) {
        return Err(Rejection::AlreadyExists {
            kind: "join token".to_owned(),
            id: token.id.as_str().to_owned(),
        });
    }
    ensure(token.expires_at > now, "expires_at", "is in the past")?;
    let expired: Vec<ApiKeyId> = change
        .state
        .join_tokens
        .values()
        .filter(|token| token.expires_at <= now)
        .map(|token| token.id.clone())
        .collect();
    expired.iter().for_each(|id| change.remove_join_token(id));
    at_most(change.state.join_tokens.len() + 1, limits::JOIN_TOKENS_MAX, "unused join tokens")?;
    change.put_join_token(token.clone());
    Ok(Report::changed(None, Some(describe::join_token(token))))
}

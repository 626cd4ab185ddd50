//! The replicated state: structurally shared ordered maps, so that a clone costs a few pointers.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use crate::audit::ChainHead;
use crate::command::Secret32;
use crate::cost::MonthUsage;
use crate::ids::{
    ApiKeyId, AuditIndex, BudgetId, CommandId, Digest, DiscountId, GrantId, Incarnation, McpSessionId,
    MeteringId, NodeId, PriceId, PrincipalId, Revision, RoleId, RuleId, TenantId, UpstreamId, WebhookId,
};
use crate::ledger::Ledger;
use crate::lookup::Lookup;
use crate::model::{
    ApiKey, Budget, ClusterSettings, DenyRule, Dropped, Duty, DutyId, Erasure, Grant, JoinToken, NodeRecord,
    Principal, Retention, Role, Subject, Tenant, ToolRestriction, Upstream, Webhook,
};
use crate::outcome::Outcome;
use crate::price::{Amounts, Currency, Discount, ExchangeRate, Metering, PriceEntry};
use crate::time::TimestampMs;

/// A record with the log index of its last change.
#[derive(Clone, PartialEq, Debug)]
pub struct Versioned<T> {
    pub revision: u64,
    pub value: T,
}

/// What is remembered of one node's activity.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeActivity {
    pub incarnation: Incarnation,
    /// Last sequence applied in this incarnation; 0 before the first.
    pub last_sequence: u64,
    /// The node has handed in its journal and sends no more in this incarnation.
    pub journal_sealed: bool,
    /// The latest batches, oldest first, at most `limits::BATCH_WINDOW_MAX`.
    pub window: Vector<BatchSeen>,
}

/// One applied batch, as needed to answer its duplicate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSeen {
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub digest: Digest,
    pub first_index: AuditIndex,
}

/// The remembered outcome of an administrative write.
#[derive(Clone, PartialEq, Debug)]
pub struct CommandSeen {
    pub request_digest: Digest,
    pub log_time: TimestampMs,
    pub log_index: u64,
    pub outcome: Result<Outcome, crate::outcome::Rejection>,
}

/// Everything a decision or an administrative read needs. `apply` alone changes it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// `None` until the cluster is formed.
    pub cluster: Option<Cluster>,
    pub tenants: OrdMap<TenantId, Versioned<Tenant>>,
    pub principals: OrdMap<(TenantId, PrincipalId), Versioned<Principal>>,
    pub api_keys: OrdMap<ApiKeyId, Versioned<ApiKey>>,
    pub roles: OrdMap<(TenantId, RoleId), Versioned<Role>>,
    pub grants: OrdMap<(TenantId, GrantId), Versioned<Grant>>,
    pub restrictions: OrdMap<(TenantId, RuleId), Versioned<ToolRestriction>>,
    pub denies: OrdMap<(TenantId, RuleId), Versioned<DenyRule>>,
    pub upstreams: OrdMap<(TenantId, UpstreamId), Versioned<Upstream>>,
    pub nodes: OrdMap<NodeId, Versioned<NodeRecord>>,
    pub join_tokens: OrdMap<ApiKeyId, JoinToken>,
    pub activity: OrdMap<NodeId, NodeActivity>,
    pub budgets: OrdMap<(TenantId, BudgetId), Versioned<Budget>>,
    pub ledger: Ledger,
    /// Shared with the price book that is built of them.
    pub prices: OrdMap<(TenantId, PriceId), Versioned<Arc<PriceEntry>>>,
    pub meterings: OrdMap<(TenantId, MeteringId), Versioned<Arc<Metering>>>,
    pub discounts: OrdMap<(TenantId, DiscountId), Versioned<Arc<Discount>>>,
    /// By currency and the moment from which they hold.
    pub rates: OrdMap<(Currency, TimestampMs), Versioned<ExchangeRate>>,
    /// Where usage went over what a metering declares: per paying tenant, what was seen, so that the next call is held
    /// higher. INVARIANT: P1, P7
    pub raised: OrdMap<(TenantId, MeteringId), Amounts>,
    pub month_usage: MonthUsage,
    /// Cost records that were corrected, by tenant, audit index and part.
    pub corrected: OrdSet<(TenantId, AuditIndex, u32)>,
    pub webhooks: OrdMap<(TenantId, WebhookId), Versioned<Webhook>>,
    pub duties: OrdMap<DutyId, Duty>,
    /// Of each person whose data was ever sealed.
    pub subjects: OrdMap<(TenantId, PrincipalId), Subject>,
    pub erasure: Erasure,
    pub retention: Retention,
    /// Drops of audit payloads, by their segment's first event and their number.
    pub dropped: OrdMap<(AuditIndex, u32), Arc<Dropped>>,
    pub commands_seen: OrdMap<CommandId, CommandSeen>,
    /// `commands_seen` by age, for forgetting the oldest.
    pub commands_by_index: OrdSet<(u64, CommandId)>,
    /// Closed MCP sessions and when they would have expired.
    pub closed_sessions: OrdMap<McpSessionId, TimestampMs>,
    pub closed_by_expiry: OrdSet<(TimestampMs, McpSessionId)>,
    pub chain: ChainHead,
    /// `max(last, lower median of the voters' clocks)`.
    pub log_time: TimestampMs,
    /// Latest wall clock told by each voter.
    pub clocks: OrdMap<NodeId, TimestampMs>,
    /// Log index of the last change that decisions depend on.
    pub policy_revision: Revision,
    /// Index of the last entry applied.
    pub last_applied: u64,
    /// Derived from the records above; never stored.
    pub lookup: Lookup,
}

/// What is set once, when the cluster is formed, and its settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Cluster {
    pub id: Digest,
    pub settings: Versioned<ClusterSettings>,
    pub key_hash_key: Secret32,
    pub session_key: Secret32,
    pub next_node: NodeId,
    /// 1 when formed; raised where the cluster was made of a backup or goes on without its majority. Whoever knows a
    /// greater one knows that this is the past.
    pub epoch: u64,
}

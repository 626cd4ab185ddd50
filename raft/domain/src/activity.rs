//! What a node did: the records that travel in its batches, one Raft proposal for many calls.

use std::net::IpAddr;

use crate::cost::Cost;
use crate::decide::Reason;
use crate::ids::{
    ApiKeyId, AuditIndex, CallId, DecisionId, Digest, GrantId, Incarnation, McpSessionId, NodeId,
    PrincipalId, ProjectId, Revision, RoleId, TenantId, UpstreamId,
};
use crate::ledger::{AccountKey, Ask, Charge};
use crate::model::{SealMode, Slot, Tags};
use crate::price::Quote;
use crate::state::State;
use crate::time::TimestampMs;

/// Carried by `(node, incarnation, sequence)`. `apply` takes `last + 1` only.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// From 1 within an incarnation.
    pub sequence: u64,
    /// SHA3-256 of the records as first encoded; a duplicate with another digest stops the node.
    pub digest: Digest,
    pub records: Vec<Record>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    Admission(Box<Admission>),
    Completion(Completion),
    Refusal(Box<Refusal>),
    /// A login by key: once per MCP session.
    SessionOpened(Box<SessionEvent>),
    SessionClosed(Box<SessionEvent>),
    /// Failed authentications of one second, summed up.
    Unauthenticated(Unauthenticated),
    /// A use of the key, at most once a minute and key.
    KeyUsed {
        key: ApiKeyId,
        at: TimestampMs,
    },
    /// Asks for what calls need of their accounts.
    Ask(Box<Ask>),
    /// What the node has in hand and does not need.
    Return(Vec<Return>),
    /// The last word of the node's earlier life: what it was lent and has not spent goes back, or, where the node does
    /// not remember everything, is posted in full.
    Restarted {
        complete: bool,
    },
    /// The node has no open call admitted before this, and admits none.
    SettledThrough(TimestampMs),
    /// The node itself started or shut down, or says what it cut from a torn file.
    NodeNotice {
        kind: NoticeKind,
        detail: String,
    },
    /// The trail itself, or what calls cost, was read.
    AuditRead(Box<AuditRead>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeKind {
    Startup,
    Shutdown,
    /// Something the operator must look at.
    Alarm,
}

/// What is done to an item of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ItemKind {
    Tool,
    Prompt,
    Resource,
    /// Of no upstream but of the cluster: an administrative RPC. Only ever refused by a node.
    Administration,
}

/// Who calls, from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub key: Option<ApiKeyId>,
    pub session: Option<McpSessionId>,
    pub project: Option<ProjectId>,
    /// `None` where it is sealed; the user agent is empty then.
    pub ip: Option<IpAddr>,
    pub user_agent: String,
    /// Both, sealed before the record was journaled.
    pub personal: Option<Slot>,
    pub request_id: String,
}

/// The admission of one call (P2): who, what, argument digest, decision, policy revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    pub call: CallId,
    pub caller: Caller,
    /// Whose item is used; differs from `caller.tenant` only for operators.
    pub tenant: TenantId,
    pub kind: ItemKind,
    /// Exposed name, `upstream__tool`.
    pub item: String,
    pub upstream: UpstreamId,
    /// SHA3-256 of the arguments as the caller sent them.
    pub argument_digest: Digest,
    pub decision: DecisionId,
    pub grant: GrantId,
    /// From the granted role to the one that carries the permission.
    pub role_path: Vec<RoleId>,
    pub revision: Revision,
    pub mode: SealMode,
    pub observed_at: TimestampMs,
    /// What is held for the call, on every account it touches that has a hard limit.
    pub holds: Vec<Hold>,
    /// Its price, fixed before it is sent; where it has one.
    pub quote: Option<Box<Quote>>,
    /// What it counts on without holding anything: accounts with a soft limit, and the most it may count there.
    pub counts: Vec<Hold>,
    /// Of its cost record; none where it has no price.
    pub tags: Tags,
}

/// The most that a call may cost one of its accounts. INVARIANT: P1
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub account: AccountKey,
    /// End of the account's period.
    pub end: TimestampMs,
    /// Units: those of the limit's measure.
    pub amount: i128,
}

/// An amount that a node gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Return {
    pub account: AccountKey,
    pub amount: i128,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    Success,
    /// The tool answered with `isError`.
    ToolError,
    /// The upstream answered with a JSON-RPC error.
    UpstreamError,
    /// The upstream could not be reached, died or broke the protocol.
    UpstreamFailed,
    TimedOut,
    Cancelled,
    /// Authority was reduced while the call ran; the result was withheld.
    Withheld,
    /// The node ended between admission and completion; found at its restart.
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    pub call: CallId,
    /// As in the admission: whose item was used.
    pub tenant: TenantId,
    pub outcome: CallOutcome,
    /// SHA3-256 of the result as the upstream sent it; zero where there was none.
    pub result_digest: Digest,
    pub result_bytes: u64,
    pub duration_ms: u64,
    pub observed_at: TimestampMs,
    /// What it cost its accounts.
    pub charges: Vec<Charge>,
    /// What it cost and why, where it had a price.
    pub cost: Option<Box<Cost>>,
}

/// Refusals of one (tenant, principal, reason): one by one, or folded within a second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub decision: DecisionId,
    pub caller: Caller,
    /// Whose item was asked for. It need not exist; see [`trail`] for where the refusal stands.
    pub tenant: TenantId,
    pub kind: ItemKind,
    /// Of administration the RPC as `Tenants/CreateTenant`, a space, and the permission it needs.
    pub item: String,
    pub reason: Reason,
    pub revision: Revision,
    /// 1 unless folded.
    pub count: u32,
    pub first_at: TimestampMs,
    pub last_at: TimestampMs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionEvent {
    pub caller: Caller,
    /// Whose items the session is for; differs from `caller.tenant` only for operators.
    pub tenant: TenantId,
    pub client_name: String,
    pub client_version: String,
    pub protocol_version: String,
    pub observed_at: TimestampMs,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AuditReadKind {
    Query,
    Verify,
    Export,
    Watch,
    /// Of costs, not of the trail.
    CostReport,
    CostExport,
}

/// Somebody read an audit trail or costs: one by one, or queries, verifications and reports of one principal folded within a
/// minute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRead {
    pub kind: AuditReadKind,
    pub caller: Caller,
    /// Whose trail or costs; the operators' where it was everyone's.
    pub tenant: TenantId,
    pub everyone: bool,
    /// Filter and range, for a person to read.
    pub asked: String,
    /// How many events were handed out, as far as was known when it began; 0 for a watch.
    pub events: u64,
    /// 1 unless folded.
    pub count: u32,
    pub first_at: TimestampMs,
    pub last_at: TimestampMs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unauthenticated {
    pub count: u64,
    /// At most [`Unauthenticated::SOURCES_MAX`]; failures from elsewhere count in `count` alone.
    pub sources: Vec<(IpAddr, u64)>,
    pub first_at: TimestampMs,
    pub last_at: TimestampMs,
}

impl Unauthenticated {
    pub const SOURCES_MAX: usize = 16;
}

/// The tenant in whose audit trail something stands that `caller` did, or tried, in `tenant`: an operator's deeds in that
/// tenant's own; whatever else names a foreign or unknown tenant in the caller's, so that nobody writes in a trail that
/// is not theirs. INVARIANT: P7
pub fn trail<'t>(state: &State, caller: &'t TenantId, tenant: &'t TenantId) -> &'t TenantId {
    if caller.is_system() && state.tenants.contains_key(tenant) { tenant } else { caller }
}

/// What `apply` says of one record of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordApplied {
    /// `None` for records that leave no event of their own (`KeyUsed`).
    pub audit: Option<(AuditIndex, Digest)>,
    /// Authority was reduced between admission and apply (P4): the result must be withheld.
    pub revoked_in_flight: bool,
}

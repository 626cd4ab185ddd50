//! Every change to the replicated state, as data. Salts, ids, key hashes and zone checks were computed by the
//! proposer and travel as values. Each command is applied in the file of `apply/` that its section names.

use std::net::IpAddr;

use crate::activity::Batch;
use crate::cost::CostPlace;
use crate::ids::{
    ApiKeyId, AuditIndex, BudgetId, CommandId, Digest, DiscountId, GrantId, McpSessionId, MeteringId, NodeId,
    PriceId, PrincipalId, PublicKey, RoleId, RuleId, TenantId, UpstreamId, WebhookId,
};
use crate::ledger::AccountKey;
use crate::model::{
    ApiKey, Budget, ClusterSettings, DenyRule, DutyId, Erased, Grant, Held, JoinToken, NodeRole, Offer,
    PayloadDrop, Principal, RetentionDays, Role, Slot, SubjectKey, Tenant, TenantStatus, ToolRestriction,
    Upstream, Webhook,
};
use crate::price::{Currency, Discount, ExchangeRate, Metering, PriceEntry};
use crate::time::TimestampMs;

/// How an actor proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    ApiKey,
    ClientCertificate,
    /// The node's own local socket: whoever may open it is the host's administrator.
    LocalSocket,
    /// A cluster member acting for itself (activity, ticks, membership).
    Node(NodeId),
}

/// Who proposes, as the admitting node authenticated it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub key: Option<ApiKeyId>,
    pub via: Via,
    /// `None` where it is sealed; the user agent is empty then.
    pub ip: Option<IpAddr>,
    pub user_agent: String,
    /// Both, sealed by the proposer.
    pub personal: Option<Slot>,
    /// Correlates the event with logs and with the caller's own records.
    pub request_id: String,
}

/// One log entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub actor: Actor,
    /// Present on every administrative write; retrying under it is safe.
    pub command_id: Option<CommandId>,
    /// Digest of the client's request (not of generated values), so that a retry is recognised.
    pub request_digest: Digest,
    /// The proposer's wall clock.
    pub observed_at: TimestampMs,
    pub command: Command,
    /// Of what leaves an event of its own. Feature level 3.
    pub signature: Option<Signed>,
}

/// A node's word for what it proposes: over [`crate::audit::Statement`], with its signing key. Who applies the entry
/// takes it as it is; who reads the event later can tell whether the node said so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub node: NodeId,
    /// SHA-256 of the command as it stands in the entry.
    pub content: Digest,
    pub signature: [u8; 64],
}

#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the first entry of a cluster, once in its life"
)]
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    // apply/cluster.rs
    FormCluster(FormCluster),
    SetSettings {
        settings: ClusterSettings,
        if_revision: Option<u64>,
    },
    CreateJoinToken(JoinToken),
    // apply/epoch.rs
    BeginEpoch(Box<BeginEpoch>),
    NoteBackup(BackupNote),
    // apply/member.rs
    RegisterNode(RegisterNode),
    /// Follows a membership change that consensus has carried out.
    SetNodeRole {
        node: NodeId,
        role: NodeRole,
    },
    /// Bars id and certificate name. Refused while the node has journal records unposted, unless told to lose them.
    RemoveNode {
        node: NodeId,
        lose_journal: bool,
    },
    /// What a node tells of itself at each start.
    UpdateNode {
        node: NodeId,
        peer_address: String,
        admin_address: String,
        http_address: String,
        region: String,
        zone: String,
        version: String,
    },
    /// A node makes known what it signs with from here on, in place of what it signed with before. Feature level 3.
    SetSigningKey {
        node: NodeId,
        key: PublicKey,
    },
    /// Carries only the proposer's clock.
    Tick {
        node: NodeId,
    },

    // apply/activity.rs
    OpenIncarnation {
        node: NodeId,
    },
    Activity(Batch),
    /// The node has handed in its whole journal and may be removed.
    SealJournal {
        node: NodeId,
    },

    // apply/tenant.rs
    CreateTenant(Box<Tenant>),
    UpdateTenant {
        tenant: Box<Tenant>,
        if_revision: Option<u64>,
    },
    SetTenantStatus {
        tenant: TenantId,
        status: TenantStatus,
        if_revision: Option<u64>,
    },

    // apply/principal.rs
    CreatePrincipal(Principal),
    UpdatePrincipal {
        principal: Principal,
        if_revision: Option<u64>,
    },
    DeletePrincipal {
        tenant: TenantId,
        principal: PrincipalId,
        if_revision: Option<u64>,
    },
    // apply/key.rs
    CreateApiKey(ApiKey),
    /// The old key stays valid until `overlap_until`.
    RotateApiKey {
        old: ApiKeyId,
        new: ApiKey,
        overlap_until: TimestampMs,
    },
    RevokeApiKey {
        tenant: TenantId,
        key: ApiKeyId,
    },
    /// From the local socket: a new `system` administrator key; all others of that principal are revoked.
    RecoverAdmin {
        key: ApiKey,
    },

    // apply/role.rs
    PutRole {
        role: Role,
        if_revision: Option<u64>,
    },
    DeleteRole {
        tenant: TenantId,
        role: RoleId,
        if_revision: Option<u64>,
    },
    // apply/grant.rs
    CreateGrant(Grant),
    RevokeGrant {
        tenant: TenantId,
        grant: GrantId,
    },
    // apply/rule.rs
    PutRestriction {
        rule: ToolRestriction,
        if_revision: Option<u64>,
    },
    DeleteRestriction {
        tenant: TenantId,
        rule: RuleId,
    },
    PutDeny {
        rule: DenyRule,
        if_revision: Option<u64>,
    },
    DeleteDeny {
        tenant: TenantId,
        rule: RuleId,
    },

    // apply/budget.rs
    PutBudget {
        budget: Box<Budget>,
        if_revision: Option<u64>,
    },
    DeleteBudget {
        tenant: TenantId,
        budget: BudgetId,
    },
    /// Posts in full what is lent to a node that is thought lost: from one account, or (`None`) from all.
    ForceClose {
        node: NodeId,
        account: Option<AccountKey>,
    },

    // apply/price.rs
    PutPrice {
        price: Box<PriceEntry>,
        if_revision: Option<u64>,
    },
    DeletePrice {
        tenant: TenantId,
        price: PriceId,
    },
    PutMetering {
        metering: Box<Metering>,
        if_revision: Option<u64>,
    },
    DeleteMetering {
        tenant: TenantId,
        metering: MeteringId,
    },
    PutDiscount {
        discount: Box<Discount>,
        if_revision: Option<u64>,
    },
    DeleteDiscount {
        tenant: TenantId,
        discount: DiscountId,
    },
    PutExchangeRate(ExchangeRate),
    DeleteExchangeRate {
        currency: Currency,
        valid_from: TimestampMs,
    },
    // apply/cost.rs
    /// Takes back what a cost record posted, once for each record.
    CorrectCost(Box<CorrectCost>),

    // apply/upstream.rs
    PutUpstream {
        upstream: Box<Upstream>,
        if_revision: Option<u64>,
    },
    DeleteUpstream {
        tenant: TenantId,
        upstream: UpstreamId,
    },
    SetUpstreamEnabled {
        tenant: TenantId,
        upstream: UpstreamId,
        enabled: bool,
    },
    SetToolEnabled {
        tenant: TenantId,
        upstream: UpstreamId,
        tool: String,
        enabled: bool,
    },

    // apply/webhook.rs
    PutWebhook {
        webhook: Box<Webhook>,
        /// The stored key stays.
        keep_key: bool,
        if_revision: Option<u64>,
    },
    DeleteWebhook {
        tenant: TenantId,
        webhook: WebhookId,
    },

    // apply/duty.rs
    /// By whoever leads; `after` is the fence it saw.
    AssignDuty {
        duty: DutyId,
        node: NodeId,
        after: u64,
    },
    AdvanceDuty(DutyProgress),

    // apply/subject.rs
    /// Keys for persons that have none yet.
    AddSubjectKeys(Vec<SubjectKey>),
    /// A member has made the key of the next generation.
    OfferGeneration(Offer),
    /// Enough members hold the key that was offered.
    BeginGeneration {
        generation: u32,
    },
    /// Which keys of generations a member holds.
    TellGenerations {
        node: NodeId,
        held: Held,
    },
    /// The same keys of persons, wrapped by the generation in force.
    RewrapSubjects(Vec<SubjectKey>),
    /// A person's key goes, and with it the principal, its grants and its keys.
    EraseSubject {
        tenant: TenantId,
        principal: PrincipalId,
    },
    /// With a reason: it may not be erased. With none: it may again.
    HoldSubject {
        tenant: TenantId,
        principal: PrincipalId,
        hold: String,
    },
    /// The next generation is to begin now.
    WantGeneration,
    /// In a cluster made of a backup: persons' keys as they were kept apart from it.
    AdoptKeys(Box<AdoptKeys>),

    // apply/retention.rs
    /// Days for each class. Feature level 5.
    SetRetention {
        days: RetentionDays,
        if_revision: Option<u64>,
    },
    /// Payloads are to be dropped now that are past their days.
    RunRetention,
    /// By the duty's holder; `fence` is `assigned_at` of its assignment.
    DropPayloads {
        fence: u64,
        drop: Box<PayloadDrop>,
    },

    // apply/session.rs
    CloseMcpSession {
        tenant: TenantId,
        session: McpSessionId,
        expires_at: TimestampMs,
    },
}

/// A part of the key table of the cluster that a backup is of, newer than the backup or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdoptKeys {
    pub generation: u32,
    pub check: Digest,
    pub keys: Vec<SubjectKey>,
    /// Persons that are known to be erased.
    pub erased: Vec<(TenantId, PrincipalId, Erased)>,
}

/// What to take back of what one record posted; the proposer has read the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorrectCost {
    pub tenant: TenantId,
    pub record: CostPlace,
    /// Units: those of each account's measure.
    pub charges: Vec<(AccountKey, i128)>,
    pub reason: String,
}

/// The first entry of a cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct FormCluster {
    /// Random, chosen by the proposer; names the cluster in tokens and certificates.
    pub cluster_id: Digest,
    pub settings: ClusterSettings,
    pub node: RegisterNode,
    /// Principal and key of the first `system` administrator.
    pub administrator: Principal,
    pub administrator_key: ApiKey,
    /// HMAC key under which API keys and join tokens are hashed. Secret.
    pub key_hash_key: Secret32,
    /// AEAD key of MCP session tokens. Secret.
    pub session_key: Secret32,
}

/// A cluster goes on without the members it had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BeginEpoch {
    /// One more than the cluster's.
    pub epoch: u64,
    pub cause: EpochCause,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EpochCause {
    /// A new cluster was made of a backup. None of the old one's members is a member of it.
    Restored(Box<Restored>),
    /// Most voters are lost for good: `node` goes on alone, with what it has.
    MajorityLost { node: NodeId },
}

/// What the new cluster begins with. The id of its first node follows from the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    pub cluster_id: Digest,
    /// Sessions of before end with the old one. Secret.
    pub session_key: Secret32,
    pub node: RegisterNode,
    /// SHA3-256 of the backup's manifest.
    pub backup: Digest,
}

/// A backup begins to be given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupNote {
    /// Which node gives it.
    pub node: NodeId,
}

/// How far a duty's holder has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DutyProgress {
    pub duty: DutyId,
    /// `assigned_at` of the assignment under which the work was done.
    pub fence: u64,
    pub cursor: AuditIndex,
    pub attempts: u32,
    pub last_error: String,
}

/// A joiner, as its token and certificate describe it. Its id comes from the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterNode {
    /// Token it consumes; the forming node has none.
    pub token: Option<ApiKeyId>,
    pub name: String,
    pub peer_address: String,
    pub admin_address: String,
    pub http_address: String,
    pub region: String,
    pub zone: String,
    pub version: String,
}

/// Key material that all nodes share. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret32(pub [u8; 32]);

impl std::fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

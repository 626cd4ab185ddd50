//! What applying an entry gives: an outcome or a rejection, effects, rows and audit events.

use crate::activity::RecordApplied;
use crate::audit::SealedEvent;
use crate::ids::{Incarnation, McpSessionId, NodeId, TenantId};
use crate::ledger::{AccountKey, Level};
use crate::row::RowChange;

/// The result of one entry. A rejection is a value too: replicated, and audited where it is administrative.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    pub outcome: Result<Outcome, Rejection>,
    pub effects: Vec<Effect>,
    pub rows: Vec<RowChange>,
    pub audit: Vec<SealedEvent>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The write stands at this log index.
    Done {
        log_index: u64,
    },
    NodeRegistered {
        node: NodeId,
    },
    IncarnationOpened {
        incarnation: Incarnation,
        last_sequence: u64,
    },
    /// Per record of the batch, in order.
    BatchApplied {
        records: Vec<RecordApplied>,
    },
    /// Seen before: the first audit index it was given.
    BatchDuplicate {
        first_index: u64,
    },
}

macro_rules! rejections {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),* } = $number:literal, $code:literal, $text:literal;)*) => {
        /// A deterministic refusal; the state is unchanged but for the audit chain. Numbers are persisted: append only.
        #[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
        pub enum Rejection {
            $($(#[$doc])* #[error($text)] $name { $($field: $ty),* },)*
        }

        impl Rejection {
            /// The public code, as in `tonic::Status` details.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }
        }
    };
}

rejections! {
    NotFormed {} = 1, "CLUSTER_NOT_FORMED", "the cluster is not formed yet: run `only1mcp init` on one node";
    AlreadyFormed {} = 2, "CLUSTER_ALREADY_FORMED", "the cluster is already formed";
    NotFound { kind: String, id: String } = 3, "NOT_FOUND", "there is no {kind} {id:?}";
    AlreadyExists { kind: String, id: String } = 4, "ALREADY_EXISTS", "{kind} {id:?} exists already";
    RevisionMismatch { expected: u64, found: u64 } = 5, "REVISION_MISMATCH", "the record is at revision {found}, not {expected}: read it again";
    Forbidden { permission: String } = 6, "FORBIDDEN", "the permission {permission} is needed here";
    Invalid { field: String, problem: String } = 7, "INVALID", "{field}: {problem}";
    LimitReached { what: String, max: u64 } = 8, "LIMIT_REACHED", "at most {max} {what} are allowed";
    InUse { kind: String, id: String, by: String } = 9, "IN_USE", "{kind} {id:?} is in use by {by}";
    Cycle { role: String } = 10, "ROLE_CYCLE", "role {role:?} would inherit from itself";
    BuiltIn { kind: String, id: String } = 11, "BUILT_IN", "{kind} {id:?} is built in and cannot be changed";
    CommandIdConflict {} = 12, "COMMAND_ID_CONFLICT", "this command_id was used for another request";
    SecretNotRecoverable { id: String } = 13, "SECRET_NOT_RECOVERABLE", "the secret of {id:?} was shown once and is not kept: rotate it";
    TokenInvalid {} = 14, "JOIN_TOKEN_INVALID", "the join token is unknown, used or expired: make a new one";
    NodeBarred { name: String } = 15, "NODE_BARRED", "a node named {name:?} was removed; its certificate is barred";
    JournalUnposted { node: u64, last_sequence: u64 } = 16, "JOURNAL_UNPOSTED", "node {node} has not handed in its journal (last posted sequence {last_sequence}); start it and let it leave, or remove it with --lose-journal";
    Fenced { incarnation: u64 } = 17, "INCARNATION_FENCED", "a newer incarnation ({incarnation}) of this node is open";
    Gap { expected: u64, found: u64 } = 18, "BATCH_GAP", "batch {found} came before batch {expected}";
    BatchMismatch { sequence: u64 } = 19, "BATCH_MISMATCH", "batch {sequence} was sent before with other content";
    LastAdministrator {} = 20, "LAST_ADMINISTRATOR", "this would leave the system tenant without an administrator";
    Escalation { permission: String } = 21, "ESCALATION", "you cannot give the permission {permission}, which you do not hold";
    TenantClosed { tenant: String } = 22, "TENANT_CLOSED", "tenant {tenant:?} is closed";
    QuotaExceeded { quota: String, max: u64 } = 50, "QUOTA_EXCEEDED", "the tenant's quota {quota}={max} leaves no room for this: delete something, or ask the operators for a higher one";
    RetentionTooEarly { class: String, days: u64 } = 103, "RETENTION_TOO_EARLY", "audit events of class {class:?} are kept for {days} days: not all of these are so old";
    DutyFenced { assigned_at: u64 } = 30, "DUTY_FENCED", "the duty was given anew at log index {assigned_at}";
}

/// Work after apply, for whoever runs beside the state machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Decisions depend on something that changed; `None` means all tenants.
    PolicyChanged {
        tenant: Option<TenantId>,
    },
    UpstreamsChanged {
        tenant: TenantId,
    },
    SessionClosed {
        session: McpSessionId,
    },
    NodesChanged,
    SettingsChanged,
    /// A budget passed a share of its limit. Units: those of its measure.
    BudgetLevel {
        account: AccountKey,
        level: Level,
        posted: i128,
        limit: i128,
    },
    /// A call used more than was held for it.
    Overrun {
        account: AccountKey,
        amount: i128,
    },
    /// The numbers of an account contradict each other: a defect. It lends nothing more.
    LedgerBroken {
        account: AccountKey,
    },
}

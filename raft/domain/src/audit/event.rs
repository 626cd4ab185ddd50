//! One audit event, with the fields of the specification's `AuditEvent`.
//! `hash` and `previous_hash` are in [`crate::audit::SealedEvent`]: they are computed, not told.

use std::net::IpAddr;

use crate::ids::{CallId, DecisionId, NodeId, Revision, TenantId};
use crate::model::{Slot, SlotPart};
use crate::time::TimestampMs;

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// Source: specification, `AuditEventType`. Numbers are persisted: append only.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|k| k.name() == name)
            }
        }
    };
}

event_kinds! {
    LoginSuccess = 1;
    LoginFailure = 2;
    LogoutUser = 3;
    SessionExpired = 4;
    MfaSuccess = 5;
    MfaFailure = 6;
    /// An admission: the call may be sent.
    AccessGranted = 7;
    AccessDenied = 8;
    PermissionChanged = 9;
    RoleAssigned = 10;
    RoleRevoked = 11;
    /// A completion: what became of an admitted call.
    DataAccess = 12;
    DataModification = 13;
    DataDeletion = 14;
    DataExport = 15;
    DataImport = 16;
    ConfigurationChange = 17;
    ServerAdded = 18;
    ServerRemoved = 19;
    ServerModified = 20;
    SecurityAlert = 21;
    PolicyViolation = 22;
    AnomalyDetected = 23;
    AuditLogAccess = 24;
    AuditLogExport = 25;
    ComplianceCheck = 26;
    SystemStartup = 27;
    SystemShutdown = 28;
    BackupCreated = 29;
    BackupRestored = 30;
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Info,
    Notice,
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Info, Self::Notice, Self::Warning, Self::Critical];

    /// The persisted number.
    pub fn number(self) -> u8 {
        match self {
            Self::Info => 1,
            Self::Notice => 2,
            Self::Warning => 3,
            Self::Critical => 4,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.number() == number)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventOutcome {
    Success,
    Failure,
    Denied,
    /// The call was sent and nothing is known of its end.
    Unknown,
}

impl EventOutcome {
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Denied, Self::Unknown];

    /// The persisted number.
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 1,
            Self::Failure => 2,
            Self::Denied => 3,
            Self::Unknown => 4,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.number() == number)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventActor {
    pub tenant: String,
    pub id: String,
    /// Key, certificate, socket or node through which it came.
    pub via: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventResource {
    /// `tool`, `prompt`, `resource`, `tenant`, `principal`, `api_key`, `role`, `grant`, `rule`, `upstream`, `node`, `cluster`, `session`, `audit`, `rpc`.
    pub kind: String,
    pub id: String,
}

/// Field numbers of the canonical bytes stand in `canonical.rs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    pub kind: EventKind,
    pub severity: Severity,
    /// Whose trail it is in.
    pub tenant: TenantId,
    pub actor: EventActor,
    pub impersonator: Option<EventActor>,
    /// What was done, as a verb phrase of the product (`tools/call`, `role.put`).
    pub action: String,
    pub resource: EventResource,
    pub outcome: EventOutcome,
    /// Reason code of a refusal, call outcome, or rejection code; empty otherwise.
    pub reason: String,
    pub call: Option<CallId>,
    pub decision: Option<DecisionId>,
    pub revision: Option<Revision>,
    /// Node that did it; 0 where a person or service did, through whichever node.
    pub node: NodeId,
    pub observed_at: TimestampMs,
    pub log_time: TimestampMs,
    pub request_id: String,
    pub session_id: String,
    pub ip_address: Option<IpAddr>,
    pub user_agent: String,
    pub geo_location: Option<String>,
    /// JSON text, bounded; what the record was before and is after.
    pub before_state: Option<String>,
    pub after_state: Option<String>,
    pub diff: Option<String>,
    /// Further facts (digests, durations, role path), sorted, without doubles.
    pub details: Vec<(String, String)>,
    /// Personal data, each part sealed for the person it is about.
    pub personal: Vec<(SlotPart, Slot)>,
    /// Of the node that proposed it, over [`crate::audit::Statement`]: its number (8 bytes, big-endian), then 64 bytes.
    /// Every event of an administrative command has one, from feature level 3 on.
    pub signature: Option<Vec<u8>>,
}

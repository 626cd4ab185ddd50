//! Which class of retention an event is of, what of it stays for ever, and what stands in place of a payload that was
//! dropped.

use crate::audit::event::{AuditEvent, EventActor, EventKind};
use crate::ids::{PrincipalId, TenantId};

/// What of an event's payload is kept alike. Numbers are persisted: append only.
/// Source: specification, `retention`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RetentionClass {
    /// Whatever is in no other class.
    Default,
    Authentication,
    DataAccess,
    Configuration,
    Security,
    Compliance,
}

impl RetentionClass {
    pub const ALL: [Self; 6] = [
        Self::Default,
        Self::Authentication,
        Self::DataAccess,
        Self::Configuration,
        Self::Security,
        Self::Compliance,
    ];

    /// As the specification groups the types of events.
    pub fn of(kind: EventKind) -> Self {
        use EventKind::{
            AccessDenied, AccessGranted, AnomalyDetected, AuditLogAccess, AuditLogExport, BackupCreated,
            BackupRestored, ComplianceCheck, ConfigurationChange, DataAccess, DataDeletion, DataExport,
            DataImport, DataModification, LoginFailure, LoginSuccess, LogoutUser, MfaFailure, MfaSuccess,
            PermissionChanged, PolicyViolation, RoleAssigned, RoleRevoked, SecurityAlert, ServerAdded,
            ServerModified, ServerRemoved, SessionExpired, SystemShutdown, SystemStartup,
        };
        match kind {
            LoginSuccess | LoginFailure | LogoutUser | SessionExpired | MfaSuccess | MfaFailure => {
                Self::Authentication
            }
            DataAccess | DataModification | DataDeletion | DataExport | DataImport => Self::DataAccess,
            ConfigurationChange | ServerAdded | ServerRemoved | ServerModified => Self::Configuration,
            SecurityAlert | PolicyViolation | AnomalyDetected => Self::Security,
            AuditLogAccess | AuditLogExport | ComplianceCheck => Self::Compliance,
            AccessGranted | AccessDenied | PermissionChanged | RoleAssigned | RoleRevoked | SystemStartup
            | SystemShutdown | BackupCreated | BackupRestored => Self::Default,
        }
    }

    /// The persisted number.
    pub fn number(self) -> u8 {
        match self {
            Self::Default => 1,
            Self::Authentication => 2,
            Self::DataAccess => 3,
            Self::Configuration => 4,
            Self::Security => 5,
            Self::Compliance => 6,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.number() == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Authentication => "authentication",
            Self::DataAccess => "data_access",
            Self::Configuration => "configuration",
            Self::Security => "security",
            Self::Compliance => "compliance",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// The action of the event that records what was dropped.
pub const DROP_ACTION: &str = "audit.drop_payloads";
/// Its details that a verifier reads.
pub const DROP_FIRST: &str = "first";
pub const DROP_LAST: &str = "last";
pub const DROP_NUMBER: &str = "number";
pub const DROP_COUNT: &str = "dropped";
pub const DROP_DIGEST: &str = "digest";

/// Actions in `system` without which later events could not be judged: who signs, and what was dropped.
const KEPT: [&str; 10] = [
    DROP_ACTION,
    "audit.set_retention",
    "cluster.form",
    "cluster.recover_unsafe",
    "cluster.restore",
    "cluster.set_settings",
    "node.register",
    "node.remove",
    "node.set_role",
    "node.set_signing_key",
];

/// Is kept whole for ever. INVARIANT: P6
pub fn stays(event: &AuditEvent) -> bool {
    event.tenant.is_system() && KEPT.contains(&event.action.as_str())
}

/// Which payloads go, told from the event alone: so every node drops the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DropRule {
    /// Ascending.
    pub classes: Vec<RetentionClass>,
    /// Persons under a legal hold, ascending: what concerns them stays.
    pub held: Vec<(TenantId, PrincipalId)>,
}

impl DropRule {
    /// The class by which the payload goes; `None` where it stays.
    pub fn takes(&self, event: &AuditEvent) -> Option<RetentionClass> {
        let class = RetentionClass::of(event.kind);
        let goes = self.classes.contains(&class)
            && !stays(event)
            && !self.held.iter().any(|(tenant, id)| concerns(event, tenant, id));
        goes.then_some(class)
    }
}

/// Who acted, was acted on, or is named anywhere in what the event tells of its tenant. Names too much rather than too
/// little: an id that is part of a longer word counts.
fn concerns(event: &AuditEvent, tenant: &TenantId, id: &PrincipalId) -> bool {
    let acts = |actor: &EventActor| actor.tenant == tenant.as_str() && actor.id == id.as_str();
    if acts(&event.actor) || event.impersonator.as_ref().is_some_and(acts) {
        return true;
    }
    let states = [&event.before_state, &event.after_state, &event.diff];
    let mut told = states
        .into_iter()
        .flatten()
        .map(String::as_str)
        .chain([event.resource.id.as_str(), event.reason.as_str()])
        .chain(event.details.iter().map(|(_, value)| value.as_str()));
    event.tenant == *tenant && told.any(|text| text.contains(id.as_str()))
}

/// What stands in place of canonical bytes once the payload is gone. No event begins with its first byte.
///
/// Shape: `00`, the class (1 byte), the number of the drop (4 bytes, big-endian).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    pub class: RetentionClass,
    /// Which of its segment's drops took it; from 1.
    pub number: u32,
}

const MARK: u8 = 0;

impl Expired {
    pub fn bytes(self) -> Vec<u8> {
        let mut out = vec![MARK, self.class.number()];
        out.extend_from_slice(&self.number.to_be_bytes());
        out
    }

    /// `None` where the bytes are an event's, or no mark's.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[mark, class], number) = bytes.split_first_chunk::<2>()?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        let class = RetentionClass::from_number(class)?;
        (mark == MARK && number > 0).then_some(Self { class, number })
    }
}

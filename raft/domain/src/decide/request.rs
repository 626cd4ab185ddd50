//! What is asked of the evaluator, and what it answers.

use std::net::IpAddr;
use std::sync::Arc;

use crate::decide::Reason;
use crate::ids::{ApiKeyId, GrantId, PrincipalId, ProjectId, Revision, RoleId, RuleId, TenantId};
use crate::model::{Permission, SealMode};
use crate::time::{TimestampMs, Zones};

/// What the caller wants to do in `Request::tenant`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Call a tool, get a prompt, read a resource: by exposed name (`upstream__name`).
    Execute(&'a str),
    /// See it in a list.
    View(&'a str),
    /// An administrative action, named by the permission it needs (none that carries a pattern).
    Administer(&'a Permission),
}

impl<'a> Action<'a> {
    /// The exposed name, where the action concerns an item.
    pub fn item(self) -> Option<&'a str> {
        match self {
            Self::Execute(item) | Self::View(item) => Some(item),
            Self::Administer(_) => None,
        }
    }
}

/// Facts about the request that no state holds. Judged once, by the admitting node.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Log time as this node estimates it.
    pub now: TimestampMs,
    pub ip: Option<IpAddr>,
    pub mfa: bool,
    pub project: Option<&'a ProjectId>,
    pub zones: &'a dyn Zones,
}

#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Where the resource lives. Differs from the caller's tenant only for operators.
    pub tenant: &'a TenantId,
    pub caller_tenant: &'a TenantId,
    pub principal: &'a PrincipalId,
    /// `None` when the caller came by client certificate or the local socket.
    pub key: Option<&'a ApiKeyId>,
    pub action: Action<'a>,
    pub context: Context<'a>,
}

/// The path that decided: from the grant along inheritance to the role that carries the permission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RolePath {
    pub grant: GrantId,
    /// Granted role first.
    pub roles: Vec<RoleId>,
}

/// Proof of an allow: what decided it, and what must be done with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    pub path: Arc<RolePath>,
    pub permission: Permission,
    pub revision: Revision,
    /// Obligation: when the answer may leave the node.
    pub seal_mode: SealMode,
    /// The path's `mfa_required` was waived by its grant; named in the audit.
    pub mfa_waived: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub reason: Reason,
    pub revision: Revision,
    /// The rule that decided, where it was one.
    pub rule: Option<RuleId>,
    /// The nearest path, where one covers the permission but a constraint failed.
    pub path: Option<Arc<RolePath>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    Allow(Evidence),
    Deny(Denial),
}

impl Decision {
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

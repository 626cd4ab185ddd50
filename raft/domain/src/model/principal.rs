//! An authenticated caller: a person or a service account.

use std::collections::BTreeMap;

use crate::ids::{PrincipalId, ProjectId, TenantId};
use crate::model::Personal;
use crate::time::TimestampMs;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrincipalKind {
    Person,
    Service,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    pub tenant: TenantId,
    pub id: PrincipalId,
    pub kind: PrincipalKind,
    /// Empty where it is sealed, as is `email`.
    pub display_name: String,
    pub email: String,
    /// Both, sealed by the proposer.
    pub personal: Option<Personal>,
    /// Projects it may act in; a request that names another is refused.
    pub projects: Vec<ProjectId>,
    pub attributes: BTreeMap<String, String>,
    /// A disabled principal is refused everywhere.
    pub enabled: bool,
    pub created_at: TimestampMs,
    pub updated_at: TimestampMs,
}

//! Why a request was decided as it was, and what would have to be granted.

use crate::decide::{CompiledPolicy, Decision, Reason, Request, RolePath};
use crate::state::State;

/// One role path that was considered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathReport {
    pub path: RolePath,
    /// The permission on the path that covers the action, if any does.
    pub permission: Option<String>,
    /// Constraints that failed; empty when the path allows.
    pub failed: Vec<Reason>,
    /// Constraints stored but not enforced yet, in words.
    pub not_enforced: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub decision: Decision,
    /// In words, one sentence.
    pub summary: String,
    pub paths: Vec<PathReport>,
    /// What would have to be granted or changed; empty on an allow.
    pub remedies: Vec<String>,
}

pub fn explain(policy: &CompiledPolicy, state: &State, request: &Request<'_>) -> Explanation {
    let _ = (policy, state, request);
    unimplemented!()
}

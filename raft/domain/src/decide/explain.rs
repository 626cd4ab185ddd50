//! Why a request was decided as it was, and what would have to be granted.

use std::sync::Arc;

use crate::decide::evaluate::{Caller, Considered};
use crate::decide::guard::Facts;
use crate::decide::permissions::Wanted;
use crate::decide::remedy::remedies;
use crate::decide::{Action, CompiledPolicy, Decision, Denial, Evidence, Reason, Request, RolePath};
use crate::ids::RoleId;
use crate::limits;
use crate::state::State;

/// One role path that was considered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathReport {
    pub path: RolePath,
    /// The permission on the path that covers the action, if any does.
    pub permission: Option<String>,
    /// Constraints that failed; empty when the path allows.
    pub failed: Vec<Reason>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub decision: Decision,
    /// In words, one sentence.
    pub summary: String,
    /// Those that cover the action first, nearest to an allow first; at most `limits::EXPLAIN_PATHS_MAX`. None where
    /// the caller's identity did not stand.
    pub paths: Vec<PathReport>,
    /// What would have to be granted or changed; empty on an allow.
    pub remedies: Vec<String>,
}

/// Decides `request` and says why. `policy` was built from `state`.
pub fn explain(policy: &CompiledPolicy, state: &State, request: &Request<'_>) -> Explanation {
    let decision = policy.decide(request);
    let facts = Facts::new(&request.context);
    let caller = policy.identify(request, &facts).ok();
    let paths = caller.map(|caller| reports(&caller, request, &facts)).unwrap_or_default();
    Explanation {
        summary: summary(request, &decision),
        remedies: match &decision {
            Decision::Allow(_) => Vec::new(),
            Decision::Deny(denial) => remedies(state, request, &facts, denial),
        },
        paths,
        decision,
    }
}

fn reports(caller: &Caller<'_>, request: &Request<'_>, facts: &Facts<'_>) -> Vec<PathReport> {
    let wanted = Wanted::new(request.action);
    let demanded = caller.demanded_factor(wanted, facts);
    let mut considered: Vec<Considered<'_>> = Vec::new();
    for grant in &caller.principal.grants {
        for (path, proof) in grant.reach.paths.iter().zip(&grant.proofs) {
            let permission = caller.covering(path, wanted);
            considered.push(caller.weigh(grant, path, proof, permission, facts, demanded));
        }
    }
    considered.sort_by_key(|path| (path.permission.is_none(), path.failures.rank()));
    considered.truncate(limits::EXPLAIN_PATHS_MAX);
    let report = |considered: &Considered<'_>| PathReport {
        path: RolePath::clone(considered.proof),
        permission: considered.permission.as_ref().map(|permission| permission.text()),
        failed: considered.failures.reasons().collect(),
    };
    considered.iter().map(report).collect()
}

fn summary(request: &Request<'_>, decision: &Decision) -> String {
    let who = format!("{} of {}", request.principal, request.caller_tenant);
    let what = what(request.action);
    let place = request.tenant;
    match decision {
        Decision::Allow(Evidence { path, permission, mfa_waived, .. }) => {
            let waiver = if *mfa_waived { "; a grant waives the second factor" } else { "" };
            let (grant, roles) = (&path.grant, chain(path));
            format!(
                "{who} may {what} in {place}: grant {grant} gives {} by {roles}{waiver}",
                permission.text()
            )
        }
        Decision::Deny(Denial { reason, rule, path, .. }) => {
            let because = match (rule, path) {
                (Some(rule), _) => format!(" by rule {rule}"),
                (None, Some(path)) => {
                    format!(" on the nearest path, grant {} by {}", path.grant, chain(path))
                }
                (None, None) => String::new(),
            };
            format!("{who} may not {what} in {place}: {}{because}", reason.code())
        }
    }
}

pub(super) fn what(action: Action<'_>) -> String {
    match action {
        Action::Execute(item) => format!("execute {item}"),
        Action::View(item) => format!("see {item}"),
        Action::Administer(permission) => format!("do what needs {}", permission.text()),
    }
}

pub(super) fn chain(path: &Arc<RolePath>) -> String {
    path.roles.iter().map(RoleId::as_str).collect::<Vec<_>>().join(" > ")
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;

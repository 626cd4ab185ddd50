//! The evaluator.
//!
//! Checks run in this order, and the first that fails names the reason; nothing depends on the order in which records
//! were made:
//! 1. the caller's tenant: known, active;
//! 2. another tenant is reached only from `system` (`CrossTenant`), and must be known and active: what stands in it is
//!    not told before this is settled. An operator may administer, not use, a tenant that is not active;
//! 3. the principal: known, enabled;
//! 4. the key: the principal's own, not expired, not revoked, its scope;
//! 5. the project that the request names is one of the principal's;
//! 6. what the caller's tenant, then the resource's, demands of every call (networks, window, projects). Administration
//!    by operators is bound by the demands of `system` alone, so that a tenant that locked itself out can be helped;
//! 7. explicit denies, lowest rule id first;
//! 8. the item's upstream: known, enabled, the item not disabled;
//! 9. role paths: the path that comes nearest to allowing names its hardest failure, in the order of
//!    `Failures::REASONS`; no covering path is `NoPermission`, or `CrossTenant` in another tenant;
//! 10. tool restrictions, lowest rule id first.

use std::sync::Arc;

use crate::decide::guard::{Facts, Failures, names_one};
use crate::decide::index::Hashed;
use crate::decide::permissions::Wanted;
use crate::decide::roles::{InheritancePath, is_built_in};
use crate::decide::tenant::{CompiledGrant, CompiledPrincipal, CompiledTenant};
use crate::decide::{Action, CompiledPolicy, Decision, Denial, Evidence, Reason, Request, RolePath};
use crate::ids::{RoleId, RuleId};
use crate::model::{ApiKey, DenySubject, Permission};

/// Why not, before the revision is added.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    rule: Option<RuleId>,
    path: Option<Arc<RolePath>>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, rule: None, path: None }
    }
}

impl Refusal {
    fn by_rule(reason: Reason, rule: &RuleId) -> Self {
        Self { reason, rule: Some(rule.clone()), path: None }
    }
}

/// A caller whose identity stands, and where it acts.
pub(super) struct Caller<'p> {
    pub(super) principal: &'p CompiledPrincipal,
    /// The caller's tenant.
    pub(super) home: &'p CompiledTenant,
    /// The resource's tenant.
    pub(super) place: &'p CompiledTenant,
    /// `home` is `system` and `place` is not.
    pub(super) abroad: bool,
}

/// One path with what it gives.
pub(super) struct Considered<'p> {
    pub(super) proof: &'p Arc<RolePath>,
    /// `None`: broken before any permission could be found.
    pub(super) permission: Option<Permission>,
    pub(super) failures: Failures,
    pub(super) waived: bool,
}

impl CompiledPolicy {
    /// Decides one request. No I/O, no lock; P5: whatever is missing or broken is a deny.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        match self.judge(request) {
            Ok(evidence) => Decision::Allow(evidence),
            Err(Refusal { reason, rule, path }) => {
                Decision::Deny(Denial { reason, revision: self.revision(), rule, path })
            }
        }
    }

    // INVARIANT: P5, P7
    fn judge(&self, request: &Request<'_>) -> Result<Evidence, Refusal> {
        let facts = Facts::new(&request.context);
        let caller = self.identify(request, &facts)?;
        let wanted = Wanted::new(request.action);
        let item = wanted.item();
        caller.meet_demands(item.is_some(), &facts)?;
        if let Some(item) = item {
            caller.pass_denies(request, item, &facts)?;
            caller.place.upstreams.check(self.shared_upstreams(), item.text)?;
        }
        let mut chosen = caller.choose_path(wanted, &facts)?;
        if let Some(item) = item {
            chosen.waived |= caller.pass_restrictions(item, &facts)?;
        }
        Ok(Evidence {
            path: chosen.proof.clone(),
            permission: chosen.permission,
            revision: self.revision(),
            seal_mode: caller.place.seal_mode(item),
            mfa_waived: chosen.waived,
        })
    }

    /// Steps 1 to 5.
    pub(super) fn identify<'p>(
        &'p self,
        request: &Request<'_>,
        facts: &Facts<'_>,
    ) -> Result<Caller<'p>, Refusal> {
        let home = self.tenant(request.caller_tenant).ok_or(Reason::TenantUnknown)?;
        if !home.active {
            return Err(Reason::TenantSuspended.into());
        }
        let abroad = request.tenant != request.caller_tenant;
        if abroad && !request.caller_tenant.is_system() {
            return Err(Reason::CrossTenant.into());
        }
        let place = if abroad { self.tenant(request.tenant).ok_or(Reason::TenantUnknown)? } else { home };
        if !place.active && !matches!(request.action, Action::Administer(_)) {
            return Err(Reason::TenantSuspended.into());
        }
        let principal = home.principals.get(request.principal.as_str()).ok_or(Reason::PrincipalUnknown)?;
        if !principal.enabled {
            return Err(Reason::PrincipalDisabled.into());
        }
        if let Some(id) = request.key {
            let key = self.key(id).ok_or(Reason::KeyUnknown)?;
            check_key(key, request, facts)?;
        }
        if facts.project.is_some() && !names_one(&principal.projects, facts.project) {
            return Err(Reason::ProjectNotAllowed.into());
        }
        Ok(Caller { principal, home, place, abroad })
    }
}

fn check_key(key: &ApiKey, request: &Request<'_>, facts: &Facts<'_>) -> Result<(), Reason> {
    if key.tenant != *request.caller_tenant || key.principal != *request.principal {
        return Err(Reason::KeyUnknown);
    }
    if facts.expired(key.expires_at) {
        return Err(Reason::KeyExpired);
    }
    if facts.expired(key.revoked_at) {
        return Err(Reason::KeyRevoked);
    }
    let project = key.projects.is_empty() || facts.project.is_some_and(|p| key.projects.contains(p));
    let tool = key.tools.is_empty()
        || request.action.item().is_some_and(|item| key.tools.iter().any(|glob| glob.matches(item)));
    if project && tool { Ok(()) } else { Err(Reason::KeyScope) }
}

/// The path that decides.
struct Chosen<'p> {
    proof: &'p Arc<RolePath>,
    permission: Permission,
    waived: bool,
}

impl<'p> Caller<'p> {
    /// Step 6.
    fn meet_demands(&self, uses: bool, facts: &Facts<'_>) -> Result<(), Reason> {
        let here = self.home.demands.failures(facts);
        if let Some(reason) = here.hardest() {
            return Err(reason);
        }
        let there =
            if self.bound_by_place(uses) { self.place.demands.failures(facts) } else { Failures::NONE };
        there.hardest().map_or(Ok(()), Err)
    }

    /// `uses`: the request concerns an item.
    fn bound_by_place(&self, uses: bool) -> bool {
        self.abroad && uses
    }

    /// Step 7. Abroad only a deny for everyone applies: the principals and roles it names are the tenant's own.
    fn pass_denies(&self, request: &Request<'_>, item: Hashed<'_>, facts: &Facts<'_>) -> Result<(), Refusal> {
        let denied = self.place.denies.lowest(item, |subject| match subject {
            DenySubject::Everyone => true,
            DenySubject::Principal(id) => !self.abroad && id == request.principal,
            DenySubject::Role(role) => !self.abroad && self.is_member(role, facts),
        });
        denied.map_or(Ok(()), |rule| Err(Refusal::by_rule(Reason::ExplicitDeny, rule)))
    }

    /// Conditions disregarded: a deny is never dodged by context.
    fn is_member(&self, role: &RoleId, facts: &Facts<'_>) -> bool {
        self.principal.grants.iter().any(|grant| !grant.expired(facts) && grant.reach.includes(role))
    }

    /// Step 9.
    fn choose_path(&self, wanted: Wanted<'_>, facts: &Facts<'_>) -> Result<Chosen<'p>, Refusal> {
        let mut waived: Option<Chosen<'p>> = None;
        let mut nearest: Option<(Failures, &Arc<RolePath>)> = None;
        for considered in self.paths(wanted, facts) {
            let Considered { proof, permission, failures, waived: by_waiver } = considered;
            match permission {
                Some(permission) if failures.is_empty() => {
                    let chosen = Chosen { proof, permission, waived: by_waiver };
                    if !by_waiver {
                        return Ok(chosen);
                    }
                    waived.get_or_insert(chosen);
                }
                _ if nearest.is_none_or(|(best, _)| failures.rank() < best.rank()) => {
                    nearest = Some((failures, proof));
                }
                _ => {}
            }
        }
        if let Some(chosen) = waived {
            return Ok(chosen);
        }
        let absent = if self.abroad { Reason::CrossTenant } else { Reason::NoPermission };
        Err(match nearest {
            Some((failures, path)) => Refusal {
                reason: failures.hardest().unwrap_or(Reason::BrokenRule),
                rule: None,
                path: Some(path.clone()),
            },
            None => absent.into(),
        })
    }

    /// Every path that covers what is wanted, and every broken one, in the order of grant and role ids.
    pub(super) fn paths(
        &self,
        wanted: Wanted<'_>,
        facts: &Facts<'_>,
    ) -> impl Iterator<Item = Considered<'p>> {
        let demanded = self.demanded_factor(wanted, facts);
        self.principal.grants.iter().flat_map(move |grant: &'p CompiledGrant| {
            grant.reach.candidates(wanted).filter_map(move |at| {
                let (path, proof) = grant.reach.paths.get(at).zip(grant.proofs.get(at))?;
                let permission = self.covering(path, wanted);
                let relevant = permission.is_some() || path.end.is_none();
                relevant.then(|| self.weigh(grant, path, proof, permission, facts, demanded))
            })
        })
    }

    /// The second factor, where the tenants demand it of this request and it is missing.
    pub(super) fn demanded_factor(&self, wanted: Wanted<'_>, facts: &Facts<'_>) -> Failures {
        let here = self.home.demands.requires_mfa();
        let there = self.bound_by_place(wanted.item().is_some()) && self.place.demands.requires_mfa();
        Failures::when((here || there) && !facts.mfa, Failures::MFA)
    }

    /// The permission at the end of `path` that covers what is wanted.
    pub(super) fn covering(&self, path: &InheritancePath, wanted: Wanted<'_>) -> Option<Permission> {
        path.end.as_ref()?.permissions.covering(wanted, self.abroad)
    }

    /// What stands between `path` and an allow, besides the permission.
    pub(super) fn weigh(
        &self,
        grant: &CompiledGrant,
        path: &InheritancePath,
        proof: &'p Arc<RolePath>,
        permission: Option<Permission>,
        facts: &Facts<'_>,
        demanded: Failures,
    ) -> Considered<'p> {
        if path.end.is_none() {
            return Considered { proof, permission: None, failures: Failures::BROKEN, waived: false };
        }
        let failures = grant.failures(facts).with(path.failures(facts)).with(demanded);
        let (failures, waived) = grant.waive(failures);
        Considered { proof, permission, failures, waived }
    }

    /// Step 10. Returns whether a membership that was needed rests on a waiver of the second factor.
    fn pass_restrictions(&self, item: Hashed<'_>, facts: &Facts<'_>) -> Result<bool, Refusal> {
        let mut by_waiver = false;
        let failed = self.place.restrictions.lowest(item, |allowed| match self.membership(allowed, facts) {
            Some(waived) => {
                by_waiver |= waived;
                false
            }
            None => true,
        });
        failed.map_or(Ok(by_waiver), |rule| Err(Refusal::by_rule(Reason::ToolRestricted, rule)))
    }

    /// `Some` when one of `allowed` is reached with every condition along the way holding; inside: only by a waiver.
    /// Abroad an operator's own roles count only where they are built in: other ids are the tenant's.
    fn membership(&self, allowed: &[RoleId], facts: &Facts<'_>) -> Option<bool> {
        let mut by_waiver = None;
        for grant in &self.principal.grants {
            for path in &grant.reach.paths {
                let counts = |role: &&RoleId| {
                    allowed.binary_search(role).is_ok() && (!self.abroad || is_built_in(role))
                };
                if path.reaches().filter(counts).is_none() {
                    continue;
                }
                let failures = grant.failures(facts).with(path.failures(facts));
                match grant.waive(failures) {
                    (Failures::NONE, false) => return Some(false),
                    (Failures::NONE, true) => by_waiver = Some(true),
                    _ => {}
                }
            }
        }
        by_waiver
    }
}

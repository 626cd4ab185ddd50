//! The compiled evaluator against the oracle, and the properties that both must have.

use std::collections::BTreeMap;
use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::decide::{CompiledPolicy, Decision, Reason, Request, explain};
use only1mcp_domain::ids::{GrantId, TenantId};
use only1mcp_domain::state::Versioned;

use crate::oracle::{Allowed, Expected, expect};
use crate::oracle_world::{Asked, Rng, TENANTS, World, random_deny};

const REQUESTS_PER_WORLD: usize = 100;

/// What the evaluator said, in the oracle's terms.
fn found(decision: &Decision) -> Expected {
    match decision {
        Decision::Allow(evidence) => Ok(Allowed {
            grant: evidence.path.grant.clone(),
            roles: evidence.path.roles.clone(),
            permission: evidence.permission.clone(),
            mfa_waived: evidence.mfa_waived,
        }),
        Decision::Deny(denial) => Err((denial.reason, denial.rule.clone())),
    }
}

/// Compares `worlds` x 100 cases; counts answers by reason (`None`: allowed).
fn compare(seeds: std::ops::Range<u64>) -> BTreeMap<Option<Reason>, usize> {
    let mut seen = BTreeMap::new();
    for seed in seeds {
        let rng = &mut Rng(seed);
        let state = World::random(rng).state();
        let policy = CompiledPolicy::build(&state);
        for case in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            let request = asked.request();
            let decision = policy.decide(&request);
            let (found, expected) = (found(&decision), expect(&state, &request));
            if found != expected {
                report(seed, case, &policy, &state, &request, &expected);
            }
            let reason = found.err().map(|(reason, _)| reason);
            *seen.entry(reason).or_insert(0) += 1;
        }
    }
    seen
}

fn report(
    seed: u64,
    case: usize,
    policy: &CompiledPolicy,
    state: &State,
    request: &Request<'_>,
    expected: &Expected,
) -> ! {
    panic!(
        "seed {seed}, case {case}: {:?} by {} of {} in {}\nexpected {expected:?}\nexplained {:#?}",
        request.action,
        request.principal,
        request.caller_tenant,
        request.tenant,
        explain(policy, state, request),
    );
}

/// A million cases in four parts, so that they run side by side. Each part must have met every reason.
fn agree(part: u64) {
    const WORLDS: u64 = 2_500;
    let seen = compare(part * WORLDS..(part + 1) * WORLDS);
    let total: usize = seen.values().sum();
    assert_eq!(total, 250_000);
    let decided_here = Reason::ALL.iter().filter(|reason| **reason <= Reason::BrokenRule);
    for reason in decided_here.copied().map(Some).chain([None]) {
        let count = seen.get(&reason).copied().unwrap_or(0);
        assert!(count >= 200, "too few cases test {reason:?}: {count}; all: {seen:?}");
    }
    println!("{seen:?}");
}

#[test]
fn a_million_cases_agree_with_the_oracle_first_quarter() {
    agree(0);
}

#[test]
fn a_million_cases_agree_with_the_oracle_second_quarter() {
    agree(1);
}

#[test]
fn a_million_cases_agree_with_the_oracle_third_quarter() {
    agree(2);
}

#[test]
fn a_million_cases_agree_with_the_oracle_fourth_quarter() {
    agree(3);
}

#[test]
fn the_order_in_which_records_were_made_changes_nothing() {
    for seed in 0..300 {
        let rng = &mut Rng(seed + 1_000_000);
        let world = World::random(rng);
        let mut shuffled = world.clone();
        shuffled.shuffle(rng);
        let (one, other) = (CompiledPolicy::build(&world.state()), CompiledPolicy::build(&shuffled.state()));
        for _ in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            assert_eq!(one.decide(&asked.request()), other.decide(&asked.request()), "seed {seed}");
        }
    }
}

#[test]
fn what_grants_are_called_changes_no_answer_and_no_reason() {
    for seed in 0..300 {
        let rng = &mut Rng(seed + 2_000_000);
        let world = World::random(rng);
        let mut renamed = world.clone();
        let mut names: Vec<usize> = (0..renamed.grants.len()).collect();
        rng.shuffle(&mut names);
        for (grant, name) in renamed.grants.iter_mut().zip(names) {
            grant.id = GrantId::new(format!("g{name:03}")).unwrap();
        }
        let (one, other) = (CompiledPolicy::build(&world.state()), CompiledPolicy::build(&renamed.state()));
        for _ in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            let told = |policy: &CompiledPolicy| match policy.decide(&asked.request()) {
                Decision::Allow(evidence) => Ok(evidence.mfa_waived),
                Decision::Deny(denial) => Err(denial.reason),
            };
            assert_eq!(told(&one), told(&other), "seed {seed}");
        }
    }
}

#[test]
fn one_more_deny_never_allows_more() {
    let mut denied_anew = 0;
    for seed in 0..600 {
        let rng = &mut Rng(seed + 3_000_000);
        let before = World::random(rng);
        let mut after = before.clone();
        let tenant = TenantId::new(rng.pick(&TENANTS)).unwrap();
        after.denies.push(random_deny(rng, &tenant, "one-more"));
        let (before, after) = (CompiledPolicy::build(&before.state()), CompiledPolicy::build(&after.state()));
        for _ in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            let pair = (before.decide(&asked.request()), after.decide(&asked.request()));
            match pair {
                (Decision::Allow(was), Decision::Allow(is)) => assert_eq!(was, is),
                (Decision::Allow(_), Decision::Deny(denial)) => {
                    assert_eq!(denial.reason, Reason::ExplicitDeny);
                    denied_anew += 1;
                }
                (Decision::Deny(_), Decision::Deny(_)) => {}
                (Decision::Deny(was), Decision::Allow(_)) => panic!("seed {seed}: a deny lifted {was:?}"),
            }
        }
    }
    assert!(denied_anew > 100, "the property was hardly tested: {denied_anew}");
}

#[test]
fn rebuilding_some_tenants_equals_building_all_and_shares_the_rest() {
    for seed in 0..200 {
        let rng = &mut Rng(seed + 4_000_000);
        let (old, new) = (World::random(rng).state(), World::random(rng).state());
        let changed = TenantId::new(rng.pick(&TENANTS[1..])).unwrap();
        let mixed = take_tenant(&old, &new, &changed);
        let before = CompiledPolicy::build(&old);
        let rebuilt = before.rebuild(&mixed, Some(std::slice::from_ref(&changed)));
        let built = CompiledPolicy::build(&mixed);
        for _ in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            assert_eq!(rebuilt.decide(&asked.request()), built.decide(&asked.request()), "seed {seed}");
        }
        for id in TENANTS.iter().map(|id| TenantId::new(id).unwrap()).filter(|id| *id != changed) {
            let shared = match (before.tenant(&id), rebuilt.tenant(&id)) {
                (Some(before), Some(rebuilt)) => Arc::ptr_eq(before, rebuilt),
                (before, rebuilt) => before.is_none() && rebuilt.is_none(),
            };
            assert!(shared, "seed {seed}: {id} was compiled anew");
        }
    }
}

/// Small steps, as administration takes them, each rebuilt from the one before: nothing may be left over.
#[test]
fn rebuilding_step_by_step_equals_building_anew() {
    let all = TENANTS.map(|id| TenantId::new(id).unwrap());
    for seed in 0..150 {
        let rng = &mut Rng(seed + 6_000_000);
        let mut state = World::random(rng).state();
        let donor = World::random(rng).state();
        let mut policy = CompiledPolicy::build(&state);
        for step in 0..12 {
            for _ in 0..=rng.below(3) {
                take_one(rng, &mut state, &donor);
            }
            policy = policy.rebuild(&state, Some(&all));
            let built = CompiledPolicy::build(&state);
            for _ in 0..REQUESTS_PER_WORLD / 2 {
                let asked = Asked::random(rng);
                let (rebuilt, built) = (policy.decide(&asked.request()), built.decide(&asked.request()));
                assert_eq!(rebuilt, built, "seed {seed}, step {step}");
            }
        }
    }
}

/// Removes a record, puts one in its place as it is in `donor`, or gives a grant to another principal.
fn take_one(rng: &mut Rng, state: &mut State, donor: &State) {
    fn take<K: Ord + Clone, V: Clone>(rng: &mut Rng, to: &mut imbl::OrdMap<K, V>, from: &imbl::OrdMap<K, V>) {
        let keys: Vec<&K> = to.keys().chain(from.keys()).collect();
        if keys.is_empty() {
            return;
        }
        let key = rng.pick(&keys).clone();
        match from.get(&key).filter(|_| !rng.percent(30)) {
            Some(value) => to.insert(key, value.clone()),
            None => to.remove(&key),
        };
    }
    match rng.below(11) {
        10 => {
            let held: Vec<_> = state.grants.iter().map(|(key, grant)| (key.clone(), grant.clone())).collect();
            let holders: Vec<_> = state.principals.keys().map(|(_, id)| id.clone()).collect();
            if !held.is_empty() && !holders.is_empty() {
                let (key, mut grant) = rng.pick(&held);
                grant.value.principal = rng.pick(&holders);
                state.grants.insert(key, grant);
            }
        }
        0..4 => take(rng, &mut state.grants, &donor.grants),
        4..7 => take(rng, &mut state.principals, &donor.principals),
        7 => take(rng, &mut state.roles, &donor.roles),
        8 => take(rng, &mut state.api_keys, &donor.api_keys),
        _ => take(rng, &mut state.denies, &donor.denies),
    }
}

/// `old` with all records of `tenant` as they are in `new`.
fn take_tenant(old: &State, new: &State, tenant: &TenantId) -> State {
    fn take<I: Ord + Clone, V: Clone>(
        old: &mut imbl::OrdMap<(TenantId, I), Versioned<V>>,
        new: &imbl::OrdMap<(TenantId, I), Versioned<V>>,
        tenant: &TenantId,
    ) {
        let of_others = old.iter().filter(|((owner, _), _)| owner != tenant);
        let of_tenant = new.iter().filter(|((owner, _), _)| owner == tenant);
        *old = of_others.chain(of_tenant).map(|(key, value)| (key.clone(), value.clone())).collect();
    }
    let mut mixed = old.clone();
    match new.tenants.get(tenant) {
        Some(record) => mixed.tenants.insert(tenant.clone(), record.clone()),
        None => mixed.tenants.remove(tenant),
    };
    take(&mut mixed.principals, &new.principals, tenant);
    take(&mut mixed.roles, &new.roles, tenant);
    take(&mut mixed.grants, &new.grants, tenant);
    take(&mut mixed.restrictions, &new.restrictions, tenant);
    take(&mut mixed.denies, &new.denies, tenant);
    take(&mut mixed.upstreams, &new.upstreams, tenant);
    mixed.api_keys = new.api_keys.clone();
    mixed
}

#[test]
fn explaining_agrees_with_deciding_and_offers_a_way_out_of_every_denial() {
    for seed in 0..400 {
        let rng = &mut Rng(seed + 5_000_000);
        let state = World::random(rng).state();
        let policy = CompiledPolicy::build(&state);
        for _ in 0..REQUESTS_PER_WORLD {
            let asked = Asked::random(rng);
            let request = asked.request();
            let told = explain(&policy, &state, &request);
            assert_eq!(told.decision, policy.decide(&request));
            assert!(!told.summary.is_empty());
            assert_eq!(told.remedies.is_empty(), told.decision.is_allow(), "seed {seed}: {told:#?}");
            let allows = told.paths.iter().any(|path| path.permission.is_some() && path.failed.is_empty());
            assert!(allows || !told.decision.is_allow(), "seed {seed}: {told:#?}");
        }
    }
}

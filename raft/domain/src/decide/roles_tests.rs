//! Inheritance unrolled: order, missing roles, cycles, and each bound from both sides.

use super::*;
use crate::model::Constraints;
use crate::state::Versioned;
use crate::time::TimestampMs;

fn id(text: &str) -> RoleId {
    RoleId::new(text).unwrap()
}

fn state(roles: &[(&str, &[&str])]) -> State {
    let mut state = State::default();
    for (name, parents) in roles {
        put(&mut state, name, parents.iter().map(|p| id(p)).collect());
    }
    state
}

fn put(state: &mut State, name: &str, inherits_from: Vec<RoleId>) {
    let tenant = TenantId::new("acme").unwrap();
    let role = Role {
        tenant: tenant.clone(),
        id: id(name),
        name: name.to_owned(),
        description: String::new(),
        permissions: Vec::new(),
        inherits_from,
        constraints: Constraints::default(),
        created_at: TimestampMs(0),
        created_by: String::new(),
    };
    state.roles.insert((tenant, id(name)), Versioned { revision: 1, value: role });
}

fn reach(state: &State, role: &str) -> Arc<Reach> {
    RoleCompiler::new(state, &TenantId::new("acme").unwrap(), RoleBook::default()).reach(&id(role))
}

/// Each path as text; a broken one ends in `!`.
fn paths(reach: &Reach) -> Vec<String> {
    let text = |path: &InheritancePath| {
        let roles: Vec<&str> = path.roles.iter().map(RoleId::as_str).collect();
        format!("{}{}", roles.join(">"), if path.end.is_none() { "!" } else { "" })
    };
    reach.paths.iter().map(text).collect()
}

#[test]
fn paths_come_in_the_order_of_ids_and_doubles_count_once() {
    let state = state(&[("a", &["c", "b", "b"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])]);
    assert_eq!(paths(&reach(&state, "a")), ["a", "a>b", "a>b>d", "a>c", "a>c>d"]);
}

#[test]
fn a_missing_role_breaks_its_path_alone() {
    let state = state(&[("a", &["gone", "b"]), ("b", &[])]);
    let reached = reach(&state, "a");
    assert_eq!(paths(&reached), ["a", "a>b", "a>gone!"]);
    assert!(reached.includes(&id("gone")), "a deny that names it still applies");
    assert_eq!(paths(&reach(&state, "nothing")), ["nothing!"]);
}

#[test]
fn a_cycle_in_stored_data_ends() {
    let state = state(&[("a", &["b"]), ("b", &["a", "c"]), ("c", &["c"])]);
    assert_eq!(paths(&reach(&state, "a")), ["a", "a>b", "a>b>a!", "a>b>c", "a>b>c>c!"]);
}

#[test]
fn role_depth_max() {
    let mut state = State::default();
    for n in 0..=limits::ROLE_DEPTH_MAX {
        put(&mut state, &format!("r{n}"), vec![id(&format!("r{}", n + 1))]);
    }
    put(&mut state, &format!("r{}", limits::ROLE_DEPTH_MAX), Vec::new());
    let deepest = reach(&state, "r0");
    assert_eq!(deepest.paths.len(), limits::ROLE_DEPTH_MAX + 1);
    assert!(deepest.paths.last().unwrap().end.is_none(), "the one past the bound");
    let within = reach(&state, "r1");
    assert_eq!(within.paths.len(), limits::ROLE_DEPTH_MAX);
    assert!(within.paths.iter().all(|path| path.end.is_some()));
}

/// A root over `middle` roles, each of which inherits from `leaves`.
fn fan(middle: usize, leaves: usize) -> State {
    let mut state = State::default();
    let ids =
        |prefix: &str, count: usize| (0..count).map(|n| id(&format!("{prefix}{n}"))).collect::<Vec<_>>();
    put(&mut state, "root", ids("m", middle));
    for m in ids("m", middle) {
        put(&mut state, m.as_str(), ids("leaf", leaves));
    }
    for leaf in ids("leaf", leaves) {
        put(&mut state, leaf.as_str(), Vec::new());
    }
    state
}

#[test]
fn role_closure_max() {
    let at_bound = fan(1, limits::ROLE_CLOSURE_MAX - 2);
    let reached = reach(&at_bound, "root");
    assert!(!reached.includes(&id("unrelated")) && reached.paths.iter().all(|p| p.end.is_some()));
    let beyond = fan(1, limits::ROLE_CLOSURE_MAX - 1);
    let reached = reach(&beyond, "root");
    assert_eq!(paths(&reached), ["root!"]);
    assert!(reached.includes(&id("unrelated")), "a deny is not dodged by size");
}

#[test]
fn role_paths_max() {
    // 1 + 15 + 15 * 16 = 256 paths over 32 roles; one more leaf makes 271.
    assert_eq!(reach(&fan(15, 16), "root").paths.len(), limits::ROLE_PATHS_MAX);
    let beyond = reach(&fan(15, 17), "root");
    assert_eq!(paths(&beyond), ["root!"]);
    assert!(beyond.includes(&id("leaf16")) && !beyond.includes(&id("unrelated")));
}

#[test]
fn built_in_ids_mean_the_built_in_roles_everywhere() {
    let mut state = state(&[("viewer", &["mine"]), ("mine", &["viewer"])]);
    assert_eq!(paths(&reach(&state, "viewer")), ["viewer!"], "a tenant's own row of that id is nobody's");
    for role in crate::model::built_in_roles() {
        let value = Versioned { revision: 1, value: role };
        state.roles.insert((TenantId::system(), value.value.id.clone()), value);
    }
    assert_eq!(paths(&reach(&state, "mine")), ["mine", "mine>viewer"]);
    assert_eq!(paths(&reach(&state, "developer")), ["developer", "developer>viewer"]);
}

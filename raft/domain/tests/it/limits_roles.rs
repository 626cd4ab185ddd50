//! Both sides of the bounds on roles and their inheritance.

use only1mcp_domain::Rejection;
use only1mcp_domain::command::Command;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::{Permission, Role};

use crate::apply_world::*;
use crate::limits::{both_sides, put};

#[test]
fn role_permissions_max() {
    let world = World::with_acme();
    both_sides(&world, ROLE_PERMISSIONS_MAX, |n| {
        let permissions = (0..n).map(|i| Permission::ToolView(glob(&format!("t{i}")))).collect();
        put(Role { permissions, ..role("acme", "n", &[], &[]) })
    });
}

fn leaves(world: &mut World, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("leaf{n}")).collect();
    names.iter().for_each(|name| drop(world.must(put_role("acme", name, &[], &[]))));
    names
}

fn inheriting(id: &str, parents: &[String]) -> Command {
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    put_role("acme", id, &[], &parents)
}

#[test]
fn role_parents_max() {
    let mut world = World::with_acme();
    let leaves = leaves(&mut world, ROLE_PARENTS_MAX + 1);
    both_sides(&world, ROLE_PARENTS_MAX, |n| inheriting("n", &leaves[..n]));
}

#[test]
fn role_closure_max() {
    let mut world = World::with_acme();
    let leaves = leaves(&mut world, ROLE_CLOSURE_MAX);
    // Four middles with 15 leaves each, the last one short by two: 4 + 15 + 15 + 15 + 14 = 63, and the role itself.
    let middles: Vec<String> = (0..4).map(|n| format!("m{n}")).collect();
    for (n, middle) in middles.iter().enumerate() {
        let to = (15 * n + 15).min(59);
        world.must(inheriting(middle, &leaves[15 * n..to]));
    }
    world.must(inheriting("top", &middles));
    let refused = world.refused(inheriting("m0", &[&leaves[..15], &leaves[60..61]].concat()));
    assert!(
        matches!(refused, Rejection::LimitReached { max: 64, .. }),
        "an heir would pass the bound: {refused:?}"
    );
    world.must(inheriting("m0", &leaves[..14]));
    world.must(inheriting("m1", &[&leaves[15..30], &leaves[60..61]].concat()));
    world.assert_mirrored();
}

#[test]
fn role_depth_max() {
    let mut world = World::with_acme();
    world.must(put_role("acme", "d1", &[], &[]));
    for depth in 2..=ROLE_DEPTH_MAX {
        world.must(inheriting(&format!("d{depth}"), &[format!("d{}", depth - 1)]));
    }
    let over = world.refused(inheriting("d17", &["d16".to_owned()]));
    assert!(matches!(over, Rejection::LimitReached { max: 16, .. }), "{over:?}");
    // One more below the lowest deepens every heir.
    world.must(put_role("acme", "ground", &[], &[]));
    let over = world.refused(inheriting("d1", &["ground".to_owned()]));
    assert!(matches!(over, Rejection::LimitReached { max: 16, .. }), "{over:?}");
}

#[test]
fn role_paths_max() {
    let mut world = World::with_acme();
    let leaves = leaves(&mut world, 17);
    // 15 middles, each with 17 paths (itself and 16 leaves), and the role's own: 256.
    let middles: Vec<String> = (0..15).map(|n| format!("m{n}")).collect();
    for middle in &middles {
        world.must(inheriting(middle, &leaves[..16]));
    }
    world.must(inheriting("top", &middles));
    let more = [&middles[..], &leaves[16..]].concat();
    let over = world.refused(inheriting("top", &more));
    assert!(matches!(over, Rejection::LimitReached { max: 256, .. }), "{over:?}");
    world.must(inheriting("m0", &leaves[..15]));
    world.must(inheriting("top", &more));
}

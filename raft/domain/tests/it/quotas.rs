//! Both sides of the quotas that are plain counts: users and backends of a tenant.

use only1mcp_domain::Rejection;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::{Quota, ResourceQuotas, Tenant};

use crate::apply_world::*;

fn limited(world: &mut World, tenant: &str, users: u64, backends: u64) {
    let stored = &world.state.tenants[&tenant_id(tenant)].value;
    let quotas = ResourceQuotas {
        max_users: Quota::AtMost(users),
        max_backends: Quota::AtMost(backends),
        ..stored.quotas
    };
    let tenant = Box::new(Tenant { quotas, ..stored.clone() });
    world.must(Command::UpdateTenant { tenant, if_revision: None });
}

fn refused(world: &mut World, command: Command, max: u64, what: &str) {
    let refused = world.refused(command);
    assert_eq!(refused, Rejection::LimitReached { what: what.to_owned(), max });
}

const USERS: &str = "users in this tenant by its quota";
const BACKENDS: &str = "backends of this tenant by its quota";

#[test]
fn max_users() {
    // It has three.
    let mut world = World::with_acme();
    limited(&mut world, "acme", 4, 0);
    world.must(Command::CreatePrincipal(principal("acme", "fourth")));
    refused(&mut world, Command::CreatePrincipal(principal("acme", "fifth")), 4, USERS);
    // Those there are can be changed, also where the quota was lowered since.
    limited(&mut world, "acme", 2, 0);
    world.must(Command::UpdatePrincipal { principal: principal("acme", "fourth"), if_revision: None });
    let gone = Command::DeletePrincipal {
        tenant: tenant_id("acme"),
        principal: principal_id("fourth"),
        if_revision: None,
    };
    world.must(gone);
    refused(&mut world, Command::CreatePrincipal(principal("acme", "fifth")), 2, USERS);
    limited(&mut world, "acme", 4, 0);
    world.must(Command::CreatePrincipal(principal("acme", "fifth")));
}

#[test]
fn max_backends() {
    // It has one.
    let mut world = World::with_acme();
    limited(&mut world, "acme", 0, 2);
    world.must(put_upstream(upstream("acme", "second")));
    refused(&mut world, put_upstream(upstream("acme", "third")), 2, BACKENDS);
    world.must(put_upstream(upstream("acme", "second")));
    world.must(Command::DeleteUpstream { tenant: tenant_id("acme"), upstream: upstream_id("files") });
    world.must(put_upstream(upstream("acme", "third")));
}

#[test]
fn the_operators_tenant_is_exempt() {
    let mut world = World::formed();
    let system = TenantId::system();
    limited(&mut world, system.as_str(), 0, 0);
    world.must(Command::CreatePrincipal(principal(system.as_str(), "second")));
    world.must(put_upstream(upstream(system.as_str(), "shared")));
}

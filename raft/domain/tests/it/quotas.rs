//! Both sides of the quotas that apply checks: users, backends and storage of a tenant; and what the tiers start with.

use only1mcp_domain::Rejection;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::{Principal, Quota, ResourceQuotas, Tenant, TenantTier};

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

fn stored(world: &World) -> u64 {
    world.state.storage_bytes(&tenant_id("acme"))
}

fn storage(world: &mut World, quota: Quota) {
    let tenant = &world.state.tenants[&tenant_id("acme")].value;
    let quotas = ResourceQuotas { storage_mib: quota, ..tenant.quotas.clone() };
    let tenant = Box::new(Tenant { quotas, ..tenant.clone() });
    world.must(Command::UpdateTenant { tenant, if_revision: None });
}

/// About 30 KiB, and `len` bytes more.
fn heavy(id: &str, len: usize) -> Command {
    let attributes = (0..60).map(|n| (format!("a{n:02}"), "x".repeat(500))).collect();
    Command::CreatePrincipal(Principal { attributes, email: "x".repeat(len), ..principal("acme", id) })
}

#[test]
fn storage_mib() {
    const MIB: u64 = 1 << 20;
    let mut world = World::with_acme();
    let begun = stored(&world);
    assert!(begun > 0 && begun < MIB / 4, "{begun}");
    storage(&mut world, Quota::AtMost(1));
    assert_eq!(stored(&world), begun, "a number is no text");
    let mut made = Vec::new();
    loop {
        let id = format!("heavy-{:02}", made.len());
        let outcome = world.submit(&operator(), heavy(&id, 0)).outcome;
        if outcome.is_err() {
            break;
        }
        made.push(id);
    }
    assert!((20..40).contains(&made.len()), "{}", made.len());
    world.assert_mirrored();
    let one = stored(&world) - {
        let mut less = world.clone();
        let principal = principal_id(made.last().unwrap());
        less.must(Command::DeletePrincipal { tenant: tenant_id("acme"), principal, if_revision: None });
        stored(&less)
    };
    // To the byte. What fills the rest is spread over records of what their bounds allow.
    let refused = world.refused(heavy("over", 0));
    assert_eq!(refused, Rejection::QuotaExceeded { quota: "storage_mib".to_owned(), max: 1 });
    assert!(stored(&world) <= MIB && stored(&world) + one > MIB);
    let plain = |len: usize, id: &str| {
        Command::CreatePrincipal(Principal { email: "x".repeat(len), ..principal("acme", id) })
    };
    let empty = {
        let mut more = world.clone();
        more.must(plain(0, "p00000"));
        stored(&more) - stored(&world)
    };
    for n in 0.. {
        let room = MIB - stored(&world);
        if room < empty + 200 {
            break;
        }
        let len = (room - empty).min(200) as usize;
        world.must(plain(len, &format!("p{n:05}")));
    }
    let room = (MIB - stored(&world)) as usize;
    if room >= empty as usize {
        let fits = room - empty as usize;
        assert!(world.clone().submit(&operator(), plain(fits + 1, "last-1")).outcome.is_err());
        world.must(plain(fits, "last-1"));
        assert_eq!(stored(&world), MIB);
    }
    // What is there can be changed where it does not grow, and deleted; a limit below the use only stops growth.
    storage(&mut world, Quota::AtMost(0));
    let update = |email: &str| Command::UpdatePrincipal {
        principal: Principal { email: email.to_owned(), ..principal("acme", "p00000") },
        if_revision: None,
    };
    world.must(update(""));
    assert!(matches!(world.refused(update("x")), Rejection::QuotaExceeded { max: 0, .. }));
    for id in &made {
        let principal = principal_id(id);
        world.must(Command::DeletePrincipal { tenant: tenant_id("acme"), principal, if_revision: None });
    }
    assert!(matches!(world.refused(heavy("again", 0)), Rejection::QuotaExceeded { .. }));
    storage(&mut world, Quota::Unlimited);
    world.must(heavy("again", 0));
    world.assert_mirrored();
}

#[test]
fn storage_counts_every_kind_of_record_and_nothing_is_left_of_what_is_gone() {
    let mut world = World::with_acme();
    let begun = stored(&world);
    let acme = || tenant_id("acme");
    let mut last = begun;
    let mut grows = |world: &mut World, command: Command| {
        world.must(command);
        assert!(stored(world) > last, "{:?}", world.last_event().action);
        last = stored(world);
    };
    grows(
        &mut world,
        Command::PutBudget { budget: Box::new(crate::ledger::budget("b", 5)), if_revision: None },
    );
    let price = crate::prices::price("acme", "p", "*", only1mcp_domain::price::Meter::Call, "1");
    grows(&mut world, Command::PutPrice { price: Box::new(price), if_revision: None });
    let metering = crate::prices::metering("acme", "m", 5);
    grows(&mut world, Command::PutMetering { metering: Box::new(metering), if_revision: None });
    grows(&mut world, put_upstream(upstream("acme", "more")));
    use only1mcp_domain::ids::{BudgetId, MeteringId, PriceId};
    world.must(Command::DeleteBudget { tenant: acme(), budget: BudgetId::new("b").unwrap() });
    world.must(Command::DeletePrice { tenant: acme(), price: PriceId::new("p").unwrap() });
    world.must(Command::DeleteMetering { tenant: acme(), metering: MeteringId::new("m").unwrap() });
    world.must(Command::DeleteUpstream { tenant: acme(), upstream: upstream_id("more") });
    assert_eq!(stored(&world), begun);
    world.assert_mirrored();
}

/// Source: specification, "Tenant Provisioning Pipeline".
#[test]
fn every_tier_begins_with_its_template() {
    use Quota::{AtMost, Unlimited};
    let of = |tier| ResourceQuotas::template(tier);
    let numbers = |quotas: &ResourceQuotas| {
        [
            quotas.max_concurrent_requests,
            quotas.max_requests_per_minute,
            quotas.cpu_millicores,
            quotas.memory_mib,
            quotas.storage_mib,
            quotas.max_backends,
            quotas.max_users,
            quotas.max_tokens_per_day,
        ]
    };
    let starter = [10, 100, 500, 1_024, 10_240, 5, 10, 100_000].map(AtMost);
    let professional = [100, 1_000, 4_000, 8_192, 102_400, 50, 100, 1_000_000].map(AtMost);
    let [a, b, c, d, e] = [1_000, 10_000, 32_000, 65_536, 1_024_000].map(AtMost);
    let enterprise = [a, b, c, d, e, Unlimited, Unlimited, Unlimited];
    let tiers = [TenantTier::Starter, TenantTier::Professional, TenantTier::Enterprise];
    for (tier, expected) in tiers.into_iter().zip([starter, professional, enterprise]) {
        let quotas = of(tier);
        assert_eq!(numbers(&quotas), expected, "{tier:?}");
        let open = [quotas.max_context_size, quotas.bandwidth_mbps, quotas.max_connections];
        assert_eq!(open, [Unlimited; 3], "the specification's template does not name them");
    }
}

//! What one decision costs at 100, 1,000 and 10,000 roles of one tenant, and, with `--features bench-cedar`, what the
//! same question costs `cedar-policy` with one policy per role, in the same run on the same data.
//!
//! `cargo bench -p only1mcp-domain --bench decide [--features bench-cedar]`. Times include reading the clock twice,
//! which the first line tells, and are those of the quietest of nine rounds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "a benchmark may fail loudly, and measures real time"
)]

#[cfg(feature = "bench-cedar")]
#[path = "peer/cedar.rs"]
mod cedar;
#[path = "../tests/it/oracle_records.rs"]
mod records;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use only1mcp_domain::State;
use only1mcp_domain::decide::{Action, CompiledPolicy, Context, Request};
use only1mcp_domain::ids::{ApiKeyId, Digest, PrincipalId, RoleId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{ApiKey, Glob, Permission, built_in_roles};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::{LocalTime, TimestampMs, Zones};

const ROLE_COUNTS: [usize; 3] = [100, 1_000, 10_000];
const PRINCIPALS: usize = 1_000;
const GRANTS_PER_PRINCIPAL: usize = 3;
const TOOLS_PER_ROLE: usize = 8;
const UPSTREAMS: usize = 10;
const TOOLS_PER_UPSTREAM: usize = 100;
const DECISIONS: usize = 50_000;
/// Other work on the machine disturbs some of them.
const ROUNDS: usize = 9;

struct NoZones;

impl Zones for NoZones {
    fn local(&self, _: &str, _: TimestampMs) -> Option<LocalTime> {
        None
    }
}

/// One question, its answer known by nobody.
pub struct Question {
    pub principal: PrincipalId,
    key: ApiKeyId,
    pub item: String,
}

/// The data both engines get.
pub struct World {
    tenant: TenantId,
    /// Id, exact tools, a pattern, the role inherited from.
    pub roles: Vec<(RoleId, Vec<String>, String, Option<RoleId>)>,
    pub principals: Vec<(PrincipalId, Vec<RoleId>)>,
}

/// Numerical Recipes' multiplier and increment; its high bits are good enough to choose by.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

fn tool(rng: &mut Lcg) -> String {
    format!("up{}__tool{}", rng.below(UPSTREAMS), rng.below(TOOLS_PER_UPSTREAM))
}

fn role_id(n: usize) -> RoleId {
    RoleId::new(format!("role-{n}")).unwrap()
}

impl World {
    /// Each role: eight tools, one pattern, chains of four by inheritance; each principal: three roles.
    fn new(roles: usize, principals: usize) -> Self {
        let rng = &mut Lcg(roles as u64);
        let make = |n: usize| {
            let tools = (0..TOOLS_PER_ROLE).map(|_| tool(rng)).collect();
            let pattern = format!("up{}__tool{}*", rng.below(UPSTREAMS), rng.below(TOOLS_PER_UPSTREAM));
            (role_id(n), tools, pattern, (!n.is_multiple_of(4)).then(|| role_id(n - 1)))
        };
        let made = (0..roles).map(make).collect();
        let rng = &mut Lcg(roles as u64 + 1);
        let holder = |n: usize| {
            let held = (0..GRANTS_PER_PRINCIPAL).map(|_| role_id(rng.below(roles))).collect();
            (PrincipalId::new(format!("user-{n}@example.org")).unwrap(), held)
        };
        let principals = (0..principals).map(holder).collect();
        Self { tenant: TenantId::new("acme").unwrap(), roles: made, principals }
    }

    /// Half about a tool that the caller's first role names, half about any tool.
    fn questions(&self, count: usize) -> Vec<Question> {
        let rng = &mut Lcg(7);
        let by_id: BTreeMap<&RoleId, &Vec<String>> =
            self.roles.iter().map(|role| (&role.0, &role.1)).collect();
        let ask = |n: usize| {
            let (principal, held) = &self.principals[rng.below(self.principals.len())];
            let item = if n.is_multiple_of(2) {
                by_id[&held[0]][rng.below(TOOLS_PER_ROLE)].clone()
            } else {
                tool(rng)
            };
            Question { principal: principal.clone(), key: key_id(principal), item }
        };
        (0..count).map(ask).collect()
    }

    fn state(&self) -> State {
        fn stand<T>(value: T) -> Versioned<T> {
            Versioned { revision: 1, value }
        }
        let (system, tenant) = (TenantId::system(), &self.tenant);
        let mut state = State::default();
        for id in [&system, tenant] {
            state.tenants.insert(id.clone(), stand(records::tenant(id.as_str())));
        }
        for n in 0..UPSTREAMS {
            let upstream = records::upstream(&system, &format!("up{n}"));
            state.upstreams.insert((system.clone(), upstream.id.clone()), stand(upstream));
        }
        for role in built_in_roles() {
            state.roles.insert((system.clone(), role.id.clone()), stand(role));
        }
        for (id, tools, pattern, parent) in &self.roles {
            let patterns = tools.iter().chain([pattern]);
            let permissions =
                patterns.map(|text| Permission::ToolExecute(Glob::new(text).unwrap())).collect();
            let role = records::role(tenant, id.as_str(), permissions, parent.iter().cloned().collect());
            state.roles.insert((tenant.clone(), id.clone()), stand(role));
        }
        for (id, held) in &self.principals {
            state
                .principals
                .insert((tenant.clone(), id.clone()), stand(records::principal(tenant, id.as_str())));
            for (n, role) in held.iter().enumerate() {
                let grant = records::grant(tenant, &format!("{id}:{n}"), id.as_str(), role.as_str());
                state.grants.insert((tenant.clone(), grant.id.clone()), stand(grant));
            }
            let key = key(tenant, id);
            state.api_keys.insert(key.id.clone(), stand(key));
        }
        state
    }
}

fn key_id(principal: &PrincipalId) -> ApiKeyId {
    ApiKeyId::new(format!("k-{principal}")).unwrap()
}

fn key(tenant: &TenantId, principal: &PrincipalId) -> ApiKey {
    ApiKey {
        id: key_id(principal),
        tenant: tenant.clone(),
        principal: principal.clone(),
        mac: Digest::default(),
        label: String::new(),
        created_at: TimestampMs(0),
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    }
}

/// Times of single answers of the quietest of [`ROUNDS`] rounds, and how many allowed.
pub struct Measured {
    sorted: Vec<Duration>,
    allowed: usize,
}

impl Measured {
    pub fn of(questions: &[Question], mut ask: impl FnMut(&Question) -> bool) -> Self {
        questions.iter().take(questions.len() / 10).for_each(|question| {
            black_box(ask(question));
        });
        let mut round = || {
            let (mut sorted, mut allowed) = (Vec::with_capacity(questions.len()), 0);
            for question in questions {
                let start = Instant::now();
                let allow = black_box(ask(black_box(question)));
                sorted.push(start.elapsed());
                allowed += usize::from(allow);
            }
            sorted.sort();
            Self { sorted, allowed }
        };
        (0..ROUNDS).map(|_| round()).min_by_key(|round| round.nanos(50)).unwrap()
    }

    fn nanos(&self, percentile: usize) -> u128 {
        self.sorted[(self.sorted.len() - 1) * percentile / 100].as_nanos()
    }

    fn row(&self) -> String {
        let share = 100 * self.allowed / self.sorted.len();
        format!("{:>10} {:>10} {:>8}%", self.nanos(50), self.nanos(99), share)
    }
}

/// How long a node takes to follow one grant's revocation in the largest tenant there may be.
fn rebuild() {
    let world = World::new(ROLE_COUNTS[2], limits::PRINCIPALS_PER_TENANT_MAX);
    let state = world.state();
    let start = Instant::now();
    let policy = CompiledPolicy::build(&state);
    let build = start.elapsed();
    let mut moved = state.clone();
    let revoked = state.grants.keys().nth(state.grants.len() / 2).unwrap();
    moved.grants.remove(revoked);
    let once = || {
        let start = Instant::now();
        black_box(policy.rebuild(&moved, Some(std::slice::from_ref(&world.tenant))));
        start.elapsed()
    };
    let quietest = (0..ROUNDS).map(|_| once()).min().unwrap();
    let (principals, grants) = (state.principals.len(), state.grants.len());
    println!(
        "{principals} principals with {grants} grants: build {:.1} ms, rebuild after one revocation {:.2} ms",
        build.as_secs_f64() * 1e3,
        quietest.as_secs_f64() * 1e3
    );
}

fn main() {
    let nothing = Measured::of(&World::new(4, 1).questions(DECISIONS), |_| true);
    println!("reading the clock twice: p50 {} ns, p99 {} ns", nothing.nanos(50), nothing.nanos(99));
    println!(
        "{:>7} {:<10} {:>10} {:>10} {:>10} {:>9}",
        "roles", "engine", "build ms", "p50 ns", "p99 ns", "allowed"
    );
    let mut first = None;
    for roles in ROLE_COUNTS {
        let world = World::new(roles, PRINCIPALS);
        let state = world.state();
        let start = Instant::now();
        let policy = CompiledPolicy::build(&state);
        let build = start.elapsed();
        let ours = Measured::of(&world.questions(DECISIONS), |question| {
            let context =
                Context { now: TimestampMs(1), ip: None, mfa: true, project: None, zones: &NoZones };
            let decision = policy.decide(&Request {
                tenant: &world.tenant,
                caller_tenant: &world.tenant,
                principal: &question.principal,
                key: Some(&question.key),
                action: Action::Execute(&question.item),
                context,
            });
            decision.is_allow()
        });
        println!("{roles:>7} {:<10} {:>10.1} {}", "only1mcp", build.as_secs_f64() * 1e3, ours.row());
        let base = *first.get_or_insert(ours.nanos(50));
        println!(
            "{:>7} p50 against {} roles: {:.2}",
            "",
            ROLE_COUNTS[0],
            ours.nanos(50) as f64 / base as f64
        );
        #[cfg(feature = "bench-cedar")]
        {
            let (build, theirs) = cedar::measure(&world, roles);
            println!("{roles:>7} {:<10} {:>10.1} {}", "cedar", build.as_secs_f64() * 1e3, theirs.row());
            println!(
                "{:>7} p50 against only1mcp: {:.0}",
                "",
                theirs.nanos(50) as f64 / ours.nanos(50) as f64
            );
        }
    }
    rebuild();
}

//! Random worlds, small enough that their parts collide: a few tenants, roles that inherit across each other, rules
//! over the same few tools, and everything that can be broken, broken now and then.

use only1mcp_domain::State;
use only1mcp_domain::decide::{Action, Context, Request};
use only1mcp_domain::ids::{
    ApiKeyId, Digest, PrincipalId, ProjectId, Revision, RoleId, RuleId, TenantId, UpstreamId,
};
use only1mcp_domain::model::{
    ApiKey, Constraints, DenyRule, DenySubject, Glob, Grant, Permission, Principal, PrincipalKind, Role,
    SealMode, Tenant, TenantStatus, TimeWindow, ToolRestriction, Upstream, Weekdays, built_in_roles,
};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::{LocalTime, TimestampMs, Zones};

use crate::oracle_records::{grant, principal, role, tenant, upstream};

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, enough for choosing test cases.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn some<T: Clone>(&mut self, from: &[T], max: usize) -> Vec<T> {
        let count = self.below(max + 1);
        (0..count).map(|_| self.pick(from)).collect()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// `UTC`, `East` (an hour ahead) and `Odd` (tells nonsense) are known.
pub struct TestZones;

impl Zones for TestZones {
    fn local(&self, zone: &str, at: TimestampMs) -> Option<LocalTime> {
        let shift = match zone {
            "UTC" => 0,
            "East" => 60,
            "Odd" => return Some(LocalTime { weekday: 0, minute_of_day: 5_000 }),
            _ => return None,
        };
        let minutes = at.0 / 60_000 + shift;
        let weekday = ((minutes / 1_440 + 3) % 7 + 1) as u8;
        Some(LocalTime { weekday, minute_of_day: (minutes % 1_440) as u16 })
    }
}

pub const TENANTS: [&str; 3] = ["system", "acme", "globex"];
const PRINCIPALS: [&str; 3] = ["ann", "bot", "cid"];
const PROJECTS: [&str; 3] = ["red", "green", "blue"];
const ROLES: [&str; 12] =
    ["admin", "developer", "viewer", "auditor", "r0", "r1", "r2", "r3", "r4", "r5", "deep0", "wide"];
const ITEMS: [&str; 12] = [
    "demo__echo",
    "demo__echo",
    "demo__echo",
    "demo__wipe",
    "demo__wipe",
    "demo__a__b",
    "own__echo",
    "own__wipe",
    "plain",
    "plain",
    "lost__x",
    "__odd",
];
const GLOBS: [&str; 11] = [
    "*",
    "demo__*",
    "demo__echo",
    "*__wipe",
    "own__*",
    "d*o__*o",
    "own__echo",
    "*a*b",
    "demo__wipe",
    "plain",
    "zzz",
];
const NETWORKS: [&str; 6] =
    ["10.0.0.0/8", "::ffff:10.1.0.0/112", "192.168.1.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32"];
const ADDRESSES: [&str; 6] =
    ["10.1.2.3", "::ffff:10.9.9.9", "192.168.1.1", "8.8.8.8", "2001:db8::7", "::ffff:8.8.4.4"];
/// 2026-01-05 was a Monday.
const MONDAY_MS: u64 = 1_767_571_200_000;
const HOUR_MS: u64 = 3_600_000;

/// Records in the order in which they are put into the state.
#[derive(Clone, Default)]
pub struct World {
    pub tenants: Vec<Tenant>,
    pub principals: Vec<Principal>,
    pub keys: Vec<ApiKey>,
    pub roles: Vec<Role>,
    pub grants: Vec<Grant>,
    pub restrictions: Vec<ToolRestriction>,
    pub denies: Vec<DenyRule>,
    pub upstreams: Vec<Upstream>,
}

fn stand<T>(value: T) -> Versioned<T> {
    Versioned { revision: 1, value }
}

impl World {
    pub fn state(&self) -> State {
        let mut state = State { policy_revision: Revision(7), ..State::default() };
        for t in self.tenants.iter().cloned() {
            state.tenants.insert(t.id.clone(), stand(t));
        }
        for p in self.principals.iter().cloned() {
            state.principals.insert((p.tenant.clone(), p.id.clone()), stand(p));
        }
        for k in self.keys.iter().cloned() {
            state.api_keys.insert(k.id.clone(), stand(k));
        }
        for r in self.roles.iter().cloned() {
            state.roles.insert((r.tenant.clone(), r.id.clone()), stand(r));
        }
        for g in self.grants.iter().cloned() {
            state.grants.insert((g.tenant.clone(), g.id.clone()), stand(g));
        }
        for r in self.restrictions.iter().cloned() {
            state.restrictions.insert((r.tenant.clone(), r.id.clone()), stand(r));
        }
        for d in self.denies.iter().cloned() {
            state.denies.insert((d.tenant.clone(), d.id.clone()), stand(d));
        }
        for u in self.upstreams.iter().cloned() {
            state.upstreams.insert((u.tenant.clone(), u.id.clone()), stand(u));
        }
        state
    }

    pub fn random(rng: &mut Rng) -> Self {
        let mut world = Self::default();
        for id in TENANTS {
            if id != "system" && rng.percent(3) {
                continue;
            }
            world.add_tenant(rng, &TenantId::new(id).unwrap());
        }
        if !rng.percent(3) {
            world.roles.extend(built_in_roles());
        }
        world
    }

    fn add_tenant(&mut self, rng: &mut Rng, id: &TenantId) {
        let mut record = tenant(id.as_str());
        if rng.percent(4) {
            record.status = rng.pick(&[TenantStatus::Suspended, TenantStatus::Closed]);
        }
        if rng.percent(10) {
            record.network_config.ip_allowlist = networks(rng);
        }
        if rng.percent(15) {
            record.constraints = constraints(rng);
        }
        if rng.percent(20) {
            record.shared_upstreams = Some(rng.some(&[UpstreamId::new("demo").unwrap()], 1));
        }
        if rng.percent(30) {
            record.tool_seal_modes.insert(rng.pick(&ITEMS).to_owned(), SealMode::Completion);
        }
        self.tenants.push(record);
        for name in PRINCIPALS {
            self.add_principal(rng, id, name);
        }
        for name in ROLES.iter().filter(|name| name.starts_with('r')) {
            if !rng.percent(10) {
                let permissions = (0..rng.below(4)).map(|_| permission(rng)).collect();
                let mut record = role(id, name, permissions, parents(rng));
                if rng.percent(20) {
                    record.constraints = constraints(rng);
                }
                self.roles.push(record);
            }
        }
        if rng.percent(3) {
            self.add_deep_roles(rng, id);
        }
        if rng.percent(3) {
            self.add_wide_roles(rng, id);
        }
        self.add_rules(rng, id);
        for name in ["demo", "own"] {
            let chance = if (name == "demo") == id.is_system() { 95 } else { 15 };
            if rng.percent(chance) {
                let mut record = upstream(id, name);
                record.enabled = !rng.percent(8);
                let tools = rng.below(4) / 3;
                record.disabled_tools =
                    rng.some(&["echo", "wipe", "a__b"], tools).into_iter().map(Into::into).collect();
                self.upstreams.push(record);
            }
        }
    }

    fn add_principal(&mut self, rng: &mut Rng, tenant: &TenantId, name: &str) {
        if rng.percent(5) {
            return;
        }
        let mut record = principal(tenant, name);
        record.kind = if name == "bot" { PrincipalKind::Service } else { PrincipalKind::Person };
        record.enabled = !rng.percent(4);
        record.projects = if rng.percent(60) {
            PROJECTS.map(|id| ProjectId::new(id).unwrap()).to_vec()
        } else {
            projects(rng, 3)
        };
        self.principals.push(record);
        for n in 0..rng.below(5) {
            let id = format!("{name}-{n}");
            let mut record = grant(tenant, &id, name, rng.pick(&ROLES));
            if rng.percent(25) {
                record.conditions = constraints(rng);
            }
            if rng.percent(15) {
                record.projects = projects(rng, 2);
            }
            record.waive_mfa = rng.percent(30);
            record.expires_at = rng.percent(15).then(|| instant(rng));
            self.grants.push(record);
        }
        if rng.percent(90) {
            let id = ApiKeyId::new(format!("{tenant}.{name}")).unwrap();
            let optional = |rng: &mut Rng| rng.percent(12).then(|| instant(rng));
            self.keys.push(ApiKey {
                id,
                tenant: tenant.clone(),
                principal: PrincipalId::new(name).unwrap(),
                mac: Digest::default(),
                label: String::new(),
                created_at: TimestampMs(0),
                expires_at: optional(rng),
                revoked_at: optional(rng),
                projects: if rng.percent(15) { projects(rng, 2) } else { Vec::new() },
                tools: if rng.percent(25) { rng.some(&GLOBS.map(glob), 2) } else { Vec::new() },
                last_used_at: None,
                rotated_from: None,
            });
        }
    }

    /// A chain one longer than the depth bound allows, a permission at its far end.
    fn add_deep_roles(&mut self, rng: &mut Rng, tenant: &TenantId) {
        let length = 15 + rng.below(4);
        for n in 0..=length {
            let next = RoleId::new(format!("deep{}", n + 1)).unwrap();
            let (permissions, parents) =
                if n == length { (vec![Permission::GlobalAdmin], vec![]) } else { (vec![], vec![next]) };
            self.roles.push(role(tenant, &format!("deep{n}"), permissions, parents));
        }
    }

    /// Around the bounds of closure and paths.
    fn add_wide_roles(&mut self, rng: &mut Rng, tenant: &TenantId) {
        let (middle, leaves) = rng.pick(&[(15, 16), (15, 17), (1, 62), (1, 63)]);
        let ids =
            |prefix: &str, n: usize| (0..n).map(|i| RoleId::new(format!("{prefix}{i}")).unwrap()).collect();
        let (middle, leaves): (Vec<RoleId>, Vec<RoleId>) = (ids("mid", middle), ids("leaf", leaves));
        self.roles.push(role(tenant, "wide", vec![], middle.clone()));
        self.roles.extend(middle.iter().map(|m| role(tenant, m.as_str(), vec![], leaves.clone())));
        self.roles
            .extend(leaves.iter().map(|leaf| role(tenant, leaf.as_str(), vec![permission(rng)], vec![])));
    }

    fn add_rules(&mut self, rng: &mut Rng, tenant: &TenantId) {
        for n in 0..rng.below(5) / 2 {
            self.restrictions.push(ToolRestriction {
                tenant: tenant.clone(),
                id: RuleId::new(format!("restrict-{n}")).unwrap(),
                tools: glob(rng.pick(&GLOBS)),
                allowed_roles: rng.some(&ROLES.map(|id| RoleId::new(id).unwrap()), 4),
                rate_limit: None,
                description: String::new(),
            });
        }
        for n in 0..rng.below(6) / 3 {
            self.denies.push(random_deny(rng, tenant, &format!("deny-{n}")));
        }
    }

    /// The same records in another order, their unordered lists too.
    pub fn shuffle(&mut self, rng: &mut Rng) {
        rng.shuffle(&mut self.tenants);
        rng.shuffle(&mut self.principals);
        rng.shuffle(&mut self.keys);
        rng.shuffle(&mut self.roles);
        rng.shuffle(&mut self.grants);
        rng.shuffle(&mut self.restrictions);
        rng.shuffle(&mut self.denies);
        rng.shuffle(&mut self.upstreams);
        self.roles.iter_mut().for_each(|role| {
            rng.shuffle(&mut role.permissions);
            rng.shuffle(&mut role.inherits_from);
        });
        self.grants.iter_mut().for_each(|grant| rng.shuffle(&mut grant.projects));
        self.principals.iter_mut().for_each(|principal| rng.shuffle(&mut principal.projects));
        self.restrictions.iter_mut().for_each(|rule| rng.shuffle(&mut rule.allowed_roles));
    }
}

pub fn random_deny(rng: &mut Rng, tenant: &TenantId, id: &str) -> DenyRule {
    let subject = match rng.below(5) {
        0 => DenySubject::Everyone,
        1 | 2 => DenySubject::Principal(PrincipalId::new(rng.pick(&PRINCIPALS)).unwrap()),
        _ => DenySubject::Role(RoleId::new(rng.pick(&ROLES)).unwrap()),
    };
    let (tenant, id) = (tenant.clone(), RuleId::new(id).unwrap());
    DenyRule { tenant, id, tools: glob(rng.pick(&GLOBS)), subject, description: String::new() }
}

fn glob(text: &str) -> Glob {
    Glob::new(text).unwrap()
}

fn permission(rng: &mut Rng) -> Permission {
    match rng.below(10) {
        0..4 => Permission::ToolExecute(glob(rng.pick(&GLOBS))),
        4..6 => Permission::ToolView(glob(rng.pick(&GLOBS))),
        _ => rng.pick(&Permission::PLAIN),
    }
}

/// Mostly none; sometimes a role that is missing, the role itself, or one that inherits back.
fn parents(rng: &mut Rng) -> Vec<RoleId> {
    if rng.percent(45) {
        return Vec::new();
    }
    let mut names = ROLES.to_vec();
    names.push("nowhere");
    rng.some(&names, 3).into_iter().map(|id| RoleId::new(id).unwrap()).collect()
}

fn projects(rng: &mut Rng, max: usize) -> Vec<ProjectId> {
    rng.some(&PROJECTS.map(|id| ProjectId::new(id).unwrap()), max)
}

fn networks(rng: &mut Rng) -> Vec<ipnet::IpNet> {
    rng.some(&NETWORKS, 2).into_iter().map(|network| network.parse().unwrap()).collect()
}

fn instant(rng: &mut Rng) -> TimestampMs {
    TimestampMs(MONDAY_MS + rng.below(8 * 24) as u64 * HOUR_MS)
}

fn constraints(rng: &mut Rng) -> Constraints {
    let mut made = Constraints::default();
    match rng.below(5) {
        0 => made.ip_allowlist = Some(networks(rng)),
        1 => made.mfa_required = true,
        2 => made.allowed_projects = Some(projects(rng, 2)),
        3 => made.max_requests_per_hour = Some(1),
        _ => {
            made.time_window = Some(TimeWindow {
                zone: rng.pick(&["UTC", "UTC", "UTC", "East", "East", "Odd", "No/Where"]).to_owned(),
                days: Weekdays(rng.next() as u8 & if rng.percent(90) { 0x7F } else { 0xFF }),
                start_minute: rng.pick(&[0, 540, 600, 1_320, 1_439, 1_440]),
                end_minute: rng.pick(&[0, 300, 600, 1_020, 1_439]),
            });
        }
    }
    if rng.percent(25) {
        made.mfa_required = true;
    }
    made
}

/// A request with its parts owned.
pub struct Asked {
    tenant: TenantId,
    caller_tenant: TenantId,
    principal: PrincipalId,
    key: Option<ApiKeyId>,
    action: u8,
    item: &'static str,
    permission: Permission,
    now: TimestampMs,
    ip: Option<std::net::IpAddr>,
    mfa: bool,
    project: Option<ProjectId>,
}

impl Asked {
    pub fn random(rng: &mut Rng) -> Self {
        let caller = rng.pick(&["system", "acme", "acme", "globex", "acme"]);
        let tenant = match rng.below(20) {
            0 => "nobody",
            1..4 => rng.pick(&TENANTS),
            4..7 if caller == "system" => "acme",
            _ => caller,
        };
        let caller = if rng.percent(1) { "nobody" } else { caller };
        let principal = if rng.percent(1) { "eve" } else { rng.pick(&PRINCIPALS) };
        let key = match rng.below(16) {
            0 => Some(format!("{}.{}", rng.pick(&TENANTS), rng.pick(&PRINCIPALS))),
            1..6 => Some(format!("{caller}.{principal}")),
            _ => None,
        };
        Self {
            tenant: TenantId::new(tenant).unwrap(),
            caller_tenant: TenantId::new(caller).unwrap(),
            principal: PrincipalId::new(principal).unwrap(),
            key: key.map(|key| ApiKeyId::new(key).unwrap()),
            action: rng.pick(&[0, 0, 0, 1, 1, 2]),
            item: rng.pick(&ITEMS),
            permission: if rng.percent(95) { rng.pick(&Permission::PLAIN) } else { permission(rng) },
            now: instant(rng),
            ip: (!rng.percent(15)).then(|| rng.pick(&ADDRESSES).parse().unwrap()),
            mfa: rng.percent(60),
            project: rng.percent(35).then(|| ProjectId::new(rng.pick(&PROJECTS)).unwrap()),
        }
    }

    pub fn request(&self) -> Request<'_> {
        Request {
            tenant: &self.tenant,
            caller_tenant: &self.caller_tenant,
            principal: &self.principal,
            key: self.key.as_ref(),
            action: match self.action {
                0 => Action::Execute(self.item),
                1 => Action::View(self.item),
                _ => Action::Administer(&self.permission),
            },
            context: Context {
                now: self.now,
                ip: self.ip,
                mfa: self.mfa,
                project: self.project.as_ref(),
                zones: &TestZones,
            },
        }
    }
}

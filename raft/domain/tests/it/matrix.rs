//! Which role may do what, as a file under review: `role_permission_matrix.txt`. A change of the rules shows up as a
//! change of that file; `UPDATE_MATRIX=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use only1mcp_domain::decide::{Action, CompiledPolicy, Context, Decision, Request};
use only1mcp_domain::ids::{PrincipalId, RoleId, TenantId};
use only1mcp_domain::model::{BUILT_IN_ROLES, Glob, Permission, built_in_roles};
use only1mcp_domain::time::TimestampMs;

use crate::oracle_records::{grant, principal, role, tenant, upstream};
use crate::oracle_world::{TestZones, World};

const FILE: &str = "tests/it/role_permission_matrix.txt";
const ITEM: &str = "demo__echo";

/// One principal per role, named after it, in each of three tenants.
struct Bench {
    policy: CompiledPolicy,
    columns: Vec<String>,
}

impl Bench {
    fn of_built_in_roles() -> Self {
        Self::new(BUILT_IN_ROLES.iter().map(|id| (*id).to_owned()).collect(), Vec::new())
    }

    /// A role for every permission, holding nothing else.
    fn of_single_permissions() -> Self {
        let glob = |text: &str| Glob::new(text).unwrap();
        let mut permissions = Permission::PLAIN.to_vec();
        permissions.extend([
            Permission::ToolExecute(glob(ITEM)),
            Permission::ToolExecute(glob("other__*")),
            Permission::ToolView(glob("demo__*")),
        ]);
        let names = permissions.iter().map(Permission::text).collect();
        Self::new(names, permissions)
    }

    fn new(columns: Vec<String>, permissions: Vec<Permission>) -> Self {
        let mut world = World { roles: built_in_roles(), ..World::default() };
        for tenant_id in ["system", "acme", "globex"].map(|id| TenantId::new(id).unwrap()) {
            world.tenants.push(tenant(tenant_id.as_str()));
            for (n, name) in columns.iter().enumerate() {
                let who = format!("p{n}");
                let role_id = permissions.get(n).map_or(name.clone(), |_| format!("single{n}"));
                world.principals.push(principal(&tenant_id, &who));
                world.grants.push(grant(&tenant_id, &format!("g{n}"), &who, &role_id));
                if let Some(permission) = permissions.get(n) {
                    world.roles.push(role(
                        &tenant_id,
                        &role_id,
                        vec![permission.clone()],
                        Vec::<RoleId>::new(),
                    ));
                }
            }
        }
        world.upstreams.push(upstream(&TenantId::system(), "demo"));
        Self { policy: CompiledPolicy::build(&world.state()), columns }
    }

    fn decide(&self, column: usize, action: Action<'_>, home: &str, place: &str, mfa: bool) -> Decision {
        let (home, place) = (TenantId::new(home).unwrap(), TenantId::new(place).unwrap());
        let context = Context { now: TimestampMs(1), ip: None, mfa, project: None, zones: &TestZones };
        self.policy.decide(&Request {
            tenant: &place,
            caller_tenant: &home,
            principal: &PrincipalId::new(format!("p{column}")).unwrap(),
            key: None,
            action,
            context,
        })
    }

    /// Actions down, roles across.
    fn table(&self, title: &str, home: &str, place: &str, mfa: bool) -> String {
        let mut text = format!("## {title}\n\n{:<24}", "action");
        for name in &self.columns {
            write!(text, " {name:<15}").unwrap();
        }
        text = text.trim_end().to_owned() + "\n";
        for (name, action) in actions() {
            let mut line = format!("{name:<24}");
            for column in 0..self.columns.len() {
                let cell = match self.decide(column, action, home, place, mfa) {
                    Decision::Allow(_) => "allow",
                    Decision::Deny(denial) => denial.reason.code(),
                };
                write!(line, " {cell:<15}").unwrap();
            }
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        text + "\n"
    }

    /// For each permission held alone: everything it allows.
    fn reach(&self, title: &str, home: &str, place: &str) -> String {
        let mut text = format!("## {title}\n\n");
        for (column, name) in self.columns.iter().enumerate() {
            let allowed: Vec<String> = actions()
                .into_iter()
                .filter(|(_, action)| self.decide(column, *action, home, place, true).is_allow())
                .map(|(name, _)| name)
                .collect();
            let allowed = match allowed.len() {
                0 => "nothing".to_owned(),
                all if all == actions().len() => "everything".to_owned(),
                _ => allowed.join(", "),
            };
            writeln!(text, "{name:<24} {allowed}").unwrap();
        }
        text + "\n"
    }
}

fn actions() -> Vec<(String, Action<'static>)> {
    static PLAIN: [Permission; 17] = Permission::PLAIN;
    let tools =
        [(format!("execute {ITEM}"), Action::Execute(ITEM)), (format!("view {ITEM}"), Action::View(ITEM))];
    let plain = PLAIN.iter().map(|permission| (permission.name().to_owned(), Action::Administer(permission)));
    tools.into_iter().chain(plain).collect()
}

#[test]
fn roles_may_do_what_the_checked_in_matrix_says() {
    let built_in = Bench::of_built_in_roles();
    let single = Bench::of_single_permissions();
    let text = [
        "# Which role may do what. Written by tests/it/matrix.rs: UPDATE_MATRIX=1 rewrites it.\n\n"
            .to_owned(),
        built_in.table("Built-in roles in their own tenant, with a second factor", "acme", "acme", true),
        built_in.table("Built-in roles in their own tenant, without a second factor", "acme", "acme", false),
        built_in.table("Built-in roles in somebody else's tenant", "acme", "globex", true),
        built_in.table("Operators: built-in roles of system, in another tenant", "system", "acme", true),
        single.reach("What one permission allows in its own tenant", "acme", "acme"),
        single.reach("What one permission of an operator allows in another tenant", "system", "acme"),
    ]
    .concat();
    let text = text.trim_end().to_owned() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("UPDATE_MATRIX").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(reviewed, text, "the rules changed: review, then run with UPDATE_MATRIX=1");
}

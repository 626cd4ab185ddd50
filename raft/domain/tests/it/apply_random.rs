//! Random entries: rows mirror the state, equal states stay equal, a rebuilt state goes on as the original does, and
//! nothing panics.

use only1mcp_domain::State;
use only1mcp_domain::activity::*;
use only1mcp_domain::command::{Actor, Command, CorrectCost, Entry, RegisterNode, Secret32};
use only1mcp_domain::cost::CostPlace;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::*;
use only1mcp_domain::ledger::{AccountKey, LimitId};
use only1mcp_domain::model::*;
use only1mcp_domain::money::Exact;
use only1mcp_domain::price::*;
use only1mcp_domain::time::TimestampMs;
use proptest::prelude::*;

use crate::apply_world::*;
use crate::prices::{metering, price};

/// Draws from numbers that proptest chose, so that failures shrink.
struct Dice<'a> {
    rolls: &'a [u64],
    at: usize,
}

impl Dice<'_> {
    fn roll(&mut self, sides: u64) -> u64 {
        self.at += 1;
        self.rolls.get(self.at - 1).copied().unwrap_or(0) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }

    fn chance(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn tenant(&mut self) -> &'static str {
        self.pick(&["acme", "acme", "system", "b", "none"])
    }

    fn principal(&mut self) -> &'static str {
        self.pick(&["root", "ann", "dev", "bot", "p", "q"])
    }

    fn role(&mut self) -> &'static str {
        self.pick(&["r", "s", "t", "admin", "viewer", "developer"])
    }

    fn key(&mut self) -> String {
        self.pick(&["key-root", "key-ann", "key-dev", "key-bot", "k1", "k2", "k3"]).to_owned()
    }

    fn time(&mut self) -> TimestampMs {
        let far = [0, START_MS, START_MS + 60_000, START_MS + 200_000_000, u64::MAX];
        TimestampMs(self.pick(&far))
    }

    fn constraints(&mut self) -> Constraints {
        let zone = self.pick(&["UTC", "Europe/Vienna", "/bad"]).to_owned();
        let (days, end_minute) = (Weekdays(self.pick(&[0, 1, 127, 255])), self.pick(&[0, 100, 1_439, 1_440]));
        let time_window = self.chance().then_some(TimeWindow { zone, days, start_minute: 5, end_minute });
        let allowed_projects = self.chance().then(|| vec![ProjectId::new("p").unwrap()]);
        let cost_limit_daily_pico_usd = self.chance().then_some(i128::MIN);
        Constraints { time_window, allowed_projects, cost_limit_daily_pico_usd, ..Constraints::default() }
    }

    fn actor(&mut self) -> Actor {
        match self.roll(10) {
            0 => local(),
            1 => node(2),
            2 | 3 => node(1),
            4 => by_certificate(self.tenant(), self.principal()),
            5 => {
                let principal = self.principal();
                by_key(self.tenant(), principal)
            }
            _ => operator(),
        }
    }
}

fn command(dice: &mut Dice<'_>, state: &State) -> Command {
    let if_revision = (dice.roll(8) == 0).then(|| dice.roll(12));
    let (tenant_name, who, role_name) = (dice.tenant(), dice.principal(), dice.role());
    let (tenant, owner) = (tenant_id(tenant_name), principal_id(who));
    let node_id = NodeId(dice.roll(4));
    match dice.roll(38) {
        0 => Command::SetSettings { settings: ClusterSettings::new("x"), if_revision },
        1 => Command::CreateJoinToken(JoinToken { expires_at: dice.time(), ..token("t") }),
        2 => {
            let name = dice.pick(&["n2", "n3"]);
            Command::RegisterNode(RegisterNode { token: Some(key_id("t")), ..register(name) })
        }
        3 => Command::SetNodeRole {
            node: node_id,
            role: dice.pick(&[NodeRole::Learner, NodeRole::Voter, NodeRole::Removed]),
        },
        4 => Command::RemoveNode { node: node_id, lose_journal: dice.chance() },
        5 => Command::Tick { node: node_id },
        6 => Command::OpenIncarnation { node: node_id },
        7 => Command::SealJournal { node: node_id },
        8 => Command::CreateTenant(Box::new(self::tenant(tenant_name))),
        9 => {
            let custom_domain = dice.chance().then(|| "x.example".to_owned());
            let changed =
                Tenant { custom_domain, constraints: dice.constraints(), ..self::tenant(tenant_name) };
            Command::UpdateTenant { tenant: Box::new(changed), if_revision }
        }
        10 => {
            let statuses =
                [TenantStatus::Active, TenantStatus::Active, TenantStatus::Suspended, TenantStatus::Closed];
            Command::SetTenantStatus { tenant, status: dice.pick(&statuses), if_revision }
        }
        11 => Command::CreatePrincipal(principal(tenant_name, who)),
        12 => {
            let changed = Principal { enabled: dice.chance(), ..principal(tenant_name, who) };
            Command::UpdatePrincipal { principal: changed, if_revision }
        }
        13 => Command::DeletePrincipal { tenant, principal: owner, if_revision },
        14 => Command::CreateApiKey(ApiKey {
            expires_at: dice.chance().then(|| dice.time()),
            ..key(tenant_name, who, &dice.key())
        }),
        15 => {
            let new = key(tenant_name, who, &dice.key());
            Command::RotateApiKey { old: key_id(&dice.key()), new, overlap_until: dice.time() }
        }
        16 => Command::RevokeApiKey { tenant, key: key_id(&dice.key()) },
        17 => Command::RecoverAdmin { key: key(tenant_name, who, &dice.key()) },
        18 | 19 => {
            let parent = dice.role();
            let parents: &[&str] = if dice.chance() { &[parent] } else { &[] };
            let permission = dice.pick(&["ToolAll", "GlobalAdmin", "RoleAssign", "ToolExecute(files__*)"]);
            let changed = Role {
                constraints: dice.constraints(),
                ..role(tenant_name, role_name, &[permission], parents)
            };
            Command::PutRole { role: changed, if_revision }
        }
        20 => Command::DeleteRole { tenant, role: role_id(role_name), if_revision },
        21 => {
            let id = dice.pick(&["g1", "g2", "g3"]);
            let expires_at = dice.chance().then(|| dice.time());
            Command::CreateGrant(Grant {
                expires_at,
                waive_mfa: dice.chance(),
                ..grant(tenant_name, id, who, role_name)
            })
        }
        22 => Command::RevokeGrant {
            tenant,
            grant: grant_id(dice.pick(&["g1", "g2", "g-dev", "first-administrator"])),
        },
        23 => restriction(tenant_name, "r", "files__*", &[role_name]),
        24 => Command::DeleteRestriction { tenant, rule: rule_id("r") },
        25 => {
            let subject = match dice.roll(3) {
                0 => DenySubject::Everyone,
                1 => DenySubject::Principal(owner),
                _ => DenySubject::Role(role_id(role_name)),
            };
            deny(tenant_name, "d", "*", subject)
        }
        26 => Command::DeleteDeny { tenant, rule: rule_id("d") },
        27 => put_upstream(Upstream {
            call_timeout_ms: dice.pick(&[0, 1, u64::MAX]),
            ..upstream(tenant_name, "files")
        }),
        28 => {
            let (upstream, enabled) = (upstream_id("files"), dice.chance());
            match dice.roll(3) {
                0 => Command::DeleteUpstream { tenant, upstream },
                1 => Command::SetUpstreamEnabled { tenant, upstream, enabled },
                _ => Command::SetToolEnabled {
                    tenant,
                    upstream,
                    tool: dice.pick(&["", "read"]).to_owned(),
                    enabled,
                },
            }
        }
        29 => Command::CloseMcpSession {
            tenant,
            session: McpSessionId([dice.roll(4) as u8; 16]),
            expires_at: dice.time(),
        },
        30 | 31 => priced(dice, tenant_name, if_revision),
        _ => Command::Activity(activity(dice, state)),
    }
}

/// Budgets, prices, how usage is measured, discounts, rates, corrections and webhooks: good ones and bad ones.
fn priced(dice: &mut Dice<'_>, tenant_name: &str, if_revision: Option<u64>) -> Command {
    let tenant = tenant_id(tenant_name);
    let id = dice.pick(&["x", "y"]);
    let currency = Currency::parse(dice.pick(&["USD", "EUR"])).unwrap();
    let meter = dice.pick(&Meter::ALL);
    let tools = dice.pick(&["*", "files__*"]);
    let text = dice.pick(&["0", "0.5", "1", "1000000001"]);
    let exact = Exact::parse(text).unwrap();
    let valid_from = dice.time();
    match dice.roll(13) {
        0 | 1 => {
            let entry = PriceEntry { currency, valid_from, ..price(tenant_name, id, tools, meter, text) };
            Command::PutPrice { price: Box::new(entry), if_revision }
        }
        2 => Command::DeletePrice { tenant, price: PriceId::new(id).unwrap() },
        3 | 4 => {
            let source = match dice.roll(3) {
                0 => UsageSource::Counted,
                1 => UsageSource::Pointer("/a".to_owned()),
                _ => UsageSource::Difference { of: "/a".to_owned(), minus: vec!["b".to_owned()] },
            };
            let tags = dice.chance().then(|| ("team".to_owned(), "x".repeat(dice.roll(200) as usize)));
            let usage = vec![(meter, source)];
            let made = Metering { usage, tags: tags.into_iter().collect(), ..metering(tenant_name, id, 7) };
            Command::PutMetering { metering: Box::new(made), if_revision }
        }
        5 => Command::DeleteMetering { tenant, metering: MeteringId::new(id).unwrap() },
        6 => {
            let kind = match dice.roll(3) {
                0 => DiscountKind::Commitment(CommitmentDiscount { factor: exact }),
                1 => DiscountKind::Cache(CacheDiscount { share_above: exact, factor: exact }),
                _ => DiscountKind::Volume(VolumeDiscount {
                    tiers: vec![VolumeTier { from: dice.roll(3), factor: exact }],
                }),
            };
            let id = DiscountId::new(id).unwrap();
            let discount = Discount { id, tenant, kind, valid_from, version: 0 };
            Command::PutDiscount { discount: Box::new(discount), if_revision }
        }
        7 => Command::DeleteDiscount { tenant, discount: DiscountId::new(id).unwrap() },
        8 => Command::PutExchangeRate(ExchangeRate { currency, usd_per_unit: exact, valid_from, version: 0 }),
        9 => Command::DeleteExchangeRate { currency, valid_from },
        10 => {
            let url = dice.pick(&["https://example.com/hook", "ftp://x", "http://127.0.0.1:1/"]).to_owned();
            let webhook = Webhook {
                tenant,
                id: WebhookId::new(id).unwrap(),
                url,
                key: Secret32([dice.roll(3) as u8; 32]),
                events: dice.chance().then_some(WebhookEvent::Overrun).into_iter().collect(),
                enabled: dice.chance(),
                description: String::new(),
                created_at: valid_from,
                created_by: String::new(),
            };
            let keep_key = dice.chance();
            Command::PutWebhook { webhook: Box::new(webhook), keep_key, if_revision }
        }
        11 => Command::DeleteWebhook { tenant, webhook: WebhookId::new(id).unwrap() },
        _ => {
            let record =
                CostPlace { at: valid_from, index: AuditIndex(dice.roll(4)), part: dice.roll(3) as u32 };
            let account = AccountKey {
                tenant: tenant.clone(),
                limit: LimitId::Budget(BudgetId::new(id).unwrap()),
                subject: "".into(),
                start: TimestampMs(0),
            };
            let charges = vec![(account, i128::from(dice.roll(3)))];
            let reason = dice.pick(&["", "given back"]).to_owned();
            Command::CorrectCost(Box::new(CorrectCost { tenant, record, charges, reason }))
        }
    }
}

fn activity(dice: &mut Dice<'_>, state: &State) -> Batch {
    let id = 1 + dice.roll(2);
    let known = state.activity.get(&NodeId(id)).cloned().unwrap_or_default();
    let sequence = (known.last_sequence + 2).saturating_sub(dice.pick(&[0, 1, 1, 1, 1, 2]));
    let incarnation = if dice.roll(6) == 0 { Incarnation(dice.roll(9)) } else { known.incarnation };
    let mut records = Vec::new();
    for _ in 0..dice.roll(4) {
        let revision = Revision(state.policy_revision.0.saturating_sub(dice.roll(2)));
        let at = dice.time();
        records.push(match dice.roll(6) {
            0 => Record::KeyUsed { key: key_id(&dice.key()), at },
            1 => Record::NodeNotice { kind: NoticeKind::Alarm, detail: "x".repeat(600) },
            2 => Record::Refusal(Box::new(Refusal {
                decision: DecisionId([0; 16]),
                caller: caller(dice.tenant(), dice.principal()),
                tenant: tenant_id(dice.tenant()),
                kind: ItemKind::Resource,
                item: "files__a".to_owned(),
                reason: Reason::NoPermission,
                revision,
                count: dice.roll(3) as u32,
                first_at: at,
                last_at: at,
            })),
            3 => Record::AuditRead(Box::new(AuditRead {
                kind: dice.pick(&[AuditReadKind::Query, AuditReadKind::Export]),
                caller: caller(dice.tenant(), dice.principal()),
                tenant: tenant_id(dice.tenant()),
                everyone: dice.chance(),
                asked: "x".repeat(600),
                events: dice.roll(9),
                count: dice.roll(3) as u32,
                first_at: at,
                last_at: at,
            })),
            _ => Record::Admission(Box::new(Admission {
                mode: dice.pick(&[SealMode::Sealed, SealMode::Journaled]),
                caller: caller(dice.tenant(), dice.principal()),
                tenant: tenant_id(dice.tenant()),
                ..admission(revision)
            })),
        });
    }
    batch(id, incarnation, sequence, records)
}

fn entry(dice: &mut Dice<'_>, state: &State, now_ms: &mut u64) -> Entry {
    *now_ms = now_ms.saturating_add(dice.pick(&[0, 10, 1_000, 90_000_000, 3]));
    let actor = dice.actor();
    let command_id = dice.chance().then(|| CommandId([dice.roll(30) as u8; 16]));
    let request_digest = Digest([dice.roll(2) as u8; 32]);
    let command = command(dice, state);
    Entry { actor, command_id, request_digest, observed_at: TimestampMs(*now_ms), command, signature: None }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rows_mirror_the_state_and_equal_states_stay_equal(
        rolls in proptest::collection::vec(any::<u64>(), 1_500),
        rebuild_at in 0..80usize,
    ) {
        let mut dice = Dice { rolls: &rolls, at: 0 };
        let mut world = World::with_acme();
        let mut twin = world.state.clone();
        let mut now_ms = world.now_ms;
        let mut step = 0;
        while dice.at < rolls.len() {
            let entry = entry(&mut dice, &world.state, &mut now_ms);
            let index = twin.last_applied + 1;
            if step == rebuild_at {
                let rows: Vec<_> = twin.rows().into_iter().filter_map(|row| row.value).collect();
                twin = State::from_rows(rows).unwrap();
            }
            let applied = world.enter(&entry);
            let again = twin.apply(index, &entry);
            prop_assert_eq!(&applied, &again);
            prop_assert!(world.state == twin);
            world.assert_mirrored();
            step += 1;
        }
        let encode = |row: &only1mcp_domain::row::RowValue| format!("{row:?}").into_bytes();
        prop_assert_eq!(world.state.digest(encode), twin.digest(encode));
    }
}

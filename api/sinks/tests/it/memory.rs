//! A cluster of two nodes in memory, with one real state, and budgets whose use the tests move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use only1mcp_domain::State;
use only1mcp_domain::activity::{Batch, CallOutcome, Completion, Record};
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::command::*;
use only1mcp_domain::ids::*;
use only1mcp_domain::ledger::{AccountKey, Charge, LimitId};
use only1mcp_domain::model::*;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::secret;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_gateway::Outbound;
use only1mcp_sinks::Runner;
use only1mcp_sinks::ports::{DutyPort, HttpPort};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const NOW_MS: u64 = 1_800_000_000_000;
pub const KEY: Secret32 = Secret32([9; 32]);

pub fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

pub fn other_tenant() -> TenantId {
    TenantId::new("globex").unwrap()
}

fn duty_of(tenant: TenantId, id: &str) -> DutyId {
    DutyId::Webhook { tenant, webhook: WebhookId::new(id).unwrap() }
}

pub fn duty(id: &str) -> DutyId {
    duty_of(tenant(), id)
}

pub fn webhook_secret() -> String {
    secret::format_webhook_secret(&KEY)
}

pub struct Memory {
    inner: Mutex<(Arc<State>, Vec<SealedEvent>)>,
    applied: watch::Sender<u64>,
    runners: Mutex<Vec<Runner>>,
    sequence: AtomicU64,
}

struct Outside(Outbound);

impl HttpPort for Outside {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Incoming>, String>> {
        Box::pin(self.0.send(request))
    }
}

/// One of the two nodes.
pub struct Node {
    pub cluster: Arc<Memory>,
    node: NodeId,
    pub fresh: AtomicBool,
    /// The log takes nothing from it.
    pub cut_off: AtomicBool,
}

impl DutyPort for Node {
    fn node(&self) -> NodeId {
        self.node
    }

    fn state(&self) -> Arc<State> {
        self.cluster.state()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.cluster.applied.subscribe()
    }

    fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::SeqCst)
    }

    fn events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, String> {
        let inner = self.cluster.inner.lock().unwrap();
        Ok(inner.1.iter().filter(|event| event.index >= from).take(limit).cloned().collect())
    }

    fn advance(&self, progress: DutyProgress) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, String>> {
        Box::pin(async move {
            if self.cut_off.load(Ordering::SeqCst) {
                return Err("no leader".to_owned());
            }
            Ok(self.cluster.submit(self.node.0, Command::AdvanceDuty(progress)))
        })
    }

    fn now_ms(&self) -> u64 {
        NOW_MS
    }

    /// The shortest pause.
    fn random(&self) -> u64 {
        0
    }
}

impl Memory {
    /// Formed, with nodes 1 and 2 and the tenants `acme` and `globex`.
    pub fn new() -> Arc<Self> {
        let memory = Arc::new(Self {
            inner: Mutex::default(),
            applied: watch::Sender::new(0),
            runners: Mutex::default(),
            sequence: AtomicU64::new(0),
        });
        memory.submit(1, form()).unwrap();
        // What joining and a tenant's beginning come to, without their ceremony.
        let state = memory.state();
        let mut second = state.nodes.values().next().unwrap().clone();
        (second.value.id, second.value.name) = (NodeId(2), "node-2".to_owned());
        let mut more = vec![RowValue::Node(second)];
        for tenant in [tenant(), other_tenant()] {
            let mut own = state.tenants.values().next().unwrap().clone();
            own.value.id = tenant.clone();
            let budget = Versioned { revision: 1, value: budget(tenant) };
            more.extend([RowValue::Tenant(own), RowValue::Budget(budget)]);
        }
        let rows = state.rows().into_iter().filter_map(|row| row.value);
        memory.inner.lock().unwrap().0 = Arc::new(State::from_rows(rows.chain(more)).unwrap());
        memory.submit(1, Command::OpenIncarnation { node: NodeId(1) }).unwrap();
        memory
    }

    pub fn node(self: &Arc<Self>, node: u64) -> Arc<Node> {
        let (fresh, cut_off) = (AtomicBool::new(true), AtomicBool::new(false));
        let node = Arc::new(Node { cluster: self.clone(), node: NodeId(node), fresh, cut_off });
        let http = Outside(Outbound::new(Duration::from_secs(5), &[]));
        let runner = Runner::new(node.clone(), Arc::new(http));
        self.runners.lock().unwrap().push(runner.clone());
        tokio::spawn(runner.run());
        node
    }

    pub fn runner(&self, at: usize) -> Runner {
        self.runners.lock().unwrap()[at].clone()
    }

    pub fn state(&self) -> Arc<State> {
        self.inner.lock().unwrap().0.clone()
    }

    pub fn duty(&self, id: &str) -> Duty {
        self.state().duties.get(&duty(id)).cloned().unwrap()
    }

    pub fn submit(&self, node: u64, command: Command) -> Result<Outcome, Rejection> {
        let mut inner = self.inner.lock().unwrap();
        let mut state = State::clone(&inner.0);
        let log_index = state.last_applied + 1;
        let actor = Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::of_node(NodeId(node)),
            key: None,
            via: Via::Node(NodeId(node)),
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        };
        let entry = Entry {
            actor,
            command_id: None,
            request_digest: Digest::default(),
            observed_at: TimestampMs(NOW_MS),
            command,
            signature: None,
        };
        let applied = state.apply(log_index, &entry);
        inner.0 = Arc::new(state);
        inner.1.extend(applied.audit);
        self.applied.send_replace(log_index);
        self.runners.lock().unwrap().iter().for_each(|runner| runner.note(log_index, &applied.effects));
        drop(inner);
        applied.outcome
    }

    /// A webhook in the hands of `node`; made by whoever may.
    pub fn webhook(&self, id: &str, url: &str, node: u64) -> u64 {
        self.webhook_of(tenant(), id, url, node)
    }

    pub fn webhook_of(&self, tenant: TenantId, id: &str, url: &str, node: u64) -> u64 {
        let duty = duty_of(tenant.clone(), id);
        let webhook = Webhook {
            tenant,
            id: WebhookId::new(id).unwrap(),
            url: url.to_owned(),
            key: KEY,
            events: WebhookEvent::ALL.to_vec(),
            enabled: true,
            description: String::new(),
            created_at: TimestampMs(NOW_MS),
            created_by: "root".to_owned(),
        };
        self.by_root(Command::PutWebhook { webhook: Box::new(webhook), keep_key: false, if_revision: None });
        self.assign_duty(duty, node)
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Webhook)) {
        let key = (tenant(), WebhookId::new(id).unwrap());
        let mut webhook = self.state().webhooks.get(&key).unwrap().value.clone();
        change(&mut webhook);
        self.by_root(Command::PutWebhook { webhook: Box::new(webhook), keep_key: true, if_revision: None });
    }

    pub fn assign(&self, id: &str, node: u64) -> u64 {
        self.assign_duty(duty(id), node)
    }

    fn assign_duty(&self, duty: DutyId, node: u64) -> u64 {
        let assigned_at = || self.state().duties.get(&duty).unwrap().assigned_at;
        let (duty, after) = (duty.clone(), assigned_at());
        self.submit(1, Command::AssignDuty { duty, node: NodeId(node), after }).unwrap();
        assigned_at()
    }

    fn by_root(&self, command: Command) {
        let mut inner = self.inner.lock().unwrap();
        let mut state = State::clone(&inner.0);
        let log_index = state.last_applied + 1;
        let actor = Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::new("root").unwrap(),
            key: None,
            via: Via::ClientCertificate,
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        };
        let entry = Entry {
            actor,
            command_id: None,
            request_digest: Digest::default(),
            observed_at: TimestampMs(NOW_MS),
            command,
            signature: None,
        };
        let applied = state.apply(log_index, &entry);
        applied.outcome.unwrap();
        inner.0 = Arc::new(state);
        inner.1.extend(applied.audit);
        self.applied.send_replace(log_index);
        self.runners.lock().unwrap().iter().for_each(|runner| runner.note(log_index, &applied.effects));
    }

    /// `calls` more calls end: the budget of each tenant allows 100.
    pub fn spend(&self, calls: i128) {
        self.spend_of(tenant(), calls);
    }

    pub fn spend_of(&self, tenant: TenantId, calls: i128) {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        let incarnation = self.state().activity.get(&NodeId(1)).unwrap().incarnation;
        let account = AccountKey {
            tenant: tenant.clone(),
            limit: LimitId::Budget(BudgetId::new("b").unwrap()),
            subject: "".into(),
            start: TimestampMs(0),
        };
        let end = TimestampMs(u64::MAX);
        let charge = Charge { account, end, amount: calls, held: false };
        let mut call = [0; 16];
        call[..8].copy_from_slice(&sequence.to_be_bytes());
        let completion = Completion {
            call: CallId(call),
            tenant,
            outcome: CallOutcome::Success,
            result_digest: Digest::default(),
            result_bytes: 0,
            duration_ms: 0,
            observed_at: TimestampMs(NOW_MS),
            charges: vec![charge],
            cost: None,
        };
        let mut digest = [1; 32];
        digest[..8].copy_from_slice(&sequence.to_be_bytes());
        let records = vec![Record::Completion(completion)];
        let batch = Batch { node: NodeId(1), incarnation, sequence, digest: Digest(digest), records };
        self.submit(1, Command::Activity(batch)).unwrap();
    }
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < until, "it did not come about: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn budget(tenant: TenantId) -> Budget {
    Budget {
        tenant,
        id: BudgetId::new("b").unwrap(),
        scope: BudgetScope::default(),
        per: None,
        measure: Measure::Calls,
        period: PeriodKind::Total,
        zone: String::new(),
        amount: 100,
        hard: false,
        description: String::new(),
        created_at: TimestampMs(NOW_MS),
        created_by: "root".to_owned(),
    }
}

fn form() -> Command {
    let root = PrincipalId::new("root").unwrap();
    let at = TimestampMs(NOW_MS);
    let administrator = Principal {
        tenant: TenantId::system(),
        id: root.clone(),
        kind: PrincipalKind::Person,
        display_name: "Root".to_owned(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: at,
        updated_at: at,
    };
    let administrator_key = ApiKey {
        id: secret::key_id([1; 8]),
        tenant: TenantId::system(),
        principal: root,
        mac: Digest::default(),
        label: String::new(),
        created_at: at,
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    };
    let node = RegisterNode {
        token: None,
        name: "node-1".to_owned(),
        peer_address: "127.0.0.1:1".to_owned(),
        admin_address: "127.0.0.1:2".to_owned(),
        http_address: "127.0.0.1:3".to_owned(),
        region: String::new(),
        zone: String::new(),
        version: String::new(),
    };
    Command::FormCluster(FormCluster {
        cluster_id: Digest([9; 32]),
        settings: ClusterSettings::new("test"),
        node,
        administrator,
        administrator_key,
        key_hash_key: Secret32([5; 32]),
        session_key: Secret32([6; 32]),
    })
}

//! One node: a state that every proposal is applied to at once, and a journal that outlives the enforcer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use only1mcp_domain::State;
use only1mcp_domain::activity::{ItemKind, Record};
use only1mcp_domain::command::{Command, Entry, Secret32};
use only1mcp_domain::ids::*;
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::model::*;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::price::{Metering, PriceEntry};
use only1mcp_domain::state::{Cluster as ClusterRecord, Versioned};
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::*;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub const NOW: TimestampMs = TimestampMs(1_800_000_000_000);
pub const TOOL: &str = "demo__echo";

pub fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn versioned<T>(value: T) -> Versioned<T> {
    Versioned { revision: 1, value }
}

pub struct Cluster {
    state: Mutex<Arc<State>>,
    applied: watch::Sender<u64>,
    notes: broadcast::Sender<Arc<Note>>,
    /// While it is set no batch is applied.
    cut_off: AtomicBool,
    /// Everything that was applied.
    pub records: Mutex<Vec<Record>>,
}

impl Cluster {
    fn apply(&self, entry: &Entry) -> Result<Outcome, Rejection> {
        let mut current = self.state.lock().unwrap();
        let mut state = State::clone(&current);
        let log_index = state.last_applied + 1;
        let applied = state.apply(log_index, entry);
        *current = Arc::new(state);
        let batch = match &entry.command {
            Command::Activity(batch) => {
                self.records.lock().unwrap().extend(batch.records.iter().cloned());
                let (node, incarnation, sequence) = (batch.node, batch.incarnation, batch.sequence);
                Some(BatchNote { node, incarnation, sequence, outcome: applied.outcome.clone() })
            }
            _ => None,
        };
        self.applied.send_replace(log_index);
        let _ = self.notes.send(Arc::new(Note { log_index, effects: applied.effects, batch, resync: false }));
        applied.outcome
    }

    /// Changes the records as commands would.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        let mut current = self.state.lock().unwrap();
        let mut state = State::clone(&current);
        change(&mut state);
        state.last_applied += 1;
        state.policy_revision = Revision(state.last_applied);
        let index = state.last_applied;
        *current = Arc::new(state);
        drop(current);
        self.applied.send_replace(index);
    }
}

impl ClusterPort for Cluster {
    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn state(&self) -> Arc<State> {
        self.state.lock().unwrap().clone()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn notes(&self) -> broadcast::Receiver<Arc<Note>> {
        self.notes.subscribe()
    }

    fn propose(
        &self,
        entry: Entry,
        _: Instant,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ProposeFailure>> {
        Box::pin(async move {
            if self.cut_off.load(Ordering::SeqCst) && matches!(entry.command, Command::Activity(_)) {
                return Err(ProposeFailure::NotReady);
            }
            Ok(self.apply(&entry))
        })
    }

    fn read_index(&self, _: Instant) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async { Some(*self.applied.borrow()) })
    }
}

/// In memory, and there for the next life.
#[derive(Default)]
pub struct Journal(Mutex<JournalCopy>, Mutex<Option<Vec<Flushed>>>);

/// The last position given, and what is there.
pub type JournalCopy = (u64, BTreeMap<u64, Bytes>);

impl JournalPort for Journal {
    fn append(&self, record: Bytes, flushed: Flushed) -> Option<u64> {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        let position = inner.0;
        inner.1.insert(position, record);
        drop(inner);
        match self.1.lock().unwrap().as_mut() {
            Some(waiting) => waiting.push(flushed),
            None => flushed(true),
        }
        Some(position)
    }

    fn read_all(&self) -> Result<Vec<JournalRecordAt>, String> {
        Ok(self.0.lock().unwrap().1.iter().map(|(at, bytes)| (*at, bytes.clone())).collect())
    }

    fn discard(&self, upto: u64) {
        self.0.lock().unwrap().1.retain(|at, _| *at > upto);
    }

    fn is_whole(&self) -> bool {
        true
    }
}

struct Wall;

impl Clock for Wall {
    fn now_ms(&self) -> u64 {
        NOW.0
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        bytes.iter_mut().zip(next.to_be_bytes()).for_each(|(byte, of)| *byte = of);
    }
}

pub struct World {
    pub cluster: Arc<Cluster>,
    pub enforcer: Arc<Enforcer>,
    parts: Parts,
    journal: Arc<Journal>,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    pub async fn new(furnish: impl FnOnce(&mut State)) -> Self {
        let cluster = Arc::new(Cluster {
            state: Mutex::new(Arc::new(first_state())),
            applied: watch::Sender::new(0),
            notes: broadcast::Sender::new(1_024),
            cut_off: AtomicBool::new(false),
            records: Mutex::default(),
        });
        cluster.change(furnish);
        let journal = Arc::new(Journal::default());
        let parts = Parts {
            cluster: cluster.clone(),
            journal: journal.clone(),
            clock: Arc::new(Wall),
            entropy: Arc::new(Counter::default()),
            zones: Arc::new(SystemZones),
            personal: Arc::new(only1mcp_enforcer::InTheClear),
        };
        let (enforcer, running) = start(&parts).await;
        Self { cluster, enforcer, parts, journal, running }
    }

    /// From now on nothing reaches the disk.
    pub fn hold_disk(&self) {
        *self.journal.1.lock().unwrap() = Some(Vec::new());
    }

    /// How many records wait for the disk.
    pub fn waiting_for_disk(&self) -> usize {
        self.journal.1.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    pub fn release_disk(&self) {
        let waiting = self.journal.1.lock().unwrap().take();
        waiting.into_iter().flatten().for_each(|flushed| flushed(true));
    }

    pub fn copy_journal(&self) -> JournalCopy {
        self.journal.0.lock().unwrap().clone()
    }

    /// The node dies, with its journal on disk, and comes back.
    pub async fn crash(&mut self) {
        self.crash_and_find(None).await;
    }

    /// The node dies and comes back, to the journal of an earlier day where there is one.
    pub async fn crash_and_find(&mut self, copy: Option<JournalCopy>) {
        self.running.abort();
        let _ = (&mut self.running).await;
        if let Some(copy) = copy {
            *self.journal.0.lock().unwrap() = copy;
        }
        self.cluster.cut_off.store(false, Ordering::SeqCst);
        (self.enforcer, self.running) = start(&self.parts).await;
    }

    /// From now on nothing that the node did is applied, until it crashes.
    pub fn cut_off(&self) {
        self.cluster.cut_off.store(true, Ordering::SeqCst);
    }

    pub fn facts() -> CallFacts {
        CallFacts {
            tenant: acme(),
            caller_tenant: acme(),
            principal: PrincipalId::new("ann").unwrap(),
            key: None,
            session: None,
            project: None,
            ip: None,
            mfa: true,
            user_agent: String::new(),
            request_id: String::new(),
            tags: Default::default(),
            input_bytes: 0,
        }
    }

    pub async fn admit(&self) -> Result<Admitted, Refused> {
        self.enforcer.wait_view(self.cluster.state().last_applied).await;
        let upstream = UpstreamId::new("demo").unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        self.enforcer.admit(&Self::facts(), ItemKind::Tool, TOOL, &upstream, Digest([5; 32]), deadline).await
    }

    /// Waits until the state is so.
    pub async fn until(&self, what: &str, is: impl Fn(&State) -> bool) {
        let mut applied = self.cluster.applied();
        let waiting = async {
            while !is(&self.cluster.state()) {
                applied.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| {
            panic!("never: {what}; {:#?}", self.cluster.state().ledger.accounts);
        });
    }

    /// Posted and overrun of every account, by limit.
    pub fn posted(&self) -> BTreeMap<String, (i128, i128)> {
        let state = self.cluster.state();
        let accounts = state.ledger.accounts.iter();
        accounts.map(|(key, account)| (key.limit.to_string(), (account.posted, account.overrun))).collect()
    }
}

async fn start(parts: &Parts) -> (Arc<Enforcer>, tokio::task::JoinHandle<()>) {
    let mut service = Service::start(parts.clone()).await.unwrap();
    let enforcer = service.enforcer();
    let running = tokio::spawn(async move {
        let why = service.failed().await;
        panic!("the enforcer ended: {why}");
    });
    (enforcer, running)
}

pub fn only_account(state: &State, limit: &str) -> Option<AccountKey> {
    state.ledger.accounts.keys().find(|key| key.limit.to_string() == limit).cloned()
}

fn first_state() -> State {
    let mut state = State {
        cluster: Some(ClusterRecord {
            id: Digest([1; 32]),
            settings: versioned(ClusterSettings::new("test")),
            key_hash_key: Secret32([1; 32]),
            session_key: Secret32([2; 32]),
            next_node: NodeId(9),
            epoch: 1,
        }),
        log_time: NOW,
        ..State::default()
    };
    let node = NodeRecord {
        id: NodeId(1),
        name: "n1".to_owned(),
        peer_address: String::new(),
        admin_address: String::new(),
        http_address: String::new(),
        region: String::new(),
        zone: String::new(),
        version: String::new(),
        role: NodeRole::Voter,
        joined_at: NOW,
        signing_key: None,
    };
    state.nodes.insert(NodeId(1), versioned(node));
    let tenant = Tenant {
        id: acme(),
        name: "acme".to_owned(),
        tier: TenantTier::Enterprise,
        isolation_mode: IsolationMode::Logical {
            namespace: "acme".to_owned(),
            database_schema: String::new(),
        },
        quotas: ResourceQuotas {
            max_requests_per_minute: Quota::Unlimited,
            ..ResourceQuotas::template(TenantTier::Enterprise)
        },
        network_config: NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: "cc1".to_owned(),
        created_at: NOW,
        updated_at: NOW,
        status: TenantStatus::Active,
        seal_mode: SealMode::Sealed,
        tool_seal_modes: BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    };
    state.tenants.insert(acme(), versioned(tenant));
    let ann = PrincipalId::new("ann").unwrap();
    let principal = Principal {
        tenant: acme(),
        id: ann.clone(),
        kind: PrincipalKind::Service,
        display_name: String::new(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: NOW,
        updated_at: NOW,
    };
    state.principals.insert((acme(), ann), versioned(principal));
    let demo = UpstreamId::new("demo").unwrap();
    let upstream = Upstream {
        tenant: acme(),
        id: demo.clone(),
        description: String::new(),
        transport: Transport::Http { url: "http://127.0.0.1:9/mcp".to_owned() },
        session_mode: SessionMode::PerSession,
        headers: Vec::new(),
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 8,
        call_timeout_ms: 30_000,
        created_at: NOW,
        updated_at: NOW,
    };
    state.upstreams.insert((acme(), demo), versioned(upstream));
    state
}

/// Lets ann call everything by a role of her own.
pub fn grant(state: &mut State, id: &str, constraints: Constraints) {
    let role_id = RoleId::new(id).unwrap();
    let role = Role {
        tenant: acme(),
        id: role_id.clone(),
        name: id.to_owned(),
        description: String::new(),
        permissions: vec![Permission::ToolAll],
        inherits_from: Vec::new(),
        constraints,
        created_at: NOW,
        created_by: "test".to_owned(),
    };
    state.roles.insert((acme(), role_id.clone()), versioned(role));
    let grant_id = GrantId::new(id).unwrap();
    let grant = Grant {
        tenant: acme(),
        id: grant_id.clone(),
        principal: PrincipalId::new("ann").unwrap(),
        role: role_id,
        projects: Vec::new(),
        conditions: Constraints::default(),
        waive_mfa: false,
        expires_at: None,
        created_at: NOW,
        created_by: "test".to_owned(),
    };
    state.grants.insert((acme(), grant_id), versioned(grant));
}

/// Without an end, for all calls together.
pub fn budget(state: &mut State, id: &str, measure: Measure, amount: i128, hard: bool) {
    let budget_id = BudgetId::new(id).unwrap();
    let budget = Budget {
        tenant: acme(),
        id: budget_id.clone(),
        scope: BudgetScope::default(),
        per: None,
        measure,
        period: PeriodKind::Total,
        zone: String::new(),
        amount,
        hard,
        description: String::new(),
        created_at: NOW,
        created_by: "test".to_owned(),
    };
    state.budgets.insert((acme(), budget_id), versioned(budget));
}

pub fn put_price(state: &mut State, price: PriceEntry) {
    state.prices.insert((acme(), price.id.clone()), versioned(Arc::new(price)));
}

pub fn put_metering(state: &mut State, metering: Metering) {
    state.meterings.insert((acme(), metering.id.clone()), versioned(Arc::new(metering)));
}

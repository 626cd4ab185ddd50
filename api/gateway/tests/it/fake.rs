//! A double of the ports: an allow and deny table, a seal that the test opens, and a record of what was told.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use only1mcp_domain::activity::{CallOutcome, ItemKind};
use only1mcp_domain::decide::{Decision, Denial, Evidence, Reason, RolePath};
use only1mcp_domain::ids::*;
use only1mcp_domain::model::{Permission, SealMode, Upstream};
use only1mcp_domain::price::Metering;
use only1mcp_gateway::Gateway;
use only1mcp_gateway::ports::*;
use tokio::sync::{Semaphore, broadcast, watch};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    Shut,
    Open,
    Revoked,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completed {
    pub item: String,
    pub outcome: CallOutcome,
    pub bytes: u64,
    pub used: Used,
}

pub struct Fake {
    pub node: NodeId,
    pub upstreams: Mutex<Vec<Arc<Upstream>>>,
    pub denied: Mutex<HashSet<String>>,
    pub barred: Mutex<HashSet<PrincipalId>>,
    pub origins: Mutex<Vec<String>>,
    pub seal: watch::Sender<Seal>,
    pub mode: Mutex<SealMode>,
    pub closed: Mutex<HashSet<McpSessionId>>,
    /// Of every call.
    pub metering: Mutex<Option<Metering>>,
    pub admitted: Mutex<Vec<CallRequest>>,
    pub paced: Mutex<Vec<(TenantId, u64)>>,
    /// So many bytes never get their turn.
    pub held_back_from: AtomicU64,
    pub completed: Arc<Mutex<Vec<Completed>>>,
    pub refused: Mutex<Vec<(String, Reason)>>,
    pub opened: Mutex<Vec<(String, String)>>,
    /// Admissions wait while it is set.
    pub queued: watch::Sender<bool>,
    /// How many wait.
    pub in_line: Arc<AtomicUsize>,
    /// Of sessions.
    pub permits: Arc<Semaphore>,
    pub now_ms: AtomicU64,
    pub revocations: broadcast::Sender<Revocation>,
}

impl Fake {
    pub fn new(node: u64, upstreams: Vec<Upstream>) -> Arc<Self> {
        let mut upstreams: Vec<Arc<Upstream>> = upstreams.into_iter().map(Arc::new).collect();
        upstreams.sort_by(|a, b| a.id.cmp(&b.id));
        Arc::new(Self {
            node: NodeId(node),
            upstreams: Mutex::new(upstreams),
            denied: Mutex::default(),
            barred: Mutex::default(),
            origins: Mutex::default(),
            seal: watch::Sender::new(Seal::Open),
            mode: Mutex::new(SealMode::Sealed),
            closed: Mutex::default(),
            metering: Mutex::default(),
            admitted: Mutex::default(),
            paced: Mutex::default(),
            held_back_from: AtomicU64::new(u64::MAX),
            completed: Arc::default(),
            refused: Mutex::default(),
            opened: Mutex::default(),
            queued: watch::Sender::new(false),
            in_line: Arc::default(),
            permits: Arc::new(Semaphore::new(1_000)),
            now_ms: AtomicU64::new(1_700_000_000_000),
            revocations: broadcast::Sender::new(64),
        })
    }

    pub fn deny(&self, item: &str) {
        self.denied.lock().unwrap().insert(item.to_owned());
    }

    pub fn completed(&self) -> Vec<Completed> {
        self.completed.lock().unwrap().clone()
    }

    pub async fn completed_once(&self) -> Completed {
        crate::world::until("a completion", || !self.completed().is_empty()).await;
        self.completed()[0].clone()
    }
}

pub fn refused(reason: Reason) -> Refused {
    Refused {
        reason,
        decision: DecisionId([4; 16]),
        revision: Revision(42),
        message: format!("refused: {}", reason.code()),
        limit: None,
    }
}

/// A place in line, until it is dropped.
struct InLine(Arc<AtomicUsize>);

impl InLine {
    fn enter(line: &Arc<AtomicUsize>) -> Self {
        line.fetch_add(1, Ordering::SeqCst);
        Self(line.clone())
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Admitted {
    item: String,
    mode: SealMode,
    seal: watch::Receiver<Seal>,
    node: NodeId,
    metering: Option<Metering>,
    completed: Arc<Mutex<Vec<Completed>>>,
    done: std::sync::atomic::AtomicBool,
}

impl Admitted {
    async fn opened(&self) -> Result<(), Refused> {
        let mut seal = self.seal.clone();
        let seal = *seal.wait_for(|seal| *seal != Seal::Shut).await.unwrap();
        if seal == Seal::Open { Ok(()) } else { Err(refused(Reason::RevokedInFlight)) }
    }

    fn record(&self, outcome: CallOutcome, bytes: u64, used: Used) {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.completed.lock().unwrap().push(Completed { item: self.item.clone(), outcome, bytes, used });
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.record(CallOutcome::Cancelled, 0, Used::default());
    }
}

impl AdmittedCall for Admitted {
    fn call(&self) -> CallId {
        CallId([1; 16])
    }

    fn may_dispatch(&self) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async {
            match self.mode {
                SealMode::BeforeDispatch => self.opened().await,
                _ => Ok(()),
            }
        })
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Receipt, Refused>> {
        Box::pin(async {
            let journaled = self.mode == SealMode::Journaled;
            if !journaled {
                self.opened().await?;
            }
            let audit = (!journaled).then_some((7, Digest([9; 32])));
            let (call, node, revision) = (self.call(), self.node, Revision(42));
            Ok(Receipt { call, node, epoch: 1, revision, mode: self.mode, audit })
        })
    }

    fn metering(&self) -> Option<&Metering> {
        self.metering.as_ref()
    }

    fn complete(&self, ending: Ending) -> BoxFuture<'_, Result<(), Refused>> {
        self.record(ending.outcome, ending.result_bytes, ending.used);
        Box::pin(async { Ok(()) })
    }
}

impl Enforcement for Fake {
    fn node(&self) -> NodeId {
        self.node
    }

    fn authenticate(&self, key: &str, _: Option<IpAddr>) -> Result<Identity, Reason> {
        let (tenant, principal) = match key {
            "key-ann" | "key-ann-2" => ("acme", "ann"),
            "key-bob" => ("acme", "bob"),
            "key-eve" => ("globex", "eve"),
            "key-ops" => ("system", "ops"),
            _ => return Err(Reason::KeyUnknown),
        };
        Ok(Identity {
            tenant: TenantId::new(tenant).unwrap(),
            principal: PrincipalId::new(principal).unwrap(),
            key: ApiKeyId::new(key).unwrap(),
        })
    }

    fn tenant_by_domain(&self, host: &str) -> Option<TenantId> {
        (host == "mcp.globex.example").then(|| TenantId::new("globex").unwrap())
    }

    fn check_session(&self, caller: &CallerInfo) -> Result<(), Refused> {
        match self.barred.lock().unwrap().contains(&caller.identity.principal) {
            true => Err(refused(Reason::PrincipalDisabled)),
            false => Ok(()),
        }
    }

    fn admit(&self, request: CallRequest) -> BoxFuture<'_, Result<Arc<dyn AdmittedCall>, Refused>> {
        Box::pin(async move {
            if self.denied.lock().unwrap().contains(&request.item) {
                return Err(refused(Reason::NoPermission));
            }
            let place = InLine::enter(&self.in_line);
            let _ = self.queued.subscribe().wait_for(|queued| !queued).await;
            drop(place);
            let admitted: Arc<dyn AdmittedCall> = Arc::new(Admitted {
                item: request.item.clone(),
                mode: *self.mode.lock().unwrap(),
                seal: self.seal.subscribe(),
                node: self.node,
                metering: self.metering.lock().unwrap().clone(),
                completed: self.completed.clone(),
                done: false.into(),
            });
            self.admitted.lock().unwrap().push(request);
            Ok(admitted)
        })
    }

    fn pace<'a>(&'a self, tenant: &'a TenantId, bytes: u64) -> BoxFuture<'a, ()> {
        self.paced.lock().unwrap().push((tenant.clone(), bytes));
        let held_back = bytes >= self.held_back_from.load(Ordering::SeqCst);
        Box::pin(async move {
            if held_back {
                std::future::pending::<()>().await;
            }
        })
    }

    fn confinement(&self, _: &TenantId) -> Option<Confinement> {
        None
    }

    fn refuse<'a>(
        &'a self,
        _: &'a CallerInfo,
        _: ItemKind,
        item: &'a str,
        reason: Reason,
    ) -> BoxFuture<'a, Refused> {
        Box::pin(async move {
            self.refused.lock().unwrap().push((item.to_owned(), reason));
            refused(reason)
        })
    }

    fn may_view(&self, _: &CallerInfo, _: &UpstreamId, _: &str, item: &str) -> Decision {
        if self.denied.lock().unwrap().contains(item) {
            let reason = Reason::NoPermission;
            return Decision::Deny(Denial { reason, revision: Revision(42), rule: None, path: None });
        }
        Decision::Allow(Evidence {
            path: Arc::new(RolePath { grant: GrantId::new("g").unwrap(), roles: Vec::new() }),
            permission: Permission::ToolAll,
            revision: Revision(42),
            seal_mode: SealMode::Sealed,
            mfa_waived: false,
        })
    }

    fn upstreams(&self, tenant: &TenantId) -> Vec<Arc<Upstream>> {
        if tenant.as_str() == "acme" { self.upstreams.lock().unwrap().clone() } else { Vec::new() }
    }

    fn allowed_origins(&self, _: &TenantId) -> Vec<String> {
        self.origins.lock().unwrap().clone()
    }

    fn is_session_closed(&self, session: &McpSessionId) -> bool {
        self.closed.lock().unwrap().contains(session)
    }

    fn close_session(&self, _: CallerInfo, session: McpSessionId) -> BoxFuture<'_, Result<(), Refused>> {
        self.closed.lock().unwrap().insert(session);
        let _ = self.revocations.send(Revocation::SessionClosed { session });
        Box::pin(async { Ok(()) })
    }

    fn permit_session<'a>(&'a self, _: &'a CallerInfo) -> BoxFuture<'a, Result<SessionPermit, Refused>> {
        let permit = self.permits.clone().try_acquire_owned();
        Box::pin(async {
            let permit: SessionPermit = Box::new(permit.map_err(|_| refused(Reason::ConnectionsExceeded))?);
            Ok(permit)
        })
    }

    fn session_opened(&self, _: &CallerInfo, client: &str, _: &str, version: &str) {
        self.opened.lock().unwrap().push((client.to_owned(), version.to_owned()));
    }

    fn session_key(&self) -> Option<[u8; 32]> {
        Some([5; 32])
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }
}

/// Reaches the gateways it is told of; all others are gone.
#[derive(Default)]
pub struct Homes(pub Mutex<HashMap<NodeId, Gateway>>);

impl HomeNodes for Homes {
    fn others(&self) -> Vec<NodeId> {
        let mut others: Vec<NodeId> = self.0.lock().unwrap().keys().copied().collect();
        others.sort();
        others
    }

    fn forward(
        &self,
        node: NodeId,
        request: Forwarded,
    ) -> BoxFuture<'_, Result<ForwardedAnswer, ForwardError>> {
        let home = self.0.lock().unwrap().get(&node).cloned();
        Box::pin(async move {
            match home {
                Some(home) => Ok(home.handle_forwarded(request).await),
                None => Err(ForwardError::Gone(node)),
            }
        })
    }
}

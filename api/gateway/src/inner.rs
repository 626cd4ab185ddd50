//! What all parts of one gateway share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{McpSessionId, TenantId, UpstreamId};
use only1mcp_domain::model::{SessionMode, Upstream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ms};
use crate::metrics::Metrics;
use crate::ports::{CallerInfo, Enforcement, HomeNodes, Refused};
use crate::protocol::Version;
use crate::session::{Ended, Flights, Session, Sessions};
use crate::stray::{Owner, attend};
use crate::upstream::{Connection, Hello, HttpClient, Parts, Slot, Standing, UpstreamError};

type UpstreamKey = (TenantId, UpstreamId);

#[derive(Default)]
struct Upstreams {
    standings: HashMap<UpstreamKey, Arc<Standing>>,
    /// One connection per node for upstreams that keep no state of their callers.
    shared: HashMap<UpstreamKey, Arc<Slot>>,
}

pub(crate) struct Inner {
    pub(crate) enforcement: Arc<dyn Enforcement>,
    pub(crate) homes: Arc<dyn HomeNodes>,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Metrics,
    pub(crate) sessions: Sessions,
    pub(crate) flights: Flights,
    upstreams: Mutex<Upstreams>,
    parts: Parts,
    /// Requests being worked on; a drain waits for them.
    pub(crate) calls: TaskTracker,
    /// Everything else that runs.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    draining: AtomicBool,
}

/// An upstream as a session, or a request without one, may use it.
fn same(a: &Arc<Upstream>, b: &Arc<Upstream>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn key(upstream: &Upstream) -> UpstreamKey {
    (upstream.tenant.clone(), upstream.id.clone())
}

impl Inner {
    pub(crate) fn new(
        enforcement: Arc<dyn Enforcement>,
        homes: Arc<dyn HomeNodes>,
        config: Config,
    ) -> Arc<Self> {
        let (config, tasks) = (Arc::new(config), TaskTracker::new());
        let client = HttpClient::new(ms(config.connect_ms_max), &config.upstream_authorities);
        Arc::new(Self {
            homes,
            metrics: Metrics::default(),
            sessions: Sessions::default(),
            flights: Flights::default(),
            upstreams: Mutex::default(),
            parts: Parts {
                client,
                config: config.clone(),
                enforcement: enforcement.clone(),
                tasks: tasks.clone(),
            },
            enforcement,
            config,
            calls: TaskTracker::new(),
            tasks,
            stop: CancellationToken::new(),
            draining: AtomicBool::new(false),
        })
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn upstream(&self, tenant: &TenantId, id: &UpstreamId) -> Option<Arc<Upstream>> {
        self.enforcement.upstreams(tenant).into_iter().find(|upstream| upstream.id == *id)
    }

    /// Where the connection to `upstream` is kept. `None`: it is kept per session, and there is none here.
    pub(crate) fn slot(&self, upstream: &Arc<Upstream>, session: Option<&Arc<Session>>) -> Option<Arc<Slot>> {
        let fits = |slot: &Slot| same(&slot.standing.upstream, upstream);
        match upstream.session_mode {
            SessionMode::PerSession => {
                let make = || Slot::new(self.standing(upstream));
                Some(session?.slot(key(upstream), fits, make))
            }
            SessionMode::SharedStateless => {
                let standing = self.standing(upstream);
                let mut upstreams = self.lock();
                if let Some(slot) = upstreams.shared.get(&key(upstream)).filter(|slot| fits(slot)) {
                    return Some(slot.clone());
                }
                let slot = Slot::new(standing);
                if let Some(old) = upstreams.shared.insert(key(upstream), slot.clone()) {
                    old.close();
                }
                if self.stop.is_cancelled() {
                    slot.close();
                }
                Some(slot)
            }
        }
    }

    /// The working connection of `slot`, opened if need be.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        session: Option<&Arc<Session>>,
    ) -> Result<Arc<Connection>, UpstreamError> {
        let own = session.filter(|_| slot.standing.upstream.session_mode == SessionMode::PerSession);
        let hello = match own {
            Some(session) => {
                Hello { version: session.version.text(), capabilities: session.capabilities.clone() }
            }
            None => {
                let nothing = crate::json::RawObject::default().to_raw();
                Hello { version: Version::LATEST.text(), capabilities: nothing }
            }
        };
        let owner = own.map_or(Owner::Shared, |session| Owner::Session(Arc::downgrade(session)));
        let opened = |connection: Arc<Connection>, stray| {
            let (inner, slot) = (self.clone(), Arc::downgrade(slot));
            self.tasks.spawn(attend(inner, owner, slot, Arc::downgrade(&connection), stray));
        };
        slot.connection(&self.parts, &hello, opened).await
    }

    fn standing(&self, upstream: &Arc<Upstream>) -> Arc<Standing> {
        let mut upstreams = self.lock();
        let known = upstreams.standings.get(&key(upstream)).filter(|known| same(&known.upstream, upstream));
        if let Some(known) = known {
            return known.clone();
        }
        let standing = Standing::new(upstream.clone());
        upstreams.standings.insert(key(upstream), standing.clone());
        standing
    }

    /// Closes what no longer is what `tenant` defines: its own upstreams that changed or went.
    pub(crate) fn close_changed_upstreams(&self, tenant: &TenantId) {
        let current = self.enforcement.upstreams(tenant);
        let stays = |owner: &TenantId, upstream: &Arc<Upstream>| {
            owner != tenant || current.iter().any(|known| same(known, upstream))
        };
        let mut upstreams = self.lock();
        upstreams.standings.retain(|(owner, _), standing| stays(owner, &standing.upstream));
        upstreams.shared.retain(|(owner, _), slot| {
            let stays = stays(owner, &slot.standing.upstream);
            if !stays {
                slot.close();
            }
            stays
        });
    }

    pub(crate) fn standings(&self) -> Vec<Arc<Standing>> {
        let mut all: Vec<_> = self.lock().standings.values().cloned().collect();
        all.sort_by_key(|standing| key(&standing.upstream));
        all
    }

    pub(crate) fn close_shared(&self) {
        for (_, slot) in self.lock().shared.drain() {
            slot.close();
        }
    }

    /// Ends a session here: its requests, streams, connections and processes.
    pub(crate) fn close_session(&self, session: McpSessionId, ended: &Ended) {
        self.flights.close_session(session, ended);
        if let Some(session) = self.sessions.remove(session) {
            session.close();
        }
    }

    /// May the caller go on at all? A node that cannot tell just now takes nothing away.
    pub(crate) fn has_lost_authority(&self, caller: &CallerInfo) -> bool {
        self.enforcement.check_session(caller).is_err_and(|refused| !is_passing(&refused))
    }

    fn lock(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refused for now, not for want of authority.
pub(crate) fn is_passing(refused: &Refused) -> bool {
    matches!(
        refused.reason,
        Reason::Stale | Reason::Draining | Reason::Overloaded | Reason::AuditUnavailable | Reason::DiskLow
    )
}

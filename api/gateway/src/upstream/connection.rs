//! One initialized connection to an upstream, whatever its transport.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use only1mcp_domain::model::{Transport, Upstream};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ms};
use crate::json::{Message, RawObject, notification, number, request};
use crate::ports::Enforcement;
use crate::protocol::{Item, ListKind};
use crate::upstream::hello::{Offers, result_of};
use crate::upstream::http::HttpLink;
use crate::upstream::stdio::{StdioLink, StdioOptions};
use crate::upstream::wire::Wire;
use crate::upstream::{Exchange, Hello, HttpClient, UpstreamError};

/// Messages outside of any exchange that wait to be handled.
const STRAY_MAX: usize = 256;

/// What a connection is made with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) client: HttpClient,
    pub(crate) config: Arc<Config>,
    pub(crate) enforcement: Arc<dyn Enforcement>,
    pub(crate) tasks: TaskTracker,
}

enum Link {
    Http(HttpLink),
    Stdio(StdioLink),
}

struct Cached {
    at: Instant,
    items: Arc<Vec<Item>>,
}

pub(crate) struct Connection {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) offers: Offers,
    link: Link,
    next: AtomicU64,
    lists: Mutex<HashMap<ListKind, Cached>>,
    closed: CancellationToken,
}

impl Connection {
    /// Connects and shakes hands. Cancelling `closed` ends it, its tasks, and its process.
    /// Errors: the upstream's; nothing is left running then.
    pub(crate) async fn open(
        upstream: Arc<Upstream>,
        parts: &Parts,
        hello: &Hello,
        closed: CancellationToken,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Message>), UpstreamError> {
        let guard = closed.clone().drop_guard();
        let (stray, received) = mpsc::channel(STRAY_MAX);
        let link = Self::link(&upstream, parts, closed.clone(), stray.clone())?;
        let shaken = timeout(ms(parts.config.connect_ms_max), shake(&link, hello)).await;
        let offers = shaken.map_err(|_| UpstreamError::TimedOut)??;
        if let Link::Http(http) = &link {
            http.stay(stray);
        }
        guard.disarm();
        let (next, lists) = (AtomicU64::new(2), Mutex::default());
        Ok((Arc::new(Self { upstream, offers, link, next, lists, closed }), received))
    }

    fn link(
        upstream: &Arc<Upstream>,
        parts: &Parts,
        closed: CancellationToken,
        stray: mpsc::Sender<Message>,
    ) -> Result<Link, UpstreamError> {
        let message_bytes_max = parts.config.upstream_message_bytes_max;
        let tasks = parts.tasks.clone();
        match &upstream.transport {
            Transport::Http { url } => {
                let wire = Wire::new(parts.client.clone(), url, &upstream.headers, message_bytes_max)?;
                Ok(Link::Http(HttpLink::new(wire, tasks, closed)))
            }
            Transport::Stdio { .. } => {
                let exit = ms(parts.config.child_exit_ms);
                let confined = parts.enforcement.confinement(&upstream.tenant);
                let options = StdioOptions { message_bytes_max, exit, tasks, closed, stray, confined };
                Ok(Link::Stdio(StdioLink::start(upstream, options)?))
            }
        }
    }

    /// An id that no other request of this connection bears; it is the progress token, too.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request whose id is `id`.
    pub(crate) async fn exchange(&self, id: u64, object: &RawObject) -> Result<Exchange, UpstreamError> {
        self.link.exchange(id, object).await
    }

    /// Sends a notification or an answer.
    pub(crate) async fn send(&self, object: &RawObject) -> Result<(), UpstreamError> {
        self.link.send(object).await
    }

    /// A request of the gateway's own.
    pub(crate) async fn ask(&self, method: &str, params: Box<RawValue>) -> Result<RawObject, UpstreamError> {
        let id = self.next_id();
        let answer = self.exchange(id, &request(number(id), method, params)).await?.answer().await?;
        result_of(&answer)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(crate) fn offers(&self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.offers.tools,
            ListKind::Prompts => self.offers.prompts,
            ListKind::Resources | ListKind::Templates => self.offers.resources,
        }
    }

    pub(crate) fn cached(&self, kind: ListKind, config: &Config) -> Option<Arc<Vec<Item>>> {
        let announced = match kind {
            ListKind::Tools => self.offers.announces_tools,
            ListKind::Prompts => self.offers.announces_prompts,
            ListKind::Resources | ListKind::Templates => self.offers.announces_resources,
        };
        let ttl = ms(if announced { config.list_ttl_ms } else { config.list_ttl_unannounced_ms });
        self.lists().get(&kind).filter(|cached| cached.at.elapsed() < ttl).map(|cached| cached.items.clone())
    }

    pub(crate) fn keep(&self, kind: ListKind, asked_at: Instant, items: Arc<Vec<Item>>) {
        self.lists().insert(kind, Cached { at: asked_at, items });
    }

    pub(crate) fn forget(&self, kind: ListKind) {
        self.lists().remove(&kind);
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<ListKind, Cached>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

async fn shake(link: &Link, hello: &Hello) -> Result<Offers, UpstreamError> {
    let first = request(number(1), "initialize", hello.params());
    let answer = link.exchange(1, &first).await?.answer().await?;
    let offers = Offers::read(&answer)?;
    if let Link::Http(http) = link {
        http.agreed(&offers.version);
    }
    link.send(&notification("notifications/initialized", None)).await?;
    Ok(offers)
}

impl Link {
    async fn exchange(&self, id: u64, object: &RawObject) -> Result<Exchange, UpstreamError> {
        match self {
            Self::Http(http) => Ok(http.exchange(id, object)),
            Self::Stdio(stdio) => stdio.exchange(id, object).await,
        }
    }

    async fn send(&self, object: &RawObject) -> Result<(), UpstreamError> {
        match self {
            Self::Http(http) => http.send(object).await,
            Self::Stdio(stdio) => stdio.send(object).await,
        }
    }
}

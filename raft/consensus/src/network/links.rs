//! One HTTP/2 connection per peer and lane, made when first used and made again, with growing pauses, when it breaks.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use only1mcp_domain::limits;
use only1mcp_proto::peer::peer_client::PeerClient;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

use super::connector::{Connector, PeerIo, PeerTarget};
use crate::options::Timing;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Calls in a row that passed their deadline, after which a connection counts as dead.
const OVERDUE_MAX: u32 = 3;

/// What a connection is for. Separate, so that a snapshot does not hold up a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    Heartbeat,
    Replication,
    Snapshot,
    Calls,
}

/// The connection could not be made: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{target} at {address}: {source}")]
struct ConnectFailed {
    target: String,
    address: String,
    source: io::Error,
}

/// True when a failed call surely never left this node.
pub fn never_sent(status: &Status) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = source {
        if error.is::<ConnectFailed>() {
            return true;
        }
        source = error.source();
    }
    false
}

struct Link {
    channel: Channel,
    overdue: u32,
}

pub struct Links {
    connector: Arc<dyn Connector>,
    keep_alive: Duration,
    connect_ms_max: Duration,
    open: Mutex<HashMap<(PeerTarget, Lane), Link>>,
}

impl Links {
    pub fn new(connector: Arc<dyn Connector>, timing: Timing) -> Self {
        Self {
            connector,
            keep_alive: Duration::from_millis(timing.election_ms_max.max(100)),
            connect_ms_max: Duration::from_millis(timing.election_ms_max.max(100)),
            open: Mutex::new(HashMap::new()),
        }
    }

    pub fn client(&self, target: &PeerTarget, lane: Lane) -> PeerClient<Channel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Another name or address of the same node makes another key: drop the old connection.
        open.retain(|(held, held_lane), _| held == target || *held_lane != lane || held.node != target.node);
        let link = open
            .entry((target.clone(), lane))
            .or_insert_with(|| Link { channel: self.channel(target.clone()), overdue: 0 });
        PeerClient::new(link.channel.clone())
            .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
    }

    /// Tells how a call went. A connection on which nothing comes back any more is given up: after a partition its
    /// stream may be stuck for good while a new one would work.
    pub fn report(&self, target: &PeerTarget, lane: Lane, overdue: bool) {
        let key = (target.clone(), lane);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = open.get_mut(&key) else { return };
        link.overdue = if overdue { link.overdue.saturating_add(1) } else { 0 };
        if link.overdue >= OVERDUE_MAX {
            open.remove(&key);
        }
    }

    fn channel(&self, target: PeerTarget) -> Channel {
        let connector = Arc::clone(&self.connector);
        let within = self.connect_ms_max;
        let pause = Arc::new(Mutex::new(Pause::default()));
        let connect = tower::service_fn(move |_: Uri| {
            let connector = Arc::clone(&connector);
            let pause = Arc::clone(&pause);
            let target = target.clone();
            async move {
                let failed = |source| ConnectFailed {
                    target: target.node.map_or_else(|| target.name.clone(), |node| format!("node {node}")),
                    address: target.address.clone(),
                    source,
                };
                connect_once(&*connector, &target, &pause, within).await.map(TokioIo::new).map_err(failed)
            }
        });
        // The address is the connector's business; HTTP wants some authority.
        Endpoint::from_static("http://peer.only1mcp")
            .http2_keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(self.keep_alive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .connect_with_connector_lazy(connect)
    }
}

async fn connect_once(
    connector: &dyn Connector,
    target: &PeerTarget,
    pause: &Mutex<Pause>,
    within: Duration,
) -> io::Result<Box<dyn PeerIo>> {
    let now = Instant::now();
    if pause.lock().unwrap_or_else(PoisonError::into_inner).holds(now) {
        return Err(io::Error::other("waiting before the next attempt"));
    }
    let attempt = tokio::time::timeout(within, connector.connect(target.clone())).await;
    let result = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    pause.lock().unwrap_or_else(PoisonError::into_inner).note(result.is_ok(), Instant::now());
    result
}

/// Pauses between attempts to connect: doubling, bounded.
#[derive(Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    fn note(&mut self, connected: bool, now: Instant) {
        if connected {
            *self = Self::default();
        } else {
            self.length = self.length.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.until = Some(now + self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_with_success() {
        let now = Instant::now();
        let mut pause = Pause::default();
        assert!(!pause.holds(now));
        pause.note(false, now);
        assert!(pause.holds(now) && !pause.holds(now + PAUSE_MIN));
        for _ in 0..20 {
            pause.note(false, now);
        }
        assert!(!pause.holds(now + PAUSE_MAX));
        pause.note(true, now);
        assert!(!pause.holds(now));
    }
}

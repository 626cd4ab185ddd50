//! From a listener to authenticated connections: handshakes run beside each other, bounded in number and time,
//! so that a client that never finishes one keeps nobody else out for long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::connection::Io;
use super::{ServerTls, TlsError};
use crate::pki::CertIdentity;

/// Pause after an accept that failed, in milliseconds: a process out of file descriptors must not spin.
const ACCEPT_RETRY_MS: u64 = 50;

/// Bounds on what unauthenticated clients can occupy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptLimits {
    /// A handshake that takes longer is dropped.
    pub handshake_ms_max: u64,
    /// Handshakes at one time; further clients wait in the kernel's queue.
    pub handshakes_max: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { handshake_ms_max: 5_000, handshakes_max: 256 }
    }
}

/// Decides from the verified certificate whether a connection is let in.
pub type Admit = Arc<dyn Fn(Option<&CertIdentity>) -> bool + Send + Sync>;

/// Accepted connections; an item is never an error, the type is what tonic asks for.
pub type Incoming = ReceiverStream<io::Result<Io>>;

/// Accepts until told to stop: TLS where `tls` is given, plain TCP otherwise.
/// The stream ends when the listener is closed; connections already accepted live on.
pub fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    admit: Admit,
    limits: AcceptLimits,
    stop: CancellationToken,
) -> Incoming {
    let (ready, incoming) = mpsc::channel(limits.handshakes_max.max(1));
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(limits.handshakes_max.max(1)));
        loop {
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                () = stop.cancelled() => return,
                () = ready.closed() => return,
                next = next => next,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                    continue;
                }
            };
            let (tls, admit, ready) = (tls.clone(), Arc::clone(&admit), ready.clone());
            tokio::spawn(async move {
                match establish(stream, remote, tls, &admit, limits.handshake_ms_max).await {
                    // The receiver is gone only when the port is closing.
                    Ok(io) => drop(ready.send(Ok(io)).await),
                    Err(error) => tracing::debug!(%remote, %error, "connection refused"),
                }
                drop(slot);
            });
        }
    });
    ReceiverStream::new(incoming)
}

async fn establish(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    admit: &Admit,
    handshake_ms_max: u64,
) -> Result<Io, TlsError> {
    stream.set_nodelay(true).map_err(TlsError::HandshakeFailed)?;
    let io = match tls {
        None => Io::plain(stream, remote),
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.config()?).accept(stream);
            let stream = timeout(Duration::from_millis(handshake_ms_max), handshake)
                .await
                .map_err(|_| TlsError::HandshakeTimeout { deadline_ms: handshake_ms_max })?
                .map_err(TlsError::HandshakeFailed)?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let identity = leaf.map(|der| CertIdentity::of_der(der)).transpose()?;
            Io::tls(stream, remote, identity)
        }
    };
    let identity = io.info().identity.as_ref();
    if admit(identity) {
        return Ok(io);
    }
    Err(identity.cloned().map_or(TlsError::Anonymous, |who| TlsError::NotAdmitted { who }))
}

//! The one thing this crate needs of a network: a connected, authenticated byte stream to a named peer.

use std::io;

use futures_util::future::BoxFuture;
use only1mcp_domain::ids::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};

/// Whom to connect to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerTarget {
    /// `None` when only the address is known: a joiner asking its first member.
    pub node: Option<NodeId>,
    /// The name the peer's certificate must carry; empty when not known beforehand.
    pub name: String,
    pub address: String,
}

/// A byte stream to a peer.
pub trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> PeerIo for T {}

/// Opens connections. TLS, and the check that the peer is who it should be, happen in here.
pub trait Connector: Send + Sync + 'static {
    /// Errors: any; the attempt is repeated with growing pauses.
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, io::Result<Box<dyn PeerIo>>>;
}

//! The peer port on a simulated network. The first line of a connection names the node that opened it: it stands in for
//! the certificate of mutual TLS, and is as true, since no simulated node lies.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use only1mcp_consensus::{Connector, PeerIdentity, PeerIo, PeerTarget};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

/// A connection that does not say who it is within this is dropped.
const NAME_WITHIN: Duration = Duration::from_secs(1);
const NAME_BYTES_MAX: usize = 64;
const WAITING_MAX: usize = 64;

pub struct SimConnector {
    /// This node's own name.
    pub name: String,
}

impl Connector for SimConnector {
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, io::Result<Box<dyn PeerIo>>> {
        let line = format!("{}\n", self.name);
        Box::pin(async move {
            let mut stream = TcpStream::connect(target.address.as_str()).await?;
            stream.write_all(line.as_bytes()).await?;
            let stream: Box<dyn PeerIo> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// A connection whose opener is known.
pub struct PeerConnection {
    stream: TcpStream,
    identity: PeerIdentity,
}

impl Connected for PeerConnection {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.identity.clone()
    }
}

impl AsyncRead for PeerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts peers, each once it has said who it is.
pub fn peers(listener: TcpListener) -> ReceiverStream<io::Result<PeerConnection>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Ok(Some(peer)) = tokio::time::timeout(NAME_WITHIN, named(stream)).await {
                    // The server is gone with its node.
                    let _ = sender.send(Ok(peer)).await;
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn named(mut stream: TcpStream) -> Option<PeerConnection> {
    let mut name = Vec::new();
    while name.len() < NAME_BYTES_MAX {
        match stream.read_u8().await.ok()? {
            b'\n' => {
                let identity = PeerIdentity { name: String::from_utf8(name).ok()?, node: None };
                return Some(PeerConnection { stream, identity });
            }
            byte => name.push(byte),
        }
    }
    None
}

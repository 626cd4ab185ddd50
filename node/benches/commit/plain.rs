//! Connections between members: plain TCP on which one says its number first, a stand-in for the certificate. etcd's
//! members speak plain TCP too.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use only1mcp_consensus::{Connector, PeerIdentity, PeerIo, PeerTarget};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

pub fn name(number: u8) -> String {
    format!("n{number}")
}

pub struct Plain(pub u8);

impl Connector for Plain {
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, std::io::Result<Box<dyn PeerIo>>> {
        let number = self.0;
        Box::pin(async move {
            let mut stream = TcpStream::connect(&target.address).await?;
            stream.set_nodelay(true)?;
            stream.write_u8(number).await?;
            Ok(Box::new(stream) as Box<dyn PeerIo>)
        })
    }
}

/// A connection, and whose.
pub struct Named {
    stream: TcpStream,
    name: String,
}

pub async fn accept(listener: &TcpListener) -> std::io::Result<Named> {
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let name = name(stream.read_u8().await?);
    Ok(Named { stream, name })
}

impl Connected for Named {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        PeerIdentity { name: self.name.clone(), node: None }
    }
}

impl AsyncRead for Named {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Named {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

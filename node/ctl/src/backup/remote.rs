//! A node as a source: a follower where there is one, so that the leader has its hands free.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use only1mcp_domain::ids::Digest;
use only1mcp_proto::admin as pb;
use only1mcp_storage::SegmentName;
use tonic::Request;

use super::copy::{Origin, Pieces, Replaced, Source};
use crate::audit::without_deadline;
use crate::error::code;
use crate::output::Output;
use crate::session::{Connection, Session};
use crate::write::WriteArgs;

pub(super) struct Node {
    session: Session,
    write: WriteArgs,
    /// An image was asked for: a further one is another write.
    asked: AtomicBool,
}

/// Payloads went from the segment while the backup was made: a new image names it as it is now.
fn failed(status: tonic::Status, name: &SegmentName) -> anyhow::Error {
    match code(&status).as_str() {
        "SEGMENT_REPLACED" => Replaced { first: name.first }.into(),
        _ => status.into(),
    }
}

impl Node {
    /// `here`: the node that the endpoint names and no other.
    pub(super) async fn open(
        connection: &Connection,
        output: Output,
        here: bool,
        write: WriteArgs,
    ) -> anyhow::Result<Self> {
        let session = Session::open(connection, output).await?;
        if here {
            return Ok(Self::of(session, write));
        }
        let status = session.cluster().status(pb::StatusRequest {}).await?.into_inner();
        for address in followers(&status) {
            let endpoint = format!("https://{address}");
            let other = Connection { endpoint: endpoint.clone(), ..connection.clone() };
            let opened = Session::open(&other, output).await;
            match opened {
                Ok(session) if session.cluster().status(pb::StatusRequest {}).await.is_ok() => {
                    return Ok(Self::of(session, write));
                }
                Ok(_) => eprintln!("warning: {endpoint} does not answer; another node is asked"),
                Err(error) => eprintln!("warning: {error:#}; another node is asked"),
            }
        }
        Ok(Self::of(session, write))
    }

    fn of(session: Session, write: WriteArgs) -> Self {
        Self { session, write, asked: AtomicBool::new(false) }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

/// Administrative addresses of followers that are reached, if the asked node leads.
fn followers(status: &pb::StatusResponse) -> Vec<String> {
    if status.leader.is_some_and(|leader| leader != status.node) {
        return Vec::new();
    }
    let others = status.members.iter().filter(|member| {
        !member.leader
            && member.id != status.node
            && member.reachable == Some(true)
            && member.role != "removed"
            && !member.admin_address.is_empty()
    });
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|member| member.lag_entries.unwrap_or(u64::MAX));
    others.into_iter().map(|member| member.admin_address.clone()).collect()
}

impl Source for Node {
    fn image(&self) -> BoxFuture<'_, anyhow::Result<(Origin, Pieces)>> {
        Box::pin(async move {
            let again = self.asked.swap(true, Ordering::Relaxed);
            let write = if again { self.write.anew() } else { self.write };
            let request = pb::CreateBackupRequest { options: write.options() };
            // Each attempt under one command id; a stream that has begun is not begun again.
            let send = || async {
                let mut request = Request::new(request.clone());
                without_deadline(&mut request);
                self.session.backups().create_backup(request).await
            };
            let mut parts = self.session.send(send).await?;
            let first = parts.message().await?.and_then(|part| part.header);
            let header = first.ok_or_else(|| anyhow::anyhow!("the backup begins without a header"))?;
            let id: Result<[u8; 32], _> = header.cluster_id.as_ref().try_into();
            let origin = Origin {
                cluster_id: id.map(Digest).map_err(|_| anyhow::anyhow!("the cluster is not formed yet"))?,
                cluster_name: header.cluster_name,
                epoch: header.epoch,
                node: header.node,
                version: header.version,
                log_index: header.log_index,
                created_at_ms: only1mcp_tls::host::HostClock.now_ms(),
            };
            let frames = parts.map(|part| Ok(part?.frame));
            let pieces: Pieces = Box::pin(frames);
            Ok((origin, pieces))
        })
    }

    fn segment<'a>(&'a self, name: &'a SegmentName, offset: u64) -> BoxFuture<'a, anyhow::Result<Pieces>> {
        Box::pin(async move {
            let address = Bytes::copy_from_slice(&name.address.0);
            let mut request = Request::new(pb::ReadSegmentRequest { first: name.first.0, address, offset });
            without_deadline(&mut request);
            let answer = self.session.backups().read_segment(request).await;
            let chunks = answer.map_err(|status| failed(status, name))?.into_inner();
            let name = *name;
            let pieces: Pieces = Box::pin(
                chunks.map(move |part| part.map(|part| part.chunk).map_err(|status| failed(status, &name))),
            );
            Ok(pieces)
        })
    }
}

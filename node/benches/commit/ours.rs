//! Our side of the comparison, as a process of its own: three members, and a port that takes the same Put as etcd's and
//! answers once its audit record is committed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use only1mcp_domain::activity::{CallOutcome, ItemKind};
use only1mcp_domain::ids::{Digest, TenantId};
use only1mcp_enforcer::{CallFacts, Enforcer, Refused};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::common::Guard;
use crate::members::Members;
use crate::records::{root, root_key, upstream_id};
use crate::wire::{PUT, PutRequest, PutResponse};

const ADMIT_WITHIN: Duration = Duration::from_secs(10);

/// Starts this same program as the server; where it listens.
pub fn start(folder: &Path) -> (Guard, String) {
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(me);
    command.arg("--serve").arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Guard::start(&mut command);
    let mut line = String::new();
    BufReader::new(process.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.trim().is_empty(), "our members did not start");
    (process, line.trim().to_owned())
}

/// The server: until it is told to end or its standard input closes.
pub async fn serve(folder: &Path) {
    let members = Members::start(folder).await;
    let append = Append(members.leader());
    append.one(vec![b'x'; 256]).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let put = axum::routing::any(move |request: axum::extract::Request| {
        let append = append.clone();
        async move {
            let codec = ProstCodec::<PutResponse, PutRequest>::default();
            tonic::server::Grpc::new(codec).unary(append, request).await
        }
    });
    let routes = tonic::service::Routes::from(axum::Router::new().route(PUT, put));
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::select! {
        ended = tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming) => ended.unwrap(),
        () = only1mcp_node::serve::signals::ended_or_stdin_closed() => {}
    }
}

/// One record for each Put: the admission of a call, which carries the 256 bytes; the answer waits until it is in the
/// chain of a quorum and applied here.
#[derive(Clone)]
struct Append(Arc<Enforcer>);

impl Append {
    async fn one(&self, value: Vec<u8>) -> Result<(), Status> {
        let facts = CallFacts {
            tenant: TenantId::system(),
            caller_tenant: TenantId::system(),
            principal: root(),
            key: Some(root_key()),
            session: None,
            project: None,
            ip: None,
            mfa: true,
            user_agent: String::from_utf8(value).map_err(|_| Status::invalid_argument("not text"))?,
            request_id: String::new(),
            tags: Default::default(),
            input_bytes: 0,
        };
        let refused = |refused: Refused| Status::failed_precondition(refused.message);
        let until = Instant::now() + ADMIT_WITHIN;
        let (kind, upstream) = (ItemKind::Tool, upstream_id());
        let admit = self.0.admit(&facts, kind, "bench__append", &upstream, Digest([7; 32]), until);
        let admitted = admit.await.map_err(refused)?;
        let receipt = admitted.sealed().await.map_err(refused)?;
        if receipt.audit.is_none() {
            return Err(Status::internal("answered before its record was in the chain"));
        }
        admitted.complete(CallOutcome::Success, Digest::default(), 0).await.map_err(refused)
    }
}

impl UnaryService<PutRequest> for Append {
    type Response = PutResponse;
    type Future = BoxFuture<'static, Result<Response<PutResponse>, Status>>;

    fn call(&mut self, request: Request<PutRequest>) -> Self::Future {
        let append = self.clone();
        Box::pin(async move {
            append.one(request.into_inner().value).await?;
            Ok(Response::new(PutResponse {}))
        })
    }
}

//! The messages of etcd's KV.Put and Maintenance.Status that are needed here, and a client that puts.
//! Source: etcd 3.4's public API, etcdserverpb (field numbers).

use std::time::Duration;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub const PUT: &str = "/etcdserverpb.KV/Put";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, PartialEq, prost::Message)]
pub struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Its one field, a header, is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
}

/// One connection.
pub struct Client(tonic::client::Grpc<Channel>);

impl Client {
    pub async fn connect(address: &str) -> Result<Self, String> {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
        let endpoint = endpoint.tcp_nodelay(true).timeout(ANSWER_WITHIN);
        Ok(Self(tonic::client::Grpc::new(endpoint.connect().await.map_err(|error| error.to_string())?)))
    }

    pub async fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        self.0.unary(Request::new(PutRequest { key, value }), PathAndQuery::from_static(PUT), codec).await?;
        Ok(())
    }

    /// Whether whoever answers leads.
    pub async fn leads(&mut self) -> Result<bool, Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<StatusRequest, StatusResponse>::default();
        let path = PathAndQuery::from_static(STATUS);
        let status = self.0.unary(Request::new(StatusRequest {}), path, codec).await?.into_inner();
        Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
    }
}

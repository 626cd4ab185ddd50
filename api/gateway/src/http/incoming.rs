//! One HTTP request, whether it came from a client or from another node.

use std::net::IpAddr;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

pub(crate) enum IncomingBody {
    Streamed(Body),
    /// Read and bounded by the node that passed it on.
    Whole(Bytes),
}

pub(crate) struct Incoming {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// The request's target; its authority stands for the host in HTTP/2.
    pub(crate) uri: Uri,
    pub(crate) body: IncomingBody,
    pub(crate) source: Option<IpAddr>,
    /// The tenant that the path names, as it stands there.
    pub(crate) path_tenant: Option<String>,
    /// Passed on already: never again.
    pub(crate) forwarded: bool,
    /// One of the copies that every member gets: acted on where it concerns something, passed on by nobody.
    pub(crate) copy: bool,
}

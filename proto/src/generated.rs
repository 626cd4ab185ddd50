//! What `build.rs` makes of `proto/`, nested as the packages are, because the generated code refers to itself so.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_docs,
    rust_2018_idioms,
    reason = "generated"
)]

pub mod admin {
    pub mod v1 {
        tonic::include_proto!("only1mcp.admin.v1");
    }
}
pub mod log {
    pub mod v1 {
        tonic::include_proto!("only1mcp.log.v1");
    }
}
pub mod model {
    pub mod v1 {
        tonic::include_proto!("only1mcp.model.v1");
    }
}
pub mod peer {
    pub mod v1 {
        tonic::include_proto!("only1mcp.peer.v1");
    }
}
pub mod snapshot {
    pub mod v1 {
        tonic::include_proto!("only1mcp.snapshot.v1");
    }
}

//! The Cluster service: members, join tokens, settings, and the stream of configuration changes.

mod join_token;
mod service;
mod status;
mod upgrade;
mod watch;

pub(crate) use service::ClusterService;

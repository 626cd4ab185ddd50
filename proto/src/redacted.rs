//! `Debug` of messages that carry secrets: what identifies them, and nothing that would have to be kept from a log.

use std::fmt;

use crate::{admin, log, model, peer, snapshot};

macro_rules! redacted {
    ($($ty:ty { $($shown:ident),* })*) => {
        $(impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($ty))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        })*
    };
}

redacted! {
    admin::CreateBackupResponse { header }
    admin::CreateJoinTokenResponse { result, token_id, expires_at_ms }
    admin::CreateKeyResponse { result, key_id, expires_at_ms }
    admin::PutWebhookResponse { result }
    admin::RotateKeyResponse { result, key_id, expires_at_ms }
    log::FormCluster { cluster_id, settings, node, administrator }
    log::MetaRow { cluster_id, settings_revision, settings, next_node }
    log::Payload { kind }
    log::Restored { cluster_id, node, backup }
    log::StoredApiKey { info }
    log::StoredJoinToken { info }
    log::StoredWebhook { tenant, id, events, enabled }
    model::EnvironmentVariable { name }
    model::HeaderSecret { name }
    peer::FetchGenerationResponse { }
    peer::ForwardMcpRequest { from, method, source, tenant, copy }
    peer::Header { name }
    peer::InstallSnapshotRequest { from, to, vote }
    peer::JoinRequest { name, addresses, region, zone, version }
    peer::ProposeRequest { from, wait_ms }
    peer::SnapshotPart { }
    snapshot::Row { key }
}

/// An entry's bytes may hold any of the above.
impl fmt::Debug for log::payload::Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank(_) => f.write_str("blank"),
            Self::Entry(bytes) => write!(f, "entry of {} bytes", bytes.len()),
            Self::Membership(membership) => membership.fmt(f),
        }
    }
}

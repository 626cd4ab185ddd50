//! `Debug` of messages that carry secrets: what identifies them, and nothing that would have to be kept from a log.

use std::fmt;

use crate::{log, model, peer};

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
    model::HeaderSecret { name }
    model::EnvironmentVariable { name }
    log::FormCluster { cluster_id, settings, node, administrator }
    log::MetaRow { cluster_id, settings_revision, settings, next_node }
    log::StoredApiKey { info }
    log::StoredJoinToken { info }
    peer::JoinRequest { name, addresses, region, zone, version }
    peer::Header { name }
}

/// An entry's bytes may hold any of the above.
impl fmt::Debug for log::Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            None => f.write_str("Payload(nothing)"),
            Some(log::payload::Kind::Blank(_)) => f.write_str("Payload(blank)"),
            Some(log::payload::Kind::Entry(bytes)) => write!(f, "Payload(entry of {} bytes)", bytes.len()),
            Some(log::payload::Kind::Membership(membership)) => write!(f, "Payload({membership:?})"),
        }
    }
}

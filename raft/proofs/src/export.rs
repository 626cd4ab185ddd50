//! What the node that exports events signs: the header's facts, and one digest over all records in order.

use only1mcp_domain::audit::ChainHead;
use only1mcp_domain::ids::{AuditIndex, Digest};
use sha2::{Digest as _, Sha256};

use crate::checkpoint::Origin;

const HEAD: &[u8] = b"only1mcp export 1\n";

/// The header's facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportStatement {
    pub origin: Origin,
    pub tenant: String,
    pub start: ChainHead,
    pub end: AuditIndex,
    pub log_time_ms: u64,
}

/// Takes the records as they come.
#[derive(Clone, Debug, Default)]
pub struct ExportSigner(Sha256);

impl ExportSigner {
    /// `whole`: the export has the event's bytes.
    pub fn add(&mut self, index: AuditIndex, digest: Digest, hash: Digest, whole: bool) {
        self.0.update(index.0.to_be_bytes());
        self.0.update(digest.0);
        self.0.update(hash.0);
        self.0.update([u8::from(whole)]);
    }

    /// The message that is signed.
    pub fn message(self, of: &ExportStatement) -> Vec<u8> {
        let tenant = of.tenant.as_bytes();
        let mut out = HEAD.to_vec();
        out.extend_from_slice(&of.origin.cluster.0);
        out.extend_from_slice(&of.origin.epoch.to_be_bytes());
        out.extend_from_slice(&of.start.index.0.to_be_bytes());
        out.extend_from_slice(&of.start.hash.0);
        out.extend_from_slice(&of.end.0.to_be_bytes());
        out.extend_from_slice(&of.log_time_ms.to_be_bytes());
        out.extend_from_slice(&u32::try_from(tenant.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(tenant);
        out.extend_from_slice(&self.0.finalize());
        out
    }
}

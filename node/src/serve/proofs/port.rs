//! Proofs as administration asks for them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use only1mcp_admin::ports::{ExportSignature, ProofPort, TrailFailure};
use only1mcp_consensus::{TrailError, TreeError};
use only1mcp_domain::audit::merkle::Frontier;
use only1mcp_domain::ids::{AuditIndex, Digest};
use tokio::time::{Instant, timeout_at};

use super::sign::Checkpoints;

pub struct Proofs(pub Arc<Checkpoints>);

fn failure(error: TreeError) -> TrailFailure {
    match error {
        TreeError::Trail(TrailError::Rows(error)) => TrailFailure::Unreadable(error.to_string()),
        TreeError::Trail(error) => TrailFailure::Fetching { code: error.code(), detail: error.to_string() },
        TreeError::Behind { .. } => {
            TrailFailure::Fetching { code: "AUDIT_TREE_BEHIND", detail: error.to_string() }
        }
    }
}

impl ProofPort for Proofs {
    fn checkpoint(&self, size_min: u64, deadline: Instant) -> BoxFuture<'_, Option<(String, u64)>> {
        Box::pin(async move {
            let mut newest = self.0.record.newest();
            let current = super::sign::origin(&self.0.handle.state());
            let enough = newest.wait_for(|newest| {
                newest.as_ref().is_some_and(|known| {
                    known.checkpoint.tree.size >= size_min && Some(known.checkpoint.origin) == current
                })
            });
            let found = timeout_at(deadline, enough).await.ok()?.ok()?;
            found.as_ref().map(|known| (known.note.to_string(), known.checkpoint.tree.size))
        })
    }

    fn newest(&self) -> Option<(String, u64)> {
        let newest = self.0.record.newest();
        let current = super::sign::origin(&self.0.handle.state());
        let newest = newest.borrow();
        let known = newest.as_ref().filter(|known| Some(known.checkpoint.origin) == current)?;
        Some((known.note.to_string(), known.checkpoint.tree.size))
    }

    fn inclusion(&self, index: AuditIndex, size: u64) -> Result<Vec<Digest>, TrailFailure> {
        self.0.handle.tree().inclusion(index, size).map_err(failure)
    }

    fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, TrailFailure> {
        self.0.handle.tree().consistency(old, size).map_err(failure)
    }

    fn frontier(&self, size: u64) -> Result<Frontier, TrailFailure> {
        self.0.handle.tree().frontier(size).map_err(failure)
    }

    fn sign_export(&self, message: &[u8]) -> ExportSignature {
        let key = &self.0.key;
        ExportSignature { node: self.0.handle.node(), key: key.public(), signature: key.sign(message) }
    }
}

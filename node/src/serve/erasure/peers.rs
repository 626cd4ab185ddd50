//! Hands the keys of generations to members that lack them, over the members' own mutually authenticated connections.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use only1mcp_consensus::{GenerationHandler, Handle};
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_keys::generation_check;
use only1mcp_proto::peer;
use only1mcp_storage::Key32;
use tokio::time::{Duration, timeout};
use tonic::Status;

use super::keys::PersonalKeys;

/// One question.
const ASK: Duration = Duration::from_secs(5);

/// Answers once the keys are open.
#[derive(Clone, Default)]
pub struct GenerationsHere(pub Arc<OnceLock<Arc<PersonalKeys>>>);

impl GenerationHandler for GenerationsHere {
    fn fetch(
        &self,
        request: peer::FetchGenerationRequest,
    ) -> BoxFuture<'_, Result<peer::FetchGenerationResponse, Status>> {
        Box::pin(async move {
            let keys = self.0.get().ok_or_else(|| Status::unavailable("the node starts"))?;
            let key = keys.generation(request.generation);
            let key = key.map(|key| key.bytes().to_vec()).unwrap_or_default();
            Ok(peer::FetchGenerationResponse { key: key.into() })
        })
    }
}

/// From whichever of `nodes` has it; a key that `check` does not tell is none.
pub(super) async fn fetch(
    handle: &Handle,
    nodes: impl Iterator<Item = NodeId>,
    generation: u32,
    check: &Digest,
) -> Option<Key32> {
    for node in nodes.filter(|node| *node != handle.node()) {
        let Some(mut peer) = handle.peer(node) else { continue };
        let request = peer::FetchGenerationRequest { from: handle.node().0, generation };
        let answer = match timeout(ASK, peer.fetch_generation(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(%node, status = status.message(), "no key of the generation from there");
                continue;
            }
            Err(_) => continue,
        };
        if answer.key.is_empty() {
            continue;
        }
        let Ok(mut bytes) = <[u8; 32]>::try_from(&*answer.key) else { continue };
        let key = Key32::take(&mut bytes);
        if generation_check(&key) == *check {
            return Some(key);
        }
        tracing::warn!(code = "GENERATION_KEY_WRONG", %node, generation, "the member gave another key than the log tells");
    }
    None
}

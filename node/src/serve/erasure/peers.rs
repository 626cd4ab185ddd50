//! Hands the keys of generations to members that lack them, over the members' own mutually authenticated connections.
//!
//! Who asks must be a member and sign the question with the signing key that the log knows of it, both as a quorum has it
//! at this moment: a node that was removed gets nothing from one that has not heard of that. Only the generation in force
//! and the one on offer are given, never one that is to be destroyed; and sealed for the asker alone.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use only1mcp_consensus::{GenerationHandler, Handle};
use only1mcp_domain::State;
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_keys::{Asking, Handover, generation_check, hand_over, question};
use only1mcp_proofs::verifies;
use only1mcp_proto::peer;
use only1mcp_storage::Key32;
use tokio::time::{Duration, Instant, timeout};
use tonic::Status;

use super::keys::PersonalKeys;

/// One question.
const ASK: Duration = Duration::from_secs(5);
/// What the asked one takes to hear from a quorum who is a member.
const CONFIRM: Duration = Duration::from_secs(3);

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
            let state = confirmed(keys.handle()).await?;
            let handover = Handover {
                from: NodeId(request.from),
                to: keys.handle().node(),
                generation: request.generation,
            };
            let Some(check) = may_have(&state, &handover, &request)? else {
                return Ok(peer::FetchGenerationResponse::default());
            };
            let key = keys.generation(request.generation).filter(|key| generation_check(key) == check);
            let Some(key) = key else { return Ok(peer::FetchGenerationResponse::default()) };
            let sealed = hand_over(&handover, &request.public, &key)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            tracing::info!(to = %handover.from, generation = request.generation, "the key of a generation was handed over");
            Ok(peer::FetchGenerationResponse { sealed: sealed.into() })
        })
    }
}

/// The state as a quorum has it now.
async fn confirmed(handle: &Handle) -> Result<Arc<State>, Status> {
    let deadline = Instant::now() + CONFIRM;
    let unsure = |_| Status::unavailable("no quorum confirms who is a member");
    let index = handle.read_index(deadline).await.map_err(unsure)?;
    handle.wait_applied(index, deadline).await.map_err(unsure)
}

/// What the key must be, if there is one to give.
/// Errors: it is not the asker's to have.
fn may_have(
    state: &State,
    handover: &Handover,
    request: &peer::FetchGenerationRequest,
) -> Result<Option<Digest>, Status> {
    let refused = |why: &'static str| {
        tracing::warn!(code = "GENERATION_REFUSED", node = %handover.from, why, "a key of a generation was refused");
        Status::permission_denied(why)
    };
    if !state.is_member(handover.from) {
        return Err(refused("it is no member"));
    }
    let record = state.nodes.get(&handover.from).map(|record| &record.value);
    let Some(signing) = record.and_then(|record| record.signing_key) else {
        return Err(Status::unavailable("its signing key is not known yet"));
    };
    if !verifies(signing, &question(handover, &request.public), &request.signature) {
        return Err(refused("the question is not signed by that node"));
    }
    let erasure = &state.erasure;
    let offered = erasure.offer.map(|offer| (offer.generation, offer.check));
    let in_force = erasure.check.map(|check| (erasure.generation, check));
    let given = in_force.into_iter().chain(offered).find(|(number, _)| *number == handover.generation);
    Ok(given.map(|(_, check)| check))
}

/// From whichever of `nodes` has it; a key that `check` does not tell is none.
pub(super) async fn fetch(
    handle: &Handle,
    nodes: impl Iterator<Item = NodeId>,
    generation: u32,
    check: &Digest,
) -> Option<Key32> {
    let signer = handle.signer()?;
    for node in nodes.filter(|node| *node != handle.node()) {
        let Some(mut peer) = handle.peer(node) else { continue };
        let handover = Handover { from: handle.node(), to: node, generation };
        let Ok(asking) = Asking::new(handover) else { continue };
        let request = peer::FetchGenerationRequest {
            from: handle.node().0,
            generation,
            public: asking.public().to_vec().into(),
            signature: signer.sign(&question(&handover, asking.public())).to_vec().into(),
        };
        let answer = match timeout(ASK, peer.fetch_generation(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(%node, status = status.message(), "no key of the generation from there");
                continue;
            }
            Err(_) => continue,
        };
        if answer.sealed.is_empty() {
            continue;
        }
        match asking.open(&answer.sealed) {
            Ok(key) if generation_check(&key) == *check => return Some(key),
            Ok(_) => {
                tracing::warn!(code = "GENERATION_KEY_WRONG", %node, generation, "the member gave another key than the log tells");
            }
            Err(error) => {
                tracing::warn!(code = "GENERATION_KEY_WRONG", %node, generation, %error, "the member's answer does not open");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::model::{NodeRecord, NodeRole, Offer};
    use only1mcp_domain::state::Versioned;
    use only1mcp_domain::time::TimestampMs;
    use only1mcp_proofs::SigningKey;
    use tonic::Code;

    use super::*;

    const PUBLIC: [u8; 32] = [9; 32];

    fn signer(node: u64) -> SigningKey {
        SigningKey::of_seed([u8::try_from(node).unwrap(); 32])
    }

    /// Three nodes with keys, the third removed, and a fourth whose key is not known; generation 2 in force, 3 offered.
    fn state() -> State {
        let mut state = State::default();
        for id in 1..=4 {
            let record = NodeRecord {
                id: NodeId(id),
                name: format!("node-{id}"),
                peer_address: String::new(),
                admin_address: String::new(),
                http_address: String::new(),
                region: String::new(),
                zone: String::new(),
                version: String::new(),
                role: if id == 3 { NodeRole::Removed } else { NodeRole::Voter },
                joined_at: TimestampMs(0),
                signing_key: (id != 4).then(|| signer(id).public()),
            };
            state.nodes.insert(NodeId(id), Versioned { revision: 1, value: record });
        }
        state.erasure.generation = 2;
        state.erasure.check = Some(Digest([2; 32]));
        state.erasure.offer = Some(Offer { generation: 3, check: Digest([3; 32]), node: NodeId(1) });
        state
    }

    fn asked(from: u64, generation: u32, signed_by: u64) -> (Handover, peer::FetchGenerationRequest) {
        let handover = Handover { from: NodeId(from), to: NodeId(1), generation };
        let signature = signer(signed_by).sign(&question(&handover, &PUBLIC));
        let request = peer::FetchGenerationRequest {
            from,
            generation,
            public: PUBLIC.to_vec().into(),
            signature: signature.to_vec().into(),
        };
        (handover, request)
    }

    fn answer(from: u64, generation: u32, signed_by: u64) -> Result<Option<Digest>, Code> {
        let (handover, request) = asked(from, generation, signed_by);
        may_have(&state(), &handover, &request).map_err(|status| status.code())
    }

    #[test]
    fn a_member_gets_the_generation_in_force_and_the_one_on_offer() {
        assert_eq!(answer(2, 2, 2), Ok(Some(Digest([2; 32]))));
        assert_eq!(answer(2, 3, 2), Ok(Some(Digest([3; 32]))));
        for past_or_unheard_of in [0, 1, 4] {
            assert_eq!(answer(2, past_or_unheard_of, 2), Ok(None));
        }
    }

    #[test]
    fn nobody_else_gets_any() {
        assert_eq!(answer(3, 2, 3), Err(Code::PermissionDenied), "it was removed");
        assert_eq!(answer(9, 2, 9), Err(Code::PermissionDenied), "nobody knows it");
        assert_eq!(answer(4, 2, 4), Err(Code::Unavailable), "its key is not known");
        assert_eq!(answer(2, 2, 1), Err(Code::PermissionDenied), "another's signature");
        // A question that was signed cannot be put to another node, for another generation, or for another's pair.
        let (handover, request) = asked(2, 2, 2);
        let refused = |handover: &Handover, request: &peer::FetchGenerationRequest| {
            may_have(&state(), handover, request).map_err(|status| status.code())
                == Err(Code::PermissionDenied)
        };
        assert!(refused(&Handover { to: NodeId(2), ..handover }, &request));
        assert!(refused(&Handover { generation: 3, ..handover }, &request));
        let other = peer::FetchGenerationRequest { public: vec![8; 32].into(), ..request.clone() };
        assert!(refused(&handover, &other));
        let unsigned = peer::FetchGenerationRequest { signature: Default::default(), ..request };
        assert!(refused(&handover, &unsigned));
    }
}

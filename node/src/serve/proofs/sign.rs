//! Signs checkpoints for others, and while this node leads has them made.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use only1mcp_consensus::{CheckpointHandler, Handle, Role};
use only1mcp_domain::State;
use only1mcp_domain::audit::Signers;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_proofs::{Checkpoint, Note, NoteSignature, Origin, SigningKey, count_signers};
use only1mcp_proto::peer;
use tokio::time::{Duration, Instant, sleep, timeout};
use tonic::Status;

use super::key::signs;
use super::record::{Complete, Record};
use super::witness::Witnesses;

/// How often the leader looks whether there is something to be signed; P3's bound is ten seconds.
const LOOK: Duration = Duration::from_millis(500);
/// Between two checkpoints.
const EVERY: Duration = Duration::from_secs(2);
/// One signature of another node.
const ASK: Duration = Duration::from_secs(3);
/// Until the own tree has what another's has.
const CATCH_UP: Duration = Duration::from_secs(2);

pub struct Checkpoints {
    pub handle: Handle,
    pub key: Arc<SigningKey>,
    pub record: Record,
}

/// The chain as it is called now; `None` before there is a cluster, or where nodes do not sign.
pub fn origin(state: &State) -> Option<Origin> {
    let cluster = state.cluster.as_ref().filter(|_| signs(state))?;
    Some(Origin { cluster: cluster.id, epoch: cluster.epoch })
}

/// Who signs now.
pub fn signers(state: &State) -> Signers {
    let voters = state.nodes.values().map(|record| &record.value);
    let voters = voters.filter(|node| node.role == NodeRole::Voter);
    Signers(voters.map(|node| (node.id, node.signing_key)).collect())
}

impl Checkpoints {
    pub fn open(handle: Handle, key: Arc<SigningKey>, record: Record) -> Self {
        Self { handle, key, record }
    }

    /// This node's signature of the checkpoint, which must be that of its own tree.
    async fn signature(&self, checkpoint: &Checkpoint) -> Result<NoteSignature, Status> {
        let size = checkpoint.tree.size;
        let mut have = self.handle.tree().size();
        // What is waited for must not be held: whoever extends the tree would wait for it.
        let caught_up =
            timeout(CATCH_UP, have.wait_for(|have| *have >= size)).await.is_ok_and(|have| have.is_ok());
        if !caught_up {
            return Err(Status::unavailable("this node has not come so far yet"));
        }
        let tree = self.handle.tree();
        let read = |size| tree.at(size).map_err(|error| Status::unavailable(error.to_string()));
        let own = read(size)?;
        let last = self.record.signed().filter(|last| last.origin == checkpoint.origin);
        let mut known = vec![(own, *checkpoint)];
        if let Some(last) = last.filter(|last| last.tree.size <= size) {
            known.push((read(last.tree.size)?, last));
        }
        if known.iter().any(|(own, told)| *own != (told.tree, told.chain)) {
            tracing::error!(
                code = "CHECKPOINT_DIFFERS",
                size,
                "a checkpoint is not of this node's chain: not signed"
            );
            return Err(Status::data_loss("the checkpoint is not of this node's chain"));
        }
        let name = checkpoint.origin.to_string();
        let mut signature = None;
        let signed = self.record.sign(checkpoint, |text| {
            signature = Some(NoteSignature::ed25519(&name, &self.key, text));
            String::new()
        });
        signed.map_err(|error| Status::failed_precondition(error.to_string()))?;
        signature.ok_or_else(|| Status::internal("nothing was signed"))
    }

    /// Keeps the note if a majority signed it.
    fn keep(&self, checkpoint: Checkpoint, note: Note) -> Result<(), Status> {
        let signers = signers(&self.handle.state());
        let by = count_signers(&note, checkpoint.origin, &signers);
        let by = by.map_err(|fault| Status::invalid_argument(fault.to_string()))?;
        if by.len() < signers.majority() {
            return Ok(());
        }
        let kept = self.record.keep(Complete { checkpoint, note });
        kept.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn answer(&self, text: &str) -> Result<NoteSignature, Status> {
        let note = Note::parse(text).map_err(|fault| Status::invalid_argument(fault.to_string()))?;
        let checkpoint =
            Checkpoint::parse(&note.text).map_err(|fault| Status::invalid_argument(fault.to_string()))?;
        if origin(&self.handle.state()) != Some(checkpoint.origin) {
            return Err(Status::failed_precondition("the checkpoint is of another epoch or cluster"));
        }
        let signature = self.signature(&checkpoint).await;
        self.keep(checkpoint, note)?;
        signature
    }

    /// Shows `note` to the others; the signatures that came.
    async fn show(&self, note: &Note) -> Vec<NoteSignature> {
        let (state, own) = (self.handle.state(), self.handle.node());
        let others = state.nodes.values().map(|record| &record.value);
        let others =
            others.filter(|node| node.role != NodeRole::Removed && node.id != own).map(|node| node.id);
        let others: Vec<NodeId> = others.collect();
        let asked = others.into_iter().map(|node| async move {
            let mut client = self.handle.peer(node)?;
            let request = peer::SignCheckpointRequest { from: own.0, note: note.to_string() };
            match timeout(ASK, client.sign_checkpoint(request)).await {
                Ok(Ok(answer)) => NoteSignature::parse(answer.into_inner().signatures.trim_end()).ok(),
                Ok(Err(status)) => {
                    tracing::info!(%node, why = status.message(), "a node does not sign a checkpoint");
                    None
                }
                Err(_) => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Has a checkpoint of all events there are signed by a majority; `None` where there is nothing new, or no majority.
    async fn make(&self, origin: Origin) -> Option<Complete> {
        let tree = self.handle.tree();
        let size = *tree.size().borrow();
        let newest = self.record.newest().borrow().as_ref().map(|known| known.checkpoint);
        if newest.is_some_and(|newest| newest.origin == origin && newest.tree.size >= size) {
            return None;
        }
        let (head, chain) = tree.at(size).ok()?;
        let checkpoint = Checkpoint { origin, tree: head, chain };
        let own = match self.signature(&checkpoint).await {
            Ok(own) => own,
            Err(status) => {
                tracing::info!(why = status.message(), "this node does not sign a checkpoint");
                return None;
            }
        };
        let mut note = Note { text: checkpoint.text(), signatures: vec![own] };
        let signers = signers(&self.handle.state());
        for signature in self.show(&note).await {
            // A signature that is none would spoil the note.
            let with = Note { text: note.text.clone(), signatures: vec![signature.clone()] };
            if count_signers(&with, origin, &signers).is_ok_and(|by| !by.is_empty()) {
                note.signatures.push(signature);
            }
        }
        let by = count_signers(&note, origin, &signers).ok()?;
        if by.len() < signers.majority() {
            tracing::warn!(
                code = "CHECKPOINT_QUORUM",
                size,
                signed = by.len(),
                of = signers.0.len(),
                "a checkpoint is not signed by a majority"
            );
            return None;
        }
        Some(Complete { checkpoint, note })
    }
}

impl CheckpointHandler for Checkpoints {
    fn sign(
        &self,
        request: peer::SignCheckpointRequest,
    ) -> BoxFuture<'_, Result<peer::SignCheckpointResponse, Status>> {
        Box::pin(async move {
            let signature = self.answer(&request.note).await?;
            Ok(peer::SignCheckpointResponse { signatures: format!("{signature}\n") })
        })
    }
}

/// While this node leads, at least every ten seconds in which events came.
pub async fn run(checkpoints: Arc<Checkpoints>, witnesses: Witnesses) {
    let mut made_at: Option<Instant> = None;
    loop {
        sleep(LOOK).await;
        let state = checkpoints.handle.state();
        let due = made_at.is_none_or(|at| at.elapsed() >= EVERY);
        let leads = checkpoints.handle.status().role == Role::Leader;
        let (Some(origin), true) = (origin(&state).filter(|_| leads), due) else { continue };
        let known = signers(&state).keys().any(|(node, _)| node == checkpoints.handle.node());
        drop(state);
        if !known {
            continue;
        }
        let Some(mut complete) = checkpoints.make(origin).await else { continue };
        made_at = Some(Instant::now());
        witnesses.sign(&checkpoints.handle.tree(), &mut complete).await;
        if let Err(error) = checkpoints.record.keep(complete.clone()) {
            tracing::error!(%error, "a checkpoint could not be kept");
            continue;
        }
        checkpoints.show(&complete.note).await;
        tracing::debug!(size = complete.checkpoint.tree.size, "a checkpoint was signed");
    }
}

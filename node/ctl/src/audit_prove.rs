//! `ctl audit keys`, `checkpoint` and `prove`: files that verify without any server.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use only1mcp_domain::audit::Signers;
use only1mcp_domain::ids::{Digest, NodeId, PublicKey};
use only1mcp_proofs::{
    Bundle, CONSISTENCY_FORMAT, Checkpoint, Consistency, Note, Origin, PROOF_FORMAT, Pinned, Receipt,
};
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};

use super::session::Session;
use only1mcp_proofs::hex;

/// The file's content to `file`, or to standard output where none is named.
fn write(file: Option<&Path>, content: &str, session: &Session, said: &str) -> anyhow::Result<()> {
    let Some(file) = file else {
        print!("{content}");
        return Ok(());
    };
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))?;
    session.printer.done(said, &json!({"file": file.display().to_string()}))
}

fn digest(bytes: &[u8]) -> anyhow::Result<Digest> {
    Ok(Digest(bytes.try_into().context("the server's answer holds a hash that is none")?))
}

fn path(hashes: &[bytes::Bytes]) -> anyhow::Result<Vec<String>> {
    hashes.iter().map(|hash| digest(hash).map(|hash| hash.to_string())).collect()
}

pub(super) async fn keys(session: &Session, file: Option<PathBuf>) -> anyhow::Result<()> {
    let request = pb::GetSignersRequest { consistency: session.consistency() };
    let answer = session.audit().get_signers(request).await?.into_inner();
    let mut signers = Signers::default();
    for signer in &answer.signers {
        let key = match signer.key.as_ref() {
            [] => None,
            key => Some(PublicKey(key.try_into().context("the server's answer holds a key that is none")?)),
        };
        signers.0.insert(NodeId(signer.node), key);
    }
    if signers.keys().next().is_none() {
        bail!("no node signs yet: the cluster is below feature level 3, or has just begun");
    }
    let origin = Origin { cluster: digest(&answer.cluster_id)?, epoch: answer.epoch };
    let count = signers.0.len();
    let pinned = Pinned { origin, index: answer.index, signers };
    let shown = file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    write(file.as_deref(), &pinned.text(), session, &format!("{count} signers of {origin}, in {shown}"))
}

pub(super) async fn checkpoint(
    session: &Session,
    file: Option<PathBuf>,
    since: Option<PathBuf>,
    size_min: u64,
) -> anyhow::Result<()> {
    let old = since.map(|path| {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let note = Note::parse(&text).with_context(|| path.display().to_string())?;
        Ok::<_, anyhow::Error>((Checkpoint::parse(&note.text)?.tree.size, text))
    });
    let old = old.transpose()?;
    let old_size = old.as_ref().map_or(0, |(size, _)| *size);
    let request = pb::GetCheckpointRequest { size_min, old_size };
    let answer = session.audit().get_checkpoint(request).await?.into_inner();
    let said = format!("a checkpoint of {} events", answer.size);
    let Some((old_size, old)) = old else {
        return write(file.as_deref(), &answer.checkpoint, session, &said);
    };
    let consistency = Consistency {
        format: CONSISTENCY_FORMAT.to_owned(),
        old,
        new: answer.checkpoint,
        path: path(&answer.path)?,
    };
    let content = serde_json::to_string_pretty(&consistency)? + "\n";
    write(
        file.as_deref(),
        &content,
        session,
        &format!("{said}, and that {old_size} events are its beginning"),
    )
}

/// A receipt as it stands in an answer's `_meta`, or anywhere in a JSON text that holds one.
fn receipt(value: &Value) -> Option<Receipt> {
    if let Ok(receipt) = serde_json::from_value::<Receipt>(value.clone()) {
        return Some(receipt);
    }
    match value {
        Value::Object(fields) => fields.values().find_map(receipt),
        Value::Array(values) => values.iter().find_map(receipt),
        _ => None,
    }
}

pub(crate) fn read_receipt(file: &Path) -> anyhow::Result<Receipt> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let value: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    let found = receipt(&value);
    found.with_context(|| {
        format!(
            "{}: no receipt with audit_index and event_hash; one that is pending has none yet",
            file.display()
        )
    })
}

pub(super) async fn prove(
    session: &Session,
    receipt: Option<PathBuf>,
    index: Option<u64>,
    file: Option<PathBuf>,
) -> anyhow::Result<()> {
    let receipt = receipt.as_deref().map(read_receipt).transpose()?;
    let told = receipt.as_ref().map(|receipt| receipt.audit_index);
    let index = told.or(index).context("name a receipt, or an event with --index")?;
    let answer = session.audit().prove_audit(pb::ProveAuditRequest { index }).await?.into_inner();
    let sealed =
        answer.record.and_then(|record| record.sealed).context("the server's answer is incomplete")?;
    let hash = digest(&sealed.hash)?.to_string();
    if let Some(receipt) = receipt.filter(|receipt| receipt.event_hash != hash) {
        bail!(
            "the node has another event {index} than the receipt says: {hash} in place of {}",
            receipt.event_hash
        );
    }
    let bundle = Bundle {
        format: PROOF_FORMAT.to_owned(),
        index,
        previous: digest(&answer.previous)?.to_string(),
        digest: digest(&sealed.digest)?.to_string(),
        hash,
        bytes: (!sealed.canonical.is_empty()).then(|| hex(&sealed.canonical)),
        checkpoint: answer.checkpoint,
        path: path(&answer.path)?,
    };
    let content = serde_json::to_string_pretty(&bundle)? + "\n";
    let shown = file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    let said =
        format!("event {index}, proven by {} hashes up to a checkpoint, in {shown}", bundle.path.len());
    write(file.as_deref(), &content, session, &said)
}

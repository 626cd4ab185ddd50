//! This node's signing key: made by the node, on its disk under its data keys, its public half in the log.

use std::sync::Arc;

use only1mcp_consensus::Handle;
use only1mcp_domain::State;
use only1mcp_domain::command::Command;
use only1mcp_domain::limits;
use only1mcp_proofs::SigningKey;
use only1mcp_storage::{DataFolder, SealedHead, Sealer, StorageError};
use tokio::time::{Duration, sleep};
use zeroize::Zeroizing;

use crate::host::HostEntropy;
use crate::serve::admin_port::propose_own;
use crate::serve::stores;

const PLACE: &str = "signing-key";
const TELL: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(200);

/// What the folder's key is made of; `None` where it has none. Errors: the file is damaged.
pub fn stored_seed(folder: &DataFolder, keys: stores::Keys<'_>) -> anyhow::Result<Option<[u8; 32]>> {
    let Some(stored) = folder.signing_key()? else { return Ok(None) };
    let plain = Zeroizing::new(match keys {
        Some(sealer) => sealer.open_file(PLACE, &stored)?,
        None => stored,
    });
    let seed = plain.as_slice().try_into();
    seed.map(Some).map_err(|_| anyhow::anyhow!("the file `signing-key` is corrupt: it holds no key"))
}

/// The folder's key; a new one where it has none, which is how a key is changed.
pub fn signing_key(folder: &DataFolder, keys: stores::Keys<'_>) -> anyhow::Result<Arc<SigningKey>> {
    let seed = match stored_seed(folder, keys)? {
        Some(seed) => seed,
        None => {
            let seed = HostEntropy.bytes();
            let stored = match keys {
                Some(sealer) => sealer.seal_file(PLACE, &seed)?,
                None => seed.to_vec(),
            };
            folder.write_signing_key(&stored)?;
            seed
        }
    };
    Ok(Arc::new(SigningKey::of_seed(seed)))
}

/// Seals the file again where it lies under another data key than the one in use; returns the bytes written.
pub fn reseal_signing_key(folder: &DataFolder, sealer: &Sealer) -> Result<u64, StorageError> {
    let Some(stored) = folder.signing_key()? else { return Ok(0) };
    if SealedHead::of(&stored).is_some_and(|head| head.data_key == sealer.current()) {
        return Ok(0);
    }
    let plain = Zeroizing::new(sealer.open_file(PLACE, &stored)?);
    let sealed = sealer.seal_file(PLACE, &plain)?;
    folder.write_signing_key(&sealed)?;
    Ok(u64::try_from(sealed.len()).unwrap_or(u64::MAX))
}

/// Whether nodes sign at the cluster's feature level.
pub fn signs(state: &State) -> bool {
    let level = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    level >= limits::FEATURE_LEVEL_SIGNING
}

/// Tells the cluster this node's key, until it knows it.
pub async fn make_known(handle: Handle, key: Arc<SigningKey>) {
    let node = handle.node();
    loop {
        let state = handle.state();
        let record = state.nodes.get(&node).map(|record| &record.value);
        if record.and_then(|record| record.signing_key) == Some(key.public()) {
            return;
        }
        if record.is_some() && signs(&state) {
            let command = Command::SetSigningKey { node, key: key.public() };
            if let Err(error) = propose_own(&handle, command, TELL).await {
                tracing::info!(%error, "this node's signing key is not told yet");
            }
        }
        sleep(AGAIN).await;
    }
}

//! Opening the node's data folder: until a key source gives its keys the node is `sealed`, which it says, and asks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use only1mcp_keys::{KeyRing, RingError};
use only1mcp_storage::{DataFolder, Key32};
use tokio::time::{Duration, sleep};

use crate::config::NodeConfig;
use crate::host::HostClock;
use crate::keys::{self, Opened, Source};
use crate::serve::erasure::plain_generations;
use crate::serve::readiness::{Phase, Readiness};
use crate::serve::rotate::Rotation;
use crate::serve::stores;

const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What a node holds its folder open with; `None` where nothing is encrypted.
pub struct Unsealed(Option<(Opened, Source)>);

impl Unsealed {
    pub fn keys(&self) -> stores::Keys<'_> {
        self.0.as_ref().map(|(opened, _)| &opened.sealer)
    }

    /// What persons' keys are wrapped by, as the folder holds them.
    pub fn generations(&self, folder: &DataFolder) -> anyhow::Result<BTreeMap<u32, Key32>> {
        match &self.0 {
            Some((opened, _)) => Ok(opened.generations.clone()),
            None => plain_generations(folder),
        }
    }

    /// For a node that is a member from now on.
    pub fn rotation(&self, folder: &Arc<DataFolder>, config: &NodeConfig) -> Option<Arc<Rotation>> {
        let (opened, source) = self.0.as_ref()?;
        Some(Arc::new(Rotation::new(folder.clone(), opened, source, &config.keys)))
    }
}

/// Waits for a key source for as long as it takes.
/// Errors: what only the operator can change.
pub async fn unseal(
    config: &NodeConfig,
    folder: &DataFolder,
    readiness: &Readiness,
) -> anyhow::Result<Unsealed> {
    let Some(source) = keys::source(&config.keys).await.context("keys")? else {
        anyhow::ensure!(
            KeyRing::read(folder)?.is_none(),
            "the data folder is encrypted, but the configuration says `keys: {{ plaintext: true }}`: name its keys"
        );
        tracing::warn!(code = "PLAINTEXT", "everything is written to disk in the clear, as configured");
        return Ok(Unsealed(None));
    };
    let owner = keys::owner(config);
    let mut again = AGAIN_MIN;
    loop {
        match keys::open(folder, &source, &owner, HostClock.now_ms()).await {
            Ok(opened) => {
                tracing::info!(data_key = opened.ring.current(), "the data folder is open");
                return Ok(Unsealed(Some((opened, source))));
            }
            Err(error) if error.may_pass() => {
                tracing::error!(code = code(&error), %error, again_ms = again.as_millis(), "the node is sealed");
                readiness.set(Phase::Sealed(error.to_string()));
                sleep(again).await;
                again = again.saturating_mul(2).min(AGAIN_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(error: &RingError) -> &'static str {
    match error {
        RingError::Key(only1mcp_keys::KeyError::Unavailable { .. }) => "KEYS_UNAVAILABLE",
        RingError::Key(_) => "KEYS_REFUSED",
        RingError::Lacks { .. } => "KEY_MISSING",
        RingError::Storage(_) | RingError::Damaged { .. } => "KEY_RING",
    }
}

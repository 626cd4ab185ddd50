//! From a configuration to a provider, and to the opened key ring of a data folder or of a place of backups.

use std::collections::BTreeMap;
use std::sync::Arc;

use only1mcp_storage::{DataFolder, Key32, Sealer};

use crate::aws_kms::{AwsKms, AwsKmsOptions, KmsPlace};
use crate::config::{GenerationKeys, KeysConfig};
use crate::context::KeyContext;
use crate::key_file::KeyFile;
use crate::provider::{KeyError, KeyProvider, Purpose};
use crate::recovery::RecoveryPublic;
use crate::ring::{KeyRing, Owner, RingError};

/// Where keys come from, ready to be asked.
#[derive(Clone)]
pub struct Source {
    pub provider: Arc<dyn KeyProvider>,
    pub recovery: Option<Arc<RecoveryPublic>>,
}

/// A folder's ring and what it seals with.
pub struct Opened {
    pub ring: KeyRing,
    pub sealer: Arc<Sealer>,
    /// By number: what persons' keys are wrapped by.
    pub generations: BTreeMap<u32, Key32>,
}

/// `None` where the configuration says that nothing is encrypted. Asks nobody yet but the file.
pub async fn source(keys: &KeysConfig) -> Result<Option<Source>, KeyError> {
    let recovery = match &keys.recovery {
        Some(path) => {
            let failed = |detail: String| KeyError::File { path: path.display().to_string(), detail };
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            let public = RecoveryPublic::parse(&text).map_err(|error| failed(error.to_string()))?;
            Some(Arc::new(public))
        }
        None => None,
    };
    let provider: Arc<dyn KeyProvider> = match (&keys.file, &keys.aws_kms) {
        (Some(file), _) => Arc::new(KeyFile::open(file).map_err(|error| missing(error, file))?),
        (None, Some(kms)) => {
            let first = KmsPlace {
                region: kms.region.clone(),
                key_id: kms.key_id.clone(),
                endpoint: kms.endpoint.clone(),
            };
            let others = kms.fallback.iter().map(|fallback| KmsPlace {
                region: fallback.region.clone(),
                key_id: fallback.key_id.clone().unwrap_or_else(|| kms.key_id.clone()),
                endpoint: fallback.endpoint.clone(),
            });
            let own_keys = kms.generation_keys == GenerationKeys::Own;
            let options = AwsKmsOptions { own_keys, ..AwsKmsOptions::default() };
            let places = std::iter::once(first).chain(others).collect();
            Arc::new(AwsKms::new(places, options).await?)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Source { provider, recovery }))
}

fn missing(error: KeyError, file: &std::path::Path) -> KeyError {
    if file.exists() {
        return error;
    }
    let path = file.display().to_string();
    let detail = format!("it is not there: make it with `only1mcp keys init --file {path}`");
    KeyError::File { path, detail }
}

/// What the key of a generation is bound to in a key table, which is of a cluster and of no node.
pub fn table_context(generation: u32) -> KeyContext {
    KeyContext {
        cluster: String::new(),
        node: String::new(),
        ring: [0; 16],
        id: generation,
        purpose: Purpose::Generation,
    }
}

/// Opens the ring that `folder` has; a folder that holds nothing yet gets one.
pub async fn open(
    folder: &DataFolder,
    source: &Source,
    owner: &Owner,
    now_ms: u64,
) -> Result<Opened, RingError> {
    let (ring, keys) = match KeyRing::read(folder)? {
        Some(ring) => {
            let keys = ring.open(source.provider.as_ref()).await?;
            (ring, keys)
        }
        None if folder.holds_data() => {
            let detail = "the data folder was begun without encryption, or has lost its file `key-ring`. Put that file \
                          back from a backup; or, to encrypt a node, have it join anew with an empty folder; or say \
                          `keys: { plaintext: true }`";
            return Err(RingError::Damaged { detail: detail.to_owned() });
        }
        None => {
            let recovery = source.recovery.as_deref();
            KeyRing::create(folder, source.provider.as_ref(), owner, recovery, now_ms).await?
        }
    };
    let generations = keys.generations.clone();
    Ok(Opened { ring, sealer: Arc::new(Sealer::with_system_randomness(keys)?), generations })
}

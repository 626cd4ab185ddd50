//! What backups are sealed with: data keys of the place's own, in a file `key-ring` beside them, wrapped by a provider.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use only1mcp_keys::{KeyRing, KeysConfig, Owner, source};
use only1mcp_storage::Sealer;
use serde::Deserialize;

use super::place::{self, Part, Place};

const RING: &str = "key-ring";
const RING_BYTES_MAX: u64 = 1 << 20;
/// Stands where a node's name stands in the ring of a data folder.
const OWNER: &str = "backup";

/// How backups are protected.
#[derive(Clone, Debug)]
pub enum Protection {
    /// By keys from there.
    Keys(Box<KeysConfig>),
    /// Not at all.
    Plaintext,
    /// Nothing was said: only what is in the clear can be read.
    Unsaid,
}

#[derive(Deserialize)]
struct Configured {
    keys: KeysConfig,
}

impl Protection {
    /// From a file with a section `keys:` as nodes' configurations have it; such a configuration is one.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let configured: Configured =
            serde_norway::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let mut keys = configured.keys;
        let beside = file.parent().unwrap_or(Path::new(""));
        keys.resolve(|path| *path = beside.join(&*path));
        let given = [keys.file.is_some(), keys.aws_kms.is_some(), keys.plaintext];
        let one = given.into_iter().filter(|given| *given).count() == 1;
        ensure!(one, "{}: keys: give one of file, aws_kms, and plaintext: true", file.display());
        Ok(Self::from(keys))
    }
}

impl From<KeysConfig> for Protection {
    fn from(keys: KeysConfig) -> Self {
        if keys.plaintext { Self::Plaintext } else { Self::Keys(Box::new(keys)) }
    }
}

fn ring(place: &dyn Place) -> anyhow::Result<Option<KeyRing>> {
    let bytes = place.read(RING, RING_BYTES_MAX).with_context(|| format!("{RING} in {}", place.shown()))?;
    Ok(bytes.map(|bytes| KeyRing::decode(&bytes)).transpose()?)
}

/// What the key-encryption keys of a place wrap, by their names; nothing where it is not encrypted.
pub fn wrapped_in(at: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let ring = ring(place::existing(at)?.as_ref())?;
    Ok(ring.map(|ring| ring.uses()).unwrap_or_default())
}

/// The keys of a place that may be new.
pub(super) async fn begin(place: &dyn Place, protection: &Protection) -> anyhow::Result<Option<Arc<Sealer>>> {
    if ring(place)?.is_some() {
        return open(place, protection).await;
    }
    let keys = match protection {
        Protection::Keys(keys) => keys,
        Protection::Plaintext => return Ok(None),
        Protection::Unsaid => bail!(
            "say how backups are protected: --keys FILE, with a section `keys:` as in a node's configuration; or \
             --plaintext, and whoever reads them has every secret of the cluster"
        ),
    };
    let begun = place.names(Part::Manifests)?;
    ensure!(begun.is_empty(), "the backups in {} are not encrypted: name another place", place.shown());
    let source = source(keys).await?.context("the keys come from nowhere")?;
    let owner = Owner { cluster: keys.cluster.clone(), node: OWNER.to_owned() };
    let recovery = source.recovery.as_deref();
    let now_ms = only1mcp_tls::host::HostClock.now_ms();
    let (ring, keys) = KeyRing::begin(source.provider.as_ref(), &owner, recovery, now_ms).await?;
    place.write(RING, &ring.encode()?)?;
    Ok(Some(Arc::new(Sealer::with_system_randomness(keys)?)))
}

/// The keys of a place that has backups.
pub(super) async fn open(place: &dyn Place, protection: &Protection) -> anyhow::Result<Option<Arc<Sealer>>> {
    let shown = place.shown();
    let (ring, keys) = match (ring(place)?, protection) {
        (None, Protection::Keys(_)) => bail!(
            "the backups in {shown} are not encrypted: leave --keys out; to restore one of them, say --plaintext"
        ),
        (None, Protection::Plaintext | Protection::Unsaid) => return Ok(None),
        (Some(_), Protection::Plaintext | Protection::Unsaid) => {
            bail!("the backups in {shown} are encrypted: name what they are encrypted with by --keys FILE")
        }
        (Some(ring), Protection::Keys(keys)) => (ring, keys),
    };
    let source = source(keys).await?.context("the keys come from nowhere")?;
    let keys = ring.open(source.provider.as_ref()).await.with_context(|| format!("the keys of {shown}"))?;
    Ok(Some(Arc::new(Sealer::with_system_randomness(keys)?)))
}

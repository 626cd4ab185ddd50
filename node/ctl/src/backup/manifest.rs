//! What one backup consists of. The file holds the manifest and the hash of its text.

use anyhow::{Context as _, ensure};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_storage::SegmentName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha3::{Digest as _, Sha3_256};

/// Names format and version.
pub const FORMAT: &str = "only1mcp-backup-2";

/// Hashes are 64 hexadecimal characters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    pub cluster_id: String,
    pub cluster_name: String,
    pub epoch: u64,
    /// Of the state.
    pub log_index: u64,
    /// Where the audit chain stands there.
    pub audit_index: u64,
    pub audit_hash: String,
    /// That gave it.
    pub node: u64,
    pub version: String,
    pub created_at_ms: u64,
    pub image: ImageFile,
    /// Of the audit trail, from event 1 on and without a gap; the image holds the events after them.
    pub segments: Vec<SegmentFile>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageFile {
    pub bytes: u64,
    /// SHA3-256 of what is inside of the file.
    pub sha3: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentFile {
    pub first: u64,
    pub last: u64,
    /// SHA3-256 of what it holds, and the name of its file.
    pub address: String,
    pub bytes: u64,
    /// The chain's hash at `last`.
    pub hash: String,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    sha3: String,
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha3_256::digest(bytes).into())
}

pub(super) fn name(cluster_id: &str, epoch: u64, log_index: u64) -> String {
    let cluster: String = cluster_id.chars().take(8).collect();
    format!("{cluster}-{epoch}-{log_index:012}")
}

impl Manifest {
    /// Of files and of the command line; distinct for every index of every cluster.
    pub fn name(&self) -> String {
        name(&self.cluster_id, self.epoch, self.log_index)
    }

    /// What restored clusters name their origin by: the hash of the manifest's text.
    pub fn digest(&self) -> anyhow::Result<Digest> {
        Ok(digest_of(serde_json::to_string(self)?.as_bytes()))
    }

    pub(super) fn encode(&self) -> anyhow::Result<Vec<u8>> {
        let text = serde_json::to_string(self)?;
        let sha3 = digest_of(text.as_bytes());
        Ok(format!("{{\"manifest\":{text},\"sha3\":\"{sha3}\"}}\n").into_bytes())
    }

    /// Errors: it is not what was written, or of a format that is not known here.
    pub(super) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let written: Written<'_> = serde_json::from_slice(bytes).context("it is no manifest")?;
        let text = written.manifest.get();
        ensure!(
            digest_of(text.as_bytes()).to_string() == written.sha3,
            "its content is not what its hash says"
        );
        let format: serde_json::Value = serde_json::from_str(text)?;
        let format = format.get("format").and_then(|format| format.as_str()).unwrap_or_default();
        ensure!(format == FORMAT, "it is of format {format:?}; this program reads {FORMAT:?}");
        serde_json::from_str(text).context("it is no manifest")
    }

    pub fn segment_names(&self) -> anyhow::Result<Vec<SegmentName>> {
        self.segments.iter().map(SegmentFile::name).collect()
    }
}

impl SegmentFile {
    pub(super) fn of(name: &SegmentName) -> Self {
        Self {
            first: name.first.0,
            last: name.last.0,
            address: name.address.to_string(),
            bytes: name.bytes,
            hash: name.hash.to_string(),
        }
    }

    fn name(&self) -> anyhow::Result<SegmentName> {
        let digest = |text: &str| Digest::parse_hex(text).with_context(|| format!("{text:?} is no hash"));
        Ok(SegmentName {
            first: AuditIndex(self.first),
            last: AuditIndex(self.last),
            address: digest(&self.address)?,
            bytes: self.bytes,
            hash: digest(&self.hash)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT.to_owned(),
            cluster_id: "ab".repeat(32),
            cluster_name: "one".to_owned(),
            epoch: 2,
            log_index: 77,
            audit_index: 9,
            audit_hash: "cd".repeat(32),
            node: 3,
            version: "0.1.0".to_owned(),
            created_at_ms: 5,
            image: ImageFile { bytes: 10, sha3: "ef".repeat(32) },
            segments: vec![SegmentFile {
                first: 1,
                last: 4,
                address: "01".repeat(32),
                bytes: 99,
                hash: "02".repeat(32),
            }],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_in_no_other_way() {
        let manifest = manifest();
        assert_eq!(manifest.name(), "abababab-2-000000000077");
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        for at in 0..bytes.len() - 1 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Manifest::decode(&bad).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let later = Manifest { format: "only1mcp-backup-3".to_owned(), ..manifest };
        let refused = Manifest::decode(&later.encode().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("only1mcp-backup-3"), "{refused}");
    }
}

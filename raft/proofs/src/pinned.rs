//! What a verifier trusts from the start: a cluster's signers at one place of its chain, kept in a file.

use only1mcp_domain::audit::Signers;
use only1mcp_domain::ids::{Digest, NodeId, PublicKey};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Origin;
use crate::fault::{Fault, malformed};

pub const KEYS_FORMAT: &str = "only1mcp-keys-1";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignerKey {
    pub node: u64,
    /// `None`: a voter that cannot sign yet.
    pub key: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct File {
    format: String,
    cluster_id: String,
    epoch: u64,
    index: u64,
    signers: Vec<SignerKey>,
}

/// Signers as they were after the event `index`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pinned {
    pub origin: Origin,
    pub index: u64,
    pub signers: Signers,
}

impl Pinned {
    /// Errors: `MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let file: File = serde_json::from_str(text).map_err(|error| malformed(format!("keys: {error}")))?;
        if file.format != KEYS_FORMAT {
            return Err(malformed(format!("keys: the format is {:?}, not {KEYS_FORMAT}", file.format)));
        }
        let cluster = Digest::parse_hex(&file.cluster_id).ok_or_else(|| malformed("keys: cluster_id"))?;
        let mut signers = Signers::default();
        for signer in &file.signers {
            let key = signer.key.as_deref().map(|key| {
                PublicKey::parse_hex(key).ok_or_else(|| malformed(format!("keys: node {}", signer.node)))
            });
            if signers.0.insert(NodeId(signer.node), key.transpose()?).is_some() {
                return Err(malformed(format!("keys: node {} stands there twice", signer.node)));
            }
        }
        if signers.0.is_empty() {
            return Err(malformed("keys: there are no signers"));
        }
        Ok(Self { origin: Origin { cluster, epoch: file.epoch }, index: file.index, signers })
    }

    /// The file.
    pub fn text(&self) -> String {
        let signers = self.signers.0.iter();
        let file = File {
            format: KEYS_FORMAT.to_owned(),
            cluster_id: self.origin.cluster.to_string(),
            epoch: self.origin.epoch,
            index: self.index,
            signers: signers
                .map(|(node, key)| SignerKey { node: node.0, key: key.map(|key| key.to_string()) })
                .collect(),
        };
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }
}

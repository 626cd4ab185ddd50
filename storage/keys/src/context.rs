//! What a data key is for: bound to its wrapped form, so that one key cannot be passed off as another.

use std::collections::BTreeMap;

use crate::provider::Purpose;

/// Whose key, and which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyContext {
    /// The cluster's name as the configuration has it; may be empty.
    pub cluster: String,
    /// The node's name, as in its certificate.
    pub node: String,
    /// The ring: one data folder.
    pub ring: [u8; 16],
    /// Within the ring.
    pub id: u32,
    pub purpose: Purpose,
}

impl KeyContext {
    /// As a KMS takes it, and shows it in its log.
    pub fn pairs(&self) -> BTreeMap<&'static str, String> {
        let ring = self.ring.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut pairs = BTreeMap::from([
            ("only1mcp:node", self.node.clone()),
            ("only1mcp:ring", ring),
            ("only1mcp:key", self.id.to_string()),
            ("only1mcp:purpose", self.purpose.name().to_owned()),
        ]);
        if !self.cluster.is_empty() {
            pairs.insert("only1mcp:cluster", self.cluster.clone());
        }
        pairs
    }

    /// One byte string for each context, as associated data.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in self.pairs() {
            for text in [name, &value] {
                out.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }
}

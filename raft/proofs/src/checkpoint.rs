//! Checkpoints: what nodes sign of the chain. Source: C2SP tlog-checkpoint.
//!
//! Four lines: origin, size of the tree, its root in base64, and `chain` with the chain's hash at that size.

use only1mcp_domain::audit::ChainHead;
use only1mcp_domain::audit::merkle::TreeHead;
use only1mcp_domain::ids::{AuditIndex, Digest};

use crate::fault::{Fault, malformed};
use crate::text::{base64, decimal, unbase64};

/// Which chain: a cluster in one of its epochs. `only1mcp/CLUSTER/EPOCH`; also the name nodes sign under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    pub cluster: Digest,
    pub epoch: u64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "only1mcp/{}/{}", self.cluster, self.epoch)
    }
}

impl std::str::FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no origin only1mcp/CLUSTER/EPOCH");
        let (cluster, epoch) =
            text.strip_prefix("only1mcp/").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let cluster = Digest::parse_hex(cluster).ok_or_else(wrong)?;
        let epoch = decimal(epoch).filter(|epoch| *epoch > 0).ok_or_else(wrong)?;
        Ok(Self { cluster, epoch })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub origin: Origin,
    pub tree: TreeHead,
    /// The chain's hash at the event whose index is the tree's size.
    pub chain: Digest,
}

impl Checkpoint {
    pub fn head(&self) -> ChainHead {
        ChainHead { index: AuditIndex(self.tree.size), hash: self.chain }
    }

    /// What is signed.
    pub fn text(&self) -> String {
        let Self { origin, tree, chain } = self;
        format!("{origin}\n{}\n{}\nchain {chain}\n", tree.size, base64(&tree.root.0))
    }

    /// Errors: `MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, chain, ""] = lines.as_slice() else {
            return Err(malformed("the checkpoint has not four lines"));
        };
        let origin = origin.parse().map_err(malformed)?;
        let size = decimal(size).ok_or_else(|| malformed("the checkpoint's size is no number"))?;
        let root = unbase64(root).and_then(|root| root.try_into().ok()).map(Digest);
        let root = root.ok_or_else(|| malformed("the checkpoint's root is not 32 bytes of base64"))?;
        let chain = chain.strip_prefix("chain ").and_then(Digest::parse_hex);
        let chain = chain.ok_or_else(|| malformed("the checkpoint has no chain hash"))?;
        Ok(Self { origin, tree: TreeHead { size, root }, chain })
    }
}

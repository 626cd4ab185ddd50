//! Which node is which: names and addresses, from the replicated state, from Raft's membership in this node's own log,
//! from the members a joiner was told of, and from what registered members vouch for; in this order.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use openraft::async_runtime::WatchReceiver as _;

use super::connector::PeerTarget;
use crate::options::Seed;
use crate::published::Published;
use crate::types::{Member, Metrics};

/// What is known of a node id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A member, or about to be one, of this name.
    Known {
        name: String,
        peer_address: String,
    },
    /// Gone for good.
    Removed,
    Unknown,
}

pub struct Directory {
    published: Arc<Published>,
    /// Raft's view, once there is one: it knows members whose registration is in the log and not applied yet.
    metrics: OnceLock<Metrics>,
    /// Told by the join answer or vouched for by a member; of use only until the state itself knows the node.
    told: RwLock<BTreeMap<NodeId, Seed>>,
}

impl Directory {
    pub fn new(published: Arc<Published>, seeds: Vec<Seed>) -> Self {
        let told = seeds.into_iter().map(|seed| (seed.node, seed)).collect();
        Self { published, metrics: OnceLock::new(), told: RwLock::new(told) }
    }

    pub fn watch(&self, metrics: Metrics) {
        let _ = self.metrics.set(metrics);
    }

    fn in_membership(&self, node: NodeId) -> Option<Member> {
        let membership = Arc::clone(&self.metrics.get()?.borrow_watched().membership_config);
        membership.membership().get_node(&node.0).cloned()
    }

    pub fn standing(&self, node: NodeId) -> Standing {
        if let Some(record) = self.published.state().nodes.get(&node) {
            let record = &record.value;
            return match record.role {
                NodeRole::Removed => Standing::Removed,
                NodeRole::Learner | NodeRole::Voter => {
                    Standing::Known { name: record.name.clone(), peer_address: record.peer_address.clone() }
                }
            };
        }
        if let Some(Member { name, peer_address }) = self.in_membership(node) {
            return Standing::Known { name, peer_address };
        }
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        match told.get(&node) {
            Some(seed) => {
                Standing::Known { name: seed.name.clone(), peer_address: seed.peer_address.clone() }
            }
            None => Standing::Unknown,
        }
    }

    pub fn vouched(&self, seed: Seed) {
        self.told.write().unwrap_or_else(PoisonError::into_inner).insert(seed.node, seed);
    }

    /// Where to connect for `node`; `fallback` is what Raft's membership says.
    pub fn target(&self, node: NodeId, fallback: Option<&Member>) -> Option<PeerTarget> {
        match self.standing(node) {
            Standing::Known { name, peer_address } => {
                Some(PeerTarget { node: Some(node), name, address: peer_address })
            }
            Standing::Removed | Standing::Unknown => fallback.map(|member| PeerTarget {
                node: Some(node),
                name: member.name.clone(),
                address: member.peer_address.clone(),
            }),
        }
    }

    /// Everybody there is to ask, but `except`.
    pub fn members(&self, except: NodeId) -> Vec<PeerTarget> {
        let state = self.published.state();
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<NodeId> = state.nodes.keys().chain(told.keys()).copied().collect();
        drop(told);
        if let Some(metrics) = self.metrics.get() {
            let membership = Arc::clone(&metrics.borrow_watched().membership_config);
            ids.extend(membership.membership().nodes().map(|(id, _)| NodeId(*id)));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .filter(|id| *id != except && self.standing(*id) != Standing::Removed)
            .filter_map(|id| self.target(id, None))
            .collect()
    }
}

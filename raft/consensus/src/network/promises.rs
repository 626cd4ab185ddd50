//! For how long each peer promised not to vote for another, as its latest acknowledgement told. While the cluster's
//! times are changed, voters run with different ones; a lease is worth the shortest promise it may rest on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub struct Promises {
    peers: Mutex<BTreeMap<u64, u64>>,
}

impl Promises {
    /// To be told before Raft counts the acknowledgement.
    pub fn told(&self, peer: u64, promise_ms: u64) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, promise_ms);
    }

    /// The shortest promise among `voters` and `own_ms`. One who never acknowledged anything promised nothing, and no
    /// lease rests on it.
    pub fn shortest_ms(&self, own_ms: u64, voters: impl Iterator<Item = u64>) -> u64 {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        voters.filter_map(|voter| peers.get(&voter).copied()).fold(own_ms, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_promise_of_the_voters_counts() {
        let promises = Promises::default();
        assert_eq!(promises.shortest_ms(1_000, [1, 2, 3].into_iter()), 1_000);
        promises.told(2, 400);
        promises.told(3, 3_000);
        promises.told(9, 10);
        assert_eq!(promises.shortest_ms(1_000, [1, 2, 3].into_iter()), 400);
        promises.told(2, 3_000);
        assert_eq!(promises.shortest_ms(3_000, [1, 2, 3].into_iter()), 3_000);
        promises.told(2, 0);
        assert_eq!(promises.shortest_ms(3_000, [1, 2, 3].into_iter()), 0, "one who promises nothing");
    }
}

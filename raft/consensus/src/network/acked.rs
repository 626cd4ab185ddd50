//! What each peer has acknowledged to this node as leader. openraft takes a peer that lacks what it acknowledged for a
//! broken promise and ends the leader's process; but the damage is the peer's, so the leader must not pay for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::types::RaftVote;

/// Of one peer, in the leadership that `vote` names.
struct Acked {
    vote: RaftVote,
    index: Option<u64>,
    /// It was said once that the peer lacks some of it.
    told: bool,
}

#[derive(Default)]
pub struct AckedLogs {
    peers: Mutex<BTreeMap<u64, Acked>>,
}

impl AckedLogs {
    fn with<T>(&self, peer: u64, vote: &RaftVote, run: impl FnOnce(&mut Acked) -> T) -> T {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Acked { vote: *vote, index: None, told: false };
        let acked = peers.entry(peer).or_insert_with(fresh);
        if acked.vote != *vote {
            // A new leadership begins by asking what the peer has.
            *acked = fresh();
        }
        run(acked)
    }

    pub fn acked(&self, peer: u64, vote: &RaftVote, index: Option<u64>) {
        self.with(peer, vote, |acked| acked.index = acked.index.max(index));
    }

    pub fn holds(&self, peer: u64, vote: &RaftVote, index: u64) -> bool {
        self.with(peer, vote, |acked| acked.index >= Some(index))
    }

    /// The peer is to be asked anew.
    pub fn forget(&self, peer: u64) {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    /// True the first time.
    pub fn tell(&self, peer: u64, vote: &RaftVote) -> bool {
        self.with(peer, vote, |acked| !std::mem::replace(&mut acked.told, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_furthest_of_one_leadership() {
        let acked = AckedLogs::default();
        let (first, second) = (RaftVote::new_committed(1, 1), RaftVote::new_committed(2, 1));
        assert!(!acked.holds(7, &first, 0), "nothing is known");
        acked.acked(7, &first, Some(5));
        acked.acked(7, &first, Some(3));
        acked.acked(7, &first, None);
        assert!(acked.holds(7, &first, 5) && !acked.holds(7, &first, 6));
        assert!(!acked.holds(8, &first, 5), "another peer");
        assert!(acked.tell(7, &first) && !acked.tell(7, &first));
        assert!(!acked.holds(7, &second, 5), "another leadership");
        assert!(acked.tell(7, &second));
        acked.acked(7, &second, Some(6));
        acked.forget(7);
        assert!(!acked.holds(7, &second, 1));
    }
}

//! How what was lent ends without a call: returned by its node, given up at its restart, forfeited where the node is
//! lost.

use crate::ids::NodeId;
use crate::ledger::{AccountKey, Lent};
use crate::state::State;

/// Why an amount was posted that no call accounts for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ForfeitReason {
    /// The node came back without the whole memory of what it had done.
    UnattributedRestart,
    /// The node was removed from the cluster.
    NodeRemoved,
    /// An operator said so.
    ForceClosed,
}

impl ForfeitReason {
    pub const ALL: [Self; 3] = [Self::UnattributedRestart, Self::NodeRemoved, Self::ForceClosed];

    pub fn text(self) -> &'static str {
        match self {
            Self::UnattributedRestart => "unattributed_restart",
            Self::NodeRemoved => "node_removed",
            Self::ForceClosed => "force_closed",
        }
    }
}

/// An amount posted in full because nobody can say what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forfeit {
    pub account: AccountKey,
    pub node: NodeId,
    pub amount: i128,
    pub reason: ForfeitReason,
}

impl State {
    /// Takes back what the node has in hand and does not need; never more than is outstanding. True where it changed.
    pub(crate) fn take_returned(&mut self, node: NodeId, key: &AccountKey, amount: i128) -> bool {
        let Some(account) = self.ledger.accounts.get_mut(key) else { return false };
        let lent = account.lent_to(node);
        let back = amount.clamp(0, lent.outstanding);
        account.set_lent(node, Lent { outstanding: lent.outstanding - back, ..lent });
        back > 0
    }

    /// Takes back what was posted, never more than there is; returns how much. What had been an overrun stays told as one.
    pub(crate) fn take_back_posted(&mut self, key: &AccountKey, amount: i128) -> i128 {
        let Some(account) = self.ledger.accounts.get_mut(key) else { return 0 };
        let back = amount.clamp(0, account.posted.max(0));
        account.posted -= back;
        back
    }

    /// The node's earlier life has told all it did: what was lent to it and not spent goes back to the accounts.
    pub(crate) fn take_all_returned(&mut self, node: NodeId) -> Vec<AccountKey> {
        let keys = self.lent_to(node);
        for key in &keys {
            if let Some(account) = self.ledger.accounts.get_mut(key) {
                // What was posted in its place stays posted, and covers nothing that a new life spends.
                account.set_lent(node, Lent::default());
            }
        }
        keys
    }

    /// Posts in full what one account has lent to the node. INVARIANT: P1
    pub(crate) fn forfeit(
        &mut self,
        node: NodeId,
        key: &AccountKey,
        reason: ForfeitReason,
    ) -> Option<Forfeit> {
        let account = self.ledger.accounts.get_mut(key)?;
        let lent = account.lent_to(node);
        let amount = lent.outstanding;
        // A removed node is heard no more, and a restarted one has told what it could: only who is thought lost may
        // still bring in charges that are covered now.
        let forfeited = match reason {
            ForfeitReason::ForceClosed => lent.forfeited.saturating_add(amount),
            ForfeitReason::UnattributedRestart | ForfeitReason::NodeRemoved => 0,
        };
        account.set_lent(node, Lent { outstanding: 0, forfeited });
        account.posted = account.posted.saturating_add(amount);
        (amount > 0).then(|| Forfeit { account: key.clone(), node, amount, reason })
    }

    /// Posts in full all that is lent to the node.
    pub(crate) fn forfeit_all(&mut self, node: NodeId, reason: ForfeitReason) -> Vec<Forfeit> {
        self.lent_to(node).iter().filter_map(|key| self.forfeit(node, key, reason)).collect()
    }

    /// Accounts of which the node has something.
    pub(crate) fn lent_to(&self, node: NodeId) -> Vec<AccountKey> {
        let accounts = self.ledger.accounts.iter();
        accounts
            .filter(|(_, account)| account.lent_to(node) != Lent::default())
            .map(|(key, _)| key.clone())
            .collect()
    }
}

//! What is consumed per call, and who may still consume how much of it. INVARIANT: P1
//!
//! An *account* counts one limit's use in one period. A node spends from an account only what the log has *lent* it: a
//! slice, taken from what nobody has spent or borrowed. So a call is held on this node, without asking anybody, and
//! the sum over nodes cannot pass the limit:
//!
//! `posted + sum of outstanding <= the limit when something was last lent + overrun`   (the escrow invariant)
//!
//! `outstanding` is what was lent to a node and neither posted nor returned. All of it moves in `apply` only:
//!
//! - `lend.rs`: a node asks for slices; near exhaustion it asks for one call, all accounts or none, and waits its turn;
//! - `post.rs`: a call ends and its charges turn what was lent into what was posted;
//! - `settle.rs`: what was lent ends otherwise: returned, given up by a restarted node, forfeited by one that is lost;
//! - `open.rs`: which accounts there are, how many there may be, and when one is forgotten;
//! - `limit.rs`: which limits the records of the state amount to, and what each allows now;
//! - `uses.rs`: which of them one call, or the start of a session, touches.
//!
//! A *standing* account ([`LimitId::is_standing`]) counts what is in use: of it nothing is posted, and what is lent to
//! a node serves one call (or session) after the other there until somebody else waits for it.
//!
//! Nothing lent expires by time. A period that ends is simply not asked for any more; its account is forgotten when no
//! node can have an open call in it ([`Ledger::settled_through`]) and its history is old enough.

mod account;
mod key;
mod lend;
mod limit;
mod open;
mod post;
mod settle;
mod uses;

pub use account::{Account, Lent};
pub use key::{AccountKey, LimitId, LimitIdError, Period, subject};
pub use lend::{Ask, AskPart, Waiter};
pub use limit::{Limit, amount_of};
pub use post::{Charge, Level, Posted};
pub use settle::{Forfeit, ForfeitReason};
pub use uses::{CallUse, LimitUse, session_use, uses};

use imbl::{OrdMap, OrdSet};

use crate::ids::{NodeId, TenantId};
use crate::time::TimestampMs;

/// Part of [`crate::State`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ledger {
    pub accounts: OrdMap<AccountKey, Account>,
    /// Calls that wait for their accounts, first come first served: by the log index of their asking, and the place
    /// within its entry.
    pub waiters: OrdMap<(u64, u32), Waiter>,
    /// Per node: it has no open call admitted before this, and admits none.
    pub settled_through: OrdMap<NodeId, TimestampMs>,
    /// How many accounts each tenant has; derived.
    pub(crate) in_tenant: OrdMap<TenantId, usize>,
    /// Accounts by when they may be forgotten; derived.
    pub(crate) by_age: OrdSet<(TimestampMs, AccountKey)>,
}

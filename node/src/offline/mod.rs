//! What is done to the folder of a node that does not run: a restore from a backup, a recovery without the majority.
//!
//! Both make the node a cluster of one, start consensus alone with itself, and propose the entry that begins a new
//! epoch; the node is served as any other afterwards. `stores.rs` opens the folder, `alone.rs` is that start.

mod alone;
mod recover;
mod restore;
mod stores;

pub use recover::{RecoverArgs, recover};
pub use restore::{RestoreArgs, restore};
pub use stores::refuse_unfinished;

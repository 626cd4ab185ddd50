//! Personal data on this node: sealed before anything of it is written, opened for those who may read it, and beyond
//! reading once a person is erased and the generation that wrapped the person's key is destroyed.
//!
//! `keys.rs` holds the keys and seals, `store.rs` keeps those of generations on this node's disk, `turn.rs` brings
//! generations in and out, `peers.rs` hands them to members that lack them, `port.rs` opens what is asked for.

mod keys;
mod peers;
mod port;
mod store;
mod turn;

pub use keys::PersonalKeys;
pub use peers::GenerationsHere;
pub use store::{GenerationStore, keep_plain_generation, plain_generations};
pub use turn::{first_generation, run};

//! A world: three nodes, clients and faults on one simulated network, driven step by step until it ends.

pub mod judge;
mod options;
mod run;

pub use options::{Mutant, Options};
pub use run::World;

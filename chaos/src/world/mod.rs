//! A world: three or five nodes, clients and faults on one simulated network, driven step by step until it ends.

pub mod judge;
mod options;
mod run;
mod shape;

pub use options::{Mutant, Options};
pub use run::World;
pub use shape::Shape;

//! Simulated worlds: three or five nodes with the real domain, consensus and enforcement on a simulated network, clock and disk.
//!
//! One seed decides everything: latencies, faults, workload, what a crash leaves on a disk, randomness and clocks of the
//! nodes. The same seed prints the same bytes. Nothing here is anyone's dependency. Start at `world/` (how a world runs),
//! `invariants/` (what must hold, one file each, with its source), `oracle.rs` (what clients were promised) and
//! `bin/fuzz.rs` (how to run seeds). A process runs one world only: see `seeded.rs`.

mod client;
mod faults;
mod history;
pub mod invariants;
mod linear;
mod node;
mod operator;
mod oracle;
mod registrar;
mod report;
mod rng;
mod scenarios;
mod scene;
mod seeded;
mod stage;
mod trace;
mod world;

pub use report::Report;
pub use scenarios::Scenario;
pub use seeded::run;
pub use world::{Mutant, Options};

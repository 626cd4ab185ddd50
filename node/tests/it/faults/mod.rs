//! Three nodes in network namespaces of their own, and faults that only a kernel can make: packets that vanish, one way
//! or both, processes that stand still, leaders that die again and again. Needs root: `cargo xtask test --faults`.
//!
//! `net.rs` makes and unmakes the network, `world.rs` the cluster in it, `load.rs` its callers; `oracle.rs` holds what
//! the callers were told against every node's chain. Every other file is one kind of fault.

mod budgets;
mod failover;
mod load;
mod loss;
mod net;
mod oracle;
mod partition;
mod pause;
mod world;

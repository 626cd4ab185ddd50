//! Three nodes in network namespaces of their own, and faults that only a kernel can make: packets that vanish, one way
//! or both, processes that stand still, leaders that die again and again, disks that are full, break, or forget what
//! was not synced. Needs root: `cargo xtask test --faults`; what is named `faults_soak_` takes longer, and runs with `cargo xtask
//! soak --faults`.
//!
//! `net.rs` makes and unmakes the network, `proxy.rs` what stands between its nodes, `disks.rs` their disks, `world.rs`
//! the cluster in it, `load.rs` its callers and `writer.rs` its operator; `oracle.rs` holds what they were told against
//! every node's chain, state and ledger. Every other file is one kind of fault.

mod budgets;
mod disks;
mod errors;
mod failover;
mod flips;
mod full;
mod links;
mod load;
mod loss;
mod net;
mod oracle;
mod partition;
mod pause;
mod pauses;
mod power;
mod proxy;
mod shapes;
mod timeouts;
mod transfers;
mod world;
mod writer;

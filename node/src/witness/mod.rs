//! `only1mcp witness`: remembers the last checkpoint of each chain it is told of, and nothing else. It shares no disk,
//! no key and no state with the cluster: what it has signed, the cluster cannot take back.

mod command;
mod serve;
mod store;

pub use command::{WitnessArgs, run};

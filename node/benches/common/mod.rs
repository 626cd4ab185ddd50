//! What the benchmarks share: their flags, latencies, what a process cost, and the table at the end.

mod args;
mod latency;
mod process;
mod table;

pub use args::Args;
pub use latency::Latencies;
pub use process::{Guard, cpu, memory_mib, pick_ports, program, temp_folder};
pub use table::Table;

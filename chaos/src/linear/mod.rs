//! Histories of registers, and whether they are linearizable: what clients asked and were told, with its times, and the
//! search for one order of it all that a single register would have answered in.

mod history;
mod search;

pub use history::{Act, At, Came, Histories, Level, Operation};
pub use search::{Verdict, search};

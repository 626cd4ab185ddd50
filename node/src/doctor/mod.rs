//! `only1mcp doctor`: looks through the data folder of a node that does not run, and says what is wrong with it.

mod command;
mod examine;
mod report;

pub use command::{DoctorArgs, run};
pub use examine::examine;
pub use report::{Finding, Part, Report, Verdict};

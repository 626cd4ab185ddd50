//! openraft's two stores over ours: the log, and the state machine with its rows.

mod beside;
mod durable;
mod log_store;
mod open;
pub mod rows;
mod state_machine;

pub use beside::{BESIDE, BesideRows};
pub use log_store::{LogStore, PurgeGuard};
pub use open::{OpenError, install_rows, open};
pub use rows::LoadError;
pub use state_machine::StateMachine;

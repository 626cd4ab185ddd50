//! A governed request: one that uses a tool, a prompt or a resource.

mod conclude;
mod run;
mod target;
mod usage;

pub(crate) use run::{Call, run};
pub(crate) use target::{Method, Target};

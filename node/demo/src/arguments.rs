//! What the demo's tools and prompt take, with a bound on everything that costs time or memory.

use rmcp::ErrorData;
use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;

/// The longest pause a caller may ask for, in milliseconds.
pub const PAUSE_MS_MAX: u64 = 60_000;
/// The most progress notifications of one call.
pub const STEPS_MAX: u32 = 1_000;
/// The largest text of `big`, in bytes: with JSON around it, below what a gateway takes from an upstream.
pub const BIG_BYTES_MAX: u32 = 8 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Echo {
    /// What to say back.
    pub text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Slow {
    /// How long to take, in milliseconds; at most 60,000.
    pub ms: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Progress {
    /// How many progress notifications to send; at most 1,000.
    pub steps: u32,
    /// The pause after each, in milliseconds; at most 60,000.
    #[serde(default = "default_step_ms")]
    pub step_ms: u64,
}

fn default_step_ms() -> u64 {
    50
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Fail {
    /// The reason to give.
    #[serde(default = "default_reason")]
    pub reason: String,
}

fn default_reason() -> String {
    "this tool always fails".to_owned()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Big {
    /// The size of the text, in bytes; at most 8,388,608.
    pub bytes: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Greet {
    /// Whom to greet.
    pub name: String,
}

/// Refuses a value past its bound.
pub fn at_most<T: PartialOrd + std::fmt::Display>(name: &str, value: T, max: T) -> Result<T, ErrorData> {
    if value > max {
        return Err(ErrorData::invalid_params(format!("{name} is {value}; at most {max} is allowed"), None));
    }
    Ok(value)
}

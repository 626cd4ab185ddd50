//! Money and exact decimals: whole numbers inside, decimal text at the edges, a float nowhere.
//!
//! `exact.rs` is a number as it was written, `pico_usd.rs` an amount, `wide.rs` what products are computed in,
//! `split.rs` sharing without loss.

mod exact;
mod pico_usd;
mod split;
mod wide;

pub use exact::{Exact, ExactError};
pub use pico_usd::{PICO_PLACES, PicoUsd, PicoUsdError};
pub use split::{SplitError, mul_div_ceil, split_largest_remainder};
pub(crate) use wide::Wide;

/// A result that its type cannot hold. Nothing wraps and nothing saturates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the amount is too large to be counted")]
pub struct Overflow;

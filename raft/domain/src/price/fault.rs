//! What can be wrong with a price, a rate, a discount or a metering: one field, one problem.

use crate::ids::PriceId;
use crate::money::ExactError;
use crate::price::{Currency, Meter};

/// A field and what is wrong with it, as `Rejection::Invalid` tells it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Fault {
    /// The path from the record, such as `lines[2].price`.
    pub field: String,
    pub problem: Problem,
}

impl Fault {
    pub fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self { field: field.into(), problem }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    #[error("is empty")]
    Empty,
    #[error("has {len} bytes; at most {max} are allowed")]
    TooLong { len: usize, max: usize },
    #[error("holds a control character")]
    Control,
    #[error("has {count} entries; at most {max} are allowed")]
    TooMany { count: usize, max: usize },
    #[error("is zero")]
    Zero,
    #[error("is zero; a meter that costs nothing is listed as free")]
    ZeroPrice,
    #[error("is more than {max}")]
    TooLarge { max: u64 },
    #[error(transparent)]
    Number(#[from] ExactError),
    #[error("is {meter}, which is priced twice from the same unit on, or priced and free")]
    Doubled { meter: Meter },
    #[error("is not above that of the tier before it")]
    TierOutOfOrder,
    #[error("is the first tier of {meter} and does not begin at 0")]
    TierGap { meter: Meter },
    #[error("is not that of the other tiers of {meter}")]
    UnitDiffers { meter: Meter },
    #[error("is {currency}, which has no exchange rate")]
    UnknownCurrency { currency: Currency },
    #[error("is USD, which everything else is counted in")]
    Usd,
    #[error("is that of price {other} too, for the same subject")]
    Overlap { other: PriceId },
    #[error("is that of another discount of the same kind too")]
    DiscountOverlap,
    #[error("is not a factor from 0 to 1")]
    NotAFactor,
    #[error("is no JSON pointer: it starts with / and writes ~ as ~0")]
    NotAPointer,
    #[error("names {meter} twice")]
    Twice { meter: Meter },
    #[error("cannot be counted: tokens and what is stored are read from an answer")]
    NotCounted,
    #[error("is no key of a tag: letters, digits and _ . - / only, at most {max} bytes")]
    NotATagKey { max: usize },
}

/// Between 1 and `max` bytes, no control characters.
pub(super) fn check_text(field: &str, text: &str, max: usize) -> Result<(), Fault> {
    let problem = match text {
        "" => Problem::Empty,
        text if text.len() > max => Problem::TooLong { len: text.len(), max },
        text if text.chars().any(char::is_control) => Problem::Control,
        _ => return Ok(()),
    };
    Err(Fault::new(field, problem))
}

pub(super) fn ensure(holds: bool, field: impl Fn() -> String, problem: Problem) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault { field: field(), problem }) }
}

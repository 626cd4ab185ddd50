//! An exact decimal number, read from the text it was written in: prices, exchange rates, factors.

use std::cmp::Ordering;
use std::fmt;

use super::Wide;
use crate::limits::{DECIMAL_BYTES_MAX, DECIMAL_DIGITS_MAX, DECIMAL_SCALE_MAX};

/// Why a text is not such a number.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExactError {
    #[error("is empty")]
    Empty,
    #[error("has {len} bytes; at most {DECIMAL_BYTES_MAX} are allowed")]
    TooLong { len: usize },
    #[error("is negative")]
    Negative,
    #[error("is not a decimal number such as 0.0000025 or 2.5e-6")]
    NotADecimal,
    #[error("has more than {DECIMAL_DIGITS_MAX} digits")]
    TooManyDigits,
    #[error("has more than {DECIMAL_SCALE_MAX} digits after the decimal point")]
    TooFine,
}

/// `digits / 10^scale`, never negative, in lowest terms: equal numbers are equal values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Exact {
    digits: u128,
    scale: u8,
}

impl Exact {
    pub const ZERO: Self = Self { digits: 0, scale: 0 };
    pub const ONE: Self = Self { digits: 1, scale: 0 };

    /// Reads digits, with or without a point and an exponent: a JSON number without a sign.
    /// Errors: `ExactError` for anything else, and past the bounds on digits.
    pub fn parse(text: &str) -> Result<Self, ExactError> {
        if text.is_empty() {
            return Err(ExactError::Empty);
        }
        if text.len() > DECIMAL_BYTES_MAX {
            return Err(ExactError::TooLong { len: text.len() });
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent).ok_or(ExactError::NotADecimal)?),
            None => (text, 0),
        };
        let magnitude = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = parts(magnitude).ok_or(ExactError::NotADecimal)?;
        if magnitude.len() < mantissa.len() {
            return Err(ExactError::Negative);
        }
        let all = format!("{whole}{fraction}");
        let counted = all.trim_start_matches('0');
        let short = counted.trim_end_matches('0');
        if short.is_empty() {
            return Ok(Self::ZERO);
        }
        // Lengths are bounded by the text's, the exponent by its three digits.
        let places = |len: usize| i32::try_from(len).map_err(|_| ExactError::TooManyDigits);
        let scale = places(fraction.len())? - exponent - places(counted.len() - short.len())?;
        let zeros = usize::try_from(-scale).unwrap_or(0);
        if short.len() + zeros > DECIMAL_DIGITS_MAX {
            return Err(ExactError::TooManyDigits);
        }
        let digits = format!("{short}{}", "0".repeat(zeros));
        let digits = digits.parse().map_err(|_| ExactError::TooManyDigits)?;
        let scale = u8::try_from(scale.max(0)).map_err(|_| ExactError::TooFine)?;
        if scale > DECIMAL_SCALE_MAX {
            return Err(ExactError::TooFine);
        }
        Ok(Self { digits, scale })
    }

    /// `digits / 10^scale`, as a decoder finds it.
    /// Errors: `ExactError` past the bounds on digits.
    pub fn from_parts(mut digits: u128, mut scale: u8) -> Result<Self, ExactError> {
        if scale > DECIMAL_SCALE_MAX {
            return Err(ExactError::TooFine);
        }
        while scale > 0 && digits.is_multiple_of(10) {
            digits /= 10;
            scale -= 1;
        }
        if digits >= ten_to(DECIMAL_SCALE_MAX) {
            return Err(ExactError::TooManyDigits);
        }
        Ok(Self { digits, scale })
    }

    pub fn digits(self) -> u128 {
        self.digits
    }

    pub fn scale(self) -> u8 {
        self.scale
    }

    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// `self x 10^scale`; exact where `scale` is at least the number's own.
    pub(crate) fn scaled_to(self, scale: u8) -> Result<Wide, super::Overflow> {
        Wide::new(self.digits).times_ten_to(scale.saturating_sub(self.scale).into())
    }
}

impl From<u64> for Exact {
    fn from(whole: u64) -> Self {
        Self { digits: whole.into(), scale: 0 }
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |of: &Self| {
            let one = ten_to(of.scale);
            (of.digits / one, (of.digits % one) * ten_to(DECIMAL_SCALE_MAX - of.scale))
        };
        parts(self).cmp(&parts(other))
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Plain decimal text, never with an exponent; reads back as the same number.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = ten_to(self.scale);
        write!(f, "{}", self.digits / one)?;
        if self.scale == 0 {
            return Ok(());
        }
        write!(f, ".{:0width$}", self.digits % one, width = self.scale.into())
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `scale` is at most `DECIMAL_SCALE_MAX`, which fits.
fn ten_to(scale: u8) -> u128 {
    10_u128.pow(scale.into())
}

/// The digits before and after the point; `None` unless it is written as JSON does.
pub(super) fn parts(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let led = whole.len() > 1 && whole.starts_with('0');
    (!whole.is_empty() && !led && digits(whole) && digits(fraction)).then_some((whole, fraction))
}

fn exponent_of(text: &str) -> Option<i32> {
    const DIGITS_MAX: usize = 3;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap()
    }

    #[test]
    fn one_number_has_many_texts() {
        for (text, digits, scale) in [
            ("0.0000025", 25, 7),
            ("2.5e-06", 25, 7),
            ("2.50E-6", 25, 7),
            ("25e-7", 25, 7),
            ("0", 0, 0),
            ("0.000", 0, 0),
            ("0e999", 0, 0),
            ("1e3", 1_000, 0),
            ("1.5e+1", 15, 0),
            ("100.0", 100, 0),
            ("0.1e1", 1, 0),
        ] {
            assert_eq!(exact(text), Exact { digits, scale }, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "NaN", "nan", "inf", "Infinity", "+1", " 1", "1 ", "1,5", ".5", "5.", "00", "01", "1e", "1e+",
            "e5", "1e1234", "1e1e1", "1..2", "1.2.3", "0x10", "1_000", "\u{661}", "--1", "-", "1e0x", "$1",
        ] {
            assert_eq!(Exact::parse(text), Err(ExactError::NotADecimal), "{text}");
        }
        for text in ["-1", "-0.5", "-1e-3", "-0"] {
            assert_eq!(Exact::parse(text), Err(ExactError::Negative), "{text}");
        }
        assert_eq!(Exact::parse(""), Err(ExactError::Empty));
    }

    #[test]
    fn decimal_digits_max() {
        let max = "9".repeat(DECIMAL_DIGITS_MAX);
        assert_eq!(exact(&max).to_string(), max);
        assert_eq!(Exact::parse(&format!("{max}9")), Err(ExactError::TooManyDigits));
        assert_eq!(exact("1e29").to_string().len(), DECIMAL_DIGITS_MAX);
        assert_eq!(Exact::parse("1e30"), Err(ExactError::TooManyDigits));
        assert_eq!(Exact::parse("1e999"), Err(ExactError::TooManyDigits));
        assert!(Exact::from_parts(10_u128.pow(30) - 1, 0).is_ok());
        assert_eq!(Exact::from_parts(10_u128.pow(30), 0), Err(ExactError::TooManyDigits));
        assert_eq!(Exact::from_parts(u128::MAX, 30), Err(ExactError::TooManyDigits));
    }

    #[test]
    fn decimal_scale_max() {
        assert_eq!(exact("1e-30").scale(), DECIMAL_SCALE_MAX);
        assert_eq!(Exact::parse("1e-31"), Err(ExactError::TooFine));
        assert_eq!(Exact::parse("1e-999"), Err(ExactError::TooFine));
        assert_eq!(Exact::from_parts(10, 30).map(Exact::scale), Ok(29));
        assert_eq!(Exact::from_parts(10, 31), Err(ExactError::TooFine));
    }

    #[test]
    fn decimal_bytes_max() {
        let zeros = "0".repeat(DECIMAL_BYTES_MAX - 2);
        assert_eq!(Exact::parse(&format!("1.{zeros}")), Ok(Exact::ONE));
        let long = ExactError::TooLong { len: DECIMAL_BYTES_MAX + 1 };
        assert_eq!(Exact::parse(&format!("1.{zeros}0")), Err(long));
    }

    proptest! {
        #[test]
        fn every_number_is_read_back_from_its_text(digits in 0..10_u128.pow(30), scale in 0..=30_u8) {
            let number = Exact::from_parts(digits, scale).unwrap();
            prop_assert_eq!(Exact::parse(&number.to_string()), Ok(number));
            prop_assert_eq!(Exact::parse(&format!("{digits}e-{scale}")), Ok(number));
            prop_assert_eq!(Exact::from_parts(number.digits(), number.scale()), Ok(number));
        }

        #[test]
        fn any_text_is_answered(text in "[-+0-9.eE]{0,12}|.{0,100}") {
            if let Ok(number) = Exact::parse(&text) {
                prop_assert_eq!(Exact::parse(&number.to_string()), Ok(number));
            }
        }

        #[test]
        fn the_order_is_that_of_the_numbers(a in 0..10_u128.pow(30), b in 0..10_u128.pow(30), s in 0..=30_u8, t in 0..=30_u8) {
            let (x, y) = (Exact::from_parts(a, s).unwrap(), Exact::from_parts(b, t).unwrap());
            let (left, right) = (x.scaled_to(30).unwrap(), y.scaled_to(30).unwrap());
            prop_assert_eq!(x.cmp(&y), left.cmp(&right));
        }
    }
}

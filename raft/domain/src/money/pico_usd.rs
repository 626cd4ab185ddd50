//! An amount of money: a whole number of pico-USD.

use std::fmt;

use super::Overflow;
use super::exact::parts;

/// Digits after the decimal point of a USD amount.
pub const PICO_PLACES: u8 = 12;
const PICO: u128 = 1_000_000_000_000;

/// Why a text is not an amount.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PicoUsdError {
    #[error("is not a decimal amount such as 12.50")]
    NotAnAmount,
    #[error("is finer than 0.000000000001 USD")]
    TooFine,
    #[error("is too large to be counted")]
    TooLarge,
}

/// Units: 10^-12 USD. Shown and read as exact decimal USD.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoUsd(pub i128);

impl PicoUsd {
    pub const ZERO: Self = Self(0);

    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
    }

    /// Reads what `Display` writes: digits, at most twelve of them after a point, a leading minus.
    pub fn parse(text: &str) -> Result<Self, PicoUsdError> {
        let magnitude = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = parts(magnitude).ok_or(PicoUsdError::NotAnAmount)?;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > PICO_PLACES.into() {
            return Err(PicoUsdError::TooFine);
        }
        // Both are digits only, so that nothing but their size can fail here.
        let number = |digits: &str| digits.parse::<u128>().map_err(|_| PicoUsdError::TooLarge);
        let pico = number(&format!("{fraction:0<width$}", width = PICO_PLACES.into()))?;
        let pico = number(whole)?.checked_mul(PICO).and_then(|whole| whole.checked_add(pico));
        let pico = pico.ok_or(PicoUsdError::TooLarge)?;
        let signed = if magnitude.len() < text.len() {
            0_i128.checked_sub_unsigned(pico)
        } else {
            0_i128.checked_add_unsigned(pico)
        };
        signed.map(Self).ok_or(PicoUsdError::TooLarge)
    }

    /// For presentation only: rounded half to even, with exactly `places` digits after the point, at most twelve.
    pub fn rounded(self, places: u8) -> String {
        let places = places.min(PICO_PLACES);
        let one = 10_u128.pow(places.into());
        let step = PICO / one;
        let magnitude = self.0.unsigned_abs();
        let (below, rest) = (magnitude / step, magnitude % step);
        let up = rest * 2 > step || (rest * 2 == step && below % 2 == 1);
        let rounded = below + u128::from(up);
        let sign = if self.0 < 0 && rounded > 0 { "-" } else { "" };
        match places {
            0 => format!("{sign}{rounded}"),
            _ => format!("{sign}{}.{:0width$}", rounded / one, rounded % one, width = places.into()),
        }
    }
}

impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.rounded(PICO_PLACES);
        let short = all.trim_end_matches('0');
        f.write_str(short.strip_suffix('.').unwrap_or(short))
    }
}

impl fmt::Debug for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} USD")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_shown_exactly() {
        for (pico, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (-1, "-0.000000000001"),
            (1_500_000_000_000, "1.5"),
            (-10_000_000_000_000, "-10"),
            (i128::MAX, "170141183460469231731687303.715884105727"),
            (i128::MIN, "-170141183460469231731687303.715884105728"),
        ] {
            assert_eq!(PicoUsd(pico).to_string(), text);
            assert_eq!(PicoUsd::parse(text), Ok(PicoUsd(pico)));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-", "--1", "+1", "1.", ".1", "1e3", "NaN", " 1", "1 USD", "01", "1,5"] {
            assert_eq!(PicoUsd::parse(text), Err(PicoUsdError::NotAnAmount), "{text}");
        }
        assert_eq!(PicoUsd::parse("0.0000000000001"), Err(PicoUsdError::TooFine));
        assert_eq!(PicoUsd::parse("0.0000000000010"), Ok(PicoUsd(1)));
        for text in ["170141183460469231731687303.715884105728", &"9".repeat(80)] {
            assert_eq!(PicoUsd::parse(text), Err(PicoUsdError::TooLarge), "{text}");
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (text, places, expected) in [
            ("0.125", 2, "0.12"),
            ("0.135", 2, "0.14"),
            ("0.125000000001", 2, "0.13"),
            ("-0.125", 2, "-0.12"),
            ("-0.135", 2, "-0.14"),
            ("-0.004", 2, "0.00"),
            ("0.5", 0, "0"),
            ("1.5", 0, "2"),
            ("9.999", 2, "10.00"),
            ("7", 2, "7.00"),
            ("0.000000000001", 99, "0.000000000001"),
        ] {
            assert_eq!(PicoUsd::parse(text).unwrap().rounded(places), expected, "{text} to {places}");
        }
    }

    #[test]
    fn sums_are_checked() {
        assert_eq!(PicoUsd(i128::MAX).checked_add(PicoUsd(1)), Err(Overflow));
        assert_eq!(PicoUsd(i128::MIN).checked_sub(PicoUsd(1)), Err(Overflow));
        assert_eq!(PicoUsd(3).checked_sub(PicoUsd(5)), Ok(PicoUsd(-2)));
    }

    proptest! {
        #[test]
        fn every_amount_is_read_back_from_its_text(pico: i128, places: u8) {
            prop_assert_eq!(PicoUsd::parse(&PicoUsd(pico).to_string()), Ok(PicoUsd(pico)));
            let shown = PicoUsd(pico).rounded(places);
            let half = 10_u128.pow((12 - places.min(12)).into()) / 2;
            if let Ok(near) = PicoUsd::parse(&shown) {
                prop_assert!(near.0.abs_diff(pico) <= half);
            }
        }
    }
}

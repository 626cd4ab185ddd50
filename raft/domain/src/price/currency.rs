//! Currencies and what they are worth.

use crate::limits::EXCHANGE_RATE_MAX;
use crate::money::Exact;
use crate::price::{Fault, Problem};
use crate::time::TimestampMs;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not three capital letters, such as EUR")]
pub struct CurrencyError;

/// Three capital letters. One other than USD counts for something only with an [`ExchangeRate`].
/// Source: ISO 4217, its form; which ones there are is what rates are given for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Self = Self(*b"USD");

    pub fn parse(text: &str) -> Result<Self, CurrencyError> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| CurrencyError)?;
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(CurrencyError) }
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What one unit of a currency is worth from a moment on, for all tenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeRate {
    pub currency: Currency,
    pub usd_per_unit: Exact,
    pub valid_from: TimestampMs,
    /// Set when it is applied.
    pub version: u64,
}

impl ExchangeRate {
    pub fn validate(&self) -> Result<(), Fault> {
        let fault = |field: &str, problem| Err(Fault::new(field, problem));
        if self.currency == Currency::USD {
            return fault("currency", Problem::Usd);
        }
        if self.usd_per_unit.is_zero() {
            return fault("usd_per_unit", Problem::Zero);
        }
        if self.usd_per_unit > Exact::from(EXCHANGE_RATE_MAX) {
            return fault("usd_per_unit", Problem::TooLarge { max: EXCHANGE_RATE_MAX });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(currency: &str, usd: &str) -> Option<Problem> {
        let rate = ExchangeRate {
            currency: Currency::parse(currency).unwrap(),
            usd_per_unit: Exact::parse(usd).unwrap(),
            valid_from: TimestampMs(0),
            version: 0,
        };
        rate.validate().err().map(|fault| fault.problem)
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("EUR").unwrap().to_string(), "EUR");
        for text in ["", "EU", "EURO", "eur", "E1R", "€", "US "] {
            assert_eq!(Currency::parse(text), Err(CurrencyError), "{text}");
        }
    }

    #[test]
    fn exchange_rate_max() {
        assert_eq!(problem("EUR", "1.08"), None);
        assert_eq!(problem("USD", "1"), Some(Problem::Usd));
        assert_eq!(problem("EUR", "0"), Some(Problem::Zero));
        assert_eq!(problem("EUR", "1000000"), None);
        assert_eq!(problem("EUR", "1000000.1"), Some(Problem::TooLarge { max: EXCHANGE_RATE_MAX }));
    }
}

//! Amounts between the text of the interface and the integers of the ledger: exact both ways, no float anywhere.

use only1mcp_domain::model::Measure;

/// Digits after the point of an amount in USD.
const PICO_DIGITS: usize = 12;
/// Of any amount as text: more than a 128-bit number has.
const TEXT_BYTES_MAX: usize = 64;

/// In units of the measure. Errors: why it is no amount of that measure. Negative ones are told as such.
pub(super) fn parse(measure: Measure, text: &str) -> Result<i128, &'static str> {
    if text.starts_with('-') {
        return Err("is negative");
    }
    let (whole, fraction) = match (measure, text.split_once('.')) {
        (Measure::Cost, Some((_, ""))) => return Err("ends in a point"),
        (Measure::Cost, Some((_, fraction))) if fraction.len() > PICO_DIGITS => {
            return Err("is finer than 1e-12 USD");
        }
        (Measure::Cost, Some(parts)) => parts,
        (Measure::Tokens | Measure::Calls, Some(_)) => return Err("is not a whole number"),
        (_, None) => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err("is no decimal number");
    }
    if whole.len() > TEXT_BYTES_MAX {
        return Err("is too large");
    }
    let padded = match measure {
        Measure::Cost => format!("{whole}{fraction:0<PICO_DIGITS$}"),
        Measure::Tokens | Measure::Calls => whole.to_owned(),
    };
    padded.parse().map_err(|_| "is too large")
}

pub(super) fn text(measure: Measure, amount: i128) -> String {
    match measure {
        Measure::Cost => usd(amount),
        Measure::Tokens | Measure::Calls => amount.to_string(),
    }
}

/// Exact decimal text of an amount in pico-USD.
pub(crate) fn usd(pico: i128) -> String {
    const PICO_PER_USD: u128 = 1_000_000_000_000;
    let sign = if pico < 0 { "-" } else { "" };
    let (whole, fraction) = (pico.unsigned_abs() / PICO_PER_USD, pico.unsigned_abs() % PICO_PER_USD);
    let fraction = format!("{fraction:0>PICO_DIGITS$}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        digits => format!("{sign}{whole}.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_both_ways() {
        for (pico, text) in
            [(0, "0"), (1, "0.000000000001"), (2_500_000_000_000, "2.5"), (10_i128.pow(14), "100")]
        {
            assert_eq!((usd(pico).as_str(), parse(Measure::Cost, text)), (text, Ok(pico)));
        }
        assert_eq!(usd(-2_500_000_000_000), "-2.5");
        assert_eq!(parse(Measure::Cost, "100.50"), Ok(100_500_000_000_000));
        assert_eq!(parse(Measure::Cost, &usd(i128::MAX)), Ok(i128::MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", "-1", "+1", "1.", ".5", "1e3", "NaN", "1,5", " 1", "0.0000000000001", "1.2.3", "٣"] {
            assert!(parse(Measure::Cost, bad).is_err(), "{bad}");
        }
        for bad in ["", "1.5", "-1", "1.0", "0x10"] {
            assert!(parse(Measure::Calls, bad).is_err(), "{bad}");
        }
        for measure in [Measure::Cost, Measure::Tokens, Measure::Calls] {
            for absurd in ["9".repeat(40), "9".repeat(100_000)] {
                assert_eq!(parse(measure, &absurd), Err("is too large"));
            }
        }
        assert_eq!(parse(Measure::Tokens, "50000"), Ok(50_000));
    }
}

//! Amounts for the eye: rounded half to even, in columns that still add up. Programs get the exact numbers.

use only1mcp_domain::money::{PicoUsd, split_largest_remainder};

/// Each amount to `places` decimals, so that together they make the rounded total. Where some are negative and others
/// are not, nothing can be shared out, and each is rounded for itself.
pub(super) fn column(amounts: &[PicoUsd], total: PicoUsd, places: u8) -> Vec<String> {
    shared(amounts, total, places)
        .unwrap_or_else(|| amounts.iter().map(|amount| amount.rounded(places)).collect())
}

fn shared(amounts: &[PicoUsd], total: PicoUsd, places: u8) -> Option<Vec<String>> {
    let weights = weights(amounts)?;
    let rounded = PicoUsd::parse(&total.rounded(places)).ok()?;
    // One unit of the last place, so that what is shared out are whole ones.
    let unit = 10_i128.checked_pow(u32::from(12 - places.min(12)))?;
    let shares = split_largest_remainder(PicoUsd(rounded.0.checked_div(unit)?), &weights).ok()?;
    shares.into_iter().map(|share| Some(PicoUsd(share.0.checked_mul(unit)?).rounded(places))).collect()
}

/// `None` where one is negative.
fn weights(amounts: &[PicoUsd]) -> Option<Vec<u128>> {
    amounts.iter().map(|amount| u128::try_from(amount.0).ok()).collect()
}

/// Tenths of a percent that make 100 % together. `None` where there is nothing to share, or something negative.
pub(super) fn shares(amounts: &[PicoUsd]) -> Option<Vec<u16>> {
    const WHOLE: PicoUsd = PicoUsd(1_000);
    let shares = split_largest_remainder(WHOLE, &weights(amounts)?).ok()?;
    shares.into_iter().map(|share| u16::try_from(share.0).ok()).collect()
}

pub(super) fn share_text(tenths: u16) -> String {
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Twenty places; anything at all shows.
pub(super) fn bar(tenths: u16) -> String {
    const PLACES: u16 = 20;
    let full = tenths.saturating_mul(PLACES).div_ceil(1_000).min(PLACES);
    format!("{}{}", "█".repeat(full.into()), "░".repeat((PLACES - full).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(texts: &[&str]) -> Vec<PicoUsd> {
        texts.iter().map(|text| PicoUsd::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_column_adds_up_to_its_total() {
        let thirds = usd(&["0.333333333333", "0.333333333333", "0.333333333334"]);
        assert_eq!(column(&thirds, PicoUsd(1_000_000_000_000), 2), ["0.33", "0.33", "0.34"]);
        let halves = usd(&["0.005", "0.005", "0.005"]);
        assert_eq!(column(&halves, PicoUsd(15_000_000_000), 2), ["0.01", "0.01", "0.00"]);
        let mixed = usd(&["1.005", "-0.005"]);
        assert_eq!(column(&mixed, PicoUsd(1_000_000_000_000), 2), ["1.00", "0.00"], "each for itself");
        assert_eq!(column(&[], PicoUsd::ZERO, 2), [""; 0]);
        assert_eq!(column(&usd(&["0", "0"]), PicoUsd::ZERO, 4), ["0.0000", "0.0000"]);
        let exact = usd(&["0.000000000001", "2"]);
        assert_eq!(column(&exact, PicoUsd(2_000_000_000_001), 12), ["0.000000000001", "2.000000000000"]);
    }

    #[test]
    fn shares_make_the_whole() {
        assert_eq!(shares(&usd(&["1", "1", "1"])), Some(vec![334, 333, 333]));
        assert_eq!(shares(&usd(&["0.000000000001", "1000000"])), Some(vec![0, 1_000]));
        assert_eq!((shares(&usd(&["0"])), shares(&usd(&["2", "-1"]))), (None, None));
        assert_eq!(share_text(334), "33.4 %");
        assert_eq!(bar(0), "░".repeat(20));
        assert_eq!(bar(1), format!("█{}", "░".repeat(19)));
        assert_eq!(bar(1_000), "█".repeat(20));
    }
}

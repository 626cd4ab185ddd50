//! Sharing an amount without losing or making a pico-USD of it.

use std::num::NonZeroU128;

use super::{Overflow, PicoUsd, Wide};

/// Why an amount cannot be shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SplitError {
    #[error("there is no weight to share by")]
    NoWeight,
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// `a x b / c` rounded up, with a product of any size.
pub fn mul_div_ceil(a: u128, b: u128, c: NonZeroU128) -> Result<u128, Overflow> {
    let (quotient, rest) = mul_div(a, b, c)?;
    quotient.checked_add(u128::from(rest > 0)).ok_or(Overflow)
}

/// `a x b / c` rounded down, and the remainder.
fn mul_div(a: u128, b: u128, c: NonZeroU128) -> Result<(u128, u128), Overflow> {
    let (quotient, rest) = Wide::new(a).checked_mul(Wide::new(b))?.div_rem(c);
    Ok((quotient.to_u128()?, rest))
}

/// One share for each weight; together exactly `total`. Each gets its part rounded towards zero, and what is left goes,
/// a pico-USD each, to the largest remainders, the earlier of two equal ones first.
/// Errors: `NoWeight` where something is to be shared and all weights are zero.
pub fn split_largest_remainder(total: PicoUsd, weights: &[u128]) -> Result<Vec<PicoUsd>, SplitError> {
    let sum = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight)).ok_or(Overflow)?;
    let Some(sum) = NonZeroU128::new(sum) else {
        let nothing = total == PicoUsd::ZERO;
        return if nothing { Ok(vec![total; weights.len()]) } else { Err(SplitError::NoWeight) };
    };
    let magnitude = total.0.unsigned_abs();
    let mut left = magnitude;
    let mut shares = Vec::with_capacity(weights.len());
    for weight in weights {
        let (share, rest) = mul_div(magnitude, *weight, sum)?;
        left = left.checked_sub(share).ok_or(Overflow)?;
        shares.push((share, rest));
    }
    let mut by_rest: Vec<&mut (u128, u128)> = shares.iter_mut().collect();
    by_rest.sort_by_key(|(_, rest)| std::cmp::Reverse(*rest));
    for (share, _) in by_rest {
        if left > 0 {
            *share += 1;
            left -= 1;
        }
    }
    let signed = |share: u128| {
        let zero = 0_i128;
        if total.0 < 0 { zero.checked_sub_unsigned(share) } else { zero.checked_add_unsigned(share) }
    };
    shares.into_iter().map(|(share, _)| Ok(PicoUsd(signed(share).ok_or(Overflow)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(total: i128, weights: &[u128]) -> Vec<i128> {
        let shares = split_largest_remainder(PicoUsd(total), weights).unwrap();
        shares.into_iter().map(|share| share.0).collect()
    }

    #[test]
    fn what_is_left_goes_to_the_largest_remainders() {
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(10, &[3, 3, 4, 0]), [3, 3, 4, 0]);
        assert_eq!(split(5, &[1, 2, 3]), [1, 2, 2], "0.83, 1.67 and 2.5");
        assert_eq!(split(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(split(0, &[0, 0]), [0, 0]);
        assert_eq!(split(0, &[]), [0; 0]);
        assert_eq!(split(i128::MIN, &[1, u128::MAX - 1]).into_iter().sum::<i128>(), i128::MIN);
        assert_eq!(split_largest_remainder(PicoUsd(1), &[0]), Err(SplitError::NoWeight));
        assert_eq!(split_largest_remainder(PicoUsd(1), &[]), Err(SplitError::NoWeight));
        let over = split_largest_remainder(PicoUsd(1), &[u128::MAX, 1]);
        assert_eq!(over, Err(SplitError::Overflow(Overflow)));
    }

    #[test]
    fn products_have_room_and_results_are_checked() {
        let by = |c| NonZeroU128::new(c).unwrap();
        assert_eq!(mul_div_ceil(u128::MAX, u128::MAX, by(u128::MAX)), Ok(u128::MAX));
        assert_eq!(mul_div_ceil(u128::MAX, 2, by(1)), Err(Overflow));
        assert_eq!(mul_div_ceil(1, 1, by(u128::MAX)), Ok(1));
        assert_eq!(mul_div_ceil(0, 7, by(3)), Ok(0));
        assert_eq!(mul_div_ceil(2, 5, by(3)), Ok(4));
    }

    proptest! {
        #[test]
        fn shares_sum_exactly_and_none_is_off_by_more_than_one(
            total: i128,
            weights in proptest::collection::vec(0..=u128::MAX >> 5, 1..20),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = split(total, &weights);
            prop_assert_eq!(shares.iter().sum::<i128>(), total);
            let sum = NonZeroU128::new(weights.iter().sum()).unwrap();
            for (share, weight) in shares.iter().zip(&weights) {
                let (down, rest) = mul_div(total.unsigned_abs(), *weight, sum).unwrap();
                let share = share.unsigned_abs();
                prop_assert!(share == down || (share == down + 1 && rest > 0));
            }
        }
    }
}

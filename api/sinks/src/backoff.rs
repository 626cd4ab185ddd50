//! When a delivery that failed is tried again: after one second, then twice as long each time, up to five minutes.

use std::time::Duration;

const FIRST_MS: u64 = 1_000;
const LAST_MS: u64 = 300_000;

/// Pause after the `failures`-th failure in a row, from half of its bound to all of it, by `random`: receivers that were
/// down for many are not met by all at once.
pub(crate) fn pause(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST_MS.saturating_mul(1 << doublings).min(LAST_MS);
    let half = whole / 2;
    Duration::from_millis(half + random % (whole - half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_differ() {
        let ms = |failures, random| u64::try_from(pause(failures, random).as_millis()).unwrap();
        assert_eq!((ms(1, 0), ms(1, 500)), (500, 1_000));
        assert_eq!((ms(2, 0), ms(2, 1_000)), (1_000, 2_000));
        assert_eq!((ms(9, 0), ms(9, 128_000)), (128_000, 256_000));
        for failures in [10, 30, u32::MAX] {
            assert_eq!((ms(failures, 0), ms(failures, 150_000)), (150_000, 300_000));
        }
        for random in [1, 499, u64::MAX] {
            assert!((500..=1_000).contains(&ms(0, random)));
        }
    }
}

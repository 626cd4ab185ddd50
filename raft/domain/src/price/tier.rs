//! Marginal tiers: where the units of one call fall.

/// For each tier that some of the units `before..before + units` fall into, the tier and how many do. A tier goes from
/// its first unit to the next tier's, the last one on and on.
pub(super) fn pieces<T>(
    tiers: &[T],
    from: impl Fn(&T) -> u64,
    before: u64,
    units: u64,
) -> impl Iterator<Item = (&T, u64)> {
    let (start, end) = (u128::from(before), u128::from(before) + u128::from(units));
    tiers.iter().enumerate().filter_map(move |(position, tier)| {
        let ends = tiers.get(position + 1).map(&from);
        let first = start.max(from(tier).into());
        let last = end.min(ends.map_or(u128::MAX, u128::from));
        // No more than `units`, which fits.
        let count = u64::try_from(last.saturating_sub(first)).ok()?;
        (count > 0).then_some((tier, count))
    })
}

/// The tiers that a unit after the first `before` ones can fall into.
pub(super) fn reachable<T>(tiers: &[T], from: impl Fn(&T) -> u64, before: u64) -> impl Iterator<Item = &T> {
    let ended = tiers.iter().skip(1).take_while(|next| from(next) <= before).count();
    tiers.iter().skip(ended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIERS: [u64; 3] = [0, 100, 1_000];

    fn split(before: u64, units: u64) -> Vec<(u64, u64)> {
        pieces(&TIERS, |from| *from, before, units).map(|(tier, count)| (*tier, count)).collect()
    }

    #[test]
    fn a_call_that_crosses_tiers_is_split_there() {
        assert_eq!(split(0, 100), [(0, 100)]);
        assert_eq!(split(0, 101), [(0, 100), (100, 1)]);
        assert_eq!(split(99, 1_000), [(0, 1), (100, 900), (1_000, 99)]);
        assert_eq!(split(100, 1), [(100, 1)]);
        assert_eq!(split(50, 0), []);
        assert_eq!(split(u64::MAX, u64::MAX), [(1_000, u64::MAX)]);
    }

    #[test]
    fn tiers_that_are_over_are_out_of_reach() {
        let left = |before| reachable(&TIERS, |from| *from, before).copied().collect::<Vec<_>>();
        assert_eq!(left(99), TIERS);
        assert_eq!(left(100), [100, 1_000]);
        assert_eq!(left(u64::MAX), [1_000]);
        assert_eq!(reachable(&[] as &[u64], |from| *from, 7).count(), 0);
    }

    proptest! {
        #[test]
        fn pieces_of_parts_are_pieces_of_the_whole(before in 0..2_000_u64, a in 0..2_000_u64, b in 0..2_000_u64) {
            let count = |tier: u64, parts: &[(u64, u64)]| -> u64 {
                parts.iter().filter(|part| part.0 == tier).map(|part| part.1).sum()
            };
            let (whole, first, second) = (split(before, a + b), split(before, a), split(before + a, b));
            for tier in TIERS {
                prop_assert_eq!(count(tier, &whole), count(tier, &first) + count(tier, &second));
            }
            prop_assert_eq!(whole.iter().map(|part| part.1).sum::<u64>(), a + b);
        }

        #[test]
        fn only_reachable_tiers_get_units(before: u64, units: u64) {
            let reach: Vec<u64> = reachable(&TIERS, |from| *from, before).copied().collect();
            prop_assert!(split(before, units).iter().all(|(tier, _)| reach.contains(tier)));
            let cut: Vec<_> = pieces(&reach, |from| *from, before, units).map(|(tier, n)| (*tier, n)).collect();
            prop_assert_eq!(cut, split(before, units));
        }
    }
}

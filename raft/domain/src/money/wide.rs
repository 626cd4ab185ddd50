//! Unsigned numbers wide enough for every product of one cost line, with just the operations that a cost needs.
//!
//! 1,024 bits: units and tiers (64 + 4), a price with its scale (200), an exchange rate (100), three discounts (370)
//! and the step to pico-USD (40) stay below that. Every operation is checked all the same.

use std::cmp::Ordering;
use std::num::{NonZeroU64, NonZeroU128};

use super::Overflow;

const LIMBS: usize = 16;
const LIMB_BITS: u32 = 64;
/// The powers of ten that one limb holds.
const LIMB_TENS: u32 = 19;

/// Little end first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wide([u64; LIMBS]);

impl Wide {
    pub(crate) const ZERO: Self = Self([0; LIMBS]);
    pub(crate) const ONE: Self = Self::new(1);

    pub(crate) const fn new(value: u128) -> Self {
        let mut limbs = [0; LIMBS];
        let [low, high, ..] = &mut limbs;
        (*low, *high) = halves(value);
        Self(limbs)
    }

    pub(crate) fn checked_add(mut self, other: Self) -> Result<Self, Overflow> {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            (*limb, carry) = limb.carrying_add(more, carry);
        }
        if carry { Err(Overflow) } else { Ok(self) }
    }

    pub(crate) fn checked_mul(self, other: Self) -> Result<Self, Overflow> {
        let mut product = [0_u64; LIMBS];
        for (shift, &factor) in other.0.iter().enumerate().filter(|(_, factor)| **factor != 0) {
            let mut carry = 0;
            let mut slots = product.iter_mut().skip(shift);
            for limb in self.0 {
                match slots.next() {
                    Some(slot) => (*slot, carry) = limb.carrying_mul_add(factor, carry, *slot),
                    None if limb == 0 && carry == 0 => {}
                    None => return Err(Overflow),
                }
            }
            if carry != 0 {
                return Err(Overflow);
            }
        }
        Ok(Self(product))
    }

    /// Times 10 to the power of `places`.
    pub(crate) fn times_ten_to(mut self, places: u32) -> Result<Self, Overflow> {
        for power in powers_of_ten(places) {
            self = self.checked_mul(Self::new(power.get().into()))?;
        }
        Ok(self)
    }

    /// Rounded up. Dividing by one factor after the other rounds as dividing by their product does.
    pub(crate) fn div_ceil(mut self, by: NonZeroU64) -> Result<Self, Overflow> {
        let by = u128::from(by.get());
        let mut rest = 0_u128;
        for limb in self.0.iter_mut().rev() {
            let part = (rest << LIMB_BITS) | u128::from(*limb);
            if part != 0 {
                // Below 2^64, because the rest is below the divisor.
                (*limb, _) = halves(part / by);
                rest = part % by;
            }
        }
        if rest == 0 { Ok(self) } else { self.checked_add(Self::new(1)) }
    }

    /// Divided by 10 to the power of `places`, rounded up.
    pub(crate) fn div_ceil_ten_to(mut self, places: u32) -> Result<Self, Overflow> {
        for power in powers_of_ten(places) {
            self = self.div_ceil(power)?;
        }
        Ok(self)
    }

    /// Quotient and remainder, bit by bit: for presentation, not for every call.
    pub(crate) fn div_rem(mut self, by: NonZeroU128) -> (Self, u128) {
        let by = by.get();
        let mut rest = 0_u128;
        for limb in self.0.iter_mut().rev() {
            let mut quotient = 0_u64;
            for bit in (0..LIMB_BITS).rev() {
                let carried = rest >> 127 == 1;
                rest = (rest << 1) | u128::from((*limb >> bit) & 1);
                quotient <<= 1;
                if carried || rest >= by {
                    // With the bit that was shifted out, the true rest is at least the divisor and below twice it.
                    rest = rest.wrapping_sub(by);
                    quotient |= 1;
                }
            }
            *limb = quotient;
        }
        (self, rest)
    }

    pub(crate) fn to_u128(self) -> Result<u128, Overflow> {
        let [low, high, rest @ ..] = self.0;
        if rest.iter().any(|limb| *limb != 0) {
            return Err(Overflow);
        }
        Ok((u128::from(high) << LIMB_BITS) | u128::from(low))
    }
}

impl Ord for Wide {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Low half, high half.
const fn halves(value: u128) -> (u64, u64) {
    ((value & 0xFFFF_FFFF_FFFF_FFFF) as u64, (value >> LIMB_BITS) as u64)
}

/// Powers whose product is 10 to the power of `places`.
fn powers_of_ten(places: u32) -> impl Iterator<Item = NonZeroU64> {
    const TEN: NonZeroU64 = NonZeroU64::MIN.saturating_add(9);
    let whole = places / LIMB_TENS;
    let last = places % LIMB_TENS;
    let exponents = std::iter::repeat_n(LIMB_TENS, whole as usize).chain((last > 0).then_some(last));
    exponents.map(|exponent| TEN.saturating_pow(exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonzero(value: u64) -> NonZeroU64 {
        NonZeroU64::new(value).unwrap()
    }

    #[test]
    fn the_top_limb_is_guarded() {
        let top = Wide::new(1).times_ten_to(308).unwrap();
        assert_eq!(top.times_ten_to(1), Err(Overflow), "10^309 has 1,027 bits");
        assert_eq!(top.div_ceil_ten_to(308), Ok(Wide::new(1)));
        let full = Wide([u64::MAX; LIMBS]);
        assert_eq!(full.checked_add(Wide::new(1)), Err(Overflow));
        assert_eq!(full.checked_mul(Wide::new(2)), Err(Overflow));
        assert_eq!(full.checked_mul(Wide::new(1)), Ok(full));
        assert_eq!(full.checked_mul(Wide::new(1 << 64)), Err(Overflow));
        assert_eq!(Wide::ZERO.checked_mul(full), Ok(Wide::ZERO));
        assert_eq!(full.div_ceil(NonZeroU64::MIN), Ok(full));
        assert_eq!(full.to_u128(), Err(Overflow));
        assert!(full > top && Wide::new(1 << 64) > Wide::new(u64::MAX.into()));
    }

    proptest! {
        #[test]
        fn agrees_with_the_built_in_numbers(a: u64, b: u64, c in 1..=u64::MAX) {
            let (a, b) = (u128::from(a), u128::from(b));
            let product = Wide::new(a).checked_mul(Wide::new(b)).unwrap();
            prop_assert_eq!(product.to_u128(), Ok(a * b));
            prop_assert_eq!(product.checked_add(Wide::new(a)).unwrap().to_u128(), Ok(a * b + a));
            let up = product.div_ceil(nonzero(c)).unwrap();
            prop_assert_eq!(up.to_u128(), Ok((a * b).div_ceil(c.into())));
        }

        #[test]
        fn dividing_undoes_multiplying(a: u128, b in 1..=u128::MAX, rest: u128) {
            let rest = rest % b;
            let by = NonZeroU128::new(b).unwrap();
            let value = Wide::new(a).checked_mul(Wide::new(b)).unwrap();
            let value = value.checked_add(Wide::new(rest)).unwrap();
            prop_assert_eq!(value.div_rem(by), (Wide::new(a), rest));
        }

        #[test]
        fn dividing_by_factors_rounds_as_by_their_product(a: u128, b in 1..=u32::MAX, c in 1..=u32::MAX) {
            let (b, c) = (u64::from(b), u64::from(c));
            let once = Wide::new(a).div_ceil(nonzero(b * c));
            let twice = Wide::new(a).div_ceil(nonzero(b)).unwrap().div_ceil(nonzero(c));
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn tens(a: u64, places in 0_u32..200) {
            let wide = Wide::new(a.into());
            prop_assert_eq!(wide.times_ten_to(places).unwrap().div_ceil_ten_to(places), Ok(wide));
        }
    }
}

//! The meters that a call is counted on. Disjoint: no unit is counted on two of them.

use crate::money::Overflow;

/// Which part of a cost a meter belongs to.
/// Source: specification, "Cost Attribution Engine".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CostClass {
    Token,
    Compute,
    Storage,
    Network,
}

macro_rules! meters {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $code:literal, $class:ident;)*) => {
        /// Numbers are persisted and codes are public: append only.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Meter {
            $($(#[$doc])* $name,)*
        }

        impl Meter {
            pub const ALL: [Self; [$($number,)*].len()] = [$(Self::$name,)*];

            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Reads what `code` writes.
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            pub fn class(self) -> CostClass {
                match self { $(Self::$name => CostClass::$class,)* }
            }
        }
    };
}

meters! {
    /// Input tokens neither read from a cache nor written to one.
    UncachedInput = 1, "uncached_input", Token;
    CacheRead = 2, "cache_read", Token;
    CacheWrite = 3, "cache_write", Token;
    /// Output tokens without those of reasoning.
    Output = 4, "output", Token;
    Reasoning = 5, "reasoning", Token;
    Call = 6, "call", Compute;
    /// Units: milliseconds; a price for a second is one for 1,000 units.
    Second = 7, "second", Compute;
    Byte = 8, "byte", Network;
    /// What a call left stored at its upstream, as the answer says.
    StoredByte = 9, "stored_byte", Storage;
}

impl Meter {
    pub fn is_token(self) -> bool {
        self.class() == CostClass::Token
    }

    /// Input in the widest sense: what a cache can serve.
    pub fn is_input(self) -> bool {
        matches!(self, Self::UncachedInput | Self::CacheRead | Self::CacheWrite)
    }

    /// The gateway counts it by itself, whatever the answer says.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Call | Self::Second | Self::Byte)
    }
}

impl std::fmt::Display for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Units by meter; absent is not zero: it is not known, or not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amounts([Option<u64>; Meter::ALL.len()]);

impl Amounts {
    pub fn get(&self, meter: Meter) -> Option<u64> {
        self.0.get(meter as usize).copied().flatten()
    }

    pub fn set(&mut self, meter: Meter, units: u64) {
        if let Some(slot) = self.0.get_mut(meter as usize) {
            *slot = Some(units);
        }
    }

    pub fn with(mut self, meter: Meter, units: u64) -> Self {
        self.set(meter, units);
        self
    }

    /// Of each meter the smaller number; of what only one has, that.
    pub fn smaller_of(&self, other: &Self) -> Self {
        self.iter().fold(*other, |all, (meter, units)| {
            all.with(meter, units.min(other.get(meter).unwrap_or(u64::MAX)))
        })
    }

    /// Of each meter the larger number, where either has one and the meter is `self`'s.
    pub fn larger_of(&self, other: &Self) -> Self {
        self.iter().fold(Self::default(), |all, (meter, units)| {
            all.with(meter, units.max(other.get(meter).unwrap_or(0)))
        })
    }

    /// What is there, in the order of the meters.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, u64)> + '_ {
        Meter::ALL.into_iter().zip(self.0).filter_map(|(meter, units)| Some((meter, units?)))
    }

    /// All tokens.
    pub fn tokens(&self) -> Result<u64, Overflow> {
        self.sum_of(Meter::is_token)
    }

    /// All tokens of input, cached or not.
    pub fn input_tokens(&self) -> Result<u64, Overflow> {
        self.sum_of(Meter::is_input)
    }

    fn sum_of(&self, which: impl Fn(Meter) -> bool) -> Result<u64, Overflow> {
        let mut units = self.iter().filter(|(meter, _)| which(*meter)).map(|(_, units)| units);
        units.try_fold(0_u64, u64::checked_add).ok_or(Overflow)
    }
}

impl std::fmt::Debug for Amounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Persisted and public: a change here breaks logs and clients.
    #[test]
    fn numbers_and_codes_stay() {
        let all: Vec<_> = Meter::ALL.iter().map(|meter| (meter.number(), meter.code())).collect();
        let expected = [
            (1, "uncached_input"),
            (2, "cache_read"),
            (3, "cache_write"),
            (4, "output"),
            (5, "reasoning"),
            (6, "call"),
            (7, "second"),
            (8, "byte"),
            (9, "stored_byte"),
        ];
        assert_eq!(all, expected);
        for (position, meter) in Meter::ALL.into_iter().enumerate() {
            assert_eq!(meter as usize, position);
            assert_eq!(Meter::from_number(meter.number()), Some(meter));
            assert_eq!(Meter::parse(meter.code()), Some(meter));
        }
        assert_eq!((Meter::from_number(0), Meter::from_number(10), Meter::parse("Call")), (None, None, None));
    }

    #[test]
    fn absent_is_not_zero() {
        let amounts = Amounts::default().with(Meter::Output, 0).with(Meter::CacheRead, 7);
        assert_eq!(amounts.get(Meter::Output), Some(0));
        assert_eq!(amounts.get(Meter::Reasoning), None);
        assert_eq!(amounts.iter().collect::<Vec<_>>(), [(Meter::CacheRead, 7), (Meter::Output, 0)]);
    }

    #[test]
    fn totals_count_tokens_only_and_are_checked() {
        let all = Meter::ALL.into_iter().fold(Amounts::default(), |all, meter| all.with(meter, 10));
        assert_eq!((all.tokens(), all.input_tokens()), (Ok(50), Ok(30)));
        let over = all.with(Meter::Output, u64::MAX);
        assert_eq!((over.tokens(), over.input_tokens()), (Err(Overflow), Ok(30)));
    }
}

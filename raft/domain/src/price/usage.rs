//! What a call used, read from its answer or counted. The JSON is the gateway's; here come numbers only.

use std::time::Duration;

use crate::limits::UNITS_MAX;
use crate::price::{Amounts, Meter, Metering, UsageSource};

/// Why the usage of a call is not known. It costs its hold then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the answer has no whole number at {pointer}")]
    Missing { pointer: String },
    #[error("what is taken off {meter} is more than there is")]
    Negative { meter: Meter },
    #[error("{meter} is more than {UNITS_MAX}")]
    TooLarge { meter: Meter },
    #[error("the tokens do not make the total of the answer")]
    Total,
}

/// What the gateway counts of a call by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    pub duration: Duration,
    pub result_bytes: u64,
}

impl Counted {
    /// The meters that need no answer. A begun millisecond counts.
    pub fn amounts(self) -> Amounts {
        let ms = u64::try_from(self.duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let amounts = Amounts::default().with(Meter::Call, 1).with(Meter::Second, ms);
        amounts.with(Meter::Byte, self.result_bytes)
    }
}

/// The usage of one call: what is counted, and what `metering` finds with `number_at`, which looks up a JSON pointer in
/// the result and gives `None` for anything but a whole number from 0.
/// Errors: `Unreadable`; `Counted::amounts` is still what is known.
pub fn read_usage(
    metering: Option<&Metering>,
    counted: Counted,
    number_at: impl Fn(&str) -> Option<u64>,
) -> Result<Amounts, Unreadable> {
    let number = |pointer: &str| number_at(pointer).ok_or_else(|| missing(pointer));
    let mut amounts = counted.amounts();
    let sources = metering.map(|metering| metering.usage.as_slice()).unwrap_or_default();
    for (meter, source) in sources {
        let meter = *meter;
        let units = match source {
            UsageSource::Counted => continue,
            UsageSource::Pointer(pointer) => number(pointer)?,
            UsageSource::Difference { of, minus } => {
                let mut units = number(of)?;
                for pointer in minus {
                    units = units.checked_sub(number(pointer)?).ok_or(Unreadable::Negative { meter })?;
                }
                units
            }
        };
        amounts.set(meter, units);
    }
    if let Some((meter, _)) = amounts.iter().find(|(_, units)| *units > UNITS_MAX) {
        return Err(Unreadable::TooLarge { meter });
    }
    match metering.and_then(|metering| metering.total_pointer.as_deref()) {
        Some(pointer) if amounts.tokens() != Ok(number(pointer)?) => Err(Unreadable::Total),
        _ => Ok(amounts),
    }
}

fn missing(pointer: &str) -> Unreadable {
    Unreadable::Missing { pointer: pointer.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::metering::tests::{at, metering};

    const COUNTED: Counted = Counted { duration: Duration::from_micros(1_001), result_bytes: 77 };

    /// Input of 100 with 60 from a cache in it, output of 30 with 10 of reasoning in it.
    fn inclusive() -> Metering {
        let less =
            |of: &str, minus: &str| UsageSource::Difference { of: of.into(), minus: vec![minus.into()] };
        let usage = [
            (Meter::UncachedInput, less("/in", "/cached")),
            (Meter::CacheRead, at("/cached")),
            (Meter::Output, less("/out", "/thought")),
            (Meter::Reasoning, at("/thought")),
            (Meter::Byte, UsageSource::Counted),
        ];
        Metering { total_pointer: Some("/total".into()), ..metering(&usage, Amounts::default()) }
    }

    fn answer(changed: &str, value: Option<u64>) -> impl Fn(&str) -> Option<u64> {
        move |pointer| match pointer {
            pointer if pointer == changed => value,
            "/in" => Some(100),
            "/cached" => Some(60),
            "/out" => Some(30),
            "/thought" => Some(10),
            "/total" => Some(130),
            _ => None,
        }
    }

    #[test]
    fn inclusive_numbers_become_disjoint_meters() {
        let read = read_usage(Some(&inclusive()), COUNTED, answer("", None)).unwrap();
        let expected = COUNTED.amounts().with(Meter::UncachedInput, 40).with(Meter::CacheRead, 60);
        assert_eq!(read, expected.with(Meter::Output, 20).with(Meter::Reasoning, 10));
        assert_eq!(read.tokens(), Ok(130));
    }

    #[test]
    fn an_answer_that_does_not_add_up_is_not_known() {
        let read =
            |changed, value| read_usage(Some(&inclusive()), COUNTED, answer(changed, value)).unwrap_err();
        assert_eq!(read("/total", Some(131)), Unreadable::Total);
        assert_eq!(read("/total", None), missing("/total"));
        assert_eq!(read("/cached", None), missing("/cached"));
        assert_eq!(read("/cached", Some(101)), Unreadable::Negative { meter: Meter::UncachedInput });
        assert_eq!(read("/in", Some(u64::MAX)), Unreadable::TooLarge { meter: Meter::UncachedInput });
    }

    #[test]
    fn units_max() {
        let read = |units| {
            let one = metering(&[(Meter::Output, at("/out"))], Amounts::default());
            read_usage(Some(&one), COUNTED, answer("/out", Some(units)))
        };
        assert_eq!(read(UNITS_MAX).unwrap().get(Meter::Output), Some(UNITS_MAX));
        assert_eq!(read(UNITS_MAX + 1), Err(Unreadable::TooLarge { meter: Meter::Output }));
    }

    #[test]
    fn what_is_counted_needs_no_metering() {
        let read = read_usage(None, COUNTED, answer("", None)).unwrap();
        let all: Vec<_> = read.iter().collect();
        assert_eq!(all, [(Meter::Call, 1), (Meter::Second, 2), (Meter::Byte, 77)]);
        let endless = Counted { duration: Duration::MAX, ..COUNTED };
        let over = Unreadable::TooLarge { meter: Meter::Second };
        assert_eq!(read_usage(None, endless, answer("", None)), Err(over));
    }
}

//! Time as data. Nothing here reads a clock.

use crate::ledger::Period;
use crate::model::PeriodKind;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct TimestampMs(pub u64);

impl TimestampMs {
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A point on a wall calendar, as a time window needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    /// 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// Units: minutes since local midnight, 0 to 1,439.
    pub minute_of_day: u16,
}

/// Knows the IANA time zones; given from outside because zone tables change under a running cluster.
pub trait Zones: Send + Sync {
    /// The local time in `zone` at `at`, or `None` for an unknown zone.
    fn local(&self, zone: &str, at: TimestampMs) -> Option<LocalTime>;

    /// The period of `kind` that holds `at`, by the calendar of `zone`; `None` for an unknown zone. Periods that need no
    /// calendar are the same everywhere.
    fn period(&self, zone: &str, kind: PeriodKind, at: TimestampMs) -> Option<Period> {
        let _ = zone;
        Period::without_calendar(kind, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_within_its_bounds() {
        assert_eq!(TimestampMs(5).plus_ms(7), TimestampMs(12));
        assert_eq!(TimestampMs(u64::MAX).plus_ms(1), TimestampMs(u64::MAX));
        assert_eq!(TimestampMs(12).since_ms(TimestampMs(5)), 7);
        assert_eq!(TimestampMs(5).since_ms(TimestampMs(12)), 0);
    }
}

//! IANA time zones from the system's tables, or the bundled ones where the system has none.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use only1mcp_domain::ledger::Period;
use only1mcp_domain::model::PeriodKind;
use only1mcp_domain::time::{LocalTime, TimestampMs, Zones};

/// Zones as this host knows them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemZones;

impl Zones for SystemZones {
    fn local(&self, zone: &str, at: TimestampMs) -> Option<LocalTime> {
        let zone = TimeZone::get(zone).ok()?;
        let at = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
        let local = at.to_zoned_datetime(zone);
        let weekday = u8::try_from(local.weekday().to_monday_one_offset()).ok()?;
        let minute =
            u16::from(u8::try_from(local.hour()).ok()?) * 60 + u16::from(u8::try_from(local.minute()).ok()?);
        Some(LocalTime { weekday, minute_of_day: minute })
    }

    fn period(&self, zone: &str, kind: PeriodKind, at: TimestampMs) -> Option<Period> {
        if let Some(period) = Period::without_calendar(kind, at) {
            return Some(period);
        }
        let zone = TimeZone::get(zone).ok()?;
        let today = Timestamp::from_millisecond(i64::try_from(at.0).ok()?)
            .ok()?
            .to_zoned_datetime(zone.clone())
            .date();
        let (first, span) = match kind {
            PeriodKind::Week => {
                let since_monday = i64::from(today.weekday().to_monday_zero_offset());
                (
                    today.checked_sub(Span::new().try_days(since_monday).ok()?).ok()?,
                    Span::new().try_weeks(1).ok()?,
                )
            }
            PeriodKind::Month => (today.first_of_month(), Span::new().try_months(1).ok()?),
            PeriodKind::Quarter => {
                let month = (today.month() - 1) / 3 * 3 + 1;
                (Date::new(today.year(), month, 1).ok()?, Span::new().try_months(3).ok()?)
            }
            PeriodKind::Year => (today.first_of_year(), Span::new().try_years(1).ok()?),
            PeriodKind::Day | PeriodKind::Minute | PeriodKind::Hour | PeriodKind::Total => {
                (today, Span::new().try_days(1).ok()?)
            }
        };
        // A day begins when its first moment comes, whatever the clocks did at midnight.
        let begins = |date: Date| {
            let midnight = date.to_zoned_datetime(zone.clone()).ok()?;
            let first = midnight.timestamp().as_millisecond();
            u64::try_from(first).ok().map(TimestampMs)
        };
        Some(Period { start: begins(first)?, end: begins(first.checked_add(span).ok()?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_follow_the_calendar_of_their_zone() {
        let at = TimestampMs(1_751_373_000_000); // Tuesday 2025-07-01T12:30:00Z
        let hours = |period: Period| (period.end.0 - period.start.0) / 3_600_000;
        let period = |zone, kind, at| SystemZones.period(zone, kind, at).unwrap();
        let day = period("Europe/Berlin", PeriodKind::Day, at);
        assert_eq!((day.start.0, hours(day)), (1_751_320_800_000, 24));
        for kind in PeriodKind::ALL {
            let found = period("Asia/Kolkata", kind, at);
            assert!(found.contains(at), "{kind:?}");
            assert!(found.end.0 - found.start.0 <= kind.ms_max(), "{kind:?}");
            if kind != PeriodKind::Total {
                // Periods touch, and none is twice.
                assert_eq!(period("Asia/Kolkata", kind, found.end).start, found.end, "{kind:?}");
            }
        }
        assert_eq!(hours(period("UTC", PeriodKind::Week, at)), 7 * 24);
        assert_eq!(hours(period("UTC", PeriodKind::Month, at)), 31 * 24);
        assert_eq!(hours(period("UTC", PeriodKind::Quarter, at)), 92 * 24);
        // Clocks go back on 2025-10-26 in Berlin, and forward on 2025-03-30.
        assert_eq!(hours(period("Europe/Berlin", PeriodKind::Day, TimestampMs(1_761_476_400_000))), 25);
        assert_eq!(hours(period("Europe/Berlin", PeriodKind::Day, TimestampMs(1_743_328_800_000))), 23);
        // Samoa had no 2011-12-30.
        let gap = period("Pacific/Apia", PeriodKind::Day, TimestampMs(1_325_239_199_000));
        assert_eq!(period("Pacific/Apia", PeriodKind::Day, gap.end).start, gap.end);
        assert_eq!(SystemZones.period("Europe/Atlantis", PeriodKind::Day, at), None);
    }

    #[test]
    fn knows_summer_time_and_refuses_unknown_zones() {
        // 2025-07-01T12:30:00Z was a Tuesday; Berlin was two hours ahead.
        let at = TimestampMs(1_751_373_000_000);
        let local = SystemZones.local("Europe/Berlin", at).unwrap();
        assert_eq!((local.weekday, local.minute_of_day), (2, 14 * 60 + 30));
        assert_eq!(SystemZones.local("Europe/Atlantis", at), None);
    }
}

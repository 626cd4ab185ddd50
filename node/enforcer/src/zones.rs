//! IANA time zones from the system's tables, or the bundled ones where the system has none.

use jiff::Timestamp;
use jiff::tz::TimeZone;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_summer_time_and_refuses_unknown_zones() {
        // 2025-07-01T12:30:00Z was a Tuesday; Berlin was two hours ahead.
        let at = TimestampMs(1_751_373_000_000);
        let local = SystemZones.local("Europe/Berlin", at).unwrap();
        assert_eq!((local.weekday, local.minute_of_day), (2, 14 * 60 + 30));
        assert_eq!(SystemZones.local("Europe/Atlantis", at), None);
    }
}

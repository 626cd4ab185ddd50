//! Periods as they are typed: `this-month`, `2026-11`, `2026-11-03`, `2026-11-01..2026-11-15`, by a zone's calendar.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, ZonedDateTime};

/// The end is exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    let name = if name.is_empty() { "UTC" } else { name };
    TimeZone::get(name).map_err(|_| format!("{name:?} is no time zone that this host knows"))
}

/// Errors: the text is no period, or an empty one.
pub(super) fn range(text: &str, zone: &TimeZone, now_ms: u64) -> Result<Range, String> {
    let today = i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let today =
        today.ok_or("this host's clock is beyond all calendars")?.to_zoned_datetime(zone.clone()).date();
    let month = today.first_of_month();
    let (from, to) = match text {
        "today" => days(today, 1.day(), zone)?,
        "yesterday" => days(moved(today, -1.days())?, 1.day(), zone)?,
        "this-month" => days(month, 1.month(), zone)?,
        "last-month" => days(moved(month, -1.months())?, 1.month(), zone)?,
        "this-year" => days(today.first_of_year(), 1.year(), zone)?,
        _ => match text.split_once("..") {
            Some((from, to)) => (point(from, zone)?, point(to, zone)?),
            None => named(text, zone)?,
        },
    };
    let range = Range { from_ms: ms(&from)?, to_ms: ms(&to)? };
    if range.from_ms < range.to_ms { Ok(range) } else { Err(format!("{text:?} ends before it begins")) }
}

/// A year, a month or a day.
fn named(text: &str, zone: &TimeZone) -> Result<(ZonedDateTime, ZonedDateTime), String> {
    let unknown = || {
        format!(
            "{text:?} is no period; write this-month, last-month, today, yesterday, this-year, 2026, 2026-11, \
             2026-11-03 or FROM..TO"
        )
    };
    let (full, length) = match text.len() {
        4 => (format!("{text}-01-01"), 1.year()),
        7 => (format!("{text}-01"), 1.month()),
        10 => (text.to_owned(), 1.day()),
        _ => return Err(unknown()),
    };
    days(full.parse().map_err(|_| unknown())?, length, zone)
}

/// The start of a day, or a moment as `2026-11-03T12:00:00Z`.
fn point(text: &str, zone: &TimeZone) -> Result<ZonedDateTime, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_zoned_datetime(zone.clone()));
    }
    let date = text.parse::<Date>().map_err(|_| format!("{text:?} is neither a day nor a moment"))?;
    start(date, zone)
}

fn days(first: Date, length: Span, zone: &TimeZone) -> Result<(ZonedDateTime, ZonedDateTime), String> {
    Ok((start(first, zone)?, start(moved(first, length)?, zone)?))
}

fn moved(date: Date, by: Span) -> Result<Date, String> {
    date.checked_add(by).map_err(|error| error.to_string())
}

fn start(date: Date, zone: &TimeZone) -> Result<ZonedDateTime, String> {
    date.to_zoned_datetime(zone.clone()).map_err(|error| error.to_string())
}

fn ms(at: &ZonedDateTime) -> Result<u64, String> {
    u64::try_from(at.timestamp().as_millisecond()).map_err(|_| format!("{at} is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-29, the day on which Berlin's clocks were put forward.
    const NOW_MS: u64 = 1_774_785_600_000;

    fn hours(text: &str, name: &str) -> Result<(String, u64), String> {
        let range = range(text, &zone(name)?, NOW_MS)?;
        let from = Timestamp::from_millisecond(range.from_ms as i64).unwrap();
        Ok((from.to_string(), (range.to_ms - range.from_ms) / 3_600_000))
    }

    #[test]
    fn periods_follow_the_calendar_of_their_zone() {
        for (text, zone, from, length) in [
            ("today", "UTC", "2026-03-29T00:00:00Z", 24),
            ("today", "Europe/Berlin", "2026-03-28T23:00:00Z", 23),
            ("yesterday", "Europe/Berlin", "2026-03-27T23:00:00Z", 24),
            ("this-month", "UTC", "2026-03-01T00:00:00Z", 31 * 24),
            ("this-month", "Europe/Berlin", "2026-02-28T23:00:00Z", 31 * 24 - 1),
            ("last-month", "UTC", "2026-02-01T00:00:00Z", 28 * 24),
            ("this-year", "UTC", "2026-01-01T00:00:00Z", 365 * 24),
            ("2024", "UTC", "2024-01-01T00:00:00Z", 366 * 24),
            ("2026-11", "UTC", "2026-11-01T00:00:00Z", 30 * 24),
            ("2026-11-03", "UTC", "2026-11-03T00:00:00Z", 24),
            ("2026-11-01..2026-11-15", "UTC", "2026-11-01T00:00:00Z", 14 * 24),
            ("2026-11-01T06:00:00Z..2026-11-01T09:00:00+01:00", "UTC", "2026-11-01T06:00:00Z", 2),
        ] {
            assert_eq!(hours(text, zone), Ok((from.to_owned(), length)), "{text} in {zone}");
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for bad in [
            "",
            "month",
            "2026-13",
            "2026-02-30",
            "2026-11-15..2026-11-01",
            "2026-11-01..2026-11-01",
            "..",
            "2026-11-01..",
            "1969",
            "20261",
            "abcd",
            "99999999999999-1",
        ] {
            assert!(hours(bad, "UTC").is_err(), "{bad}");
        }
        assert!(hours("today", "Europe/Atlantis").is_err());
        assert!(range("today", &zone("UTC").unwrap(), u64::MAX).is_err());
    }
}

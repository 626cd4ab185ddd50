//! Constraints one by one: both sides of each boundary, and what is broken.

use super::*;
use crate::model::Weekdays;

/// Local time is UTC, and 1970-01-01 a Thursday, in the one zone there is.
struct Utc;

impl Zones for Utc {
    fn local(&self, zone: &str, at: TimestampMs) -> Option<LocalTime> {
        let minutes = at.0 / 60_000;
        (zone == "UTC").then(|| LocalTime {
            weekday: u8::try_from((minutes / 1_440 + 3) % 7 + 1).unwrap(),
            minute_of_day: u16::try_from(minutes % 1_440).unwrap(),
        })
    }
}

/// Tells nonsense.
struct Broken;

impl Zones for Broken {
    fn local(&self, _: &str, _: TimestampMs) -> Option<LocalTime> {
        Some(LocalTime { weekday: 8, minute_of_day: 0 })
    }
}

/// `day` 1 is a Monday.
fn at(day: u64, minute: u64) -> TimestampMs {
    TimestampMs(((day + 3) * 1_440 + minute) * 60_000)
}

fn facts(now: TimestampMs, ip: Option<&str>) -> Facts<'static> {
    let ip = ip.map(|ip| ip.parse().unwrap());
    Facts::new(&Context { now, ip, mfa: false, project: None, zones: &Utc })
}

fn window(days: u8, start_minute: u16, end_minute: u16) -> Guard {
    let window = TimeWindow { zone: "UTC".to_owned(), days: Weekdays(days), start_minute, end_minute };
    Guard::new(&Constraints { time_window: Some(window), ..Constraints::default() })
}

fn networks(list: &[&str]) -> Guard {
    let list = list.iter().map(|n| n.parse().unwrap()).collect();
    Guard::new(&Constraints { ip_allowlist: Some(list), ..Constraints::default() })
}

const MONDAY: u8 = 1;

#[test]
fn a_window_includes_its_start_and_excludes_its_end() {
    let office = window(MONDAY, 540, 1_020);
    let fails = |day, minute| office.failures(&facts(at(day, minute), None));
    assert_eq!(fails(1, 539), Failures::WINDOW);
    assert_eq!(fails(1, 540), Failures::NONE);
    assert_eq!(fails(1, 1_019), Failures::NONE);
    assert_eq!(fails(1, 1_020), Failures::WINDOW);
    assert_eq!(fails(2, 600), Failures::WINDOW);
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
    let night = window(MONDAY, 1_320, 360);
    let fails = |day, minute| night.failures(&facts(at(day, minute), None));
    assert_eq!(fails(1, 1_320), Failures::NONE);
    assert_eq!(fails(2, 0), Failures::NONE);
    assert_eq!(fails(2, 359), Failures::NONE);
    assert_eq!(fails(2, 360), Failures::WINDOW);
    assert_eq!(fails(1, 0), Failures::WINDOW, "the night before started on a Sunday");
    assert_eq!(fails(2, 1_400), Failures::WINDOW);
    let sunday = window(1 << 6, 1_320, 360);
    assert_eq!(sunday.failures(&facts(at(8, 10), None)), Failures::NONE, "Monday follows Sunday");
}

#[test]
fn equal_ends_mean_the_whole_day_and_no_days_mean_never() {
    for minute in [0, 700, 1_439] {
        assert_eq!(window(MONDAY, 700, 700).failures(&facts(at(1, minute), None)), Failures::NONE);
        assert_eq!(window(MONDAY, 700, 700).failures(&facts(at(2, minute), None)), Failures::WINDOW);
        assert_eq!(window(0, 0, 0).failures(&facts(at(1, minute), None)), Failures::WINDOW);
    }
}

#[test]
fn a_window_that_cannot_be_evaluated_is_broken() {
    let now = facts(at(1, 600), None);
    assert_eq!(window(0xFF, 0, 0).failures(&now), Failures::BROKEN);
    assert_eq!(window(MONDAY, 1_440, 10).failures(&now), Failures::BROKEN);
    assert_eq!(window(MONDAY, 0, 1_440).failures(&now), Failures::BROKEN);
    let elsewhere =
        TimeWindow { zone: "No/Where".to_owned(), days: Weekdays::ALL, start_minute: 0, end_minute: 0 };
    let elsewhere = Guard::new(&Constraints { time_window: Some(elsewhere), ..Constraints::default() });
    assert_eq!(elsewhere.failures(&now), Failures::BROKEN);
    let told_nonsense =
        Facts::new(&Context { now: at(1, 600), ip: None, mfa: false, project: None, zones: &Broken });
    assert_eq!(window(MONDAY, 0, 0).failures(&told_nonsense), Failures::BROKEN);
}

#[test]
fn mapped_addresses_count_as_ipv4_on_both_sides() {
    let now = at(1, 0);
    for list in [["10.0.0.0/8"], ["::ffff:10.0.0.0/104"]] {
        let guard = networks(&list);
        assert_eq!(guard.failures(&facts(now, Some("10.9.8.7"))), Failures::NONE);
        assert_eq!(guard.failures(&facts(now, Some("::ffff:10.9.8.7"))), Failures::NONE);
        assert_eq!(guard.failures(&facts(now, Some("11.0.0.1"))), Failures::IP);
        assert_eq!(guard.failures(&facts(now, Some("::ffff:11.0.0.1"))), Failures::IP);
    }
}

#[test]
fn nowhere_and_an_unknown_address_are_refused() {
    let now = at(1, 0);
    assert_eq!(networks(&[]).failures(&facts(now, Some("10.0.0.1"))), Failures::IP);
    assert_eq!(networks(&["0.0.0.0/0", "::/0"]).failures(&facts(now, None)), Failures::IP);
    assert_eq!(networks(&["::/0"]).failures(&facts(now, Some("10.0.0.1"))), Failures::IP);
    assert_eq!(networks(&["::/0"]).failures(&facts(now, Some("2001:db8::1"))), Failures::NONE);
}

#[test]
fn projects_must_be_named_and_listed() {
    let [one, two] = ["one", "two"].map(|p| ProjectId::new(p).unwrap());
    let guard = |list: Vec<ProjectId>| {
        Guard::new(&Constraints { allowed_projects: Some(list), ..Constraints::default() })
    };
    let naming = |project| Facts::new(&Context { now: at(1, 0), ip: None, mfa: false, project, zones: &Utc });
    assert_eq!(guard(vec![two.clone(), one.clone()]).failures(&naming(Some(&one))), Failures::NONE);
    assert_eq!(guard(vec![two.clone()]).failures(&naming(Some(&one))), Failures::PROJECT);
    assert_eq!(guard(vec![two]).failures(&naming(None)), Failures::PROJECT);
    assert_eq!(guard(vec![]).failures(&naming(Some(&one))), Failures::PROJECT);
}

#[test]
fn the_hardest_failure_names_the_set() {
    let all = Failures::MFA.with(Failures::IP).with(Failures::WINDOW);
    assert_eq!(all.hardest(), Some(Reason::OutsideTimeWindow));
    assert_eq!(all.reasons().count(), 3);
    assert!(all.rank() > Failures::IP.rank() && Failures::IP.rank() > Failures::MFA.rank());
    assert_eq!((Failures::NONE.rank(), Failures::NONE.hardest()), (0, None));
}

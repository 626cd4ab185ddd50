//! What a field may hold. Every check names its field and says what is wrong with it, never what stood there.

use crate::ids::TenantId;
use crate::limits;
use crate::model::{Constraints, Quota, TimeWindow, Weekdays};
use crate::outcome::Rejection;

const MINUTES_OF_DAY: u16 = 1_440;

pub(super) type Check = Result<(), Rejection>;

pub(super) fn invalid(field: &str, problem: impl Into<String>) -> Rejection {
    Rejection::Invalid { field: field.to_owned(), problem: problem.into() }
}

pub(super) fn ensure(holds: bool, field: &str, problem: &str) -> Check {
    if holds { Ok(()) } else { Err(invalid(field, problem)) }
}

/// Errors: `LimitReached` when `count`, with what the command adds, is past `max`.
pub(super) fn at_most(count: usize, max: usize, what: &str) -> Check {
    if count <= max {
        return Ok(());
    }
    Err(Rejection::LimitReached { what: what.to_owned(), max: max as u64 })
}

/// As [`at_most`], by a quota of the tenant. The operators' tenant has none: nobody could lift it there.
pub(super) fn within_quota(count: usize, quota: Quota, tenant: &TenantId, what: &str) -> Check {
    match quota {
        Quota::AtMost(max) if !tenant.is_system() => {
            at_most(count, usize::try_from(max).unwrap_or(usize::MAX), what)
        }
        Quota::AtMost(_) | Quota::Unlimited => Ok(()),
    }
}

/// At most `max` bytes and no control characters; may be empty.
pub(super) fn text(field: &str, text: &str, max: usize) -> Check {
    if text.len() > max {
        return Err(invalid(field, format!("has {} bytes; at most {max} are allowed", text.len())));
    }
    ensure(!text.chars().any(char::is_control), field, "holds a control character")
}

/// As [`text`], and not empty.
pub(super) fn filled(field: &str, value: &str, max: usize) -> Check {
    ensure(!value.is_empty(), field, "is empty")?;
    text(field, value, max)
}

/// As [`text`], with line breaks.
pub(super) fn description(value: &str) -> Check {
    let plain: String = value.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    text("description", &plain, limits::DESCRIPTION_BYTES_MAX)
}

pub(super) fn list(field: &str, len: usize) -> Check {
    list_of(field, len, limits::LIST_MAX)
}

pub(super) fn list_of(field: &str, len: usize, max: usize) -> Check {
    if len <= max {
        Ok(())
    } else {
        Err(invalid(field, format!("has {len} entries; at most {max} are allowed")))
    }
}

pub(super) fn distinct<T: Ord>(field: &str, items: &[T]) -> Check {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_unstable();
    let all = sorted.len();
    sorted.dedup();
    ensure(sorted.len() == all, field, "names one thing twice")
}

/// `if_revision` of an update; `found` is 0 where there is no record.
pub(super) fn revision(expected: Option<u64>, found: u64) -> Check {
    match expected {
        Some(expected) if expected != found => Err(Rejection::RevisionMismatch { expected, found }),
        _ => Ok(()),
    }
}

pub(super) fn constraints(constraints: &Constraints) -> Check {
    if let Some(window) = &constraints.time_window {
        time_window(window)?;
    }
    if let Some(networks) = &constraints.ip_allowlist {
        list_of("ip_allowlist", networks.len(), limits::NETWORKS_MAX)?;
    }
    if let Some(projects) = &constraints.allowed_projects {
        list("allowed_projects", projects.len())?;
    }
    let cost = constraints.cost_limit_daily_pico_usd;
    ensure(cost.is_none_or(|cost| cost >= 0), "cost_limit_daily", "is negative")
}

fn time_window(window: &TimeWindow) -> Check {
    zone("time_window.zone", &window.zone)?;
    let days = window.days.0;
    ensure(days != 0, "time_window.days", "names no day")?;
    ensure(days & !Weekdays::ALL.0 == 0, "time_window.days", "names a day that no week has")?;
    let minutes = window.start_minute < MINUTES_OF_DAY && window.end_minute < MINUTES_OF_DAY;
    ensure(minutes, "time_window", "has a minute that no day has")
}

/// The form of an IANA name; whether there is such a zone was checked by the proposer.
pub(super) fn zone(field: &str, zone: &str) -> Check {
    filled(field, zone, limits::ZONE_BYTES_MAX)?;
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    ensure(zone.split('/').all(part), field, "is not the name of a time zone")
}

/// A host name in lower case.
pub(super) fn domain(field: &str, domain: &str) -> Check {
    /// Source: RFC 1035, 2.3.4.
    const LABEL_BYTES_MAX: usize = 63;
    filled(field, domain, limits::DOMAIN_BYTES_MAX)?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    ensure(domain.split('.').all(label), field, "is not a host name in lower case")
}

/// An http or https address without credentials in it.
pub(super) fn url(field: &str, url: &str) -> Check {
    filled(field, url, limits::URL_BYTES_MAX)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| invalid(field, "is not an http or https address"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    ensure(!authority.is_empty(), field, "names no host")?;
    ensure(!authority.contains('@'), field, "holds credentials: use a header")?;
    let plain = url.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c));
    ensure(plain && !url.contains('#'), field, "holds a character that no address has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        for good in ["UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"] {
            assert!(zone("z", good).is_ok(), "{good}");
        }
        for bad in ["", "/UTC", "UTC/", "Europe//Vienna", "../etc/passwd", "Europe/Wien\n", "5", "Zürich"] {
            assert!(zone("z", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains() {
        for good in ["a", "mcp.example.com", "xn--bcher-kva.example", "1.example"] {
            assert!(domain("d", good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", "-a.b", "a-.b", "A.b", "a b", "a_b", "a..b"] {
            assert!(domain("d", bad).is_err(), "{bad}");
        }
        assert!(domain("d", &"a".repeat(63)).is_ok());
        assert!(domain("d", &"a".repeat(64)).is_err());
    }

    #[test]
    fn urls() {
        for good in ["http://127.0.0.1:8080/mcp", "https://example.com", "https://[::1]/mcp?x=1"] {
            assert!(url("u", good).is_ok(), "{good}");
        }
        for bad in
            ["", "ftp://x", "http://", "https:///mcp", "https://u:p@h/", "https://h/ x", "https://h/#x", "h"]
        {
            assert!(url("u", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts() {
        assert!(text("t", "", 3).is_ok());
        assert!(filled("t", "", 3).is_err());
        assert!(text("t", "abc", 3).is_ok());
        assert!(text("t", "abcd", 3).is_err());
        assert!(text("t", "a\tb", 3).is_err());
        assert!(description("two\nlines").is_ok());
        assert!(description("bell\u{7}").is_err());
    }

    #[test]
    fn revisions() {
        assert!(revision(None, 7).is_ok());
        assert!(revision(Some(7), 7).is_ok());
        assert_eq!(revision(Some(0), 7), Err(Rejection::RevisionMismatch { expected: 0, found: 7 }));
    }

    #[test]
    fn windows() {
        let window = |days, start_minute, end_minute| {
            time_window(&TimeWindow {
                zone: "UTC".to_owned(),
                days: Weekdays(days),
                start_minute,
                end_minute,
            })
        };
        assert!(window(1, 0, 1_439).is_ok());
        assert!(window(0, 0, 1).is_err());
        assert!(window(0x80, 0, 1).is_err());
        assert!(window(1, 1_440, 1).is_err());
        assert!(window(1, 0, 1_440).is_err());
    }
}

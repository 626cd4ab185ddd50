//! Constraints of roles, grants and tenants as they are typed and shown.

use clap::Args;
use only1mcp_proto::model as m;
use serde_json::{Map, Value, json};

use super::parse;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Conditions")]
pub(super) struct ConditionArgs {
    /// Only at these times, as "Europe/Berlin Mon-Fri 09:00-17:00".
    #[arg(long, value_parser = window)]
    time_window: Option<m::TimeWindow>,
    /// Only from this network, as 10.0.0.0/8. May be repeated.
    #[arg(long, value_name = "CIDR")]
    ip_allow: Vec<String>,
    /// Only with a second factor.
    #[arg(long)]
    mfa_required: bool,
    /// Only for this project. May be repeated.
    #[arg(long, value_name = "PROJECT")]
    allow_project: Vec<String>,
    /// At most so many calls an hour: of a role or grant for each principal, of a tenant in all.
    #[arg(long, value_name = "N")]
    max_requests_per_hour: Option<u32>,
    /// At most so much a day, at the prices of `ctl price`: of a role or grant for each principal, of a tenant in all. A
    /// call whose price or bound is not known is refused under it.
    #[arg(long, value_name = "USD", value_parser = parse::usd)]
    cost_limit_daily_usd: Option<i128>,
}

impl ConditionArgs {
    pub(super) fn any(&self) -> bool {
        self.message() != m::Constraints::default()
    }

    pub(super) fn message(&self) -> m::Constraints {
        let list = |items: &Vec<String>| (!items.is_empty()).then(|| m::TextList { items: items.clone() });
        m::Constraints {
            time_window: self.time_window.clone(),
            ip_allowlist: list(&self.ip_allow),
            mfa_required: self.mfa_required,
            allowed_projects: list(&self.allow_project),
            max_requests_per_hour: self.max_requests_per_hour,
            cost_limit_daily_pico_usd: self
                .cost_limit_daily_usd
                .map(|pico| pico.to_be_bytes().to_vec().into()),
        }
    }
}

/// What is set, by name.
pub(super) fn json_of(constraints: Option<&m::Constraints>) -> Value {
    let mut out = Map::new();
    let Some(constraints) = constraints else { return Value::Object(out) };
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    if let Some(window) = &constraints.time_window {
        put("time_window", json!(window_text(window)));
    }
    if let Some(networks) = &constraints.ip_allowlist {
        put("ip_allowlist", json!(networks.items));
    }
    if constraints.mfa_required {
        put("mfa_required", json!(true));
    }
    if let Some(projects) = &constraints.allowed_projects {
        put("allowed_projects", json!(projects.items));
    }
    if let Some(max) = constraints.max_requests_per_hour {
        put("max_requests_per_hour", json!(max));
    }
    if let Some(bytes) = &constraints.cost_limit_daily_pico_usd {
        let amount = <[u8; 16]>::try_from(bytes.as_ref()).map(i128::from_be_bytes);
        put("cost_limit_daily_usd", json!(amount.map(parse::usd_text).unwrap_or_default()));
    }
    Value::Object(out)
}

/// `ZONE DAYS FROM-TO`.
fn window(text: &str) -> Result<m::TimeWindow, String> {
    let shape = || format!("{text:?} is no time window; write \"Europe/Berlin Mon-Fri 09:00-17:00\"");
    let mut parts = text.split_whitespace();
    let (Some(zone), Some(days), Some(times), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(shape());
    };
    let (start, end) = times.split_once('-').ok_or_else(shape)?;
    Ok(m::TimeWindow {
        zone: zone.to_owned(),
        days: weekdays(days)?,
        start_minute: minute(start)?,
        // Midnight at the end of the day is the next day's first minute.
        end_minute: if end == "24:00" { 0 } else { minute(end)? },
    })
}

/// `Mon-Fri`, `Sat,Sun`, `daily`: bit 0 is Monday.
fn weekdays(text: &str) -> Result<u32, String> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0b111_1111);
    }
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("{name:?} is none of {}", DAYS.join(", ")))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let count = (last + 7 - first) % 7;
        bits |= (0..=count).fold(0, |bits, step| bits | 1 << ((first + step) % 7));
    }
    Ok(bits)
}

fn minute(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no time of day; write 09:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let hour: u32 = hour.parse().map_err(|_| wrong())?;
    let minute: u32 = minute.parse().map_err(|_| wrong())?;
    if hour > 23 || minute > 59 { Err(wrong()) } else { Ok(hour * 60 + minute) }
}

fn window_text(window: &m::TimeWindow) -> String {
    let days: Vec<&str> =
        DAYS.iter().enumerate().filter(|(i, _)| window.days & (1 << i) != 0).map(|(_, d)| *d).collect();
    let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
    let days = if days.len() == DAYS.len() { "daily".to_owned() } else { days.join(",") };
    format!("{} {days} {}-{}", window.zone, time(window.start_minute), time(window.end_minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_and_write() {
        let read = window("Europe/Berlin Mon-Wed,Sun 09:00-17:30").unwrap();
        assert_eq!((read.days, read.start_minute, read.end_minute), (0b100_0111, 540, 1_050));
        assert_eq!(window_text(&read), "Europe/Berlin Mon,Tue,Wed,Sun 09:00-17:30");
        assert_eq!(window("UTC Sat-Mon 22:00-06:00").unwrap().days, 0b110_0001);
        assert_eq!(window("UTC daily 00:00-24:00").unwrap().end_minute, 0);
        for bad in
            ["", "UTC", "UTC Foo 09:00-10:00", "UTC Mon 9-10", "UTC Mon 24:01-01:00", "UTC Mon 09:00-10:00 x"]
        {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}

//! Conditions under which a role, a grant or a tenant's access counts.
//! Source: specification, `PolicyConstraints`.

use crate::ids::ProjectId;

/// Days of a week as a set; bit 0 is Monday.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weekdays(pub u8);

impl Weekdays {
    pub const ALL: Self = Self(0b111_1111);

    /// `weekday`: 1 is Monday, 7 is Sunday; any other number is in no set.
    pub fn contains(self, weekday: u8) -> bool {
        (1..=7).contains(&weekday) && self.0 & (1 << (weekday - 1)) != 0
    }
}

/// From `start` inclusive to `end` exclusive, local time; `end` before `start` runs over midnight and belongs to the
/// day it starts on; equal ends mean the whole day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeWindow {
    /// IANA name, checked by the proposer; a node that does not know it refuses.
    pub zone: String,
    pub days: Weekdays,
    /// Units: minutes since midnight, 0 to 1,439.
    pub start_minute: u16,
    pub end_minute: u16,
}

/// All must hold. The two counting ones are limits of the ledger (`ledger/limit.rs`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Constraints {
    pub time_window: Option<TimeWindow>,
    /// `None`: anywhere. `Some(empty)`: nowhere. IPv4-mapped IPv6 addresses count as IPv4.
    pub ip_allowlist: Option<Vec<ipnet::IpNet>>,
    pub mfa_required: bool,
    /// `None`: any project or none. Otherwise the request must name one of these.
    pub allowed_projects: Option<Vec<ProjectId>>,
    pub max_requests_per_hour: Option<u32>,
    /// Units: pico-USD.
    pub cost_limit_daily_pico_usd: Option<i128>,
}

impl Constraints {
    pub fn is_unrestricted(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_weekdays_holds_the_days_of_its_bits() {
        let weekend = Weekdays(0b110_0000);
        for day in 0..=u8::MAX {
            assert_eq!(weekend.contains(day), day == 6 || day == 7, "{day}");
            assert_eq!(Weekdays::ALL.contains(day), (1..=7).contains(&day), "{day}");
            assert!(!Weekdays(0b1000_0000).contains(day), "{day}");
        }
    }

    #[test]
    fn any_constraint_at_all_restricts() {
        let window =
            TimeWindow { zone: "UTC".to_owned(), days: Weekdays::ALL, start_minute: 0, end_minute: 0 };
        let none = Constraints::default();
        assert!(none.is_unrestricted());
        for one in [
            Constraints { time_window: Some(window), ..none.clone() },
            Constraints { ip_allowlist: Some(Vec::new()), ..none.clone() },
            Constraints { mfa_required: true, ..none.clone() },
            Constraints { allowed_projects: Some(Vec::new()), ..none.clone() },
            Constraints { max_requests_per_hour: Some(0), ..none.clone() },
            Constraints { cost_limit_daily_pico_usd: Some(0), ..none.clone() },
        ] {
            assert!(!one.is_unrestricted(), "{one:?}");
        }
    }
}

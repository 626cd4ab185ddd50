//! Conditions of roles, grants and tenants.

use only1mcp_domain::model::{Constraints, TimeWindow, Weekdays};

use crate::codec::error::{DecodeError, Problem};
use crate::codec::parts::{display_list, money, parsed_list, text_list, write_list, write_money};
use crate::model;

impl From<&TimeWindow> for model::TimeWindow {
    fn from(window: &TimeWindow) -> Self {
        Self {
            zone: window.zone.clone(),
            days: window.days.0.into(),
            start_minute: window.start_minute.into(),
            end_minute: window.end_minute.into(),
        }
    }
}

impl TryFrom<model::TimeWindow> for TimeWindow {
    type Error = DecodeError;

    fn try_from(wire: model::TimeWindow) -> Result<Self, DecodeError> {
        let minute = |what, value: u32| {
            let problem = Problem::TooLarge { found: value.into(), max: u16::MAX.into() };
            u16::try_from(value).map_err(|_| DecodeError::new(what, problem))
        };
        let days = u8::try_from(wire.days).map_err(|_| {
            let problem = Problem::TooLarge { found: wire.days.into(), max: u8::MAX.into() };
            DecodeError::new("TimeWindow.days", problem)
        })?;
        Ok(Self {
            zone: wire.zone,
            days: Weekdays(days),
            start_minute: minute("TimeWindow.start_minute", wire.start_minute)?,
            end_minute: minute("TimeWindow.end_minute", wire.end_minute)?,
        })
    }
}

impl From<&Constraints> for model::Constraints {
    fn from(constraints: &Constraints) -> Self {
        let networks = constraints.ip_allowlist.as_ref();
        let projects = constraints.allowed_projects.as_ref();
        Self {
            time_window: constraints.time_window.as_ref().map(Into::into),
            ip_allowlist: networks.map(|list| model::TextList { items: display_list(list) }),
            mfa_required: constraints.mfa_required,
            allowed_projects: projects.map(|list| model::TextList { items: write_list(list) }),
            max_requests_per_hour: constraints.max_requests_per_hour,
            cost_limit_daily_pico_usd: constraints.cost_limit_daily_pico_usd.map(write_money),
        }
    }
}

impl TryFrom<model::Constraints> for Constraints {
    type Error = DecodeError;

    fn try_from(wire: model::Constraints) -> Result<Self, DecodeError> {
        let networks = wire.ip_allowlist.map(|list| parsed_list("Constraints.ip_allowlist", &list.items));
        let projects =
            wire.allowed_projects.map(|list| text_list("Constraints.allowed_projects", &list.items));
        let limit = wire.cost_limit_daily_pico_usd;
        Ok(Self {
            time_window: wire.time_window.map(TryInto::try_into).transpose()?,
            ip_allowlist: networks.transpose()?,
            mfa_required: wire.mfa_required,
            allowed_projects: projects.transpose()?,
            max_requests_per_hour: wire.max_requests_per_hour,
            cost_limit_daily_pico_usd: limit
                .map(|bytes| money("Constraints.cost_limit_daily_pico_usd", &bytes))
                .transpose()?,
        })
    }
}

//! Constraints, made ready for checking, and what failed of them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::decide::{Context, Reason};
use crate::ids::ProjectId;
use crate::model::{Constraints, TimeWindow};
use crate::time::{LocalTime, TimestampMs, Zones};

/// Minutes of a day; local clocks show fewer than this.
const DAY_MINUTES: u16 = 1_440;

/// The request's context, its address normalised once.
pub(super) struct Facts<'a> {
    pub(super) now: TimestampMs,
    pub(super) ip: Option<IpAddr>,
    pub(super) mfa: bool,
    pub(super) project: Option<&'a ProjectId>,
    zones: &'a dyn Zones,
}

impl<'a> Facts<'a> {
    pub(super) fn new(context: &Context<'a>) -> Self {
        Self {
            now: context.now,
            ip: context.ip.map(|ip| ip.to_canonical()),
            mfa: context.mfa,
            project: context.project,
            zones: context.zones,
        }
    }

    pub(super) fn expired(&self, expires_at: Option<TimestampMs>) -> bool {
        expires_at.is_some_and(|at| self.now >= at)
    }
}

/// Which conditions failed, as a set. A higher bit is harder to mend for the caller: from signing in with a second
/// factor up to a rule that an administrator must repair.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Failures(u8);

impl Failures {
    pub(super) const NONE: Self = Self(0);
    pub(super) const MFA: Self = Self(1);
    pub(super) const PROJECT: Self = Self(1 << 1);
    pub(super) const IP: Self = Self(1 << 2);
    pub(super) const WINDOW: Self = Self(1 << 3);
    pub(super) const EXPIRED: Self = Self(1 << 4);
    pub(super) const BROKEN: Self = Self(1 << 5);

    /// Easiest first.
    const REASONS: [(Self, Reason); 6] = [
        (Self::MFA, Reason::MfaRequired),
        (Self::PROJECT, Reason::ProjectNotAllowed),
        (Self::IP, Reason::IpNotAllowed),
        (Self::WINDOW, Reason::OutsideTimeWindow),
        (Self::EXPIRED, Reason::GrantExpired),
        (Self::BROKEN, Reason::BrokenRule),
    ];

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn when(failed: bool, what: Self) -> Self {
        if failed { what } else { Self::NONE }
    }

    /// The failure that is hardest to mend: it decides how near a path came to allowing.
    pub(super) fn hardest(self) -> Option<Reason> {
        self.reasons().next_back()
    }

    /// Smaller is nearer to an allow; 0 is an allow.
    pub(super) fn rank(self) -> u32 {
        u8::BITS - self.0.leading_zeros()
    }

    /// Easiest first.
    pub(super) fn reasons(self) -> impl DoubleEndedIterator<Item = Reason> {
        Self::REASONS.into_iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, reason)| reason)
    }
}

/// One set of constraints. The counting ones are not in it: they are limits of the ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    window: Option<TimeWindow>,
    /// Normalised; `Some(empty)`: nowhere.
    networks: Option<Box<[IpNet]>>,
    mfa: bool,
    /// Sorted; `None`: any project or none.
    projects: Option<Box<[ProjectId]>>,
}

impl Guard {
    pub(super) fn new(constraints: &Constraints) -> Self {
        Self {
            window: constraints.time_window.clone(),
            networks: constraints.ip_allowlist.as_deref().map(normalised),
            mfa: constraints.mfa_required,
            projects: constraints.allowed_projects.as_deref().map(sorted),
        }
    }

    /// True when no request can fail it.
    pub(super) fn is_open(&self) -> bool {
        self.window.is_none() && self.networks.is_none() && !self.mfa && self.projects.is_none()
    }

    pub(super) fn requires_mfa(&self) -> bool {
        self.mfa
    }

    /// Everything that fails; a waiver of the second factor is the caller's to subtract.
    pub(super) fn failures(&self, facts: &Facts<'_>) -> Failures {
        let window = self.window.as_ref().map_or(Failures::NONE, |window| window_failures(window, facts));
        let ip = self.networks.as_deref().is_some_and(|networks| !within(networks, facts.ip));
        let project = self.projects.as_deref().is_some_and(|projects| !names_one(projects, facts.project));
        window
            .with(Failures::when(ip, Failures::IP))
            .with(Failures::when(project, Failures::PROJECT))
            .with(Failures::when(self.mfa && !facts.mfa, Failures::MFA))
    }
}

/// True when the request names one of `projects` (sorted).
pub(super) fn names_one(projects: &[ProjectId], project: Option<&ProjectId>) -> bool {
    project.is_some_and(|project| projects.binary_search(project).is_ok())
}

/// True when `ip` is known and in one of `networks` (normalised).
pub(super) fn within(networks: &[IpNet], ip: Option<IpAddr>) -> bool {
    ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip)))
}

pub(super) fn sorted<T: Ord + Clone>(items: &[T]) -> Box<[T]> {
    let mut items = items.to_vec();
    items.sort();
    items.dedup();
    items.into()
}

/// Networks of IPv4-mapped IPv6 addresses become the IPv4 networks they mean. A wider IPv6 network (`::/0`) stays one
/// of IPv6 and holds no IPv4 caller.
pub(super) fn normalised(networks: &[IpNet]) -> Box<[IpNet]> {
    const MAPPED_PREFIX_BITS: u8 = 96;
    let normal = |network: &IpNet| match network {
        IpNet::V4(_) => *network,
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(MAPPED_PREFIX_BITS))
            .and_then(|(address, bits)| Ipv4Net::new(address, bits).ok())
            .map_or(*network, IpNet::V4),
    };
    networks.iter().map(normal).collect()
}

fn window_failures(window: &TimeWindow, facts: &Facts<'_>) -> Failures {
    let sound = window.start_minute < DAY_MINUTES
        && window.end_minute < DAY_MINUTES
        && window.days.0 & !crate::model::Weekdays::ALL.0 == 0;
    match facts.zones.local(&window.zone, facts.now) {
        Some(local) if sound && (1..=7).contains(&local.weekday) && local.minute_of_day < DAY_MINUTES => {
            Failures::when(!window_holds(window, local), Failures::WINDOW)
        }
        _ => Failures::BROKEN,
    }
}

/// `local` and the window's numbers are in range.
fn window_holds(window: &TimeWindow, local: LocalTime) -> bool {
    let (start, end, minute) = (window.start_minute, window.end_minute, local.minute_of_day);
    let today = window.days.contains(local.weekday);
    if start == end {
        return today;
    }
    if start < end {
        return today && (start..end).contains(&minute);
    }
    let yesterday = if local.weekday == 1 { 7 } else { local.weekday - 1 };
    (today && minute >= start) || (window.days.contains(yesterday) && minute < end)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

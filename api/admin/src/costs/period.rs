//! The period of a report, and the days and months in it.

use only1mcp_domain::ledger::{Account, Period};
use only1mcp_domain::model::{NodeRole, PeriodKind};
use only1mcp_domain::time::{TimestampMs, Zones};

use crate::error::AdminError;
use crate::ports::View;

/// Errors: it ends before it begins.
pub(super) fn check(from: TimestampMs, to: TimestampMs) -> Result<(), AdminError> {
    if from < to { Ok(()) } else { Err(AdminError::invalid("to_ms", "is not after from_ms")) }
}

/// Whether calls that began before `to` may still cost something: it is not over, or some node may have one open.
pub(super) fn is_provisional(view: &View, to: TimestampMs) -> bool {
    let members = view.state.nodes.iter().filter(|(_, record)| record.value.role != NodeRole::Removed);
    let members = members.map(|(node, _)| *node);
    view.state.log_time < to || view.state.ledger.is_provisional(&Account::new(to), members)
}

/// Names of days or months by a zone's calendar; remembers the last one, because records come by time.
pub(super) struct Calendar<'a> {
    zones: &'a dyn Zones,
    zone: String,
    kind: PeriodKind,
    last: Option<Period>,
}

impl<'a> Calendar<'a> {
    /// Errors: nobody knows the zone.
    pub(super) fn new(
        zones: &'a dyn Zones,
        zone: &str,
        kind: PeriodKind,
        at: TimestampMs,
    ) -> Result<Self, AdminError> {
        let zone = if zone.is_empty() { "UTC" } else { zone }.to_owned();
        let mut calendar = Self { zones, zone, kind, last: None };
        calendar.start(at)?;
        Ok(calendar)
    }

    pub(super) fn start(&mut self, at: TimestampMs) -> Result<TimestampMs, AdminError> {
        if let Some(last) = self.last.filter(|period| period.contains(at)) {
            return Ok(last.start);
        }
        let found = self.zones.period(&self.zone, self.kind, at);
        let period = found
            .ok_or_else(|| AdminError::invalid("zone", format!("{:?} is no known time zone", self.zone)))?;
        self.last = Some(period);
        Ok(period.start)
    }
}

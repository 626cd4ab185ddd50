//! A limit that an administrator sets on what calls consume: money, tokens or calls, within a period.
//! Source: specification, "Cost Tracking & Chargeback".

use crate::ids::{BudgetId, PrincipalId, ProjectId, TenantId, UpstreamId};
use crate::model::Glob;
use crate::time::TimestampMs;

/// What an account counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Measure {
    /// Units: pico-USD.
    Cost,
    /// Units: tokens of every kind.
    Tokens,
    /// Units: calls.
    Calls,
}

impl Measure {
    pub fn text(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Tokens => "tokens",
            Self::Calls => "calls",
        }
    }
}

/// How long an amount lasts. Minutes and hours follow the epoch; longer ones the calendar of a zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeriodKind {
    Minute,
    Hour,
    Day,
    /// From Monday.
    Week,
    Month,
    Quarter,
    Year,
    /// Never begins anew.
    Total,
}

impl PeriodKind {
    pub const ALL: [Self; 8] = [
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
        Self::Total,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
            Self::Total => "total",
        }
    }

    /// No period of this kind is longer, whatever the zone does to its clocks. Units: milliseconds.
    pub fn ms_max(self) -> u64 {
        const HOUR: u64 = 3_600_000;
        const DAY: u64 = 24 * HOUR;
        // A zone may skip or repeat a day, and an hour besides.
        const SLACK: u64 = 25 * HOUR;
        match self {
            Self::Minute => 60_000,
            Self::Hour => HOUR,
            Self::Day => DAY + SLACK,
            Self::Week => 7 * DAY + SLACK,
            Self::Month => 31 * DAY + SLACK,
            Self::Quarter => 92 * DAY + SLACK,
            Self::Year => 366 * DAY + SLACK,
            Self::Total => u64::MAX,
        }
    }
}

/// What makes one account per value, instead of one for all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dimension {
    Principal,
    Project,
    Tool,
    Upstream,
    Model,
    CostCenter,
}

impl Dimension {
    pub const ALL: [Self; 6] =
        [Self::Principal, Self::Project, Self::Tool, Self::Upstream, Self::Model, Self::CostCenter];

    pub fn text(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Project => "project",
            Self::Tool => "tool",
            Self::Upstream => "upstream",
            Self::Model => "model",
            Self::CostCenter => "cost_center",
        }
    }
}

/// Which calls of the tenant a budget concerns: those that every named part fits. Nothing named: all of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BudgetScope {
    pub project: Option<ProjectId>,
    pub principal: Option<PrincipalId>,
    /// By exposed name.
    pub tools: Option<Glob>,
    pub upstream: Option<UpstreamId>,
    pub model: Option<String>,
    pub cost_center: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    pub tenant: TenantId,
    pub id: BudgetId,
    pub scope: BudgetScope,
    /// `None`: one account for the whole scope.
    pub per: Option<Dimension>,
    pub measure: Measure,
    pub period: PeriodKind,
    /// IANA name; for periods from a day on.
    pub zone: String,
    /// Units: those of the measure.
    pub amount: i128,
    /// A hard budget refuses; a soft one counts and tells.
    pub hard: bool,
    pub description: String,
    pub created_at: TimestampMs,
    pub created_by: String,
}

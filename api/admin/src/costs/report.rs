//! Sums of a period by one dimension, from the records themselves: no counter that could drift from them.

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_domain::cost::{Cost, CostKind, CostRecord};
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::limits::{REPORT_GROUPS_DEFAULT, REPORT_GROUPS_MAX, REPORT_RECORDS_MAX};
use only1mcp_domain::model::{PeriodKind, is_tag_key};
use only1mcp_domain::money::PicoUsd;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::CostDimension as Dimension;
use tokio::time::Instant;

use super::amount;
use super::groups::{Groups, Item, Told};
use super::period::{self, Calendar};
use super::shown;
use super::walk::{self, Walk};
use crate::audit::reading;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

/// What a report was asked for, read.
struct Asked<'a> {
    tenant: TenantId,
    from: TimestampMs,
    to: TimestampMs,
    by: Dimension,
    calendar: Option<Calendar<'a>>,
    groups_max: usize,
    limit: Option<LimitId>,
    tag: &'a str,
}

impl<'a> Asked<'a> {
    fn read(core: &'a Core, call: &Call, message: &'a pb::ReportCostsRequest) -> Result<Self, AdminError> {
        let (from, to) = (TimestampMs(message.from_ms), TimestampMs(message.to_ms));
        period::check(from, to)?;
        let by = Dimension::try_from(message.by)
            .map_err(|_| AdminError::invalid("by", "is none of the dimensions"))?;
        let kind = match by {
            Dimension::Day => Some(PeriodKind::Day),
            Dimension::Month => Some(PeriodKind::Month),
            _ => None,
        };
        let calendar = kind.map(|kind| Calendar::new(&*core.ports.zones, &message.zone, kind, from));
        let groups_max = match usize::try_from(message.groups_max).unwrap_or(usize::MAX) {
            0 => REPORT_GROUPS_DEFAULT,
            max if max <= REPORT_GROUPS_MAX => max,
            _ => return Err(AdminError::invalid("groups_max", format!("at most {REPORT_GROUPS_MAX}"))),
        };
        let limit = match message.limit.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| AdminError::invalid("limit", error))?),
        };
        let tag = message.tag.as_str();
        if (by == Dimension::Tag) != is_tag_key(tag) || (by != Dimension::Tag && !tag.is_empty()) {
            return Err(AdminError::invalid("tag", "names no tag, or the report is by something else"));
        }
        let tenant = call.tenant(&message.tenant)?;
        Ok(Self { tenant, from, to, by, calendar: calendar.transpose()?, groups_max, limit, tag })
    }

    /// The group of a record; `cost` is that of the call it is about.
    fn key(&mut self, record: &CostRecord, cost: Option<&Cost>) -> Result<String, AdminError> {
        if let Some(calendar) = &mut self.calendar {
            return Ok(calendar.start(record.log_time)?.0.to_string());
        }
        if self.by == Dimension::Kind {
            return Ok(record.kind.text().to_owned());
        }
        if self.by == Dimension::Tag {
            return Ok(cost.and_then(|cost| cost.tags.get(self.tag)).cloned().unwrap_or_default());
        }
        Ok(cost.map(|cost| attribute(self.by, &self.tenant, cost)).unwrap_or_default())
    }
}

fn attribute(by: Dimension, payer: &TenantId, cost: &Cost) -> String {
    match by {
        Dimension::Principal if cost.caller_tenant == *payer => cost.principal.to_string(),
        Dimension::Principal => format!("{}/{}", cost.caller_tenant, cost.principal),
        Dimension::Project => cost.project.as_ref().map(ToString::to_string).unwrap_or_default(),
        Dimension::Tool => cost.item.clone(),
        Dimension::Upstream => cost.upstream.to_string(),
        Dimension::Model if cost.model.is_empty() => String::new(),
        Dimension::Model => format!("{}/{}", cost.provider, cost.model),
        Dimension::Provider => cost.provider.clone(),
        Dimension::CostCenter => cost.cost_center.clone(),
        Dimension::RequestType => shown::request_type(cost.kind).to_owned(),
        Dimension::Unspecified | Dimension::Kind | Dimension::Day | Dimension::Month | Dimension::Tag => {
            String::new()
        }
    }
}

pub(super) async fn report(
    core: &Core,
    call: &Call,
    message: pb::ReportCostsRequest,
) -> Result<pb::ReportCostsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let mut asked = Asked::read(core, call, &message)?;
    let _walk = core.chain_walks.try_acquire().map_err(|_| AdminError::Overloaded)?;
    let mut walk = Walk::new(core, &view, &tenant, asked.from, asked.to);
    let mut groups = Groups::default();
    let mut read = 0;
    loop {
        let records = walk.page().await?;
        if records.is_empty() {
            break;
        }
        read += records.len();
        if too_many(read) || Instant::now() >= call.deadline {
            return Err(AdminError::PeriodTooLong);
        }
        for record in &records {
            add(core, &mut asked, &mut groups, record).await?;
        }
    }
    reading::record(core, call, AuditReadKind::CostReport, &tenant, asked_text(&message), read as u64)?;
    let in_key_order = asked.calendar.is_some();
    let told = groups.told(asked.groups_max, in_key_order).map_err(|_| TOO_LARGE)?;
    let Told { groups, rest, rest_groups, too_many, total } = told;
    Ok(pb::ReportCostsResponse {
        read: core.read_info(&view),
        from_ms: message.from_ms,
        to_ms: message.to_ms,
        groups,
        rest,
        rest_groups,
        too_many_groups: too_many,
        total: Some(total),
        provisional: period::is_provisional(&view, asked.to),
    })
}

/// For a person to read.
fn asked_text(message: &pb::ReportCostsRequest) -> String {
    let mut text = format!("from_ms={} to_ms={}", message.from_ms, message.to_ms);
    let by = message.by().as_str_name().trim_start_matches("COST_DIMENSION_").to_lowercase();
    for (name, value) in [("by", by.as_str()), ("tag", &message.tag), ("limit", &message.limit)] {
        if !value.is_empty() {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    text
}

fn too_many(records: usize) -> bool {
    records > REPORT_RECORDS_MAX
}

/// Apply counts the same amounts checked, so that no sum of them is beyond counting.
pub(super) const TOO_LARGE: AdminError = AdminError::Internal { detail: "a sum of costs beyond counting" };

async fn add(
    core: &Core,
    asked: &mut Asked<'_>,
    groups: &mut Groups,
    record: &CostRecord,
) -> Result<(), AdminError> {
    let amount = match &asked.limit {
        None => Some(amount::cost(record).map_err(|_| TOO_LARGE)?),
        Some(limit) => amount::posted(record, limit).map_err(|_| TOO_LARGE)?,
    };
    let Some(amount) = amount else { return Ok(()) };
    // What is given back is given back to whom it was charged.
    let original = match record.corrects {
        Some(place) => walk::find(core, &asked.tenant, place).await?,
        None => None,
    };
    let attributed = original.as_ref().unwrap_or(record).cost.as_deref();
    let key = asked.key(record, attributed)?;
    groups.add(&key, item(record, amount)).map_err(|_| TOO_LARGE)
}

fn item(record: &CostRecord, cost: PicoUsd) -> Item {
    let lines = record.cost.iter().flat_map(|cost| &cost.lines);
    Item {
        cost,
        is_correction: record.kind == CostKind::Correction,
        units: lines.map(|line| (line.meter, line.units)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_records_max() {
        assert!(!too_many(REPORT_RECORDS_MAX));
        assert!(too_many(REPORT_RECORDS_MAX + 1));
    }
}

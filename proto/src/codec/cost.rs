//! What calls cost, their records, corrections, and what is counted for the price book.

use only1mcp_domain::command::CorrectCost;
use only1mcp_domain::cost::{Cost, CostCharge, CostKind, CostPlace, CostRecord, PricedLine};
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::model::Measure;
use only1mcp_domain::money::PicoUsd;
use only1mcp_domain::price::Amounts;
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::model::price::{boxed, meter, read_amounts, write_amounts, write_meter};
use super::parts::{
    Decoded, Raw as _, Text as _, enumeration, money, optional_raw, optional_text, record, required, text,
    wire_enum, write_money, write_text,
};
use crate::{log, model};

wire_enum!(
    CostKind,
    log::CostKind,
    "CostKind",
    [Call, UnattributedRestart, NodeRemoved, ForceClosed, Correction]
);

impl From<&Cost> for log::Cost {
    fn from(cost: &Cost) -> Self {
        let line = |line: &PricedLine| log::PricedLine {
            meter: write_meter(line.meter),
            units: line.units,
            price: write_text(line.price.as_ref()),
            price_version: line.price_version,
            exchange_version: line.exchange_version,
            amount: write_money(line.pico_usd.0),
        };
        let discounts = cost.discounts.iter();
        Self {
            caller_tenant: cost.caller_tenant.written(),
            principal: cost.principal.written(),
            project: write_text(cost.project.as_ref()),
            cost_center: cost.cost_center.clone(),
            kind: log::ItemKind::from(cost.kind).into(),
            item: cost.item.clone(),
            upstream: cost.upstream.written(),
            provider: cost.provider.clone(),
            model: cost.model.clone(),
            model_answered: cost.model_answered.clone(),
            metering: write_text(cost.metering.as_ref()),
            lines: cost.lines.iter().map(line).collect(),
            discounts: discounts
                .map(|(id, version)| log::TakenDiscount { id: id.written(), version: *version })
                .collect(),
            held: write_money(cost.held.0),
            at_hold: cost.at_hold,
            month_ms: cost.month.0,
            tags: cost.tags.clone(),
        }
    }
}

impl TryFrom<log::Cost> for Cost {
    type Error = DecodeError;

    fn try_from(wire: log::Cost) -> Result<Self, DecodeError> {
        let line = |line: log::PricedLine| {
            Ok(PricedLine {
                meter: meter("PricedLine.meter", line.meter)?,
                units: line.units,
                price: optional_text("PricedLine.price", line.price.as_deref())?,
                price_version: line.price_version,
                exchange_version: line.exchange_version,
                pico_usd: PicoUsd(money("PricedLine.amount", &line.amount)?),
            })
        };
        let discount = |taken: log::TakenDiscount| Ok((text("TakenDiscount.id", &taken.id)?, taken.version));
        Ok(Self {
            caller_tenant: text("Cost.caller_tenant", &wire.caller_tenant)?,
            principal: text("Cost.principal", &wire.principal)?,
            project: optional_text("Cost.project", wire.project.as_deref())?,
            cost_center: wire.cost_center,
            kind: enumeration::<log::ItemKind, _>("Cost.kind", wire.kind)?,
            item: wire.item,
            upstream: text("Cost.upstream", &wire.upstream)?,
            provider: wire.provider,
            model: wire.model,
            model_answered: wire.model_answered,
            metering: optional_text("Cost.metering", wire.metering.as_deref())?,
            lines: wire.lines.into_iter().map(line).collect::<Decoded<_>>()?,
            discounts: wire.discounts.into_iter().map(discount).collect::<Decoded<_>>()?,
            held: PicoUsd(money("Cost.held", &wire.held)?),
            at_hold: wire.at_hold,
            month: TimestampMs(wire.month_ms),
            tags: wire.tags,
        })
    }
}

fn write_place(CostPlace { at, index, part }: CostPlace) -> log::CorrectedRecord {
    log::CorrectedRecord { log_time_ms: at.0, audit_index: index.0, part }
}

fn read_place(wire: log::CorrectedRecord) -> CostPlace {
    let (at, index) = (TimestampMs(wire.log_time_ms), AuditIndex(wire.audit_index));
    CostPlace { at, index, part: wire.part }
}

impl From<&CostRecord> for log::CostRecord {
    fn from(of: &CostRecord) -> Self {
        let charge = |charge: &CostCharge| log::CostCharge {
            account: Some((&charge.account).into()),
            measure: charge.measure.map_or(model::Measure::Unspecified, Into::into).into(),
            amount: write_money(charge.amount),
        };
        Self {
            tenant: of.tenant.written(),
            log_time_ms: of.log_time.0,
            audit_index: of.audit_index.0,
            part: of.part,
            kind: log::CostKind::from(of.kind).into(),
            node: of.node.0,
            call: of.call.map(|call| call.written()),
            observed_at_ms: of.observed_at.0,
            cost: of.cost.as_deref().map(Into::into),
            charges: of.charges.iter().map(charge).collect(),
            corrects: of.corrects.map(write_place),
        }
    }
}

impl TryFrom<log::CostRecord> for CostRecord {
    type Error = DecodeError;

    fn try_from(wire: log::CostRecord) -> Result<Self, DecodeError> {
        let measure = |number: i32| -> Decoded<Option<Measure>> {
            if number == i32::from(model::Measure::Unspecified) {
                return Ok(None);
            }
            enumeration::<model::Measure, _>("CostCharge.measure", number).map(Some)
        };
        let charge = |charge: log::CostCharge| {
            Ok(CostCharge {
                account: record("CostCharge.account", charge.account)?,
                measure: measure(charge.measure)?,
                amount: money("CostCharge.amount", &charge.amount)?,
            })
        };
        Ok(Self {
            tenant: text("CostRecord.tenant", &wire.tenant)?,
            log_time: TimestampMs(wire.log_time_ms),
            audit_index: AuditIndex(wire.audit_index),
            part: wire.part,
            kind: enumeration::<log::CostKind, _>("CostRecord.kind", wire.kind)?,
            node: NodeId(wire.node),
            call: optional_raw("CostRecord.call", wire.call.as_deref())?,
            observed_at: TimestampMs(wire.observed_at_ms),
            cost: wire.cost.map(TryInto::try_into).transpose()?.map(Box::new),
            charges: wire.charges.into_iter().map(charge).collect::<Decoded<_>>()?,
            corrects: wire.corrects.map(read_place),
        })
    }
}

impl From<&CorrectCost> for log::CorrectCost {
    fn from(of: &CorrectCost) -> Self {
        let charges = of.charges.iter();
        Self {
            tenant: of.tenant.written(),
            record: Some(write_place(of.record)),
            charges: charges
                .map(|(account, amount)| log::CorrectedCharge {
                    account: Some(account.into()),
                    amount: write_money(*amount),
                })
                .collect(),
            reason: of.reason.clone(),
        }
    }
}

impl TryFrom<log::CorrectCost> for CorrectCost {
    type Error = DecodeError;

    fn try_from(wire: log::CorrectCost) -> Result<Self, DecodeError> {
        let charge = |charge: log::CorrectedCharge| {
            Ok((
                record("CorrectedCharge.account", charge.account)?,
                money("CorrectedCharge.amount", &charge.amount)?,
            ))
        };
        Ok(Self {
            tenant: text("CorrectCost.tenant", &wire.tenant)?,
            record: read_place(required("CorrectCost.record", wire.record)?),
            charges: wire.charges.into_iter().map(charge).collect::<Decoded<_>>()?,
            reason: wire.reason,
        })
    }
}

pub(super) fn write_month(tenant: String, month: TimestampMs, used: &Amounts) -> log::MonthUsageRow {
    log::MonthUsageRow { tenant, month_ms: month.0, used: write_amounts(used) }
}

pub(super) fn read_month(wire: &log::MonthUsageRow) -> Decoded<RowValue> {
    Ok(RowValue::MonthUsage {
        tenant: text("MonthUsageRow.tenant", &wire.tenant)?,
        month: TimestampMs(wire.month_ms),
        used: read_amounts("MonthUsageRow.used", &wire.used)?,
    })
}

pub(super) fn read_raised(wire: &log::RaisedRow) -> Decoded<RowValue> {
    Ok(RowValue::Raised {
        tenant: text("RaisedRow.tenant", &wire.tenant)?,
        metering: text("RaisedRow.metering", &wire.metering)?,
        bounds: read_amounts("RaisedRow.bounds", &wire.bounds)?,
    })
}

pub(super) fn read_record(wire: log::CostRecord) -> Decoded<RowValue> {
    boxed("Row.cost", Some(wire)).map(RowValue::Cost)
}

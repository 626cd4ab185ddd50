//! A cost record as the interface tells it.

use only1mcp_domain::activity::ItemKind;
use only1mcp_domain::cost::{CostCharge, CostRecord};
use only1mcp_domain::model::Measure;
use only1mcp_domain::money::{Overflow, PicoUsd};
use only1mcp_domain::price::CostClass;
use only1mcp_proto::admin as pb;

use super::id;

/// `amount` is what it comes to.
pub(super) fn record(record: &CostRecord, amount: PicoUsd) -> Result<pb::CostRecord, Overflow> {
    let mut told = pb::CostRecord {
        id: id::text(record),
        tenant: record.tenant.to_string(),
        at_ms: record.log_time.0,
        audit_index: record.audit_index.0,
        kind: record.kind.text().to_owned(),
        node: record.node.0,
        call: record.call.as_ref().map(ToString::to_string).unwrap_or_default(),
        observed_at_ms: record.observed_at.0,
        token_cost: PicoUsd::ZERO.to_string(),
        compute_cost: PicoUsd::ZERO.to_string(),
        network_cost: PicoUsd::ZERO.to_string(),
        storage_cost: PicoUsd::ZERO.to_string(),
        cost: amount.to_string(),
        charges: record.charges.iter().map(charge).collect(),
        corrects: record.corrects.map(id::place).unwrap_or_default(),
        ..Default::default()
    };
    let Some(cost) = &record.cost else { return Ok(told) };
    told.caller_tenant = cost.caller_tenant.to_string();
    told.principal = cost.principal.to_string();
    told.project = cost.project.as_ref().map(ToString::to_string).unwrap_or_default();
    told.cost_center.clone_from(&cost.cost_center);
    told.tool.clone_from(&cost.item);
    told.upstream = cost.upstream.to_string();
    told.provider.clone_from(&cost.provider);
    told.model.clone_from(&cost.model);
    told.model_answered.clone_from(&cost.model_answered);
    told.metering = cost.metering.as_ref().map(ToString::to_string).unwrap_or_default();
    let lines = cost.lines.iter().map(|line| pb::CostLine {
        meter: line.meter.code().to_owned(),
        units: line.units,
        cost: line.pico_usd.to_string(),
        price: line.price.as_ref().map(ToString::to_string).unwrap_or_default(),
        price_version: line.price_version,
        exchange_version: line.exchange_version,
    });
    told.lines = lines.collect();
    let discounts = cost.discounts.iter();
    let discounts =
        discounts.map(|(id, version)| pb::CostDiscount { discount: id.to_string(), version: *version });
    told.discounts = discounts.collect();
    told.token_cost = cost.part(CostClass::Token)?.to_string();
    told.compute_cost = cost.part(CostClass::Compute)?.to_string();
    told.network_cost = cost.part(CostClass::Network)?.to_string();
    told.storage_cost = cost.part(CostClass::Storage)?.to_string();
    told.tags.clone_from(&cost.tags);
    request_type(cost.kind).clone_into(&mut told.request_type);
    told.held = cost.held.to_string();
    told.at_hold = cost.at_hold;
    Ok(told)
}

/// Source: specification, `CostRecord::request_type`.
pub(super) fn request_type(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Tool => "tool",
        ItemKind::Prompt => "prompt",
        ItemKind::Resource => "resource",
        ItemKind::Administration => "administration",
    }
}

fn charge(charge: &CostCharge) -> pb::PostedCharge {
    let amount = match charge.measure {
        Some(Measure::Cost) => PicoUsd(charge.amount).to_string(),
        _ => charge.amount.to_string(),
    };
    pb::PostedCharge {
        limit: charge.account.limit.to_string(),
        subject: charge.account.subject.to_string(),
        period_start_ms: charge.account.start.0,
        measure: charge.measure.map(|measure| measure.text().to_owned()).unwrap_or_default(),
        amount,
    }
}

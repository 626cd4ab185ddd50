//! How usage is measured: put, get, list, delete.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::limits::POINTERS_MAX;
use only1mcp_domain::model::Glob;
use only1mcp_domain::price::{Amounts, Meter, Metering, UsageSource};
use only1mcp_domain::state::Versioned;
use only1mcp_proto::admin as pb;
use pb::meter_source::Source;

use super::values;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

fn asked(call: &Call, message: Option<pb::Metering>) -> Result<Metering, AdminError> {
    let asked = message.ok_or_else(|| AdminError::invalid("metering", "is missing"))?;
    values::bounded("metering.usage", &asked.usage, Meter::ALL.len())?;
    values::bounded("metering.bounds", &asked.bounds, Meter::ALL.len())?;
    let tools = Glob::new(&asked.tools).map_err(|error| AdminError::invalid("metering.tools", error))?;
    let usage = asked.usage.iter().enumerate().map(|(n, usage)| asked_source(n, usage));
    let mut bounds = Amounts::default();
    for (n, bound) in asked.bounds.iter().enumerate() {
        let field = format!("metering.bounds[{n}].meter");
        let meter = values::meter(&field, &bound.meter)?;
        if bounds.get(meter).is_some() {
            return Err(AdminError::invalid(field, format!("names {meter} twice")));
        }
        bounds.set(meter, bound.units);
    }
    Ok(Metering {
        id: wire::id("metering.id", &asked.id)?,
        tenant: wire::id("metering.tenant", &values::tenant(call, asked.tenant))?,
        tools,
        provider: asked.provider,
        model: asked.model,
        model_pointer: asked.model_pointer,
        total_pointer: asked.total_pointer,
        usage: usage.collect::<Result<_, _>>()?,
        bounds,
        tags: asked.tags,
    })
}

fn asked_source(position: usize, usage: &pb::MeterSource) -> Result<(Meter, UsageSource), AdminError> {
    let path = |field: &str| format!("metering.usage[{position}].{field}");
    let meter = values::meter(&path("meter"), &usage.meter)?;
    let source = match &usage.source {
        Some(Source::Pointer(pointer)) => UsageSource::Pointer(pointer.clone()),
        Some(Source::Difference(pb::PointerDifference { of, minus })) => {
            values::bounded(&path("minus"), minus, POINTERS_MAX)?;
            UsageSource::Difference { of: of.clone(), minus: minus.clone() }
        }
        Some(Source::Counted(true)) => UsageSource::Counted,
        Some(Source::Counted(false)) | None => return Err(AdminError::invalid(path("source"), "is missing")),
    };
    Ok((meter, source))
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutMeteringRequest,
) -> Result<pb::PutMeteringResponse, AdminError> {
    let metering = asked(call, message.metering.clone())?;
    let write = core.write(call, &message, metering.tenant.clone(), |draft, _| {
        Ok(Command::PutMetering { metering: Box::new(metering), if_revision: draft.if_revision })
    });
    Ok(pb::PutMeteringResponse { result: write.await? })
}

fn shown(record: &Versioned<Arc<Metering>>) -> pb::MeteringRecord {
    let metering = &record.value;
    let usage = metering.usage.iter().map(|(meter, source)| pb::MeterSource {
        meter: meter.code().to_owned(),
        source: Some(match source {
            UsageSource::Pointer(pointer) => Source::Pointer(pointer.clone()),
            UsageSource::Difference { of, minus } => {
                Source::Difference(pb::PointerDifference { of: of.clone(), minus: minus.clone() })
            }
            UsageSource::Counted => Source::Counted(true),
        }),
    });
    let bounds = metering.bounds.iter();
    let bounds = bounds.map(|(meter, units)| pb::MeterUnits { meter: meter.code().to_owned(), units });
    let told = pb::Metering {
        tenant: metering.tenant.to_string(),
        id: metering.id.to_string(),
        tools: metering.tools.as_str().to_owned(),
        provider: metering.provider.clone(),
        model: metering.model.clone(),
        model_pointer: metering.model_pointer.clone(),
        total_pointer: metering.total_pointer.clone(),
        usage: usage.collect(),
        bounds: bounds.collect(),
        tags: metering.tags.clone(),
    };
    pb::MeteringRecord { metering: Some(told), revision: record.revision }
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetMeteringRequest,
) -> Result<pb::GetMeteringResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("metering", &message.metering)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let record = view.state.meterings.get(&key).ok_or_else(|| AdminError::not_found("metering", &key.1))?;
    Ok(pb::GetMeteringResponse { read: core.read_info(&view), record: Some(shown(record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListMeteringsRequest,
) -> Result<pb::ListMeteringsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let meterings = &list.view.state.meterings;
    let (rows, next_page_token) =
        list.take(&core.pins, meterings, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListMeteringsResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteMeteringRequest,
) -> Result<pb::DeleteMeteringResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let metering = wire::id("metering", &message.metering)?;
    let write =
        core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteMetering { tenant, metering }));
    Ok(pb::DeleteMeteringResponse { result: write.await? })
}

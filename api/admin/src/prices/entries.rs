//! Prices themselves: put, get, list, delete.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::limits::PRICE_LINES_MAX;
use only1mcp_domain::model::Glob;
use only1mcp_domain::price::{Meter, PriceEntry, PriceLine, PriceSubject};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::price::Subject;

use super::values;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

/// But for the moment it is valid from.
fn asked(call: &Call, message: Option<pb::Price>) -> Result<PriceEntry, AdminError> {
    let asked = message.ok_or_else(|| AdminError::invalid("price", "is missing"))?;
    let subject = match asked.subject {
        None => return Err(AdminError::invalid("price.subject", "is missing: name a model or tools")),
        Some(Subject::Model(pb::ModelName { provider, model })) => PriceSubject::Model { provider, model },
        Some(Subject::Tools(pattern)) => {
            let glob = Glob::new(pattern).map_err(|error| AdminError::invalid("price.tools", error))?;
            PriceSubject::Tool(glob)
        }
    };
    values::bounded("price.lines", &asked.lines, PRICE_LINES_MAX)?;
    values::bounded("price.free", &asked.free, PRICE_LINES_MAX)?;
    let lines = asked.lines.iter().enumerate().map(|(n, line)| asked_line(n, line));
    let free = asked.free.iter().enumerate();
    let free = free.map(|(n, meter)| values::meter(&format!("price.free[{n}]"), meter));
    Ok(PriceEntry {
        id: wire::id("price.id", &asked.id)?,
        tenant: wire::id("price.tenant", &values::tenant(call, asked.tenant))?,
        subject,
        currency: values::currency("price.currency", &asked.currency)?,
        valid_from: TimestampMs::default(),
        version: 0,
        lines: lines.collect::<Result<_, _>>()?,
        free: free.collect::<Result<_, _>>()?,
    })
}

fn asked_line(position: usize, line: &pb::PriceLine) -> Result<PriceLine, AdminError> {
    let path = |field: &str| format!("price.lines[{position}].{field}");
    Ok(PriceLine {
        meter: values::meter(&path("meter"), &line.meter)?,
        tier_from: line.tier_from,
        unit: if line.unit == 0 { 1 } else { line.unit },
        price: values::exact(&path("price"), &line.price)?,
    })
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutPriceRequest,
) -> Result<pb::PutPriceResponse, AdminError> {
    let mut price = asked(call, message.price.clone())?;
    let valid_from = message.price.as_ref().and_then(|price| price.valid_from_ms);
    let write = core.write(call, &message, price.tenant.clone(), |draft, _| {
        price.valid_from = values::valid_from(valid_from, draft);
        Ok(Command::PutPrice { price: Box::new(price), if_revision: draft.if_revision })
    });
    Ok(pb::PutPriceResponse { result: write.await? })
}

fn shown(record: &Versioned<Arc<PriceEntry>>) -> pb::PriceRecord {
    let price = &record.value;
    let subject = match &price.subject {
        PriceSubject::Model { provider, model } => {
            Subject::Model(pb::ModelName { provider: provider.clone(), model: model.clone() })
        }
        PriceSubject::Tool(glob) => Subject::Tools(glob.as_str().to_owned()),
    };
    let lines = price.lines.iter().map(|line| pb::PriceLine {
        meter: line.meter.code().to_owned(),
        tier_from: line.tier_from,
        unit: line.unit,
        price: line.price.to_string(),
    });
    let told = pb::Price {
        tenant: price.tenant.to_string(),
        id: price.id.to_string(),
        subject: Some(subject),
        currency: price.currency.to_string(),
        valid_from_ms: Some(price.valid_from.0),
        lines: lines.collect(),
        free: price.free.iter().map(|meter: &Meter| meter.code().to_owned()).collect(),
        version: price.version,
    };
    pb::PriceRecord { price: Some(told), revision: record.revision }
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetPriceRequest,
) -> Result<pb::GetPriceResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("price", &message.price)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let record = view.state.prices.get(&key).ok_or_else(|| AdminError::not_found("price", &key.1))?;
    Ok(pb::GetPriceResponse { read: core.read_info(&view), record: Some(shown(record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListPricesRequest,
) -> Result<pb::ListPricesResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let prices = &list.view.state.prices;
    let (rows, next_page_token) =
        list.take(&core.pins, prices, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListPricesResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeletePriceRequest,
) -> Result<pb::DeletePriceResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let price = wire::id("price", &message.price)?;
    let write = core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeletePrice { tenant, price }));
    Ok(pb::DeletePriceResponse { result: write.await? })
}

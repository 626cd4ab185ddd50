//! Exchange rates, which hold for all tenants: put, list, delete.

use std::ops::Bound;

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::price::{Currency, ExchangeRate};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;

use super::values;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;

/// But for the moment it is valid from.
fn asked(message: Option<pb::ExchangeRate>) -> Result<ExchangeRate, AdminError> {
    let asked = message.ok_or_else(|| AdminError::invalid("rate", "is missing"))?;
    Ok(ExchangeRate {
        currency: named("rate.currency", &asked.currency)?,
        usd_per_unit: values::exact("rate.usd_per_unit", &asked.usd_per_unit)?,
        valid_from: TimestampMs::default(),
        version: 0,
    })
}

fn named(field: &str, text: &str) -> Result<Currency, AdminError> {
    Currency::parse(text).map_err(|error| AdminError::invalid(field, error))
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutExchangeRateRequest,
) -> Result<pb::PutExchangeRateResponse, AdminError> {
    let mut rate = asked(message.rate.clone())?;
    let valid_from = message.rate.as_ref().and_then(|rate| rate.valid_from_ms);
    let write = core.write(call, &message, TenantId::system(), |draft, _| {
        rate.valid_from = values::valid_from(valid_from, draft);
        Ok(Command::PutExchangeRate(rate))
    });
    Ok(pb::PutExchangeRateResponse { result: write.await? })
}

fn shown(record: &Versioned<ExchangeRate>) -> pb::ExchangeRateRecord {
    let ExchangeRate { currency, usd_per_unit, valid_from, version } = &record.value;
    let told = pb::ExchangeRate {
        currency: currency.to_string(),
        usd_per_unit: usd_per_unit.to_string(),
        valid_from_ms: Some(valid_from.0),
        version: *version,
    };
    pb::ExchangeRateRecord { rate: Some(told), revision: record.revision }
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListExchangeRatesRequest,
) -> Result<pb::ListExchangeRatesResponse, AdminError> {
    let only = match message.currency.as_str() {
        "" => None,
        text => Some(named("currency", text)?),
    };
    let view = core.read(call, message.consistency, &call.identity.tenant).await?;
    let filters = [message.currency.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = match (&list.after, only) {
        (Some(after), _) => Bound::Excluded(parse_place(after)?),
        (None, Some(currency)) => Bound::Included((currency, TimestampMs(0))),
        (None, None) => Bound::Unbounded,
    };
    let rates = &list.view.state.rates;
    let within = |(currency, _): &(Currency, TimestampMs)| only.is_none_or(|only| only == *currency);
    let place = |(currency, from): &(Currency, TimestampMs)| format!("{currency} {}", from.0);
    let (rows, next_page_token) = list.take(&core.pins, rates, start, within, |_| true, place);
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListExchangeRatesResponse { read: core.read_info(&list.view), records, next_page_token })
}

fn parse_place(text: &str) -> Result<(Currency, TimestampMs), AdminError> {
    let parsed = || {
        let (currency, from) = text.split_once(' ')?;
        Some((Currency::parse(currency).ok()?, TimestampMs(from.parse().ok()?)))
    };
    parsed().ok_or(AdminError::PageTokenInvalid)
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteExchangeRateRequest,
) -> Result<pb::DeleteExchangeRateResponse, AdminError> {
    let currency = named("currency", &message.currency)?;
    let valid_from = TimestampMs(message.valid_from_ms);
    let command = Command::DeleteExchangeRate { currency, valid_from };
    let result = core.write(call, &message, TenantId::system(), |_, _| Ok(command)).await?;
    Ok(pb::DeleteExchangeRateResponse { result })
}

//! The price book's records: prices, meterings, discounts, exchange rates. A changed record is a new version from this
//! entry on; calls under way keep the version they were held at.

use std::sync::Arc;

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{Check, at_most, ensure, invalid, revision};
use crate::ids::{DiscountId, MeteringId, PriceId, TenantId};
use crate::limits;
use crate::lookup::of_tenant;
use crate::model::Glob;
use crate::outcome::Rejection;
use crate::price::{
    Currency, Discount, ExchangeRate, Fault, Meter, Metering, PriceEntry, PriceSubject, check_discounts,
};
use crate::state::State;
use crate::time::TimestampMs;

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        invalid(&fault.field, fault.problem.to_string())
    }
}

/// The price that every cluster begins with: calls are free unless something prices them. The built-in developer role
/// has a hard limit on cost, under which a call without a price is refused; without this record every developer would
/// be, until somebody priced every tool. It is a record like any other: listed, audited, and deleted by who wants an
/// unpriced tool refused.
pub(super) fn free_calls(at: TimestampMs, version: u64) -> Option<PriceEntry> {
    Some(PriceEntry {
        id: PriceId::new("free-calls").ok()?,
        tenant: TenantId::system(),
        subject: PriceSubject::Tool(Glob::new("*").ok()?),
        currency: Currency::USD,
        valid_from: TimestampMs(at.0.min(1)),
        version,
        lines: Vec::new(),
        free: vec![Meter::Call],
    })
}

pub(super) fn put(
    change: &mut Change<'_>,
    price: &PriceEntry,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &price.tenant);
    open(state, tenant)?;
    let old = state.prices.get(&(tenant.clone(), price.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    price.validate(|currency| has_rate(state, currency))?;
    price.check_overlap(of_tenant(&state.prices, tenant).map(Arc::as_ref))?;
    if old.is_none() {
        let count = state.lookup.prices_in.get(tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::PRICES_PER_TENANT_MAX, "prices in one tenant")?;
    }
    let price = PriceEntry { version: change.log_index, ..price.clone() };
    let report = Report::changed(old.map(|old| describe::price(&old.value)), Some(describe::price(&price)));
    let tenant = price.tenant.clone();
    change.put_price(price);
    change.policy_changed(concerned(&tenant));
    Ok(report)
}

pub(super) fn delete(change: &mut Change<'_>, tenant: &TenantId, id: &PriceId) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.prices.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("price", id.as_str()))?;
    change.remove_price(tenant, id);
    change.policy_changed(concerned(tenant));
    Ok(Report::changed(Some(describe::price(&old.value)), None))
}

/// What its bounds were raised to by usage is forgotten: they are declared anew.
pub(super) fn put_metering(
    change: &mut Change<'_>,
    metering: &Metering,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &metering.tenant);
    open(state, tenant)?;
    let old = state.meterings.get(&(tenant.clone(), metering.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    metering.validate()?;
    if old.is_none() {
        let count = state.lookup.meterings_in.get(tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::METERINGS_PER_TENANT_MAX, "meterings in one tenant")?;
    }
    let report =
        Report::changed(old.map(|old| describe::metering(&old.value)), Some(describe::metering(metering)));
    change.put_metering(metering.clone());
    change.remove_raised(tenant, &metering.id);
    change.policy_changed(concerned(tenant));
    Ok(report)
}

pub(super) fn delete_metering(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &MeteringId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.meterings.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("metering", id.as_str()))?;
    change.remove_metering(tenant, id);
    change.remove_raised(tenant, id);
    change.policy_changed(concerned(tenant));
    Ok(Report::changed(Some(describe::metering(&old.value)), None))
}

pub(super) fn put_discount(
    change: &mut Change<'_>,
    discount: &Discount,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &discount.tenant);
    open(state, tenant)?;
    let old = state.discounts.get(&(tenant.clone(), discount.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    discount.validate()?;
    let others = of_tenant(&state.discounts, tenant).map(Arc::as_ref).filter(|other| other.id != discount.id);
    let all: Vec<&Discount> = others.chain([discount]).collect();
    check_discounts(&all)?;
    let discount = Discount { version: change.log_index, ..discount.clone() };
    let report =
        Report::changed(old.map(|old| describe::discount(&old.value)), Some(describe::discount(&discount)));
    let tenant = discount.tenant.clone();
    change.put_discount(discount);
    change.policy_changed(concerned(&tenant));
    Ok(report)
}

pub(super) fn delete_discount(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &DiscountId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.discounts.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("discount", id.as_str()))?;
    change.remove_discount(tenant, id);
    change.policy_changed(concerned(tenant));
    Ok(Report::changed(Some(describe::discount(&old.value)), None))
}

pub(super) fn put_rate(change: &mut Change<'_>, rate: &ExchangeRate) -> Result<Report, Rejection> {
    rate.validate()?;
    let key = (rate.currency, rate.valid_from);
    let old = change.state.rates.get(&key).cloned();
    if old.is_none() {
        at_most(change.state.rates.len() + 1, limits::RATES_MAX, "exchange rates")?;
    }
    let rate = ExchangeRate { version: change.log_index, ..rate.clone() };
    let report = Report::changed(old.map(|old| describe::rate(&old.value)), Some(describe::rate(&rate)));
    change.put_rate(rate);
    change.policy_changed(None);
    Ok(report)
}

pub(super) fn delete_rate(
    change: &mut Change<'_>,
    currency: Currency,
    valid_from: TimestampMs,
) -> Result<Report, Rejection> {
    let state = &*change.state;
    let old = state.rates.get(&(currency, valid_from)).cloned();
    let old = old.ok_or_else(|| not_found("exchange rate", &format!("{currency} from {}", valid_from.0)))?;
    last_rate(state, currency)?;
    change.remove_rate(currency, valid_from);
    change.policy_changed(None);
    Ok(Report::changed(Some(describe::rate(&old.value)), None))
}

/// Errors: `InUse` where it is the only rate of a currency that some price is in.
fn last_rate(state: &State, currency: Currency) -> Check {
    if state.rates.keys().filter(|(of, _)| *of == currency).count() > 1 {
        return Ok(());
    }
    match state.prices.values().find(|price| price.value.currency == currency) {
        None => Ok(()),
        Some(price) => Err(Rejection::InUse {
            kind: "exchange rate".to_owned(),
            id: currency.to_string(),
            by: format!("price {} of {}", price.value.id, price.value.tenant),
        }),
    }
}

fn has_rate(state: &State, currency: Currency) -> bool {
    state.rates.keys().any(|(of, _)| *of == currency)
}

/// What `system` prices holds for every tenant.
fn concerned(tenant: &TenantId) -> Option<&TenantId> {
    (!tenant.is_system()).then_some(tenant)
}

/// An amount of a correction.
pub(super) fn positive(field: &str, amount: i128) -> Check {
    ensure(amount > 0, field, "is not more than zero")
}

//! Cost records: of a call in the entry that settles it, of what was posted without a call, of corrections.
//! INVARIANT: P1 (whatever is posted on an account of money or tokens has a record in the same entry).

use std::collections::BTreeMap;

use crate::activity::Completion;
use crate::apply::activity::item;
use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::price::positive;
use crate::apply::tenant::open;
use crate::apply::validate::{Check, at_most, ensure, filled, invalid, list_of};
use crate::audit::Severity;
use crate::command::CorrectCost;
use crate::cost::{CostCharge, CostKind, CostRecord};
use crate::ids::{AuditIndex, MeteringId, NodeId, TenantId};
use crate::ledger::{AccountKey, Forfeit, Posted, amount_of};
use crate::limits;
use crate::model::Measure;
use crate::outcome::Rejection;
use crate::price::{Amounts, Meter};
use crate::state::State;
use crate::time::TimestampMs;

/// A node's clock may be this far ahead at the end of a month.
const MONTH_AHEAD_MS: u64 = 24 * 3_600 * 1_000;

/// Errors: a cost that is not well formed; its numbers are the node's word.
pub(super) fn check(completion: &Completion, now: TimestampMs) -> Check {
    let Some(cost) = &completion.cost else { return Ok(()) };
    list_of("cost.lines", cost.lines.len(), Meter::ALL.len())?;
    item(&cost.item)?;
    let near = cost.month.0 <= now.0.saturating_add(MONTH_AHEAD_MS);
    ensure(near, "cost.month", "has not begun")?;
    cost.fault().map_or(Ok(()), |fault| Err(invalid("cost", fault)))
}

/// Counts the call's usage; returns the meters that went over what is declared for the tool, with what was used.
pub(super) fn count(change: &mut Change<'_>, completion: &Completion) -> Vec<(Meter, u64)> {
    let Some(cost) = &completion.cost else { return Vec::new() };
    let used = cost.usage();
    change.count_usage(&completion.tenant, cost.month, &used);
    let Some(id) = &cost.metering else { return Vec::new() };
    let Some(declared) = bounds(change.state, &completion.tenant, id) else { return Vec::new() };
    let over = |(meter, units): &(Meter, u64)| declared.get(*meter).is_some_and(|bound| *units > bound);
    let over: Vec<(Meter, u64)> = used.iter().filter(over).collect();
    if !over.is_empty() {
        let raised = over.iter().fold(Amounts::default(), |all, (meter, units)| {
            all.with(*meter, (*units).min(limits::UNITS_MAX))
        });
        change.raise(&completion.tenant, id, &raised);
    }
    over
}

/// What one call of the tool can use as far as it is known: as declared, or as much as was seen of this tenant's calls.
/// Where the tenant and `system` have one of that id, the smaller: which of them measured the call is not told, and to
/// raise what is high enough already changes nothing.
fn bounds(state: &State, tenant: &TenantId, id: &MeteringId) -> Option<Amounts> {
    let declared = |of: TenantId| Some(state.meterings.get(&(of, id.clone()))?.value.bounds);
    let raised = state.raised.get(&(tenant.clone(), id.clone())).copied().unwrap_or_default();
    let bounds = match (declared(tenant.clone()), declared(TenantId::system())) {
        (Some(own), Some(shared)) => own.smaller_of(&shared),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    Some(bounds.larger_of(&raised))
}

/// The record of a call whose completion stands at `audit_index`.
pub(super) fn record(
    change: &mut Change<'_>,
    node: NodeId,
    completion: &Completion,
    posted: &[Posted],
    audit_index: AuditIndex,
) {
    let charges = posted.iter().filter_map(|posted| charge(change.state, &posted.account, posted.due));
    let charges: Vec<CostCharge> = charges.collect();
    if charges.is_empty() && completion.cost.is_none() {
        return;
    }
    change.put_cost(CostRecord {
        tenant: completion.tenant.clone(),
        log_time: change.now(),
        audit_index,
        part: 0,
        kind: CostKind::Call,
        node,
        call: Some(completion.call),
        observed_at: completion.observed_at,
        cost: completion.cost.clone(),
        charges,
        corrects: None,
    });
}

/// The records of what was posted without a call, one for each tenant.
pub(super) fn forfeited(
    change: &mut Change<'_>,
    node: NodeId,
    forfeits: &[Forfeit],
    audit_index: AuditIndex,
) {
    let mut of: BTreeMap<(TenantId, CostKind), Vec<CostCharge>> = BTreeMap::new();
    for forfeit in forfeits {
        if let Some(charge) = charge(change.state, &forfeit.account, forfeit.amount) {
            let key = (forfeit.account.tenant.clone(), CostKind::from(forfeit.reason));
            of.entry(key).or_default().push(charge);
        }
    }
    for ((tenant, kind), charges) in of {
        // A row has a bound: many accounts make several records of one event.
        for (part, charges) in (0..).zip(charges.chunks(limits::COST_CHARGES_MAX)) {
            change.put_cost(CostRecord {
                tenant: tenant.clone(),
                log_time: change.now(),
                audit_index,
                part,
                kind,
                node,
                call: None,
                observed_at: change.entry.observed_at,
                cost: None,
                charges: charges.to_vec(),
                corrects: None,
            });
        }
    }
}

/// `None` where nothing was posted, and for counts of calls, which no record tells.
fn charge(state: &State, account: &AccountKey, amount: i128) -> Option<CostCharge> {
    let measure = amount_of(state, account).map(|limit| limit.measure);
    let told = amount != 0 && matches!(measure, None | Some(Measure::Cost | Measure::Tokens));
    told.then(|| CostCharge { account: account.clone(), measure, amount })
}

/// Several records of one event are told apart by their part. INVARIANT: P1 (a record is corrected once, and no account goes below nothing).
pub(super) fn correct(change: &mut Change<'_>, correction: &CorrectCost) -> Result<Report, Rejection> {
    let CorrectCost { tenant, record, charges, reason } = correction;
    open(change.state, tenant)?;
    filled("reason", reason, limits::DESCRIPTION_BYTES_MAX)?;
    ensure(!charges.is_empty(), "charges", "is empty: there is nothing to take back")?;
    list_of("charges", charges.len(), limits::CALL_ACCOUNTS_MAX)?;
    let key = (tenant.clone(), record.index, record.part);
    ensure(!change.state.corrected.contains(&key), "record", "was corrected before")?;
    let of_tenant = change.state.corrected.range((tenant.clone(), AuditIndex(0), 0)..);
    let count = of_tenant.take_while(|(of, ..)| of == tenant).count();
    at_most(count + 1, limits::CORRECTIONS_PER_TENANT_MAX, "corrections in one tenant")?;
    let mut told = Vec::new();
    for (position, (account, amount)) in charges.iter().enumerate() {
        positive(&format!("charges[{position}].amount"), *amount)?;
        let field = format!("charges[{position}].account");
        ensure(account.tenant == *tenant, &field, "is another tenant's")?;
        // What is not told in records is not corrected by one either.
        let counts = matches!(
            amount_of(change.state, account).map(|limit| limit.measure),
            Some(Measure::Cost | Measure::Tokens)
        );
        let gone = !change.state.ledger.accounts.contains_key(account);
        ensure(counts || gone, &field, "counts neither money nor tokens")?;
        let twice = charges.iter().take(position).any(|(other, _)| other == account);
        ensure(!twice, &format!("charges[{position}].account"), "is named twice")?;
        // An account that is forgotten has nothing to give back.
        let back = change.state.take_back_posted(account, *amount);
        if back > 0 {
            change.touch(account);
        }
        if let Some(charge) = charge(change.state, account, -back) {
            told.push(charge);
        }
    }
    change.put_corrected(tenant, *record);
    let audit_index = change.next_audit_index();
    let report = Report::changed(None, None)
        .detail("record", record.index.0.to_string())
        .detail("reason", reason.as_str())
        .severity(Severity::Warning);
    // Of the first one as it was told before there were others.
    let report = if record.part == 0 { report } else { report.detail("part", record.part.to_string()) };
    let report = told.iter().fold(report, |report, charge| {
        report.detail(&format!("taken_back {}", charge.account), (-charge.amount).to_string())
    });
    change.put_cost(CostRecord {
        tenant: tenant.clone(),
        log_time: change.now(),
        audit_index,
        part: 0,
        kind: CostKind::Correction,
        node: NodeId(0),
        call: None,
        observed_at: change.entry.observed_at,
        cost: None,
        charges: told,
        corrects: Some(*record),
    });
    Ok(report)
}

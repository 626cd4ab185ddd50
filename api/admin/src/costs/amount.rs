//! What one record comes to, in USD.

use only1mcp_domain::cost::{CostCharge, CostKind, CostRecord};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::model::Measure;
use only1mcp_domain::money::{Overflow, PicoUsd};

/// What a call cost; what a correction gives back; of what was posted without a call the largest charge, because each
/// account was charged for the same calls.
pub(super) fn cost(record: &CostRecord) -> Result<PicoUsd, Overflow> {
    let charges = || money(record).map(|charge| charge.amount);
    let amount = match record.kind {
        CostKind::Call => return record.cost.as_ref().map_or(Ok(PicoUsd::ZERO), |cost| cost.total()),
        CostKind::Correction => charges().min(),
        CostKind::UnattributedRestart | CostKind::NodeRemoved | CostKind::ForceClosed => charges().max(),
    };
    Ok(PicoUsd(amount.unwrap_or_default()))
}

/// What was posted on the accounts of `limit`. `None` where nothing was.
pub(super) fn posted(record: &CostRecord, limit: &LimitId) -> Result<Option<PicoUsd>, Overflow> {
    let mut charges = money(record).filter(|charge| charge.account.limit == *limit).peekable();
    if charges.peek().is_none() {
        return Ok(None);
    }
    let mut sum = PicoUsd::ZERO;
    for charge in charges {
        sum = sum.checked_add(PicoUsd(charge.amount))?;
    }
    Ok(Some(sum))
}

/// The charges in USD.
pub(super) fn money(record: &CostRecord) -> impl Iterator<Item = &CostCharge> {
    record.charges.iter().filter(|charge| charge.measure == Some(Measure::Cost))
}

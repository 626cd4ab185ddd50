//! Gives back what a record charged. The record is read here, because records are rows that no state holds; apply sees
//! that each is corrected once and no account goes below nothing.

use only1mcp_domain::command::{Command, CorrectCost};
use only1mcp_domain::cost::{CostCharge, CostKind, CostRecord};
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::money::PicoUsd;
use only1mcp_proto::admin as pb;
use pb::correct_cost_request::Refund;

use super::{amount, id, walk};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) async fn correct(
    core: &Core,
    call: &Call,
    message: pb::CorrectCostRequest,
) -> Result<pb::CorrectCostResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    // Nothing of a record is told to who may not correct it.
    core.read(call, None, &tenant).await?;
    let place = id::parse(&message.record);
    let place = place.ok_or_else(|| AdminError::invalid("record", "is no id of a cost record"))?;
    let found = walk::find(core, &tenant, place).await?;
    let record = found.ok_or_else(|| AdminError::not_found("cost record", &message.record))?;
    let charges = given_back(&record, message.refund.as_ref())?;
    let command = Command::CorrectCost(Box::new(CorrectCost {
        tenant: tenant.clone(),
        record: place,
        charges,
        reason: message.reason.clone(),
    }));
    let result = core.write(call, &message, tenant, |_, _| Ok(command)).await?;
    Ok(pb::CorrectCostResponse { result })
}

/// By account. Errors: there is nothing to give back, or not so much.
fn given_back(record: &CostRecord, refund: Option<&Refund>) -> Result<Vec<(AccountKey, i128)>, AdminError> {
    if record.kind == CostKind::Correction {
        return Err(AdminError::invalid("record", "is a correction itself"));
    }
    let whole = |charge: &CostCharge| (charge.account.clone(), charge.amount);
    let charges: Vec<_> = match refund {
        None | Some(Refund::Full(false)) => return Err(AdminError::invalid("refund", "is missing")),
        Some(Refund::Full(true)) => {
            record.charges.iter().filter(|charge| charge.amount > 0).map(whole).collect()
        }
        Some(Refund::Amount(text)) => {
            let wrong = |problem: &str| AdminError::invalid("amount", problem);
            let PicoUsd(asked) =
                PicoUsd::parse(text).map_err(|error| AdminError::invalid("amount", error))?;
            if asked <= 0 {
                return Err(wrong("is not more than zero"));
            }
            let most = amount::money(record).map(|charge| charge.amount).max().unwrap_or_default();
            if asked > most && most > 0 {
                return Err(wrong(&format!("is more than the {} USD that it charged", PicoUsd(most))));
            }
            let money = amount::money(record).filter(|charge| charge.amount > 0);
            money.map(|charge| (charge.account.clone(), charge.amount.min(asked))).collect()
        }
    };
    if charges.is_empty() {
        return Err(AdminError::invalid("record", "charged no account: there is nothing to give back"));
    }
    Ok(charges)
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{AuditIndex, NodeId, TenantId};
    use only1mcp_domain::model::Measure;
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    fn record(kind: CostKind, charges: &[(&str, Option<Measure>, i128)]) -> CostRecord {
        let tenant = TenantId::new("acme").unwrap();
        let charge = |(limit, measure, amount): &(&str, Option<Measure>, i128)| CostCharge {
            account: AccountKey {
                tenant: tenant.clone(),
                limit: limit.parse().unwrap(),
                subject: "".into(),
                start: TimestampMs(0),
            },
            measure: *measure,
            amount: *amount,
        };
        CostRecord {
            tenant: tenant.clone(),
            log_time: TimestampMs(5),
            audit_index: AuditIndex(6),
            part: 0,
            kind,
            node: NodeId(1),
            call: None,
            observed_at: TimestampMs(5),
            cost: None,
            charges: charges.iter().map(charge).collect(),
            corrects: None,
        }
    }

    fn back(record: &CostRecord, refund: Refund) -> Result<Vec<(String, i128)>, String> {
        let charges = given_back(record, Some(&refund)).map_err(|error| error.to_string())?;
        Ok(charges.into_iter().map(|(account, amount)| (account.limit.to_string(), amount)).collect())
    }

    #[test]
    fn every_account_gets_its_part_back() {
        let charges = [
            ("budget/a", Some(Measure::Cost), 500),
            ("tenant/cost", Some(Measure::Cost), 500),
            ("quota/tokens", Some(Measure::Tokens), 70),
            ("budget/gone", None, 9),
        ];
        let call = record(CostKind::Call, &charges);
        let full = back(&call, Refund::Full(true)).unwrap();
        assert_eq!(full.iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [500, 500, 70, 9]);
        let part = back(&call, Refund::Amount("0.0000000001".into())).unwrap();
        assert_eq!(part, [("budget/a".to_owned(), 100), ("tenant/cost".to_owned(), 100)]);
        assert!(back(&call, Refund::Amount("0.0000000005".into())).is_ok());
    }

    #[test]
    fn what_cannot_be_given_back_is_refused_by_field() {
        let call = record(CostKind::Call, &[("budget/a", Some(Measure::Cost), 500)]);
        for bad in ["", "0", "-1", "NaN", "1e3", "0.0000000000001", "0.000000000501"] {
            let told = back(&call, Refund::Amount(bad.into())).unwrap_err();
            assert!(told.starts_with("amount: "), "{bad}: {told}");
        }
        assert!(back(&call, Refund::Full(false)).unwrap_err().starts_with("refund: "));
        assert!(given_back(&call, None).is_err());
        let correction = record(CostKind::Correction, &[("budget/a", Some(Measure::Cost), -500)]);
        assert!(back(&correction, Refund::Full(true)).unwrap_err().starts_with("record: "));
        let free = record(CostKind::Call, &[]);
        for refund in [Refund::Full(true), Refund::Amount("1".into())] {
            assert!(back(&free, refund).unwrap_err().starts_with("record: "));
        }
    }
}

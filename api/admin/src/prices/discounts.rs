//! Discounts: put, get, list, delete.

use std::sync::Arc;

use only1mcp_domain::command::Command;
use only1mcp_domain::limits::TIERS_MAX;
use only1mcp_domain::price::{
    CacheDiscount, CommitmentDiscount, Discount, DiscountKind, VolumeDiscount, VolumeTier,
};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::discount::Kind;

use super::values;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

/// But for the moment it is valid from.
fn asked(call: &Call, message: Option<pb::Discount>) -> Result<Discount, AdminError> {
    let asked = message.ok_or_else(|| AdminError::invalid("discount", "is missing"))?;
    let kind = match asked.kind {
        None => return Err(AdminError::invalid("discount.kind", "is missing")),
        Some(Kind::Cache(cache)) => DiscountKind::Cache(CacheDiscount {
            share_above: values::exact("discount.cache.share_above", &cache.share_above)?,
            factor: values::exact("discount.cache.factor", &cache.factor)?,
        }),
        Some(Kind::Volume(pb::VolumeDiscount { tiers })) => {
            const FIELD: &str = "discount.volume.tiers";
            values::bounded(FIELD, &tiers, TIERS_MAX)?;
            let tiers = tiers.iter().enumerate().map(|(n, tier)| {
                let factor = values::exact(&format!("{FIELD}[{n}].factor"), &tier.factor)?;
                Ok(VolumeTier { from: tier.from, factor })
            });
            DiscountKind::Volume(VolumeDiscount { tiers: tiers.collect::<Result<_, AdminError>>()? })
        }
        Some(Kind::Commitment(pb::CommitmentDiscount { factor })) => {
            let factor = values::exact("discount.commitment.factor", &factor)?;
            DiscountKind::Commitment(CommitmentDiscount { factor })
        }
    };
    Ok(Discount {
        id: wire::id("discount.id", &asked.id)?,
        tenant: wire::id("discount.tenant", &values::tenant(call, asked.tenant))?,
        kind,
        valid_from: TimestampMs::default(),
        version: 0,
    })
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutDiscountRequest,
) -> Result<pb::PutDiscountResponse, AdminError> {
    let mut discount = asked(call, message.discount.clone())?;
    let valid_from = message.discount.as_ref().and_then(|discount| discount.valid_from_ms);
    let write = core.write(call, &message, discount.tenant.clone(), |draft, _| {
        discount.valid_from = values::valid_from(valid_from, draft);
        Ok(Command::PutDiscount { discount: Box::new(discount), if_revision: draft.if_revision })
    });
    Ok(pb::PutDiscountResponse { result: write.await? })
}

fn shown(record: &Versioned<Arc<Discount>>) -> pb::DiscountRecord {
    let discount = &record.value;
    let kind = match &discount.kind {
        DiscountKind::Cache(CacheDiscount { share_above, factor }) => Kind::Cache(pb::CacheDiscount {
            share_above: share_above.to_string(),
            factor: factor.to_string(),
        }),
        DiscountKind::Volume(VolumeDiscount { tiers }) => {
            let tiers = tiers.iter();
            let tiers = tiers.map(|tier| pb::VolumeTier { from: tier.from, factor: tier.factor.to_string() });
            Kind::Volume(pb::VolumeDiscount { tiers: tiers.collect() })
        }
        DiscountKind::Commitment(CommitmentDiscount { factor }) => {
            Kind::Commitment(pb::CommitmentDiscount { factor: factor.to_string() })
        }
    };
    let told = pb::Discount {
        tenant: discount.tenant.to_string(),
        id: discount.id.to_string(),
        kind: Some(kind),
        valid_from_ms: Some(discount.valid_from.0),
        version: discount.version,
    };
    pb::DiscountRecord { discount: Some(told), revision: record.revision }
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetDiscountRequest,
) -> Result<pb::GetDiscountResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("discount", &message.discount)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let record = view.state.discounts.get(&key).ok_or_else(|| AdminError::not_found("discount", &key.1))?;
    Ok(pb::GetDiscountResponse { read: core.read_info(&view), record: Some(shown(record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListDiscountsRequest,
) -> Result<pb::ListDiscountsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let discounts = &list.view.state.discounts;
    let (rows, next_page_token) =
        list.take(&core.pins, discounts, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListDiscountsResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteDiscountRequest,
) -> Result<pb::DeleteDiscountResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let discount = wire::id("discount", &message.discount)?;
    let write =
        core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteDiscount { tenant, discount }));
    Ok(pb::DeleteDiscountResponse { result: write.await? })
}

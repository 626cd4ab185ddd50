//! Records between the wire and the domain, where administration needs more than the conversions of `only1mcp-proto`.

use std::fmt::Display;
use std::ops::Bound;

use only1mcp_domain::ids::{
    ApiKeyId, BudgetId, DiscountId, GrantId, IdError, MeteringId, PriceId, PrincipalId, ProjectId, RoleId,
    RuleId, TenantId, UpstreamId, WebhookId,
};
use only1mcp_domain::model::{Constraints, SealMode};
use only1mcp_domain::time::Zones;
use only1mcp_proto::model as m;

use crate::error::AdminError;
use crate::ports::View;

/// An identifier that is text.
pub(crate) trait TextId: Sized {
    fn parse(text: &str) -> Result<Self, IdError>;
}

macro_rules! text_ids {
    ($($id:ident)*) => {$(
        impl TextId for $id {
            fn parse(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    )*};
}

text_ids! {
    ApiKeyId BudgetId DiscountId GrantId MeteringId PriceId PrincipalId ProjectId RoleId RuleId TenantId UpstreamId WebhookId
}

pub(crate) fn id<T: TextId>(field: &str, text: &str) -> Result<T, AdminError> {
    T::parse(text).map_err(|error| AdminError::invalid(field, error))
}

pub(crate) fn optional_id<T: TextId>(field: &str, text: &str) -> Result<Option<T>, AdminError> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// A list of identifiers, as a request gives it.
pub(crate) fn ids<T: TextId>(field: &str, texts: &[String]) -> Result<Vec<T>, AdminError> {
    texts.iter().map(|text| id(field, text)).collect()
}

/// Where a tenant's part of a table begins, or goes on after the id `after`. No id is less than `0`: ids are not
/// empty and begin with a letter or digit.
pub(crate) fn start<T: TextId>(
    tenant: &TenantId,
    after: Option<&str>,
) -> Result<Bound<(TenantId, T)>, AdminError> {
    match after {
        None => Ok(Bound::Included((tenant.clone(), id("page_token", "0")?))),
        Some(after) => {
            let after = T::parse(after).map_err(|_| AdminError::PageTokenInvalid)?;
            Ok(Bound::Excluded((tenant.clone(), after)))
        }
    }
}

/// A message as the domain record it means. Errors: `Invalid` with the field and what is wrong.
pub(crate) fn record<M, T>(field: &str, message: Option<M>) -> Result<T, AdminError>
where
    T: TryFrom<M>,
    T::Error: Display,
{
    let message = message.ok_or_else(|| AdminError::invalid(field, "is missing"))?;
    T::try_from(message).map_err(|error| AdminError::invalid(field, error))
}

pub(crate) fn seal_mode(mode: SealMode) -> i32 {
    m::SealMode::from(mode).into()
}

/// Zone names are checked here, by the proposer: zone tables differ between hosts and times, so apply knows none.
pub(crate) fn check_zone(
    field: &str,
    constraints: &Constraints,
    view: &View,
    zones: &dyn Zones,
) -> Result<(), AdminError> {
    let Some(window) = &constraints.time_window else { return Ok(()) };
    if zones.local(&window.zone, view.now).is_some() {
        return Ok(());
    }
    Err(AdminError::invalid(
        format!("{field}.time_window.zone"),
        format!("{:?} is no known time zone", window.zone),
    ))
}

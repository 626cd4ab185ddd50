//! Records between the wire and the domain, where administration needs more than the conversions of `only1mcp-proto`.

use std::fmt::Display;
use std::ops::Bound;

use only1mcp_domain::ids::{
    ApiKeyId, GrantId, IdError, PrincipalId, ProjectId, RoleId, RuleId, TenantId, UpstreamId,
};
use only1mcp_domain::model::{SealMode, Upstream};
use only1mcp_proto::model as m;

use crate::error::AdminError;

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

text_ids! { ApiKeyId GrantId PrincipalId ProjectId RoleId RuleId TenantId UpstreamId }

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
pub(crate) fn start<T: TextId>(tenant: &TenantId, after: Option<&str>) -> Result<Bound<(TenantId, T)>, AdminError> {
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

/// An upstream as it may be shown: names of headers and environment entries, no values.
pub(crate) fn shown_upstream(upstream: &Upstream) -> m::Upstream {
    let mut shown = m::Upstream::from(upstream);
    for header in &mut shown.headers {
        header.value = None;
    }
    if let Some(m::transport::Kind::Stdio(stdio)) = shown.transport.as_mut().and_then(|t| t.kind.as_mut()) {
        for entry in &mut stdio.env {
            entry.value = None;
        }
    }
    shown
}

/// Fills in the values that a request left out because they are stored already.
/// Errors: a value that is neither given nor stored.
pub(crate) fn with_stored_secrets(asked: &mut m::Upstream, stored: Option<&Upstream>) -> Result<(), AdminError> {
    let stored = stored.map(m::Upstream::from).unwrap_or_default();
    for header in asked.headers.iter_mut().filter(|header| header.value.is_none()) {
        let known = stored.headers.iter().find(|known| known.name.eq_ignore_ascii_case(&header.name));
        header.value = known.and_then(|known| known.value.clone());
        if header.value.is_none() {
            let field = format!("upstream.headers.{}", header.name);
            return Err(AdminError::invalid(field, "no value is given and none is stored"));
        }
    }
    let stored_env = environment(&stored).unwrap_or_default();
    let Some(m::transport::Kind::Stdio(stdio)) = asked.transport.as_mut().and_then(|t| t.kind.as_mut()) else {
        return Ok(());
    };
    for entry in stdio.env.iter_mut().filter(|entry| entry.value.is_none()) {
        entry.value = stored_env.iter().find(|known| known.name == entry.name).and_then(|known| known.value.clone());
        if entry.value.is_none() {
            let field = format!("upstream.transport.stdio.env.{}", entry.name);
            return Err(AdminError::invalid(field, "no value is given and none is stored"));
        }
    }
    Ok(())
}

fn environment(upstream: &m::Upstream) -> Option<&[m::EnvironmentVariable]> {
    match upstream.transport.as_ref()?.kind.as_ref()? {
        m::transport::Kind::Stdio(stdio) => Some(&stdio.env),
        m::transport::Kind::Http(_) => None,
    }
}

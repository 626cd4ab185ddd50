//! One administrative request: who sends it, by what proof, and until when it is worth answering.

use std::net::IpAddr;
use std::time::Duration;

use only1mcp_domain::activity::Caller;
use only1mcp_domain::command::{Actor, Via};
use only1mcp_domain::ids::{ApiKeyId, PrincipalId, TenantId};
use only1mcp_domain::limits;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// Without a deadline of the caller's.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// Whatever the caller asks for.
const DEADLINE_MAX: Duration = Duration::from_secs(120);
/// What is left of the caller's deadline for the answer's way back.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// Who proved what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub key: Option<ApiKeyId>,
}

/// An authenticated request.
#[derive(Clone, Debug)]
pub struct Call {
    /// `Service/Method`.
    pub method: &'static str,
    pub identity: Identity,
    pub ip: Option<IpAddr>,
    pub user_agent: String,
    pub request_id: String,
    pub deadline: Instant,
}

impl Call {
    pub(crate) fn new(
        method: &'static str,
        identity: Identity,
        ip: Option<IpAddr>,
        metadata: &MetadataMap,
        request_id_made: String,
    ) -> Self {
        let request_id =
            text(metadata, "x-request-id").filter(|id| !id.is_empty()).unwrap_or(request_id_made);
        let user_agent = text(metadata, "user-agent").unwrap_or_default();
        Self { method, identity, ip, user_agent, request_id, deadline: deadline(metadata) }
    }

    /// The tenant a request names, the caller's own where it names none.
    /// Errors: the name is no tenant id.
    pub fn tenant(&self, named: &str) -> Result<TenantId, crate::error::AdminError> {
        if named.is_empty() {
            return Ok(self.identity.tenant.clone());
        }
        TenantId::new(named).map_err(|error| crate::error::AdminError::invalid("tenant", error))
    }

    pub fn via(&self) -> Via {
        if self.identity.key.is_some() { Via::ApiKey } else { Via::ClientCertificate }
    }

    /// As an entry names its proposer.
    pub fn actor(&self) -> Actor {
        Actor {
            tenant: self.identity.tenant.clone(),
            principal: self.identity.principal.clone(),
            key: self.identity.key.clone(),
            via: self.via(),
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            personal: None,
            request_id: self.request_id.clone(),
        }
    }

    /// As an activity record names it.
    pub fn caller(&self) -> Caller {
        Caller {
            tenant: self.identity.tenant.clone(),
            principal: self.identity.principal.clone(),
            key: self.identity.key.clone(),
            session: None,
            project: None,
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            personal: None,
            request_id: self.request_id.clone(),
        }
    }
}

/// A metadata value as text, cut to what an audit event holds.
fn text(metadata: &MetadataMap, name: &str) -> Option<String> {
    let value = metadata.get(name)?.to_str().ok()?;
    Some(value.chars().take(limits::EVENT_TEXT_BYTES_MAX / 4).collect())
}

fn deadline(metadata: &MetadataMap) -> Instant {
    let asked = metadata.get("grpc-timeout").and_then(|v| v.to_str().ok()).and_then(parse_timeout);
    let allowed =
        asked.map_or(DEADLINE_DEFAULT, |asked| asked.min(DEADLINE_MAX).saturating_sub(ANSWER_MARGIN));
    Instant::now() + allowed
}

/// Source: gRPC over HTTP/2, "Timeout": at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("1500000u"), Some(Duration::from_millis(1_500)));
        for bad in ["", "S", "5", "5s", "123456789S", "-1S", "5é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}

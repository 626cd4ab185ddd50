//! Tool restrictions and explicit denies.

use only1mcp_domain::model::{DenyRule, DenySubject, RateLimit, RatePeriod, ToolRestriction};

use crate::codec::error::DecodeError;
use crate::codec::parts::{Text as _, enumeration, record, required, text, text_list, wire_enum, write_list};
use crate::model;

wire_enum!(RatePeriod, model::RatePeriod, "RatePeriod", [Minute, Hour, Day]);

impl From<RateLimit> for model::RateLimit {
    fn from(limit: RateLimit) -> Self {
        Self { count: limit.count, per: model::RatePeriod::from(limit.per).into() }
    }
}

impl TryFrom<model::RateLimit> for RateLimit {
    type Error = DecodeError;

    fn try_from(wire: model::RateLimit) -> Result<Self, DecodeError> {
        let per = enumeration::<model::RatePeriod, _>("RateLimit.per", wire.per)?;
        Ok(Self { count: wire.count, per })
    }
}

impl From<&ToolRestriction> for model::ToolRestriction {
    fn from(rule: &ToolRestriction) -> Self {
        Self {
            tenant: rule.tenant.written(),
            id: rule.id.written(),
            tools: rule.tools.written(),
            allowed_roles: write_list(&rule.allowed_roles),
            rate_limit: rule.rate_limit.map(Into::into),
            description: rule.description.clone(),
        }
    }
}

impl TryFrom<model::ToolRestriction> for ToolRestriction {
    type Error = DecodeError;

    fn try_from(wire: model::ToolRestriction) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("ToolRestriction.tenant", &wire.tenant)?,
            id: text("ToolRestriction.id", &wire.id)?,
            tools: text("ToolRestriction.tools", &wire.tools)?,
            allowed_roles: text_list("ToolRestriction.allowed_roles", &wire.allowed_roles)?,
            rate_limit: wire.rate_limit.map(TryInto::try_into).transpose()?,
            description: wire.description,
        })
    }
}

impl From<&DenySubject> for model::DenySubject {
    fn from(subject: &DenySubject) -> Self {
        use model::deny_subject::Subject;
        let subject = match subject {
            DenySubject::Everyone => Subject::Everyone(model::Everyone {}),
            DenySubject::Principal(principal) => Subject::Principal(principal.written()),
            DenySubject::Role(role) => Subject::Role(role.written()),
        };
        Self { subject: Some(subject) }
    }
}

impl TryFrom<model::DenySubject> for DenySubject {
    type Error = DecodeError;

    fn try_from(wire: model::DenySubject) -> Result<Self, DecodeError> {
        use model::deny_subject::Subject;
        Ok(match required("DenySubject.subject", wire.subject)? {
            Subject::Everyone(_) => Self::Everyone,
            Subject::Principal(principal) => Self::Principal(text("DenySubject.principal", &principal)?),
            Subject::Role(role) => Self::Role(text("DenySubject.role", &role)?),
        })
    }
}

impl From<&DenyRule> for model::DenyRule {
    fn from(rule: &DenyRule) -> Self {
        Self {
            tenant: rule.tenant.written(),
            id: rule.id.written(),
            tools: rule.tools.written(),
            subject: Some((&rule.subject).into()),
            description: rule.description.clone(),
        }
    }
}

impl TryFrom<model::DenyRule> for DenyRule {
    type Error = DecodeError;

    fn try_from(wire: model::DenyRule) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("DenyRule.tenant", &wire.tenant)?,
            id: text("DenyRule.id", &wire.id)?,
            tools: text("DenyRule.tools", &wire.tools)?,
            subject: record("DenyRule.subject", wire.subject)?,
            description: wire.description,
        })
    }
}

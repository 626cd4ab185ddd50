//! Every command, to its number in `log.proto` and back. Both matches are exhaustive: a new command does not compile
//! until it has a written form.

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::model::price::{boxed, currency};
use super::parts::{Raw as _, Text as _, enumeration, raw, record, required, text};
use super::retention;
use super::subject;
use crate::log::command::Kind;
use crate::{log, model};

impl From<&Command> for log::Command {
    fn from(command: &Command) -> Self {
        Self { kind: Some(write(command)) }
    }
}

fn write(command: &Command) -> Kind {
    match command {
        Command::FormCluster(form) => Kind::FormCluster(form.into()),
        Command::SetSettings { settings, if_revision } => {
            Kind::SetSettings(log::SetSettings { settings: Some(settings.into()), if_revision: *if_revision })
        }
        Command::CreateJoinToken(token) => Kind::CreateJoinToken(token.into()),
        Command::BeginEpoch(begin) => Kind::BeginEpoch((&**begin).into()),
        Command::NoteBackup(note) => Kind::NoteBackup(note.into()),
        Command::RegisterNode(node) => Kind::RegisterNode(node.into()),
        Command::SetNodeRole { node, role } => {
            Kind::SetNodeRole(log::SetNodeRole { node: node.0, role: model::NodeRole::from(*role).into() })
        }
        Command::RemoveNode { node, lose_journal } => {
            Kind::RemoveNode(log::RemoveNode { node: node.0, lose_journal: *lose_journal })
        }
        Command::UpdateNode { node, peer_address, admin_address, http_address, region, zone, version } => {
            Kind::UpdateNode(log::UpdateNode {
                node: node.0,
                peer_address: peer_address.clone(),
                admin_address: admin_address.clone(),
                http_address: http_address.clone(),
                region: region.clone(),
                zone: zone.clone(),
                version: version.clone(),
            })
        }
        Command::SetSigningKey { node, key } => {
            Kind::SetSigningKey(log::SetSigningKey { node: node.0, key: key.written() })
        }
        Command::Tick { node } => Kind::Tick(log::Tick { node: node.0 }),
        Command::OpenIncarnation { node } => Kind::OpenIncarnation(log::OpenIncarnation { node: node.0 }),
        Command::Activity(batch) => Kind::Activity(batch.into()),
        Command::SealJournal { node } => Kind::SealJournal(log::SealJournal { node: node.0 }),
        Command::CreateTenant(tenant) => Kind::CreateTenant((&**tenant).into()),
        Command::UpdateTenant { tenant, if_revision } => Kind::UpdateTenant(log::UpdateTenant {
            tenant: Some((&**tenant).into()),
            if_revision: *if_revision,
        }),
        Command::SetTenantStatus { tenant, status, if_revision } => {
            Kind::SetTenantStatus(log::SetTenantStatus {
                tenant: tenant.written(),
                status: model::TenantStatus::from(*status).into(),
                if_revision: *if_revision,
            })
        }
        Command::CreatePrincipal(principal) => Kind::CreatePrincipal(principal.into()),
        Command::UpdatePrincipal { principal, if_revision } => Kind::UpdatePrincipal(log::UpdatePrincipal {
            principal: Some(principal.into()),
            if_revision: *if_revision,
        }),
        Command::DeletePrincipal { tenant, principal, if_revision } => {
            Kind::DeletePrincipal(log::DeletePrincipal {
                tenant: tenant.written(),
                principal: principal.written(),
                if_revision: *if_revision,
            })
        }
        Command::CreateApiKey(key) => Kind::CreateApiKey(key.into()),
        Command::RotateApiKey { old, new, overlap_until } => Kind::RotateApiKey(log::RotateApiKey {
            old: old.written(),
            new: Some(new.into()),
            overlap_until_ms: overlap_until.0,
        }),
        Command::RevokeApiKey { tenant, key } => {
            Kind::RevokeApiKey(log::RevokeApiKey { tenant: tenant.written(), key: key.written() })
        }
        Command::RecoverAdmin { key } => Kind::RecoverAdmin(key.into()),
        Command::PutRole { role, if_revision } => {
            Kind::PutRole(log::PutRole { role: Some(role.into()), if_revision: *if_revision })
        }
        Command::DeleteRole { tenant, role, if_revision } => Kind::DeleteRole(log::DeleteRole {
            tenant: tenant.written(),
            role: role.written(),
            if_revision: *if_revision,
        }),
        Command::CreateGrant(grant) => Kind::CreateGrant(grant.into()),
        Command::RevokeGrant { tenant, grant } => {
            Kind::RevokeGrant(log::RevokeGrant { tenant: tenant.written(), grant: grant.written() })
        }
        Command::PutRestriction { rule, if_revision } => {
            Kind::PutRestriction(log::PutRestriction { rule: Some(rule.into()), if_revision: *if_revision })
        }
        Command::DeleteRestriction { tenant, rule } => {
            Kind::DeleteRestriction(log::DeleteRule { tenant: tenant.written(), rule: rule.written() })
        }
        Command::PutDeny { rule, if_revision } => {
            Kind::PutDeny(log::PutDeny { rule: Some(rule.into()), if_revision: *if_revision })
        }
        Command::DeleteDeny { tenant, rule } => {
            Kind::DeleteDeny(log::DeleteRule { tenant: tenant.written(), rule: rule.written() })
        }
        Command::PutUpstream { upstream, if_revision } => Kind::PutUpstream(log::PutUpstream {
            upstream: Some(model::Upstream::with_secrets(upstream)),
            if_revision: *if_revision,
        }),
        Command::DeleteUpstream { tenant, upstream } => Kind::DeleteUpstream(log::DeleteUpstream {
            tenant: tenant.written(),
            upstream: upstream.written(),
        }),
        Command::SetUpstreamEnabled { tenant, upstream, enabled } => {
            Kind::SetUpstreamEnabled(log::SetUpstreamEnabled {
                tenant: tenant.written(),
                upstream: upstream.written(),
                enabled: *enabled,
            })
        }
        Command::SetToolEnabled { tenant, upstream, tool, enabled } => {
            Kind::SetToolEnabled(log::SetToolEnabled {
                tenant: tenant.written(),
                upstream: upstream.written(),
                tool: tool.clone(),
                enabled: *enabled,
            })
        }
        Command::CloseMcpSession { tenant, session, expires_at } => {
            Kind::CloseMcpSession(log::CloseMcpSession {
                tenant: tenant.written(),
                session: session.written(),
                expires_at_ms: expires_at.0,
            })
        }
        Command::PutWebhook { webhook, keep_key, if_revision } => Kind::PutWebhook(log::PutWebhook {
            webhook: Some((&**webhook).into()),
            keep_key: *keep_key,
            if_revision: *if_revision,
        }),
        Command::DeleteWebhook { tenant, webhook } => {
            Kind::DeleteWebhook(log::DeleteWebhook { tenant: tenant.written(), webhook: webhook.written() })
        }
        Command::AssignDuty { duty, node, after } => {
            Kind::AssignDuty(log::AssignDuty { duty: Some(duty.into()), node: node.0, after: *after })
        }
        Command::AdvanceDuty(progress) => Kind::AdvanceDuty(progress.into()),
        Command::AddSubjectKeys(keys) => Kind::AddSubjectKeys(subject::write_keys(keys)),
        Command::OfferGeneration(offer) => Kind::OfferGeneration(offer.into()),
        Command::BeginGeneration { generation } => {
            Kind::BeginGeneration(log::BeginGeneration { generation: *generation })
        }
        Command::TellGenerations { node, held } => Kind::TellGenerations(subject::write_held(*node, held)),
        Command::RewrapSubjects(keys) => Kind::RewrapSubjects(subject::write_keys(keys)),
        Command::EraseSubject { tenant, principal } => {
            Kind::EraseSubject(log::SubjectName { tenant: tenant.written(), principal: principal.written() })
        }
        Command::HoldSubject { tenant, principal, hold } => Kind::HoldSubject(log::HoldSubject {
            tenant: tenant.written(),
            principal: principal.written(),
            hold: hold.clone(),
        }),
        Command::WantGeneration => Kind::WantGeneration(log::Nothing {}),
        Command::AdoptKeys(adopt) => Kind::AdoptKeys((&**adopt).into()),
        Command::SetRetention { days, if_revision } => {
            Kind::SetRetention(log::SetRetention { days: Some(days.into()), if_revision: *if_revision })
        }
        Command::RunRetention => Kind::RunRetention(log::Nothing {}),
        Command::DropPayloads { fence, drop } => {
            Kind::DropPayloads(log::DropPayloads { fence: *fence, drop: Some((&**drop).into()) })
        }
        Command::PutBudget { budget, if_revision } => {
            Kind::PutBudget(log::PutBudget { budget: Some((&**budget).into()), if_revision: *if_revision })
        }
        Command::DeleteBudget { tenant, budget } => {
            Kind::DeleteBudget(log::DeleteBudget { tenant: tenant.written(), budget: budget.written() })
        }
        Command::PutPrice { price, if_revision } => {
            Kind::PutPrice(log::PutPrice { price: Some((&**price).into()), if_revision: *if_revision })
        }
        Command::DeletePrice { tenant, price } => {
            Kind::DeletePrice(log::DeletePriceRecord { tenant: tenant.written(), id: price.written() })
        }
        Command::PutMetering { metering, if_revision } => Kind::PutMetering(log::PutMetering {
            metering: Some((&**metering).into()),
            if_revision: *if_revision,
        }),
        Command::DeleteMetering { tenant, metering } => {
            Kind::DeleteMetering(log::DeletePriceRecord { tenant: tenant.written(), id: metering.written() })
        }
        Command::PutDiscount { discount, if_revision } => Kind::PutDiscount(log::PutDiscount {
            discount: Some((&**discount).into()),
            if_revision: *if_revision,
        }),
        Command::DeleteDiscount { tenant, discount } => {
            Kind::DeleteDiscount(log::DeletePriceRecord { tenant: tenant.written(), id: discount.written() })
        }
        Command::PutExchangeRate(rate) => Kind::PutExchangeRate(rate.into()),
        Command::DeleteExchangeRate { currency, valid_from } => {
            Kind::DeleteExchangeRate(log::DeleteExchangeRate {
                currency: currency.to_string(),
                valid_from_ms: valid_from.0,
            })
        }
        Command::CorrectCost(correction) => Kind::CorrectCost((&**correction).into()),
        Command::ForceClose { node, account } => {
            Kind::ForceClose(log::ForceClose { node: node.0, account: account.as_ref().map(Into::into) })
        }
    }
}

impl TryFrom<log::Command> for Command {
    type Error = DecodeError;

    fn try_from(wire: log::Command) -> Result<Self, DecodeError> {
        Ok(match required("Command.kind", wire.kind)? {
            Kind::FormCluster(c) => Self::FormCluster(c.try_into()?),
            Kind::PutWebhook(c) => Self::PutWebhook {
                webhook: Box::new(record("PutWebhook.webhook", c.webhook)?),
                keep_key: c.keep_key,
                if_revision: c.if_revision,
            },
            Kind::DeleteWebhook(c) => Self::DeleteWebhook {
                tenant: text("DeleteWebhook.tenant", &c.tenant)?,
                webhook: text("DeleteWebhook.webhook", &c.webhook)?,
            },
            Kind::AssignDuty(c) => Self::AssignDuty {
                duty: record("AssignDuty.duty", c.duty)?,
                node: NodeId(c.node),
                after: c.after,
            },
            Kind::AdvanceDuty(c) => Self::AdvanceDuty(c.try_into()?),
            Kind::AddSubjectKeys(c) => Self::AddSubjectKeys(subject::read_keys(c)?),
            Kind::OfferGeneration(c) => Self::OfferGeneration(c.try_into()?),
            Kind::BeginGeneration(c) => Self::BeginGeneration { generation: c.generation },
            Kind::TellGenerations(c) => {
                let (node, held) = subject::read_held(&c)?;
                Self::TellGenerations { node, held }
            }
            Kind::RewrapSubjects(c) => Self::RewrapSubjects(subject::read_keys(c)?),
            Kind::EraseSubject(c) => Self::EraseSubject {
                tenant: text("EraseSubject.tenant", &c.tenant)?,
                principal: text("EraseSubject.principal", &c.principal)?,
            },
            Kind::HoldSubject(c) => Self::HoldSubject {
                tenant: text("HoldSubject.tenant", &c.tenant)?,
                principal: text("HoldSubject.principal", &c.principal)?,
                hold: c.hold,
            },
            Kind::WantGeneration(_) => Self::WantGeneration,
            Kind::AdoptKeys(c) => Self::AdoptKeys(Box::new(c.try_into()?)),
            Kind::SetRetention(c) => retention::read_set(c)?,
            Kind::RunRetention(_) => Self::RunRetention,
            Kind::DropPayloads(c) => retention::read_drop(c)?,
            Kind::PutBudget(c) => Self::PutBudget {
                budget: Box::new(record("PutBudget.budget", c.budget)?),
                if_revision: c.if_revision,
            },
            Kind::DeleteBudget(c) => Self::DeleteBudget {
                tenant: text("DeleteBudget.tenant", &c.tenant)?,
                budget: text("DeleteBudget.budget", &c.budget)?,
            },
            Kind::PutPrice(c) => {
                Self::PutPrice { price: boxed("PutPrice.price", c.price)?, if_revision: c.if_revision }
            }
            Kind::DeletePrice(c) => Self::DeletePrice {
                tenant: text("DeletePriceRecord.tenant", &c.tenant)?,
                price: text("DeletePriceRecord.id", &c.id)?,
            },
            Kind::PutMetering(c) => Self::PutMetering {
                metering: boxed("PutMetering.metering", c.metering)?,
                if_revision: c.if_revision,
            },
            Kind::DeleteMetering(c) => Self::DeleteMetering {
                tenant: text("DeletePriceRecord.tenant", &c.tenant)?,
                metering: text("DeletePriceRecord.id", &c.id)?,
            },
            Kind::PutDiscount(c) => Self::PutDiscount {
                discount: boxed("PutDiscount.discount", c.discount)?,
                if_revision: c.if_revision,
            },
            Kind::DeleteDiscount(c) => Self::DeleteDiscount {
                tenant: text("DeletePriceRecord.tenant", &c.tenant)?,
                discount: text("DeletePriceRecord.id", &c.id)?,
            },
            Kind::PutExchangeRate(c) => Self::PutExchangeRate(c.try_into()?),
            Kind::DeleteExchangeRate(c) => Self::DeleteExchangeRate {
                currency: currency("DeleteExchangeRate.currency", &c.currency)?,
                valid_from: TimestampMs(c.valid_from_ms),
            },
            Kind::CorrectCost(c) => Self::CorrectCost(Box::new(c.try_into()?)),
            Kind::ForceClose(c) => Self::ForceClose {
                node: NodeId(c.node),
                account: c.account.map(TryInto::try_into).transpose()?,
            },
            Kind::SetSettings(c) => Self::SetSettings {
                settings: required("SetSettings.settings", c.settings)?.into(),
                if_revision: c.if_revision,
            },
            Kind::CreateJoinToken(c) => Self::CreateJoinToken(c.try_into()?),
            Kind::BeginEpoch(c) => Self::BeginEpoch(Box::new(c.try_into()?)),
            Kind::NoteBackup(c) => Self::NoteBackup(c.into()),
            Kind::RegisterNode(c) => Self::RegisterNode(c.try_into()?),
            Kind::SetNodeRole(c) => Self::SetNodeRole {
                node: NodeId(c.node),
                role: enumeration::<model::NodeRole, _>("SetNodeRole.role", c.role)?,
            },
            Kind::RemoveNode(c) => Self::RemoveNode { node: NodeId(c.node), lose_journal: c.lose_journal },
            Kind::UpdateNode(c) => Self::UpdateNode {
                node: NodeId(c.node),
                peer_address: c.peer_address,
                admin_address: c.admin_address,
                http_address: c.http_address,
                region: c.region,
                zone: c.zone,
                version: c.version,
            },
            Kind::SetSigningKey(c) => {
                Self::SetSigningKey { node: NodeId(c.node), key: raw("SetSigningKey.key", &c.key)? }
            }
            Kind::Tick(c) => Self::Tick { node: NodeId(c.node) },
            Kind::OpenIncarnation(c) => Self::OpenIncarnation { node: NodeId(c.node) },
            Kind::Activity(c) => Self::Activity(c.try_into()?),
            Kind::SealJournal(c) => Self::SealJournal { node: NodeId(c.node) },
            Kind::CreateTenant(c) => Self::CreateTenant(Box::new(c.try_into()?)),
            Kind::UpdateTenant(c) => Self::UpdateTenant {
                tenant: Box::new(record("UpdateTenant.tenant", c.tenant)?),
                if_revision: c.if_revision,
            },
            Kind::SetTenantStatus(c) => Self::SetTenantStatus {
                tenant: text("SetTenantStatus.tenant", &c.tenant)?,
                status: enumeration::<model::TenantStatus, _>("SetTenantStatus.status", c.status)?,
                if_revision: c.if_revision,
            },
            Kind::CreatePrincipal(c) => Self::CreatePrincipal(c.try_into()?),
            Kind::UpdatePrincipal(c) => Self::UpdatePrincipal {
                principal: record("UpdatePrincipal.principal", c.principal)?,
                if_revision: c.if_revision,
            },
            Kind::DeletePrincipal(c) => Self::DeletePrincipal {
                tenant: text("DeletePrincipal.tenant", &c.tenant)?,
                principal: text("DeletePrincipal.principal", &c.principal)?,
                if_revision: c.if_revision,
            },
            Kind::CreateApiKey(c) => Self::CreateApiKey(c.try_into()?),
            Kind::RotateApiKey(c) => Self::RotateApiKey {
                old: text("RotateApiKey.old", &c.old)?,
                new: record("RotateApiKey.new", c.new)?,
                overlap_until: TimestampMs(c.overlap_until_ms),
            },
            Kind::RevokeApiKey(c) => Self::RevokeApiKey {
                tenant: text("RevokeApiKey.tenant", &c.tenant)?,
                key: text("RevokeApiKey.key", &c.key)?,
            },
            Kind::RecoverAdmin(c) => Self::RecoverAdmin { key: c.try_into()? },
            Kind::PutRole(c) => {
                Self::PutRole { role: record("PutRole.role", c.role)?, if_revision: c.if_revision }
            }
            Kind::DeleteRole(c) => Self::DeleteRole {
                tenant: text("DeleteRole.tenant", &c.tenant)?,
                role: text("DeleteRole.role", &c.role)?,
                if_revision: c.if_revision,
            },
            Kind::CreateGrant(c) => Self::CreateGrant(c.try_into()?),
            Kind::RevokeGrant(c) => Self::RevokeGrant {
                tenant: text("RevokeGrant.tenant", &c.tenant)?,
                grant: text("RevokeGrant.grant", &c.grant)?,
            },
            Kind::PutRestriction(c) => Self::PutRestriction {
                rule: record("PutRestriction.rule", c.rule)?,
                if_revision: c.if_revision,
            },
            Kind::DeleteRestriction(c) => Self::DeleteRestriction {
                tenant: text("DeleteRule.tenant", &c.tenant)?,
                rule: text("DeleteRule.rule", &c.rule)?,
            },
            Kind::PutDeny(c) => {
                Self::PutDeny { rule: record("PutDeny.rule", c.rule)?, if_revision: c.if_revision }
            }
            Kind::DeleteDeny(c) => Self::DeleteDeny {
                tenant: text("DeleteRule.tenant", &c.tenant)?,
                rule: text("DeleteRule.rule", &c.rule)?,
            },
            Kind::PutUpstream(c) => Self::PutUpstream {
                upstream: Box::new(record("PutUpstream.upstream", c.upstream)?),
                if_revision: c.if_revision,
            },
            Kind::DeleteUpstream(c) => Self::DeleteUpstream {
                tenant: text("DeleteUpstream.tenant", &c.tenant)?,
                upstream: text("DeleteUpstream.upstream", &c.upstream)?,
            },
            Kind::SetUpstreamEnabled(c) => Self::SetUpstreamEnabled {
                tenant: text("SetUpstreamEnabled.tenant", &c.tenant)?,
                upstream: text("SetUpstreamEnabled.upstream", &c.upstream)?,
                enabled: c.enabled,
            },
            Kind::SetToolEnabled(c) => Self::SetToolEnabled {
                tenant: text("SetToolEnabled.tenant", &c.tenant)?,
                upstream: text("SetToolEnabled.upstream", &c.upstream)?,
                tool: c.tool,
                enabled: c.enabled,
            },
            Kind::CloseMcpSession(c) => Self::CloseMcpSession {
                tenant: text("CloseMcpSession.tenant", &c.tenant)?,
                session: raw("CloseMcpSession.session", &c.session)?,
                expires_at: TimestampMs(c.expires_at_ms),
            },
        })
    }
}

//! Stored rows. Each names its own kind, so that a row found under another table's key is refused.

use only1mcp_domain::command::Secret32;
use only1mcp_domain::ids::{AuditIndex, Incarnation, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::row::{ActivityRow, HeadRow, MetaRow, RowValue, Table};
use only1mcp_domain::state::{BatchSeen, CommandSeen, Versioned};
use only1mcp_domain::time::TimestampMs;
use prost::Message as _;

use super::cost;
use super::duty;
use super::error::{DecodeError, Problem};
use super::form::write_secret;
use super::ledger;
use super::model::price::write_amounts;
use super::outcome;
use super::parts::{Decoded, Raw as _, Text as _, fixed, message, raw, record, required, text};
use super::retention;
use super::subject;
use crate::log::row::Kind;
use crate::{log, model};

/// The bytes of a stored row; also what the state's digest is taken over.
pub fn encode_row(row: &RowValue) -> Vec<u8> {
    log::Row { kind: Some(write(row)) }.encode_to_vec()
}

/// Reads what [`encode_row`] wrote under a key of `table`.
pub fn decode_row(table: Table, bytes: &[u8]) -> Result<RowValue, DecodeError> {
    let wire: log::Row = message("Row", bytes, limits::ROW_BYTES_MAX)?;
    let row = read(required("Row.kind", wire.kind)?)?;
    if table_of(&row) == table { Ok(row) } else { Err(DecodeError::new("Row.kind", Problem::OtherTable)) }
}

fn table_of(row: &RowValue) -> Table {
    match row {
        RowValue::Meta(_) | RowValue::Head(_) => Table::Meta,
        RowValue::Tenant(_) => Table::Tenants,
        RowValue::Principal(_) => Table::Principals,
        RowValue::ApiKey(_) => Table::ApiKeys,
        RowValue::Role(_) => Table::Roles,
        RowValue::Grant(_) => Table::Grants,
        RowValue::Restriction(_) => Table::Restrictions,
        RowValue::Deny(_) => Table::Denies,
        RowValue::Upstream(_) => Table::Upstreams,
        RowValue::Node(_) => Table::Nodes,
        RowValue::JoinToken(_) => Table::JoinTokens,
        RowValue::Activity(_) => Table::Activity,
        RowValue::Batch { .. } => Table::Batches,
        RowValue::Command { .. } => Table::Commands,
        RowValue::ClosedSession { .. } => Table::ClosedSessions,
        RowValue::Clock { .. } => Table::Clocks,
        RowValue::Audit(_) => Table::Audit,
        RowValue::Budget(_) => Table::Budgets,
        RowValue::Account { .. } => Table::Accounts,
        RowValue::Waiter { .. } => Table::Waiters,
        RowValue::Settled { .. } => Table::Settled,
        RowValue::Price(_) => Table::Prices,
        RowValue::Metering(_) => Table::Meterings,
        RowValue::Discount(_) => Table::Discounts,
        RowValue::Rate(_) => Table::Rates,
        RowValue::MonthUsage { .. } => Table::MonthUsage,
        RowValue::Corrected { .. } => Table::Corrected,
        RowValue::Cost(_) => Table::Costs,
        RowValue::Raised { .. } => Table::Raised,
        RowValue::Webhook(_) => Table::Webhooks,
        RowValue::Duty { .. } => Table::Duties,
        RowValue::Subject { .. } => Table::Subjects,
        RowValue::Erasure(_) => Table::Erasure,
        RowValue::Retention(_) => Table::Retention,
        RowValue::Dropped(_) => Table::Dropped,
    }
}

/// `$row { revision, value }` of a versioned record.
macro_rules! versioned {
    ($row:ident, $versioned:expr) => {
        log::$row { revision: $versioned.revision, value: Some((&$versioned.value).into()) }
    };
}

fn write(row: &RowValue) -> Kind {
    match row {
        RowValue::Meta(meta) => Kind::Meta(log::MetaRow {
            cluster_id: meta.cluster_id.written(),
            settings_revision: meta.settings.revision,
            settings: Some((&meta.settings.value).into()),
            key_hash_key: write_secret(&meta.key_hash_key),
            session_key: write_secret(&meta.session_key),
            next_node: meta.next_node.0,
            epoch: super::epoch::write_epoch(meta.epoch),
        }),
        RowValue::Head(head) => Kind::Head(log::HeadRow {
            chain_index: head.chain_index,
            chain_hash: head.chain_hash.written(),
            log_time_ms: head.log_time.0,
            policy_revision: head.policy_revision,
            last_applied: head.last_applied,
        }),
        RowValue::Tenant(v) => Kind::Tenant(versioned!(TenantRow, v)),
        RowValue::Principal(v) => Kind::Principal(versioned!(PrincipalRow, v)),
        RowValue::ApiKey(v) => Kind::ApiKey(versioned!(ApiKeyRow, v)),
        RowValue::Role(v) => Kind::Role(versioned!(RoleRow, v)),
        RowValue::Grant(v) => Kind::Grant(versioned!(GrantRow, v)),
        RowValue::Restriction(v) => Kind::Restriction(versioned!(RestrictionRow, v)),
        RowValue::Deny(v) => Kind::Deny(versioned!(DenyRow, v)),
        RowValue::Upstream(v) => Kind::Upstream(log::UpstreamRow {
            revision: v.revision,
            value: Some(model::Upstream::with_secrets(&v.value)),
        }),
        RowValue::Node(v) => Kind::Node(versioned!(NodeRow, v)),
        RowValue::JoinToken(token) => Kind::JoinToken(token.into()),
        RowValue::Activity(activity) => Kind::Activity(log::ActivityRow {
            node: activity.node.0,
            incarnation: activity.incarnation,
            last_sequence: activity.last_sequence,
            journal_sealed: activity.journal_sealed,
        }),
        RowValue::Batch { node, seen } => Kind::Batch(log::BatchRow {
            node: node.0,
            incarnation: seen.incarnation.0,
            sequence: seen.sequence,
            digest: seen.digest.written(),
            first_index: seen.first_index.0,
        }),
        RowValue::Command { id, seen } => Kind::Command(log::CommandRow {
            id: id.written(),
            request_digest: seen.request_digest.written(),
            log_time_ms: seen.log_time.0,
            log_index: seen.log_index,
            outcome: Some(outcome::write(&seen.outcome)),
        }),
        RowValue::ClosedSession { id, expires_at } => {
            Kind::ClosedSession(log::ClosedSessionRow { id: id.written(), expires_at_ms: expires_at.0 })
        }
        RowValue::Clock { node, at } => Kind::Clock(log::ClockRow { node: node.0, at_ms: at.0 }),
        RowValue::Audit(event) => Kind::Audit(event.into()),
        RowValue::Budget(v) => Kind::Budget(versioned!(BudgetRow, v)),
        RowValue::Account { key, account } => Kind::Account(ledger::write_account(key, account)),
        RowValue::Waiter { place, waiter } => Kind::Waiter(ledger::write_waiter(*place, waiter)),
        RowValue::Settled { node, at } => Kind::Settled(log::ClockRow { node: node.0, at_ms: at.0 }),
        RowValue::Price(v) => Kind::Price(versioned!(PriceRow, v)),
        RowValue::Metering(v) => Kind::Metering(versioned!(MeteringRow, v)),
        RowValue::Discount(v) => Kind::Discount(versioned!(DiscountRow, v)),
        RowValue::Rate(v) => Kind::Rate(versioned!(RateRow, v)),
        RowValue::MonthUsage { tenant, month, used } => {
            Kind::MonthUsage(cost::write_month(tenant.written(), *month, used))
        }
        RowValue::Corrected { tenant, record, part } => {
            let tenant = tenant.written();
            Kind::Corrected(log::CorrectedRow { tenant, audit_index: record.0, part: *part })
        }
        RowValue::Cost(record) => Kind::Cost((&**record).into()),
        RowValue::Raised { tenant, metering, bounds } => Kind::Raised(log::RaisedRow {
            tenant: tenant.written(),
            metering: metering.written(),
            bounds: write_amounts(bounds),
        }),
        RowValue::Webhook(v) => Kind::Webhook(versioned!(WebhookRow, v)),
        RowValue::Duty { id, duty } => Kind::Duty(duty::write_duty(id, duty)),
        RowValue::Subject { tenant, principal, subject } => {
            Kind::Subject(subject::write_subject(tenant, principal, subject))
        }
        RowValue::Erasure(erasure) => Kind::Erasure(erasure.into()),
        RowValue::Retention(row) => Kind::Retention(retention::write_retention(row)),
        RowValue::Dropped(dropped) => Kind::Dropped(retention::write_dropped(dropped)),
    }
}

fn versioned<W, D>(what: &'static str, revision: u64, value: Option<W>) -> Decoded<Versioned<D>>
where
    D: TryFrom<W, Error = DecodeError>,
{
    Ok(Versioned { revision, value: record(what, value)? })
}

fn read(kind: Kind) -> Decoded<RowValue> {
    Ok(match kind {
        Kind::Meta(r) => RowValue::Meta(read_meta(r)?),
        Kind::Head(r) => RowValue::Head(HeadRow {
            chain_index: r.chain_index,
            chain_hash: raw("HeadRow.chain_hash", &r.chain_hash)?,
            log_time: TimestampMs(r.log_time_ms),
            policy_revision: r.policy_revision,
            last_applied: r.last_applied,
        }),
        Kind::Tenant(r) => RowValue::Tenant(versioned("TenantRow.value", r.revision, r.value)?),
        Kind::Principal(r) => RowValue::Principal(versioned("PrincipalRow.value", r.revision, r.value)?),
        Kind::ApiKey(r) => RowValue::ApiKey(versioned("ApiKeyRow.value", r.revision, r.value)?),
        Kind::Role(r) => RowValue::Role(versioned("RoleRow.value", r.revision, r.value)?),
        Kind::Grant(r) => RowValue::Grant(versioned("GrantRow.value", r.revision, r.value)?),
        Kind::Restriction(r) => {
            RowValue::Restriction(versioned("RestrictionRow.value", r.revision, r.value)?)
        }
        Kind::Deny(r) => RowValue::Deny(versioned("DenyRow.value", r.revision, r.value)?),
        Kind::Upstream(r) => RowValue::Upstream(versioned("UpstreamRow.value", r.revision, r.value)?),
        Kind::Node(r) => RowValue::Node(versioned("NodeRow.value", r.revision, r.value)?),
        Kind::JoinToken(r) => RowValue::JoinToken(r.try_into()?),
        Kind::Activity(r) => RowValue::Activity(ActivityRow {
            node: NodeId(r.node),
            incarnation: r.incarnation,
            last_sequence: r.last_sequence,
            journal_sealed: r.journal_sealed,
        }),
        Kind::Batch(r) => RowValue::Batch {
            node: NodeId(r.node),
            seen: BatchSeen {
                incarnation: Incarnation(r.incarnation),
                sequence: r.sequence,
                digest: raw("BatchRow.digest", &r.digest)?,
                first_index: AuditIndex(r.first_index),
            },
        },
        Kind::Command(r) => RowValue::Command {
            id: raw("CommandRow.id", &r.id)?,
            seen: CommandSeen {
                request_digest: raw("CommandRow.request_digest", &r.request_digest)?,
                log_time: TimestampMs(r.log_time_ms),
                log_index: r.log_index,
                outcome: outcome::read(required("CommandRow.outcome", r.outcome)?)?,
            },
        },
        Kind::ClosedSession(r) => RowValue::ClosedSession {
            id: raw("ClosedSessionRow.id", &r.id)?,
            expires_at: TimestampMs(r.expires_at_ms),
        },
        Kind::Clock(r) => RowValue::Clock { node: NodeId(r.node), at: TimestampMs(r.at_ms) },
        Kind::Audit(r) => RowValue::Audit(r.try_into()?),
        Kind::Budget(r) => RowValue::Budget(versioned("BudgetRow.value", r.revision, r.value)?),
        Kind::Account(r) => ledger::read_account(r)?,
        Kind::Waiter(r) => ledger::read_waiter(r)?,
        Kind::Settled(r) => RowValue::Settled { node: NodeId(r.node), at: TimestampMs(r.at_ms) },
        Kind::Price(r) => RowValue::Price(versioned("PriceRow.value", r.revision, r.value)?),
        Kind::Metering(r) => RowValue::Metering(versioned("MeteringRow.value", r.revision, r.value)?),
        Kind::Discount(r) => RowValue::Discount(versioned("DiscountRow.value", r.revision, r.value)?),
        Kind::Rate(r) => RowValue::Rate(versioned("RateRow.value", r.revision, r.value)?),
        Kind::MonthUsage(r) => cost::read_month(&r)?,
        Kind::Corrected(r) => RowValue::Corrected {
            tenant: text("CorrectedRow.tenant", &r.tenant)?,
            record: AuditIndex(r.audit_index),
            part: r.part,
        },
        Kind::Cost(r) => cost::read_record(r)?,
        Kind::Raised(r) => cost::read_raised(&r)?,
        Kind::Webhook(r) => RowValue::Webhook(versioned("WebhookRow.value", r.revision, r.value)?),
        Kind::Duty(r) => duty::read_duty(r)?,
        Kind::Subject(r) => subject::read_subject(r)?,
        Kind::Erasure(r) => RowValue::Erasure(r.try_into()?),
        Kind::Retention(r) => retention::read_retention(r)?,
        Kind::Dropped(r) => retention::read_dropped(r)?,
    })
}

fn read_meta(wire: log::MetaRow) -> Decoded<MetaRow> {
    let settings = required("MetaRow.settings", wire.settings)?.into();
    Ok(MetaRow {
        cluster_id: raw("MetaRow.cluster_id", &wire.cluster_id)?,
        settings: Versioned { revision: wire.settings_revision, value: settings },
        key_hash_key: Secret32(fixed("MetaRow.key_hash_key", &wire.key_hash_key)?),
        session_key: Secret32(fixed("MetaRow.session_key", &wire.session_key)?),
        next_node: NodeId(wire.next_node),
        epoch: super::epoch::read_epoch(wire.epoch),
    })
}

//! The durable form of the state: which table, which key, which record. Encoded by `only1mcp-proto`.

use std::sync::Arc;

use crate::audit::SealedEvent;
use crate::command::Secret32;
use crate::cost::CostRecord;
use crate::ids::{
    ApiKeyId, AuditIndex, BudgetId, CommandId, Digest, DiscountId, GrantId, Incarnation, McpSessionId,
    MeteringId, NodeId, PriceId, PrincipalId, RoleId, RuleId, TenantId, UpstreamId, WebhookId,
};
use crate::ledger::{Account, AccountKey, Waiter};
use crate::model::{
    ApiKey, Budget, ClusterSettings, DenyRule, Dropped, Duty, DutyId, Erasure, Grant, JoinToken, NodeRecord,
    Principal, Retention, Role, Subject, Tenant, ToolRestriction, Upstream, Webhook,
};
use crate::price::{Amounts, Currency, Discount, ExchangeRate, Metering, PriceEntry};
use crate::state::{BatchSeen, CommandSeen, Versioned};
use crate::time::TimestampMs;

/// Table numbers are the first byte of every key on disk: persisted, append only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    Meta = 1,
    Tenants = 2,
    Principals = 3,
    ApiKeys = 4,
    Roles = 5,
    Grants = 6,
    Restrictions = 7,
    Denies = 8,
    Upstreams = 9,
    Nodes = 10,
    JoinTokens = 11,
    Activity = 12,
    Batches = 13,
    Commands = 14,
    ClosedSessions = 15,
    Clocks = 16,
    /// Hot audit events, by index.
    Audit = 17,
    Budgets = 18,
    Accounts = 19,
    Waiters = 20,
    Settled = 21,
    Prices = 22,
    Meterings = 23,
    Discounts = 24,
    Rates = 25,
    MonthUsage = 26,
    Corrected = 27,
    /// Cost records, by tenant and time: in the engine only, as audit events are.
    Costs = 28,
    Raised = 29,
    Webhooks = 30,
    Duties = 31,
    Subjects = 95,
    Erasure = 96,
    Retention = 110,
    Dropped = 111,
}

impl Table {
    pub const ALL: [Self; 35] = [
        Self::Meta,
        Self::Tenants,
        Self::Principals,
        Self::ApiKeys,
        Self::Roles,
        Self::Grants,
        Self::Restrictions,
        Self::Denies,
        Self::Upstreams,
        Self::Nodes,
        Self::JoinTokens,
        Self::Activity,
        Self::Batches,
        Self::Commands,
        Self::ClosedSessions,
        Self::Clocks,
        Self::Audit,
        Self::Budgets,
        Self::Accounts,
        Self::Waiters,
        Self::Settled,
        Self::Prices,
        Self::Meterings,
        Self::Discounts,
        Self::Rates,
        Self::MonthUsage,
        Self::Corrected,
        Self::Costs,
        Self::Raised,
        Self::Webhooks,
        Self::Duties,
        Self::Subjects,
        Self::Erasure,
        Self::Retention,
        Self::Dropped,
    ];

    /// Ascending: tables that are no part of the state and stand in the row store alone. Apply only ever adds to them.
    pub const BESIDE: &'static [Self] = &[Self::Audit, Self::Costs];

    pub fn is_beside(self) -> bool {
        Self::BESIDE.contains(&self)
    }

    /// The first byte of the table's keys.
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.number() == number)
    }
}

/// One row to write, or to delete where `value` is `None`.
#[derive(Clone, PartialEq, Debug)]
pub struct RowChange {
    pub key: RowKey,
    pub value: Option<RowValue>,
}

/// Table number, then the record's key: text parts end in a zero byte, numbers are big-endian.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowKey(pub Vec<u8>);

/// Ends a text part of a key; no id holds it.
const END_OF_TEXT: u8 = 0;
/// The two rows of `Table::Meta`.
const META: u8 = 1;
const HEAD: u8 = 2;

impl RowKey {
    /// The table a key belongs to; `None` when it belongs to none.
    pub fn table(&self) -> Option<Table> {
        self.0.first().copied().and_then(Table::from_number)
    }

    /// The audit index a key of `Table::Audit` stands for.
    pub fn audit_index(&self) -> Option<AuditIndex> {
        let (table, number) = self.0.split_first()?;
        let number = (*table == Table::Audit.number()).then_some(number)?;
        number.try_into().ok().map(|bytes| AuditIndex(u64::from_be_bytes(bytes)))
    }

    pub fn meta() -> Self {
        Self::of(Table::Meta).bytes(&[META])
    }

    pub fn head() -> Self {
        Self::of(Table::Meta).bytes(&[HEAD])
    }

    pub fn tenant(id: &TenantId) -> Self {
        Self::of(Table::Tenants).text(id)
    }

    pub fn principal(tenant: &TenantId, id: &PrincipalId) -> Self {
        Self::of(Table::Principals).text(tenant).text(id)
    }

    pub fn api_key(id: &ApiKeyId) -> Self {
        Self::of(Table::ApiKeys).text(id)
    }

    pub fn role(tenant: &TenantId, id: &RoleId) -> Self {
        Self::of(Table::Roles).text(tenant).text(id)
    }

    pub fn grant(tenant: &TenantId, id: &GrantId) -> Self {
        Self::of(Table::Grants).text(tenant).text(id)
    }

    pub fn restriction(tenant: &TenantId, id: &RuleId) -> Self {
        Self::of(Table::Restrictions).text(tenant).text(id)
    }

    pub fn deny(tenant: &TenantId, id: &RuleId) -> Self {
        Self::of(Table::Denies).text(tenant).text(id)
    }

    pub fn upstream(tenant: &TenantId, id: &UpstreamId) -> Self {
        Self::of(Table::Upstreams).text(tenant).text(id)
    }

    pub fn node(id: NodeId) -> Self {
        Self::of(Table::Nodes).number(id.0)
    }

    pub fn join_token(id: &ApiKeyId) -> Self {
        Self::of(Table::JoinTokens).text(id)
    }

    pub fn activity(node: NodeId) -> Self {
        Self::of(Table::Activity).number(node.0)
    }

    pub fn batch(node: NodeId, incarnation: Incarnation, sequence: u64) -> Self {
        Self::of(Table::Batches).number(node.0).number(incarnation.0).number(sequence)
    }

    pub fn command(id: CommandId) -> Self {
        Self::of(Table::Commands).bytes(&id.0)
    }

    pub fn closed_session(id: McpSessionId) -> Self {
        Self::of(Table::ClosedSessions).bytes(&id.0)
    }

    pub fn clock(node: NodeId) -> Self {
        Self::of(Table::Clocks).number(node.0)
    }

    pub fn audit(index: AuditIndex) -> Self {
        Self::of(Table::Audit).number(index.0)
    }

    pub fn budget(tenant: &TenantId, id: &BudgetId) -> Self {
        Self::of(Table::Budgets).text(tenant).text(id)
    }

    pub fn account(key: &AccountKey) -> Self {
        let table = Self::of(Table::Accounts);
        table.text(&key.tenant).text(key.limit.to_string()).text(&key.subject).number(key.start.0)
    }

    pub fn waiter((index, ordinal): (u64, u32)) -> Self {
        Self::of(Table::Waiters).number(index).number(ordinal.into())
    }

    pub fn settled(node: NodeId) -> Self {
        Self::of(Table::Settled).number(node.0)
    }

    pub fn price(tenant: &TenantId, id: &PriceId) -> Self {
        Self::of(Table::Prices).text(tenant).text(id)
    }

    pub fn metering(tenant: &TenantId, id: &MeteringId) -> Self {
        Self::of(Table::Meterings).text(tenant).text(id)
    }

    pub fn discount(tenant: &TenantId, id: &DiscountId) -> Self {
        Self::of(Table::Discounts).text(tenant).text(id)
    }

    pub fn rate(currency: Currency, valid_from: TimestampMs) -> Self {
        Self::of(Table::Rates).text(currency.to_string()).number(valid_from.0)
    }

    pub fn month_usage(tenant: &TenantId, month: TimestampMs) -> Self {
        Self::of(Table::MonthUsage).text(tenant).number(month.0)
    }

    /// Of the first part the key that every record had before parts were told apart.
    pub fn corrected(tenant: &TenantId, record: AuditIndex, part: u32) -> Self {
        let key = Self::of(Table::Corrected).text(tenant).number(record.0);
        if part == 0 { key } else { key.number(part.into()) }
    }

    /// Ascending with time; the least key of `tenant` at or after `at` has index 0.
    pub fn cost(tenant: &TenantId, at: TimestampMs, index: AuditIndex, part: u32) -> Self {
        Self::of(Table::Costs).text(tenant).number(at.0).number(index.0).number(part.into())
    }

    pub fn raised(tenant: &TenantId, metering: &MeteringId) -> Self {
        Self::of(Table::Raised).text(tenant).text(metering)
    }

    pub fn webhook(tenant: &TenantId, id: &WebhookId) -> Self {
        Self::of(Table::Webhooks).text(tenant).text(id)
    }

    /// By the kind of work, then by what it is done for.
    pub fn duty(id: &DutyId) -> Self {
        match id {
            DutyId::Webhook { tenant, webhook } => {
                Self::of(Table::Duties).text("webhook").text(tenant).text(webhook)
            }
            // Behind every webhook's: in the order of the kinds.
            DutyId::Retention => Self::of(Table::Duties).text("work").text("retention"),
        }
    }

    pub fn subject(tenant: &TenantId, id: &PrincipalId) -> Self {
        Self::of(Table::Subjects).text(tenant).text(id)
    }

    /// The one row of `Table::Erasure`.
    pub fn erasure() -> Self {
        Self::of(Table::Erasure).bytes(&[META])
    }

    /// The one row of `Table::Retention`.
    pub fn retention() -> Self {
        Self::of(Table::Retention).bytes(&[META])
    }

    pub fn dropped(first: AuditIndex, number: u32) -> Self {
        Self::of(Table::Dropped).number(first.0).number(number.into())
    }

    fn of(table: Table) -> Self {
        Self(vec![table.number()])
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: impl AsRef<str>) -> Self {
        self.bytes(text.as_ref().as_bytes()).bytes(&[END_OF_TEXT])
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }
}

/// The small, always present record: what is not in any other table.
#[derive(Clone, PartialEq, Debug)]
pub struct MetaRow {
    pub cluster_id: Digest,
    pub settings: Versioned<ClusterSettings>,
    pub key_hash_key: Secret32,
    pub session_key: Secret32,
    pub next_node: NodeId,
    pub epoch: u64,
}

/// Head of chain, log time and revisions: rewritten with every entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadRow {
    pub chain_index: u64,
    pub chain_hash: Digest,
    pub log_time: TimestampMs,
    pub policy_revision: u64,
    pub last_applied: u64,
}

/// A node's activity without its window, whose batches are rows of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActivityRow {
    pub node: NodeId,
    pub incarnation: u64,
    pub last_sequence: u64,
    pub journal_sealed: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a row lives until it is encoded; most are of the larger kinds"
)]
#[derive(Clone, PartialEq, Debug)]
pub enum RowValue {
    Meta(MetaRow),
    Head(HeadRow),
    Tenant(Versioned<Tenant>),
    Principal(Versioned<Principal>),
    ApiKey(Versioned<ApiKey>),
    Role(Versioned<Role>),
    Grant(Versioned<Grant>),
    Restriction(Versioned<ToolRestriction>),
    Deny(Versioned<DenyRule>),
    Upstream(Versioned<Upstream>),
    Node(Versioned<NodeRecord>),
    JoinToken(JoinToken),
    Activity(ActivityRow),
    Batch { node: NodeId, seen: BatchSeen },
    Command { id: CommandId, seen: CommandSeen },
    ClosedSession { id: McpSessionId, expires_at: TimestampMs },
    Clock { node: NodeId, at: TimestampMs },
    Audit(SealedEvent),
    Budget(Versioned<Budget>),
    Account { key: AccountKey, account: Account },
    Waiter { place: (u64, u32), waiter: Waiter },
    Settled { node: NodeId, at: TimestampMs },
    Price(Versioned<Arc<PriceEntry>>),
    Metering(Versioned<Arc<Metering>>),
    Discount(Versioned<Arc<Discount>>),
    Rate(Versioned<ExchangeRate>),
    MonthUsage { tenant: TenantId, month: TimestampMs, used: Amounts },
    Corrected { tenant: TenantId, record: AuditIndex, part: u32 },
    Cost(Box<CostRecord>),
    Raised { tenant: TenantId, metering: MeteringId, bounds: Amounts },
    Webhook(Versioned<Webhook>),
    Duty { id: DutyId, duty: Duty },
    Subject { tenant: TenantId, principal: PrincipalId, subject: Subject },
    Erasure(Erasure),
    Retention(Retention),
    Dropped(Arc<Dropped>),
}

impl RowValue {
    /// Where this row stands.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Meta(_) => RowKey::meta(),
            Self::Head(_) => RowKey::head(),
            Self::Tenant(row) => RowKey::tenant(&row.value.id),
            Self::Principal(row) => RowKey::principal(&row.value.tenant, &row.value.id),
            Self::ApiKey(row) => RowKey::api_key(&row.value.id),
            Self::Role(row) => RowKey::role(&row.value.tenant, &row.value.id),
            Self::Grant(row) => RowKey::grant(&row.value.tenant, &row.value.id),
            Self::Restriction(row) => RowKey::restriction(&row.value.tenant, &row.value.id),
            Self::Deny(row) => RowKey::deny(&row.value.tenant, &row.value.id),
            Self::Upstream(row) => RowKey::upstream(&row.value.tenant, &row.value.id),
            Self::Node(row) => RowKey::node(row.value.id),
            Self::JoinToken(row) => RowKey::join_token(&row.id),
            Self::Activity(row) => RowKey::activity(row.node),
            Self::Batch { node, seen } => RowKey::batch(*node, seen.incarnation, seen.sequence),
            Self::Command { id, .. } => RowKey::command(*id),
            Self::ClosedSession { id, .. } => RowKey::closed_session(*id),
            Self::Clock { node, .. } => RowKey::clock(*node),
            Self::Audit(event) => RowKey::audit(event.index),
            Self::Budget(row) => RowKey::budget(&row.value.tenant, &row.value.id),
            Self::Account { key, .. } => RowKey::account(key),
            Self::Waiter { place, .. } => RowKey::waiter(*place),
            Self::Settled { node, .. } => RowKey::settled(*node),
            Self::Price(row) => RowKey::price(&row.value.tenant, &row.value.id),
            Self::Metering(row) => RowKey::metering(&row.value.tenant, &row.value.id),
            Self::Discount(row) => RowKey::discount(&row.value.tenant, &row.value.id),
            Self::Rate(row) => RowKey::rate(row.value.currency, row.value.valid_from),
            Self::MonthUsage { tenant, month, .. } => RowKey::month_usage(tenant, *month),
            Self::Corrected { tenant, record, part } => RowKey::corrected(tenant, *record, *part),
            Self::Raised { tenant, metering, .. } => RowKey::raised(tenant, metering),
            Self::Cost(record) => {
                RowKey::cost(&record.tenant, record.log_time, record.audit_index, record.part)
            }
            Self::Webhook(row) => RowKey::webhook(&row.value.tenant, &row.value.id),
            Self::Duty { id, .. } => RowKey::duty(id),
            Self::Subject { tenant, principal, .. } => RowKey::subject(tenant, principal),
            Self::Erasure(_) => RowKey::erasure(),
            Self::Retention(_) => RowKey::retention(),
            Self::Dropped(dropped) => RowKey::dropped(dropped.drop.first, dropped.drop.number),
        }
    }
}

impl From<RowValue> for RowChange {
    /// The row, to be written where it stands.
    fn from(value: RowValue) -> Self {
        Self { key: value.key(), value: Some(value) }
    }
}

/// A row that cannot stand in a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("row does not fit: {detail}")]
pub struct RowFault {
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_table() {
        for table in Table::ALL {
            assert_eq!(RowKey::of(table).table(), Some(table));
            assert_eq!(Table::from_number(table.number()), Some(table));
        }
        assert_eq!(RowKey(Vec::new()).table(), None);
        assert_eq!(RowKey(vec![0]).table(), None);
        assert_eq!(RowKey(vec![32]).table(), None);
    }

    #[test]
    fn audit_keys_read_back_and_sort_by_index() {
        let indexes = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        for pair in indexes.windows(2) {
            assert!(RowKey::audit(AuditIndex(pair[0])) < RowKey::audit(AuditIndex(pair[1])));
        }
        for index in indexes {
            assert_eq!(RowKey::audit(AuditIndex(index)).audit_index(), Some(AuditIndex(index)));
        }
        assert_eq!(RowKey::node(NodeId(1)).audit_index(), None);
        assert_eq!(RowKey(vec![Table::Audit.number(), 1]).audit_index(), None);
    }

    #[test]
    fn text_keys_sort_as_their_parts_do_and_never_meet() {
        let tenants = ["a", "a-b", "aa", "b"].map(|t| TenantId::new(t).unwrap());
        let roles = ["a", "a.b", "aa", "b"].map(|r| RoleId::new(r).unwrap());
        let mut parts: Vec<_> =
            tenants.iter().flat_map(|t| roles.iter().map(move |r| (t.clone(), r.clone()))).collect();
        parts.sort();
        let keys: Vec<RowKey> = parts.iter().map(|(t, r)| RowKey::role(t, r)).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn keys_are_short_enough() {
        let tenant = TenantId::new("t".repeat(crate::limits::SLUG_BYTES_MAX)).unwrap();
        let principal = PrincipalId::new("p".repeat(crate::limits::NAME_BYTES_MAX)).unwrap();
        assert!(RowKey::principal(&tenant, &principal).0.len() <= crate::limits::ROW_KEY_BYTES_MAX);
    }

    /// Persisted: never edit an expected value.
    #[test]
    fn known_keys() {
        let tenant = TenantId::new("ab").unwrap();
        let hex = |key: RowKey| key.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(RowKey::meta()), "0101");
        assert_eq!(hex(RowKey::head()), "0102");
        assert_eq!(hex(RowKey::tenant(&tenant)), "02616200");
        assert_eq!(hex(RowKey::grant(&tenant, &GrantId::new("g").unwrap())), "066162006700");
        assert_eq!(hex(RowKey::clock(NodeId(258))), "100000000000000102");
        assert_eq!(
            hex(RowKey::batch(NodeId(1), Incarnation(2), 3)),
            "0d000000000000000100000000000000020000000000000003"
        );
        assert_eq!(hex(RowKey::command(CommandId([0xab; 16]))), format!("0e{}", "ab".repeat(16)));
    }
}

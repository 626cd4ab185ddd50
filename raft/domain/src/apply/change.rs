//! One entry's change in the making: every write goes to the state and, as a row, beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::apply::ledger_fault;
use crate::audit::{AuditEvent, SealedEvent, encode};
use crate::command::{Actor, Entry};
use crate::cost::{CostPlace, CostRecord};
use crate::ids::{
    ApiKeyId, AuditIndex, BudgetId, CommandId, DiscountId, GrantId, McpSessionId, MeteringId, NodeId,
    PriceId, PrincipalId, Revision, RoleId, RuleId, TenantId, UpstreamId, WebhookId,
};
use crate::ledger::{Account, AccountKey};
use crate::model::{
    ApiKey, Budget, DenyRule, Dropped, Duty, DutyId, Erasure, Grant, JoinToken, NodeRecord, Principal,
    Retention, Role, Subject, Tenant, ToolRestriction, Upstream, Webhook,
};
use crate::outcome::{Applied, Effect, Outcome, Rejection};
use crate::price::{Amounts, Currency, Discount, ExchangeRate, Metering, PriceEntry};
use crate::row::{RowChange, RowKey, RowValue};
use crate::state::{BatchSeen, Cluster, CommandSeen, NodeActivity, State, Versioned};
use crate::time::TimestampMs;

pub(super) struct Change<'a> {
    pub(super) state: &'a mut State,
    pub(super) entry: &'a Entry,
    pub(super) log_index: u64,
    rows: Vec<RowChange>,
    effects: Vec<Effect>,
    audit: Vec<SealedEvent>,
    /// As the entry found them; shares all that does not change.
    accounts_before: OrdMap<AccountKey, Account>,
    /// Written once, at the end: an entry may change one account a thousand times.
    accounts: BTreeSet<AccountKey>,
    waiters: BTreeSet<(u64, u32)>,
    months: BTreeSet<(TenantId, TimestampMs)>,
}

/// Where a change can be taken back to.
pub(super) struct Mark {
    state: State,
    rows: usize,
    effects: usize,
    accounts: BTreeSet<AccountKey>,
    waiters: BTreeSet<(u64, u32)>,
    months: BTreeSet<(TenantId, TimestampMs)>,
}

impl<'a> Change<'a> {
    pub(super) fn new(state: &'a mut State, entry: &'a Entry, log_index: u64) -> Self {
        state.last_applied = log_index;
        let accounts_before = state.ledger.accounts.clone();
        Self {
            state,
            entry,
            log_index,
            rows: Vec::new(),
            effects: Vec::new(),
            audit: Vec::new(),
            accounts_before,
            accounts: BTreeSet::new(),
            waiters: BTreeSet::new(),
            months: BTreeSet::new(),
        }
    }

    pub(super) fn actor(&self) -> &'a Actor {
        &self.entry.actor
    }

    /// Log time as of this entry.
    pub(super) fn now(&self) -> TimestampMs {
        self.state.log_time
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            state: self.state.clone(),
            rows: self.rows.len(),
            effects: self.effects.len(),
            accounts: self.accounts.clone(),
            waiters: self.waiters.clone(),
            months: self.months.clone(),
        }
    }

    /// Takes back everything since `mark`; events must not have been sealed since.
    pub(super) fn take_back(&mut self, mark: Mark) {
        *self.state = mark.state;
        self.rows.truncate(mark.rows);
        self.effects.truncate(mark.effects);
        self.accounts = mark.accounts;
        self.waiters = mark.waiters;
        self.months = mark.months;
    }

    /// The state's head is written with every entry.
    pub(super) fn finish(mut self, outcome: Result<Outcome, Rejection>) -> Applied {
        self.write_ledger();
        self.write_months();
        self.write(RowValue::Head(self.state.head_row()));
        Applied { outcome, effects: self.effects, rows: self.rows, audit: self.audit }
    }

    /// The account was changed in the state: its row follows.
    pub(super) fn touch(&mut self, account: &AccountKey) {
        if !self.accounts.contains(account) {
            self.accounts.insert(account.clone());
        }
    }

    /// The waiter came or went.
    pub(super) fn touch_waiter(&mut self, place: (u64, u32)) {
        self.waiters.insert(place);
    }

    fn write_ledger(&mut self) {
        for key in std::mem::take(&mut self.accounts) {
            match self.state.ledger.accounts.get(&key).cloned() {
                Some(account) => {
                    // INVARIANT: P1
                    if ledger_fault::is_new(self.accounts_before.get(&key), &account) {
                        ledger_fault::tell(self, &key, &account);
                    }
                    self.write(RowValue::Account { key, account });
                }
                None => self.erase(RowKey::account(&key)),
            }
        }
        for place in std::mem::take(&mut self.waiters) {
            match self.state.ledger.waiters.get(&place).cloned() {
                Some(waiter) => self.write(RowValue::Waiter { place, waiter }),
                // One that came and went within this entry left no row.
                None if place.0 < self.log_index => self.erase(RowKey::waiter(place)),
                None => {}
            }
        }
    }

    /// A call used this much, in the month of its admission.
    pub(super) fn count_usage(&mut self, tenant: &TenantId, month: TimestampMs, used: &Amounts) {
        if let Some(forgotten) = self.state.month_usage.add(tenant, month, used) {
            self.months.insert(forgotten);
        }
        self.months.insert((tenant.clone(), month));
    }

    fn write_months(&mut self) {
        for (tenant, month) in std::mem::take(&mut self.months) {
            match self.state.month_usage.0.get(&(tenant.clone(), month)).copied() {
                Some(used) => self.write(RowValue::MonthUsage { tenant, month, used }),
                None => self.erase(RowKey::month_usage(&tenant, month)),
            }
        }
    }

    pub(super) fn put_cost(&mut self, record: CostRecord) {
        self.write(RowValue::Cost(Box::new(record)));
    }

    pub(super) fn put_corrected(&mut self, tenant: &TenantId, CostPlace { index, part, .. }: CostPlace) {
        self.write(RowValue::Corrected { tenant: tenant.clone(), record: index, part });
        self.state.corrected.insert((tenant.clone(), index, part));
    }

    /// The index that the next event gets.
    pub(super) fn next_audit_index(&self) -> AuditIndex {
        AuditIndex(self.state.chain.index.0.saturating_add(1))
    }

    pub(super) fn put_price(&mut self, price: PriceEntry) {
        let record = self.versioned(Arc::new(price));
        self.write(RowValue::Price(record.clone()));
        self.state.set_price(record);
    }

    pub(super) fn remove_price(&mut self, tenant: &TenantId, id: &PriceId) {
        self.erase(RowKey::price(tenant, id));
        self.state.unset_price(tenant, id);
    }

    pub(super) fn put_metering(&mut self, metering: Metering) {
        let record = self.versioned(Arc::new(metering));
        self.write(RowValue::Metering(record.clone()));
        self.state.set_metering(record);
    }

    pub(super) fn remove_metering(&mut self, tenant: &TenantId, id: &MeteringId) {
        self.erase(RowKey::metering(tenant, id));
        self.state.unset_metering(tenant, id);
    }

    /// What was seen of a meter, where it is more than before.
    pub(super) fn raise(&mut self, tenant: &TenantId, metering: &MeteringId, seen: &Amounts) {
        let key = (tenant.clone(), metering.clone());
        let mut bounds = self.state.raised.get(&key).copied().unwrap_or_default();
        for (meter, units) in seen.iter() {
            bounds.set(meter, units.max(bounds.get(meter).unwrap_or(0)));
        }
        self.write(RowValue::Raised { tenant: tenant.clone(), metering: metering.clone(), bounds });
        self.state.raised.insert(key, bounds);
    }

    /// Of a metering of `system`, every tenant's.
    pub(super) fn remove_raised(&mut self, tenant: &TenantId, metering: &MeteringId) {
        let of = self
            .state
            .raised
            .keys()
            .filter(|(by, id)| id == metering && (tenant.is_system() || by == tenant));
        let gone: Vec<(TenantId, MeteringId)> = of.cloned().collect();
        for key in gone {
            self.erase(RowKey::raised(&key.0, &key.1));
            self.state.raised.remove(&key);
        }
    }

    pub(super) fn put_discount(&mut self, discount: Discount) {
        let record = self.versioned(Arc::new(discount));
        self.write(RowValue::Discount(record.clone()));
        self.state.set_discount(record);
    }

    pub(super) fn remove_discount(&mut self, tenant: &TenantId, id: &DiscountId) {
        self.erase(RowKey::discount(tenant, id));
        self.state.unset_discount(tenant, id);
    }

    pub(super) fn put_rate(&mut self, rate: ExchangeRate) {
        let record = self.versioned(rate);
        self.write(RowValue::Rate(record.clone()));
        self.state.set_rate(record);
    }

    pub(super) fn remove_rate(&mut self, currency: Currency, valid_from: TimestampMs) {
        self.erase(RowKey::rate(currency, valid_from));
        self.state.rates.remove(&(currency, valid_from));
    }

    pub(super) fn put_settled(&mut self, node: NodeId, at: TimestampMs) {
        self.write(RowValue::Settled { node, at });
        self.state.ledger.settled_through.insert(node, at);
    }

    pub(super) fn remove_settled(&mut self, node: NodeId) {
        if self.state.ledger.settled_through.remove(&node).is_some() {
            self.erase(RowKey::settled(node));
        }
    }

    pub(super) fn put_budget(&mut self, budget: Budget) {
        let record = self.versioned(budget);
        self.write(RowValue::Budget(record.clone()));
        self.state.set_budget(record);
    }

    pub(super) fn remove_budget(&mut self, tenant: &TenantId, id: &BudgetId) {
        self.erase(RowKey::budget(tenant, id));
        self.state.unset_budget(tenant, id);
    }

    pub(super) fn put_webhook(&mut self, webhook: Webhook) {
        let record = self.versioned(webhook);
        self.write(RowValue::Webhook(record.clone()));
        self.state.set_webhook(record);
    }

    pub(super) fn remove_webhook(&mut self, tenant: &TenantId, id: &WebhookId) {
        self.erase(RowKey::webhook(tenant, id));
        self.state.unset_webhook(tenant, id);
    }

    pub(super) fn put_subject(&mut self, whose: (TenantId, PrincipalId), subject: Subject) {
        let (tenant, principal) = whose.clone();
        self.write(RowValue::Subject { tenant, principal, subject: subject.clone() });
        self.state.set_subject(whose, subject);
    }

    pub(super) fn put_erasure(&mut self, erasure: Erasure) {
        self.write(RowValue::Erasure(erasure.clone()));
        self.state.erasure = erasure;
    }

    pub(super) fn put_retention(&mut self, retention: Retention) {
        // A cluster that never set anything is stored as it was before there was anything to set.
        if retention == Retention::default() {
            self.erase(RowKey::retention());
        } else {
            self.write(RowValue::Retention(retention));
        }
        self.state.retention = retention;
    }

    pub(super) fn put_dropped(&mut self, dropped: Arc<Dropped>) {
        self.write(RowValue::Dropped(dropped.clone()));
        self.state.dropped.insert((dropped.drop.first, dropped.drop.number), dropped);
    }

    pub(super) fn put_duty(&mut self, id: DutyId, duty: Duty) {
        self.write(RowValue::Duty { id: id.clone(), duty: duty.clone() });
        self.state.duties.insert(id, duty);
    }

    pub(super) fn remove_duty(&mut self, id: &DutyId) {
        if self.state.duties.remove(id).is_some() {
            self.erase(RowKey::duty(id));
        }
    }

    /// Appends `event` to the chain. INVARIANT: P3
    pub(super) fn seal(&mut self, event: &AuditEvent) -> SealedEvent {
        let sealed = self.state.chain.append(encode(event));
        self.write(RowValue::Audit(sealed.clone()));
        self.audit.push(sealed.clone());
        sealed
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Decisions in `tenant` (`None`: in all) depend on what this entry changed.
    pub(super) fn policy_changed(&mut self, tenant: Option<&TenantId>) {
        self.state.policy_revision = Revision(self.log_index);
        self.effect(Effect::PolicyChanged { tenant: tenant.cloned() });
    }

    fn write(&mut self, value: RowValue) {
        self.rows.push(value.into());
    }

    fn erase(&mut self, key: RowKey) {
        self.rows.push(RowChange { key, value: None });
    }

    fn versioned<T>(&self, value: T) -> Versioned<T> {
        Versioned { revision: self.log_index, value }
    }

    pub(super) fn put_cluster(&mut self, cluster: Cluster) {
        self.write(RowValue::Meta(super::rows::meta_row(&cluster)));
        self.state.cluster = Some(cluster);
    }

    pub(super) fn put_tenant(&mut self, tenant: Tenant) {
        let record = self.versioned(tenant);
        self.write(RowValue::Tenant(record.clone()));
        self.state.set_tenant(record);
    }

    pub(super) fn put_principal(&mut self, principal: Principal) {
        let record = self.versioned(principal);
        self.write(RowValue::Principal(record.clone()));
        self.state.set_principal(record);
    }

    pub(super) fn remove_principal(&mut self, tenant: &TenantId, id: &PrincipalId) {
        self.erase(RowKey::principal(tenant, id));
        self.state.unset_principal(tenant, id);
    }

    pub(super) fn put_api_key(&mut self, key: ApiKey) {
        let record = self.versioned(key);
        self.put_api_key_unchanged(record);
    }

    /// For what is no change of the key itself (its last use): its revision stays.
    pub(super) fn put_api_key_unchanged(&mut self, record: Versioned<ApiKey>) {
        self.write(RowValue::ApiKey(record.clone()));
        self.state.set_api_key(record);
    }

    pub(super) fn remove_api_key(&mut self, id: &ApiKeyId) {
        self.erase(RowKey::api_key(id));
        self.state.unset_api_key(id);
    }

    pub(super) fn put_role(&mut self, role: Role) {
        let record = self.versioned(role);
        self.write(RowValue::Role(record.clone()));
        self.state.set_role(record);
    }

    pub(super) fn remove_role(&mut self, tenant: &TenantId, id: &RoleId) {
        self.erase(RowKey::role(tenant, id));
        self.state.unset_role(tenant, id);
    }

    pub(super) fn put_grant(&mut self, grant: Grant) {
        let record = self.versioned(grant);
        self.write(RowValue::Grant(record.clone()));
        self.state.set_grant(record);
    }

    pub(super) fn remove_grant(&mut self, tenant: &TenantId, id: &GrantId) {
        self.erase(RowKey::grant(tenant, id));
        self.state.unset_grant(tenant, id);
    }

    pub(super) fn put_restriction(&mut self, rule: ToolRestriction) {
        let record = self.versioned(rule);
        self.write(RowValue::Restriction(record.clone()));
        self.state.set_restriction(record);
    }

    pub(super) fn remove_restriction(&mut self, tenant: &TenantId, id: &RuleId) {
        self.erase(RowKey::restriction(tenant, id));
        self.state.unset_restriction(tenant, id);
    }

    pub(super) fn put_deny(&mut self, rule: DenyRule) {
        let record = self.versioned(rule);
        self.write(RowValue::Deny(record.clone()));
        self.state.set_deny(record);
    }

    pub(super) fn remove_deny(&mut self, tenant: &TenantId, id: &RuleId) {
        self.erase(RowKey::deny(tenant, id));
        self.state.unset_deny(tenant, id);
    }

    pub(super) fn put_upstream(&mut self, upstream: Upstream) {
        let record = self.versioned(upstream);
        self.write(RowValue::Upstream(record.clone()));
        self.state.set_upstream(record);
    }

    pub(super) fn remove_upstream(&mut self, tenant: &TenantId, id: &UpstreamId) {
        self.erase(RowKey::upstream(tenant, id));
        self.state.unset_upstream(tenant, id);
    }

    pub(super) fn put_node(&mut self, node: NodeRecord) {
        let record = self.versioned(node);
        self.write(RowValue::Node(record.clone()));
        self.state.nodes.insert(record.value.id, record);
    }

    /// As if it had never been one: its name may be another's.
    pub(super) fn forget_node(&mut self, id: NodeId) {
        if self.state.nodes.remove(&id).is_some() {
            self.erase(RowKey::node(id));
        }
    }

    pub(super) fn put_join_token(&mut self, token: JoinToken) {
        self.write(RowValue::JoinToken(token.clone()));
        self.state.join_tokens.insert(token.id.clone(), token);
    }

    pub(super) fn remove_join_token(&mut self, id: &ApiKeyId) {
        self.erase(RowKey::join_token(id));
        self.state.join_tokens.remove(id);
    }

    /// All of a node's activity but its window.
    pub(super) fn put_activity(&mut self, node: NodeId, activity: NodeActivity) {
        self.write(RowValue::Activity(super::rows::activity_row(node, &activity)));
        self.state.activity.insert(node, activity);
    }

    pub(super) fn put_batch_row(&mut self, node: NodeId, seen: BatchSeen) {
        self.write(RowValue::Batch { node, seen });
    }

    pub(super) fn erase_batch_row(&mut self, node: NodeId, seen: &BatchSeen) {
        self.erase(RowKey::batch(node, seen.incarnation, seen.sequence));
    }

    pub(super) fn remove_activity(&mut self, node: NodeId) {
        if let Some(old) = self.state.activity.remove(&node) {
            self.erase(RowKey::activity(node));
            old.window.iter().for_each(|seen| self.erase_batch_row(node, seen));
        }
    }

    pub(super) fn put_command(&mut self, id: CommandId, seen: CommandSeen) {
        self.write(RowValue::Command { id, seen: seen.clone() });
        self.state.set_command(id, seen);
    }

    pub(super) fn remove_command(&mut self, id: CommandId) {
        self.erase(RowKey::command(id));
        self.state.unset_command(id);
    }

    pub(super) fn put_closed_session(&mut self, id: McpSessionId, expires_at: TimestampMs) {
        self.write(RowValue::ClosedSession { id, expires_at });
        self.state.set_closed_session(id, expires_at);
    }

    pub(super) fn remove_closed_session(&mut self, id: McpSessionId) {
        self.erase(RowKey::closed_session(id));
        self.state.unset_closed_session(id);
    }

    pub(super) fn put_clock(&mut self, node: NodeId, at: TimestampMs) {
        self.write(RowValue::Clock { node, at });
        self.state.clocks.insert(node, at);
    }

    pub(super) fn remove_clock(&mut self, node: NodeId) {
        if self.state.clocks.remove(&node).is_some() {
            self.erase(RowKey::clock(node));
        }
    }
}

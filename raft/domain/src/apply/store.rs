//! The only code that writes the state's records: each write keeps the derived lookups in step.

use std::sync::Arc;

use crate::apply::weigh::Weigh;
use crate::ids::{
    ApiKeyId, BudgetId, CommandId, DiscountId, GrantId, McpSessionId, MeteringId, PriceId, PrincipalId,
    RoleId, RuleId, TenantId, UpstreamId, WebhookId,
};
use crate::lookup::count;
use crate::model::{
    ApiKey, Budget, DenyRule, Grant, Principal, Role, Subject, Tenant, ToolRestriction, Upstream, Webhook,
};
use crate::price::{Discount, ExchangeRate, Metering, PriceEntry};
use crate::state::{CommandSeen, State, Versioned};
use crate::time::TimestampMs;

impl State {
    pub(super) fn set_tenant(&mut self, record: Versioned<Tenant>) {
        let id = record.value.id.clone();
        let domain = record.value.custom_domain.clone();
        let old = self.tenants.insert(id.clone(), record.clone());
        self.weigh(&id, weight_of(old.as_ref()), Some(&record.value));
        if let Some(old) = old.and_then(|old| old.value.custom_domain) {
            self.lookup.domains.remove(&old);
        }
        if let Some(domain) = domain {
            self.lookup.domains.insert(domain, id);
        }
    }

    pub(super) fn set_principal(&mut self, record: Versioned<Principal>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.principals.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.principals_in, &tenant, true);
        }
    }

    pub(super) fn unset_principal(&mut self, tenant: &TenantId, id: &PrincipalId) {
        if let Some(old) = self.principals.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.principals_in, tenant, false);
        }
    }

    pub(super) fn set_subject(&mut self, whose: (TenantId, PrincipalId), subject: Subject) {
        if let Some(old) = self.subjects.get(&whose).and_then(|old| old.key.as_ref()) {
            self.lookup.subject_of.remove(&old.id);
        }
        if let Some(key) = &subject.key {
            self.lookup.subject_of.insert(key.id, whose.clone());
        }
        let tenant = whose.0.clone();
        if self.subjects.insert(whose, subject).is_none() {
            count(&mut self.lookup.subjects_in, &tenant, true);
        }
    }

    pub(super) fn set_api_key(&mut self, record: Versioned<ApiKey>) {
        let key = &record.value;
        let (id, owner) = (key.id.clone(), (key.tenant.clone(), key.principal.clone(), key.id.clone()));
        let old = self.api_keys.insert(id, record.clone());
        let tenant = &record.value.tenant;
        self.weigh(tenant, weight_of(old.as_ref()), Some(&record.value));
        if let Some(old) = old {
            let old = old.value;
            self.lookup.keys_of.remove(&(old.tenant, old.principal, old.id));
        }
        self.lookup.keys_of.insert(owner);
    }

    pub(super) fn unset_api_key(&mut self, id: &ApiKeyId) {
        if let Some(old) = self.api_keys.remove(id) {
            self.weigh(&old.value.tenant, Some(&old.value), None);
            let old = old.value;
            self.lookup.keys_of.remove(&(old.tenant, old.principal, old.id));
        }
    }

    pub(super) fn set_role(&mut self, record: Versioned<Role>) {
        let (tenant, id) = (record.value.tenant.clone(), record.value.id.clone());
        let parents = record.value.inherits_from.clone();
        let old = self.roles.insert((tenant.clone(), id.clone()), record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        match old {
            Some(old) => self.forget_heir(&old.value),
            None => count(&mut self.lookup.roles_in, &tenant, true),
        }
        for parent in parents {
            self.lookup.heirs.insert((tenant.clone(), parent, id.clone()));
        }
    }

    pub(super) fn unset_role(&mut self, tenant: &TenantId, id: &RoleId) {
        if let Some(old) = self.roles.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            self.forget_heir(&old.value);
            count(&mut self.lookup.roles_in, tenant, false);
        }
    }

    fn forget_heir(&mut self, role: &Role) {
        for parent in &role.inherits_from {
            self.lookup.heirs.remove(&(role.tenant.clone(), parent.clone(), role.id.clone()));
        }
    }

    pub(super) fn set_grant(&mut self, record: Versioned<Grant>) {
        let grant = record.value.clone();
        let key = (grant.tenant.clone(), grant.id.clone());
        let old = self.grants.insert(key, record);
        self.weigh(&grant.tenant, weight_of(old.as_ref()), Some(&grant));
        if let Some(old) = old {
            self.forget_grant(old.value);
        }
        self.lookup.grants_of.insert((grant.tenant.clone(), grant.principal, grant.id.clone()));
        self.lookup.grants_to.insert((grant.tenant, grant.role, grant.id));
    }

    pub(super) fn unset_grant(&mut self, tenant: &TenantId, id: &GrantId) {
        if let Some(old) = self.grants.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            self.forget_grant(old.value);
        }
    }

    fn forget_grant(&mut self, grant: Grant) {
        self.lookup.grants_of.remove(&(grant.tenant.clone(), grant.principal, grant.id.clone()));
        self.lookup.grants_to.remove(&(grant.tenant, grant.role, grant.id));
    }

    pub(super) fn set_restriction(&mut self, record: Versioned<ToolRestriction>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        match record.value.rate_limit {
            Some(_) => self.lookup.rated.insert(key.clone()),
            None => self.lookup.rated.remove(&key),
        };
        let old = self.restrictions.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.restrictions_in, &tenant, true);
        }
    }

    pub(super) fn unset_restriction(&mut self, tenant: &TenantId, id: &RuleId) {
        let key = (tenant.clone(), id.clone());
        self.lookup.rated.remove(&key);
        if let Some(old) = self.restrictions.remove(&key) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.restrictions_in, tenant, false);
        }
    }

    pub(super) fn set_budget(&mut self, record: Versioned<Budget>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.budgets.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.budgets_in, &tenant, true);
        }
    }

    pub(super) fn unset_budget(&mut self, tenant: &TenantId, id: &BudgetId) {
        if let Some(old) = self.budgets.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.budgets_in, tenant, false);
        }
    }

    pub(super) fn set_price(&mut self, record: Versioned<Arc<PriceEntry>>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.prices.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.prices_in, &tenant, true);
        }
    }

    pub(super) fn unset_price(&mut self, tenant: &TenantId, id: &PriceId) {
        if let Some(old) = self.prices.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.prices_in, tenant, false);
        }
    }

    pub(super) fn set_metering(&mut self, record: Versioned<Arc<Metering>>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.meterings.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.meterings_in, &tenant, true);
        }
    }

    pub(super) fn unset_metering(&mut self, tenant: &TenantId, id: &MeteringId) {
        if let Some(old) = self.meterings.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.meterings_in, tenant, false);
        }
    }

    pub(super) fn set_discount(&mut self, record: Versioned<Arc<Discount>>) {
        let tenant = record.value.tenant.clone();
        let old = self.discounts.insert((tenant.clone(), record.value.id.clone()), record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
    }

    pub(super) fn unset_discount(&mut self, tenant: &TenantId, id: &DiscountId) {
        if let Some(old) = self.discounts.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
        }
    }

    pub(super) fn set_webhook(&mut self, record: Versioned<Webhook>) {
        let tenant = record.value.tenant.clone();
        let old = self.webhooks.insert((tenant.clone(), record.value.id.clone()), record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
    }

    pub(super) fn unset_webhook(&mut self, tenant: &TenantId, id: &WebhookId) {
        if let Some(old) = self.webhooks.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
        }
    }

    pub(super) fn set_rate(&mut self, record: Versioned<ExchangeRate>) {
        self.rates.insert((record.value.currency, record.value.valid_from), record);
    }

    pub(super) fn set_deny(&mut self, record: Versioned<DenyRule>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.denies.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.denies_in, &tenant, true);
        }
    }

    pub(super) fn unset_deny(&mut self, tenant: &TenantId, id: &RuleId) {
        if let Some(old) = self.denies.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.denies_in, tenant, false);
        }
    }

    pub(super) fn set_upstream(&mut self, record: Versioned<Upstream>) {
        let tenant = record.value.tenant.clone();
        let key = (tenant.clone(), record.value.id.clone());
        let old = self.upstreams.insert(key, record.clone());
        self.weigh(&tenant, weight_of(old.as_ref()), Some(&record.value));
        if old.is_none() {
            count(&mut self.lookup.upstreams_in, &tenant, true);
        }
    }

    pub(super) fn unset_upstream(&mut self, tenant: &TenantId, id: &UpstreamId) {
        if let Some(old) = self.upstreams.remove(&(tenant.clone(), id.clone())) {
            self.weigh(tenant, Some(&old.value), None);
            count(&mut self.lookup.upstreams_in, tenant, false);
        }
    }

    pub(super) fn set_command(&mut self, id: CommandId, seen: CommandSeen) {
        let index = seen.log_index;
        if let Some(old) = self.commands_seen.insert(id, seen) {
            self.commands_by_index.remove(&(old.log_index, id));
        }
        self.commands_by_index.insert((index, id));
    }

    pub(super) fn unset_command(&mut self, id: CommandId) {
        if let Some(old) = self.commands_seen.remove(&id) {
            self.commands_by_index.remove(&(old.log_index, id));
        }
    }

    pub(super) fn set_closed_session(&mut self, id: McpSessionId, expires_at: TimestampMs) {
        if let Some(old) = self.closed_sessions.insert(id, expires_at) {
            self.closed_by_expiry.remove(&(old, id));
        }
        self.closed_by_expiry.insert((expires_at, id));
    }

    pub(super) fn unset_closed_session(&mut self, id: McpSessionId) {
        if let Some(old) = self.closed_sessions.remove(&id) {
            self.closed_by_expiry.remove(&(old, id));
        }
    }
}

fn weight_of<T: Weigh>(old: Option<&Versioned<T>>) -> Option<&dyn Weigh> {
    old.map(|old| &old.value as &dyn Weigh)
}

//! Budgets, accounts and those who wait for them.

use only1mcp_domain::ids::{BudgetId, CallId};
use only1mcp_domain::ledger::{Account, AccountKey, Lent, LimitId, Waiter, subject};
use only1mcp_domain::model::{Budget, BudgetScope, Dimension, Measure, PeriodKind};

use crate::random::Gen;

impl Gen {
    pub fn budget_id(&mut self) -> BudgetId {
        BudgetId::new(self.slug()).unwrap()
    }

    pub fn budget(&mut self) -> Budget {
        Budget {
            tenant: self.tenant_id(),
            id: self.budget_id(),
            scope: BudgetScope {
                project: self.option(Gen::project_id),
                principal: self.option(Gen::principal_id),
                tools: self.option(Gen::glob),
                upstream: self.option(Gen::upstream_id),
                model: self.option(Gen::text),
                cost_center: self.option(Gen::text),
            },
            per: self.option(|g| g.pick(&Dimension::ALL)),
            measure: self.pick(&[Measure::Cost, Measure::Tokens, Measure::Calls]),
            period: self.pick(&PeriodKind::ALL),
            zone: self.text(),
            amount: self.money(),
            hard: self.flag(),
            description: self.text(),
            created_at: self.time(),
            created_by: self.text(),
        }
    }

    fn limit_id(&mut self) -> LimitId {
        let all = [
            LimitId::QuotaRequests,
            LimitId::QuotaTokens,
            LimitId::TenantRequests,
            LimitId::TenantCost,
            LimitId::RoleRequests(self.role_id()),
            LimitId::RoleCost(self.role_id()),
            LimitId::GrantRequests(self.grant_id()),
            LimitId::GrantCost(self.grant_id()),
            LimitId::RuleRate(self.rule_id()),
            LimitId::Budget(self.budget_id()),
        ];
        self.pick(&all)
    }

    pub fn account_key(&mut self) -> AccountKey {
        AccountKey {
            tenant: self.tenant_id(),
            limit: self.limit_id(),
            subject: subject(&self.text()),
            start: self.time(),
        }
    }

    pub fn account(&mut self) -> Account {
        let mut account = Account {
            end: self.time(),
            posted: self.money(),
            overrun: self.money(),
            ceiling: self.money(),
            level: self.number() as u8,
            lent: self.list(|g| (g.node_id(), Lent { outstanding: g.money(), forfeited: g.money() })),
        };
        account.lent.sort_by_key(|(node, _)| *node);
        account.lent.dedup_by_key(|(node, _)| *node);
        account
    }

    pub fn waiter(&mut self) -> Waiter {
        Waiter {
            node: self.node_id(),
            call: CallId(self.raw()),
            until: self.time(),
            parts: self.list(|g| (g.account_key(), g.money())),
        }
    }
}

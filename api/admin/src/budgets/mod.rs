//! The Budgets service: what may be consumed, what is, and what is lent to a lost node.

mod accounts;
mod amount;
mod definitions;
mod force_close;
mod recall;
mod service;

pub(crate) use service::BudgetsService;

//! The records of the replicated state, one kind a file. Plain data: rules live in `apply` and `decide`.

mod api_key;
mod budget;
mod constraint;
mod duty;
mod grant;
mod node;
mod permission;
mod principal;
mod retention;
mod role;
mod rule;
mod settings;
mod subject;
mod tags;
mod tenant;
mod upstream;
mod webhook;

pub use api_key::{ApiKey, JoinToken};
pub use budget::{Budget, BudgetScope, Dimension, Measure, PeriodKind};
pub use constraint::{Constraints, TimeWindow, Weekdays};
pub use duty::{Duty, DutyId};
pub use grant::Grant;
pub use node::{NodeRecord, NodeRole};
pub use permission::{Glob, GlobError, Permission};
pub use principal::{Principal, PrincipalKind};
pub use retention::{Dropped, PayloadDrop, Retention, RetentionDays};
pub use role::{BUILT_IN_ROLES, Role, built_in_roles};
pub use rule::{DenyRule, DenySubject, RateLimit, RatePeriod, ToolRestriction};
pub use settings::{ClusterSettings, SealMode};
pub use subject::{Erased, Erasure, Held, Offer, Personal, Slot, SlotPart, Subject, SubjectKey, WrappedKey};
pub use tags::{CostTags, Tags, is_tag_key, is_tag_value};
pub use tenant::{
    BillingAccount, Branding, IsolationMode, NetworkConfig, Quota, ResourceQuotas, Tenant, TenantStatus,
    TenantTier,
};
pub use upstream::{HeaderSecret, SessionMode, Transport, Upstream};
pub use webhook::{Webhook, WebhookEvent};

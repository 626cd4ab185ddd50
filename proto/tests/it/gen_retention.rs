//! Retention: days, drops, and the duty.

use std::sync::Arc;

use only1mcp_domain::audit::{DropRule, RetentionClass};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::model::{Dropped, Duty, DutyId, PayloadDrop, Retention, RetentionDays};
use only1mcp_domain::outcome::Rejection;
use only1mcp_domain::row::RowValue;

use crate::random::Gen;

/// Where the numbers of this file's values begin.
const APART: u64 = 220;

impl Gen {
    fn retention_days(&mut self) -> RetentionDays {
        let mut days = RetentionDays::default();
        RetentionClass::ALL.into_iter().for_each(|class| days.set(class, self.number32()));
        days
    }

    fn payload_drop(&mut self) -> PayloadDrop {
        PayloadDrop {
            first: AuditIndex(self.number()),
            last: AuditIndex(self.number()),
            number: self.number32(),
            from: self.digest(),
            address: self.digest(),
            bytes: self.number(),
            rule: DropRule {
                classes: self.list(|g| g.pick(&RetentionClass::ALL)),
                held: self.list(|g| (g.tenant_id(), g.principal_id())),
            },
            newest: self.time(),
            dropped: self.number32(),
            digest: self.digest(),
        }
    }

    pub fn retention_commands(&self) -> Vec<Command> {
        let mut g = self.apart(APART);
        vec![
            Command::SetRetention { days: g.retention_days(), if_revision: g.option(Gen::number) },
            Command::RunRetention,
            Command::DropPayloads { fence: g.number(), drop: Box::new(g.payload_drop()) },
            Command::AssignDuty { duty: DutyId::Retention, node: g.node_id(), after: g.number() },
        ]
    }

    pub fn retention_rows(&self) -> Vec<RowValue> {
        let mut g = self.apart(APART + 1);
        vec![
            RowValue::Retention(Retention {
                revision: g.number(),
                days: g.retention_days(),
                wanted: g.flag(),
            }),
            RowValue::Dropped(Arc::new(Dropped { drop: g.payload_drop(), record: AuditIndex(g.number()) })),
            RowValue::Duty { id: DutyId::Retention, duty: Duty::unassigned() },
        ]
    }

    pub fn retention_rejections(&self) -> Vec<Rejection> {
        let mut g = self.apart(APART + 2);
        vec![Rejection::RetentionTooEarly { class: g.text(), days: g.number() }]
    }
}

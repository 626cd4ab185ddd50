//! Webhooks and duties.

use only1mcp_domain::command::{Command, DutyProgress};
use only1mcp_domain::ids::{AuditIndex, WebhookId};
use only1mcp_domain::model::{Duty, DutyId, Webhook, WebhookEvent};
use only1mcp_domain::outcome::Rejection;
use only1mcp_domain::row::RowValue;
use only1mcp_domain::state::Versioned;

use crate::random::Gen;

/// Where the numbers of this file's values begin.
const APART: u64 = 130;

impl Gen {
    fn webhook_id(&mut self) -> WebhookId {
        WebhookId::new(self.slug()).unwrap()
    }

    fn webhook(&mut self) -> Webhook {
        Webhook {
            tenant: self.tenant_id(),
            id: self.webhook_id(),
            url: self.text(),
            key: self.secret(),
            events: self.list(|g| g.pick(&WebhookEvent::ALL)),
            enabled: self.flag(),
            description: self.text(),
            created_at: self.time(),
            created_by: self.text(),
        }
    }

    fn duty_id(&mut self) -> DutyId {
        DutyId::Webhook { tenant: self.tenant_id(), webhook: self.webhook_id() }
    }

    fn duty(&mut self) -> Duty {
        Duty {
            node: self.option(Gen::node_id),
            assigned_at: self.number(),
            cursor: AuditIndex(self.number()),
            attempts: self.number32(),
            last_error: self.text(),
            told_at: self.time(),
        }
    }

    pub fn webhook_commands(&self) -> Vec<Command> {
        let mut g = self.apart(APART);
        vec![
            Command::PutWebhook {
                webhook: Box::new(g.webhook()),
                keep_key: g.flag(),
                if_revision: g.option(Gen::number),
            },
            Command::DeleteWebhook { tenant: g.tenant_id(), webhook: g.webhook_id() },
            Command::AssignDuty { duty: g.duty_id(), node: g.node_id(), after: g.number() },
            Command::AdvanceDuty(DutyProgress {
                duty: g.duty_id(),
                fence: g.number(),
                cursor: AuditIndex(g.number()),
                attempts: g.number32(),
                last_error: g.text(),
            }),
        ]
    }

    pub fn webhook_rows(&self) -> Vec<RowValue> {
        let mut g = self.apart(APART + 1);
        vec![
            RowValue::Webhook(Versioned { revision: g.number(), value: g.webhook() }),
            RowValue::Duty { id: g.duty_id(), duty: g.duty() },
        ]
    }

    pub fn webhook_rejections(&self) -> Vec<Rejection> {
        vec![Rejection::DutyFenced { assigned_at: self.apart(APART + 2).number() }]
    }
}

//! Records of a node's activity, one of each kind.

use only1mcp_domain::activity::{
    Admission, AuditRead, AuditReadKind, Batch, CallOutcome, Caller, Completion, ItemKind, NoticeKind,
    Record, Refusal, SessionEvent, Unauthenticated,
};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{CallId, DecisionId, Incarnation, McpSessionId, Revision};

use crate::random::Gen;

impl Gen {
    fn caller(&mut self) -> Caller {
        Caller {
            tenant: self.tenant_id(),
            principal: self.principal_id(),
            key: self.option(Gen::key_id),
            session: self.option(|g| McpSessionId(g.raw())),
            project: self.option(Gen::project_id),
            ip: self.option(Gen::ip),
            user_agent: self.text(),
            request_id: self.text(),
        }
    }

    fn item_kind(&mut self) -> ItemKind {
        // Not the last one: golden bytes must not move.
        self.pick(&[ItemKind::Administration, ItemKind::Tool, ItemKind::Prompt, ItemKind::Resource])
    }

    fn session_event(&mut self) -> Box<SessionEvent> {
        Box::new(SessionEvent {
            caller: self.caller(),
            tenant: self.tenant_id(),
            client_name: self.text(),
            client_version: self.text(),
            protocol_version: self.text(),
            observed_at: self.time(),
        })
    }

    fn admission(&mut self) -> Admission {
        Admission {
            call: CallId(self.raw()),
            caller: self.caller(),
            tenant: self.tenant_id(),
            kind: self.item_kind(),
            item: self.text(),
            upstream: self.upstream_id(),
            argument_digest: self.digest(),
            decision: DecisionId(self.raw()),
            grant: self.grant_id(),
            role_path: self.list(Gen::role_id),
            revision: Revision(self.number()),
            mode: self.seal_mode(),
            observed_at: self.time(),
        }
    }

    fn completion(&mut self) -> Completion {
        Completion {
            call: CallId(self.raw()),
            tenant: self.tenant_id(),
            outcome: self.pick(&[
                CallOutcome::Success,
                CallOutcome::ToolError,
                CallOutcome::UpstreamError,
                CallOutcome::UpstreamFailed,
                CallOutcome::TimedOut,
                CallOutcome::Cancelled,
                CallOutcome::Withheld,
                CallOutcome::Unknown,
            ]),
            result_digest: self.digest(),
            result_bytes: self.number(),
            duration_ms: self.number(),
            observed_at: self.time(),
        }
    }

    pub fn refusal(&mut self) -> Refusal {
        Refusal {
            decision: DecisionId(self.raw()),
            caller: self.caller(),
            tenant: self.tenant_id(),
            kind: self.item_kind(),
            item: self.text(),
            // Not the last one: the golden bytes must not move when a reason is added.
            reason: if self.flag() { Reason::SessionClosed } else { self.pick(Reason::ALL) },
            revision: Revision(self.number()),
            count: self.number32(),
            first_at: self.time(),
            last_at: self.time(),
        }
    }

    /// Drawn aside: the golden bytes of what is drawn after it must not move.
    fn audit_read(&mut self) -> AuditRead {
        let mut g = self.aside();
        AuditRead {
            kind: g.pick(&[
                AuditReadKind::Query,
                AuditReadKind::Verify,
                AuditReadKind::Export,
                AuditReadKind::Watch,
            ]),
            caller: g.caller(),
            tenant: g.tenant_id(),
            everyone: g.flag(),
            asked: g.text(),
            events: g.number(),
            count: g.number32(),
            first_at: g.time(),
            last_at: g.time(),
        }
    }

    /// One of each kind.
    pub fn records(&mut self) -> Vec<Record> {
        vec![
            Record::Admission(Box::new(self.admission())),
            Record::Completion(self.completion()),
            Record::Refusal(Box::new(self.refusal())),
            Record::SessionOpened(self.session_event()),
            Record::SessionClosed(self.session_event()),
            Record::Unauthenticated(Unauthenticated {
                count: self.number(),
                sources: self.list(|g| (g.ip(), g.number())),
                first_at: self.time(),
                last_at: self.time(),
            }),
            Record::KeyUsed { key: self.key_id(), at: self.time() },
            Record::NodeNotice {
                kind: self.pick(&[NoticeKind::Startup, NoticeKind::Shutdown, NoticeKind::Alarm]),
                detail: self.text(),
            },
            Record::AuditRead(Box::new(self.audit_read())),
        ]
    }

    pub fn batch(&mut self) -> Batch {
        Batch {
            node: self.node_id(),
            incarnation: Incarnation(self.number()),
            sequence: self.number(),
            digest: self.digest(),
            records: self.records(),
        }
    }
}

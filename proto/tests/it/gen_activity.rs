//! Records of a node's activity, one of each kind.

use only1mcp_domain::activity::{
    Admission, AuditRead, AuditReadKind, Batch, CallOutcome, Caller, Completion, Hold, ItemKind, NoticeKind,
    Record, Refusal, Return, SessionEvent, Unauthenticated,
};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{CallId, DecisionId, Incarnation, McpSessionId, Revision};
use only1mcp_domain::ledger::{Ask, AskPart, Charge};
use only1mcp_domain::model::Tags;

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
            personal: None,
            request_id: self.text(),
        }
    }

    pub fn item_kind(&mut self) -> ItemKind {
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

    pub fn admission(&mut self) -> Admission {
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
            holds: Vec::new(),
            quote: None,
            counts: Vec::new(),
            tags: Tags::new(),
        }
    }

    pub fn completion(&mut self) -> Completion {
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
            charges: Vec::new(),
            cost: None,
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
    pub fn audit_read(&mut self) -> AuditRead {
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

    /// One of each kind, and a second one of those that say more since there is a ledger. A golden file's bytes
    /// depend on the records before it: add new ones at the end.
    pub fn records(&mut self) -> Vec<Record> {
        let mut all = self.first_records();
        all.extend(self.ledger_records());
        all.extend(self.priced_records());
        all.extend(self.apart(50).tagged_records());
        all.extend(self.subject_records());
        all
    }

    fn first_records(&mut self) -> Vec<Record> {
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

    fn ledger_records(&mut self) -> Vec<Record> {
        let mut admission = self.admission();
        admission.holds = self.list(|g| Hold { account: g.account_key(), end: g.time(), amount: g.money() });
        let mut completion = self.completion();
        completion.charges = self.list(|g| Charge {
            account: g.account_key(),
            end: g.time(),
            amount: g.money(),
            held: g.flag(),
        });
        vec![
            Record::Admission(Box::new(admission)),
            Record::Completion(completion),
            Record::Ask(Box::new(Ask {
                call: CallId(self.raw()),
                direct: self.flag(),
                until: self.time(),
                parts: self.list(|g| AskPart {
                    account: g.account_key(),
                    end: g.time(),
                    need: g.money(),
                    want: g.money(),
                }),
            })),
            Record::Return(self.list(|g| Return { account: g.account_key(), amount: g.money() })),
            Record::Restarted { complete: self.flag() },
            Record::SettledThrough(self.time()),
        ]
    }

    pub fn batch(&mut self) -> Batch {
        self.batch_of(Gen::first_records)
    }

    pub fn ledger_batch(&mut self) -> Batch {
        self.batch_of(Gen::ledger_records)
    }

    fn batch_of(&mut self, records: impl FnOnce(&mut Self) -> Vec<Record>) -> Batch {
        Batch {
            node: self.node_id(),
            incarnation: Incarnation(self.number()),
            sequence: self.number(),
            digest: self.digest(),
            records: records(self),
        }
    }
}

//! Stored rows, outcomes and rejections, one of each kind.

use only1mcp_domain::activity::RecordApplied;
use only1mcp_domain::ids::{AuditIndex, CommandId, Incarnation, McpSessionId, PublicKey};
use only1mcp_domain::model::NodeRecord;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::row::{ActivityRow, HeadRow, MetaRow, RowValue};
use only1mcp_domain::state::{BatchSeen, CommandSeen, Versioned};

use crate::random::Gen;

impl Gen {
    pub fn versioned<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Versioned<T> {
        Versioned { revision: self.number(), value: make(self) }
    }

    /// One of each kind. A golden file's bytes depend on the rows before it: add new ones at the end.
    pub fn rows(&mut self) -> Vec<RowValue> {
        let mut all = self.first_rows();
        all.extend(self.cost_rows());
        all.extend(self.webhook_rows());
        all.extend(self.apart(50).tagged_rows());
        all.extend(self.epoch_rows());
        let mut apart = self.apart(180);
        let node = apart.versioned(Gen::node_record);
        let signing_key = apart.option(|g| PublicKey(g.digest().0));
        let value = NodeRecord { signing_key, ..node.value };
        all.push(RowValue::Node(Versioned { value, ..node }));
        all.extend(self.subject_rows());
        all.extend(self.retention_rows());
        all
    }

    fn first_rows(&mut self) -> Vec<RowValue> {
        vec![
            RowValue::Meta(MetaRow {
                cluster_id: self.digest(),
                settings: self.versioned(Gen::settings),
                key_hash_key: self.secret(),
                session_key: self.secret(),
                next_node: self.node_id(),
                epoch: 1,
            }),
            RowValue::Head(HeadRow {
                chain_index: self.number(),
                chain_hash: self.digest(),
                log_time: self.time(),
                policy_revision: self.number(),
                last_applied: self.number(),
            }),
            RowValue::Tenant(self.versioned(Gen::tenant)),
            RowValue::Principal(self.versioned(Gen::principal)),
            RowValue::ApiKey(self.versioned(Gen::api_key)),
            RowValue::Role(self.versioned(Gen::role)),
            RowValue::Grant(self.versioned(Gen::grant)),
            RowValue::Restriction(self.versioned(Gen::restriction)),
            RowValue::Deny(self.versioned(Gen::deny)),
            RowValue::Upstream(self.versioned(Gen::upstream)),
            RowValue::Node(self.versioned(Gen::node_record)),
            RowValue::JoinToken(self.join_token()),
            RowValue::Activity(ActivityRow {
                node: self.node_id(),
                incarnation: self.number(),
                last_sequence: self.number(),
                journal_sealed: self.flag(),
            }),
            RowValue::Batch {
                node: self.node_id(),
                seen: BatchSeen {
                    incarnation: Incarnation(self.number()),
                    sequence: self.number(),
                    digest: self.digest(),
                    first_index: AuditIndex(self.number()),
                },
            },
            RowValue::Command {
                id: CommandId(self.raw()),
                seen: CommandSeen {
                    request_digest: self.digest(),
                    log_time: self.time(),
                    log_index: self.number(),
                    outcome: self.outcome(),
                },
            },
            RowValue::ClosedSession { id: McpSessionId(self.raw()), expires_at: self.time() },
            RowValue::Clock { node: self.node_id(), at: self.time() },
            RowValue::Audit(self.sealed_event()),
            RowValue::Budget(self.versioned(Gen::budget)),
            RowValue::Account { key: self.account_key(), account: self.account() },
            RowValue::Waiter { place: (self.number(), self.number32()), waiter: self.waiter() },
            RowValue::Settled { node: self.node_id(), at: self.time() },
        ]
    }

    fn outcome(&mut self) -> Result<Outcome, Rejection> {
        if self.flag() {
            return Ok(Outcome::Done { log_index: self.number() });
        }
        let mut all = self.outcomes();
        all.extend(self.rejections().into_iter().map(Err));
        self.pick(&all)
    }

    /// One of each kind but the rejections.
    pub fn outcomes(&mut self) -> Vec<Result<Outcome, Rejection>> {
        let record = |g: &mut Self| RecordApplied {
            audit: g.option(|g| (AuditIndex(g.number()), g.digest())),
            revoked_in_flight: g.flag(),
        };
        vec![
            Ok(Outcome::Done { log_index: self.number() }),
            Ok(Outcome::NodeRegistered { node: self.node_id() }),
            Ok(Outcome::IncarnationOpened {
                incarnation: Incarnation(self.number()),
                last_sequence: self.number(),
            }),
            Ok(Outcome::BatchApplied { records: self.list(record) }),
            Ok(Outcome::BatchDuplicate { first_index: self.number() }),
        ]
    }

    /// One of each kind.
    pub fn rejections(&mut self) -> Vec<Rejection> {
        let mut rejections = vec![
            Rejection::NotFormed {},
            Rejection::AlreadyFormed {},
            Rejection::NotFound { kind: self.text(), id: self.text() },
            Rejection::AlreadyExists { kind: self.text(), id: self.text() },
            Rejection::RevisionMismatch { expected: self.number(), found: self.number() },
            Rejection::Forbidden { permission: self.text() },
            Rejection::Invalid { field: self.text(), problem: self.text() },
            Rejection::LimitReached { what: self.text(), max: self.number() },
            Rejection::InUse { kind: self.text(), id: self.text(), by: self.text() },
            Rejection::Cycle { role: self.text() },
            Rejection::BuiltIn { kind: self.text(), id: self.text() },
            Rejection::CommandIdConflict {},
            Rejection::SecretNotRecoverable { id: self.text() },
            Rejection::TokenInvalid {},
            Rejection::NodeBarred { name: self.text() },
            Rejection::JournalUnposted { node: self.number(), last_sequence: self.number() },
            Rejection::Fenced { incarnation: self.number() },
            Rejection::Gap { expected: self.number(), found: self.number() },
            Rejection::BatchMismatch { sequence: self.number() },
            Rejection::LastAdministrator {},
            Rejection::Escalation { permission: self.text() },
            Rejection::TenantClosed { tenant: self.text() },
        ];
        rejections.extend(self.webhook_rejections());
        let mut apart = self.apart(51);
        rejections.push(Rejection::QuotaExceeded { quota: apart.text(), max: apart.number() });
        rejections.extend(self.retention_rejections());
        rejections
    }
}

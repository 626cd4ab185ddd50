//! A cluster's state under test: every entry goes through [`World::submit`], which checks what must hold after any
//! entry at all.

use std::collections::BTreeMap;

use only1mcp_domain::audit::{AuditEvent, Verifier, decode};
use only1mcp_domain::command::{Actor, Command, Entry, RegisterNode};
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::ids::*;
use only1mcp_domain::model::*;
use only1mcp_domain::row::{RowKey, RowValue, Table};
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Applied, Outcome, Rejection, State};

pub use crate::apply_records::*;

pub const START_MS: u64 = 1_800_000_000_000;

#[derive(Clone)]
pub struct World {
    pub state: State,
    /// What a disk would hold, audit rows left out.
    pub mirror: BTreeMap<RowKey, RowValue>,
    /// What it holds of cost records, which the state does not.
    pub costs: BTreeMap<RowKey, CostRecord>,
    pub events: Vec<AuditEvent>,
    pub verifier: Verifier,
    pub now_ms: u64,
    commands: u64,
}

impl World {
    pub fn empty() -> Self {
        Self {
            state: State::default(),
            mirror: BTreeMap::new(),
            costs: BTreeMap::new(),
            events: Vec::new(),
            verifier: Verifier::default(),
            now_ms: START_MS,
            commands: 0,
        }
    }

    /// Formed, with node 1, the operator `root` and nothing else.
    pub fn formed() -> Self {
        let mut world = Self::empty();
        let formed = world.submit(&local(), form());
        assert_eq!(formed.outcome, Ok(Outcome::Done { log_index: 1 }));
        world
    }

    /// Besides: tenant `acme` with the principals `ann` (admin), `dev` (developer) and `bot` (a service without
    /// grants), each with a key of its name, and the upstream `files`.
    pub fn with_acme() -> Self {
        let mut world = Self::formed();
        world.must(Command::CreateTenant(Box::new(tenant("acme"))));
        for (id, role) in [("ann", Some("admin")), ("dev", Some("developer")), ("bot", None)] {
            let mut new = principal("acme", id);
            if id == "bot" {
                new.kind = PrincipalKind::Service;
            }
            world.must(Command::CreatePrincipal(new));
            world.must(Command::CreateApiKey(key("acme", id, &format!("key-{id}"))));
            if let Some(role) = role {
                world.must(Command::CreateGrant(grant("acme", &format!("g-{id}"), id, role)));
            }
        }
        world.must(Command::PutUpstream { upstream: Box::new(upstream("acme", "files")), if_revision: None });
        world
    }

    /// By the operator; must succeed.
    pub fn must(&mut self, command: Command) -> Outcome {
        self.submit(&operator(), command.clone()).outcome.unwrap_or_else(|no| panic!("{no}: {command:?}"))
    }

    /// By the operator; must be refused.
    pub fn refused(&mut self, command: Command) -> Rejection {
        self.submit(&operator(), command.clone())
            .outcome
            .err()
            .unwrap_or_else(|| panic!("accepted: {command:?}"))
    }

    pub fn submit(&mut self, actor: &Actor, command: Command) -> Applied {
        self.commands += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.commands.to_be_bytes());
        self.enter(&Entry {
            actor: actor.clone(),
            command_id: Some(CommandId(id)),
            request_digest: Digest([1; 32]),
            observed_at: TimestampMs(self.now_ms),
            command,
            signature: None,
        })
    }

    /// Applies and checks what holds after every entry.
    pub fn enter(&mut self, entry: &Entry) -> Applied {
        let before = self.state.clone();
        let log_index = before.last_applied + 1;
        let applied = self.state.apply(log_index, entry);
        let mut audit_rows = Vec::new();
        for change in applied.rows.clone() {
            assert_eq!(change.value.as_ref().map(RowValue::key).unwrap_or(change.key.clone()), change.key);
            match change.value {
                Some(RowValue::Audit(event)) => audit_rows.push(event),
                Some(RowValue::Cost(record)) => drop(self.costs.insert(change.key, *record)),
                Some(value) => drop(self.mirror.insert(change.key, value)),
                None => {
                    assert!(self.mirror.remove(&change.key).is_some(), "nothing at {:?}", change.key.table())
                }
            }
        }
        assert_eq!(audit_rows, applied.audit);
        for event in &applied.audit {
            self.verifier.push(event).unwrap();
            self.events.push(decode(&event.bytes).unwrap());
        }
        assert_eq!(self.verifier.head(), self.state.chain);
        assert_eq!(self.state.last_applied, log_index);
        assert!(self.state.log_time >= before.log_time);
        if applied.outcome.is_err() {
            assert_unchanged(&before, &self.state);
            assert!(applied.effects.is_empty());
        }
        applied
    }

    /// The disk's copy says exactly what the state says, and makes the same state.
    pub fn assert_mirrored(&self) {
        let rows = self.state.rows();
        assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key), "rows are in key order");
        let own: BTreeMap<RowKey, RowValue> =
            rows.into_iter().map(|row| (row.key, row.value.unwrap())).collect();
        assert_eq!(own, self.mirror);
        assert!(!own.keys().any(|key| key.table() == Some(Table::Audit)));
        assert_eq!(State::from_rows(own.into_values().rev()).unwrap(), self.state);
    }

    pub fn last_event(&self) -> &AuditEvent {
        self.events.last().unwrap()
    }

    /// A node's tick, so that log time follows `now_ms`.
    pub fn tick(&mut self) {
        let applied = self.submit(&node(1), Command::Tick { node: NodeId(1) });
        assert!(applied.outcome.is_ok() && applied.audit.is_empty());
    }

    pub fn open(&mut self, id: u64) -> Incarnation {
        match self.submit(&node(id), Command::OpenIncarnation { node: NodeId(id) }).outcome {
            Ok(Outcome::IncarnationOpened { incarnation, .. }) => incarnation,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a learner under a token of its own.
    pub fn join(&mut self, name: &str) -> NodeId {
        let token = token(&format!("t-{name}"));
        self.must(Command::CreateJoinToken(token.clone()));
        let node = RegisterNode { token: Some(token.id), ..register(name) };
        match self.submit(&local(), Command::RegisterNode(node)).outcome {
            Ok(Outcome::NodeRegistered { node }) => node,
            other => panic!("{other:?}"),
        }
    }
}

/// All but the chain, the clocks and what is remembered of commands.
pub fn assert_unchanged(before: &State, after: &State) {
    let mut after = after.clone();
    after.chain = before.chain;
    after.clocks = before.clocks.clone();
    after.log_time = before.log_time;
    after.last_applied = before.last_applied;
    after.commands_seen = before.commands_seen.clone();
    after.commands_by_index = before.commands_by_index.clone();
    after.closed_sessions = before.closed_sessions.clone();
    after.closed_by_expiry = before.closed_by_expiry.clone();
    assert!(*before == after, "a rejected command changed the state");
}

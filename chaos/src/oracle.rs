//! What clients were promised. A failed or unanswered write is *unknown*, never absent.

use std::collections::BTreeMap;

use only1mcp_domain::ids::{AuditIndex, CallId, DecisionId, Digest, GrantId, NodeId, TenantId};
use only1mcp_domain::model::TenantStatus;

/// One life of one node: from a start to a crash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Life {
    pub node: NodeId,
    pub number: u64,
}

impl std::fmt::Display for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{}/{}", self.node.0, self.number)
    }
}

/// An admitted call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    pub life: Life,
    /// Where the receipt said the admission stands, once the answer was let go.
    pub sealed: Option<(AuditIndex, Digest)>,
    /// Its answer was withheld.
    pub withheld: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedCall {
    pub life: Life,
    pub decision: DecisionId,
    pub tenant: String,
    pub principal: String,
    /// Its code.
    pub reason: &'static str,
}

/// What a register may hold: what is known for sure, or that and what attempts of unknown end would make it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register<T> {
    pub possible: Vec<T>,
}

impl<T: Clone + PartialEq> Register<T> {
    pub fn of(value: T) -> Self {
        Self { possible: vec![value] }
    }

    /// A write was tried; it may or may not stand.
    pub fn tried(&mut self, value: T) {
        if !self.possible.contains(&value) {
            self.possible.push(value);
        }
    }

    /// The write stands.
    pub fn settled(&mut self, value: T) {
        self.possible = vec![value];
    }

    pub fn allows(&self, value: &T) -> bool {
        self.possible.contains(value)
    }
}

/// A grant, and whether it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    pub principal: String,
    pub register: Register<bool>,
}

impl Granted {
    pub fn new(principal: &str) -> Self {
        Self { principal: principal.to_owned(), register: Register::of(false) }
    }
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub calls: BTreeMap<CallId, Call>,
    pub refused: Vec<RefusedCall>,
    pub grants: BTreeMap<GrantId, Granted>,
    pub tenants: BTreeMap<TenantId, Register<TenantStatus>>,
    /// Counts the attempts to change who may call, by the tenant or the guest that they are about.
    pub(crate) authority: BTreeMap<String, u64>,
    pub answered_calls: u64,
    pub writes_done: u64,
    pub writes_retried: u64,
    pub reads_done: u64,
    pub crashes: u64,
    pub refusals_lost: u64,
    /// Calls that a client got an answer to since faults ended, by client.
    pub served_after_faults: BTreeMap<String, u64>,
    /// Why calls were refused for want of an allowance, and how often.
    pub exceeded: u64,
    pub unavailable: u64,
    /// By kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What a node found wrong with its disk, by kind.
    pub noticed: BTreeMap<&'static str, u64>,
    /// Nodes with a row that rotted and that they did not notice yet.
    pub(crate) rotten_rows: Vec<NodeId>,
    /// Segments that rotted: whose, which, and what they held from then on.
    pub(crate) rotten_segments: Vec<(NodeId, Digest, Vec<u8>)>,
    /// Lives of a node up to this one whose journal is lost, or was replaced by an older copy.
    pub forgotten: Vec<Life>,
    /// Nodes that clients speak to.
    pub members: Vec<u64>,
    /// A node was to be replaced, and has been.
    pub replaced: bool,
    /// A learner was let in, and what more was to be done with it has been.
    pub changed: bool,
    /// It is being removed again, and has been.
    pub leaving: Option<u64>,
    pub left: Option<u64>,
    pub faults_over: bool,
    /// Callers of the tight tenant are to spend what is left.
    pub spend_the_rest: bool,
    pub spenders_done: u64,
    /// This node is asked to read from its lease, again and again.
    pub lease_reader: Option<u64>,
    /// This node is behind: who reads what a node itself knows reads there, and so does who may call no more.
    pub behind: Option<u64>,
    /// The administrator does this and nothing else.
    pub administrator_does: Option<u64>,
    /// When the latest question was asked that was answered from a lease.
    pub lease_read_sent_ms: Option<u64>,
    /// Clients make no new request.
    pub clients_stop: bool,
    pub administrator_is_done: bool,
}

impl Oracle {
    pub fn admitted(&mut self, life: Life, call: CallId) -> Result<(), String> {
        match self.calls.insert(call, Call { life, sealed: None, withheld: false }) {
            None => Ok(()),
            Some(other) => Err(format!("call {call} was admitted by {life} and before by {}", other.life)),
        }
    }

    /// An answer is about to leave the node.
    pub fn sealed(&mut self, call: CallId, at: Option<(AuditIndex, Digest)>) -> Result<(), String> {
        let known = self.calls.get_mut(&call).ok_or_else(|| format!("call {call} was never admitted"))?;
        if at.is_none() {
            return Err(format!("call {call} was let go without a place in the chain"));
        }
        known.sealed = at;
        Ok(())
    }

    pub fn grant_tried(&mut self, grant: &GrantId, there: bool) {
        let Some(granted) = self.grants.get_mut(grant) else { return };
        granted.register.tried(there);
        let count = self.authority.entry(granted.principal.clone()).or_default();
        *count = count.saturating_add(1);
    }

    pub fn tenant_tried(&mut self, tenant: &TenantId, status: TenantStatus) {
        let count = self.authority.entry(tenant.to_string()).or_default();
        *count = count.saturating_add(1);
        self.tenants
            .entry(tenant.clone())
            .or_insert_with(|| Register::of(TenantStatus::Active))
            .tried(status);
    }

    pub fn write_ended(&mut self, known: bool) {
        let count = if known { &mut self.writes_done } else { &mut self.writes_retried };
        *count = count.saturating_add(1);
    }

    /// Surely nothing lets this principal call now; until the count given here moves, nothing will.
    pub fn barred(&self, tenant: &TenantId, principal: &str) -> Option<u64> {
        let status = self.tenants.get(tenant);
        let suspended = status.is_some_and(|status| !status.allows(&TenantStatus::Active));
        let mut own = self.grants.values().filter(|granted| granted.principal == principal);
        let guest = crate::scene::GUESTS.contains(&principal);
        let ungranted = guest && !own.any(|granted| granted.register.allows(&true));
        let tried = |of: &str| self.authority.get(of).copied().unwrap_or(0);
        (suspended || ungranted).then(|| tried(tenant.as_str()).saturating_add(tried(principal)))
    }

    pub fn struck(&mut self, kind: &'static str) {
        let count = self.faults.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    pub fn noticed(&mut self, kind: &'static str) {
        let count = self.noticed.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// How often such a fault struck, and how often a node noticed one.
    pub fn told_of(&self, kind: &str) -> (u64, u64) {
        let count = |of: &BTreeMap<&'static str, u64>| of.get(kind).copied().unwrap_or(0);
        (count(&self.faults), count(&self.noticed))
    }

    /// Nothing need stand of the call but what it was lent, and its answer if it left: its node lost its journal. The copy
    /// that was put back holds calls of earlier lives too, and what the lost one had carried over and not yet told of
    /// them is gone with it.
    pub fn is_forgotten(&self, call: &CallId) -> bool {
        let Some(Call { life, .. }) = self.calls.get(call) else { return false };
        self.forgotten.iter().any(|upto| life.node == upto.node && life.number <= upto.number)
    }

    pub fn withheld(&mut self, call: CallId) {
        if let Some(known) = self.calls.get_mut(&call) {
            known.withheld = true;
        }
    }
}

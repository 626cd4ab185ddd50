//! The state as rows and back, and its digest.

use std::collections::BTreeMap;

use sha3::{Digest as _, Sha3_256};

use crate::audit::ChainHead;
use crate::ids::{AuditIndex, Digest, Incarnation, NodeId, Revision};
use crate::ledger::AccountKey;
use crate::model::{Erasure, Retention};
use crate::row::{ActivityRow, HeadRow, MetaRow, RowChange, RowFault, RowKey, RowValue};
use crate::state::{BatchSeen, Cluster, NodeActivity, State};

impl State {
    /// Every row of the state, in the order of their keys. Audit events and cost records are not among them: they live in
    /// the engine only.
    pub fn rows(&self) -> Vec<RowChange> {
        self.each_row().collect()
    }

    /// The same, made one at a time: a state may be large.
    pub fn each_row(&self) -> impl Iterator<Item = RowChange> + Send + '_ {
        let meta = self.cluster.as_ref().map(|cluster| RowValue::Meta(meta_row(cluster))).into_iter();
        let batches = self.activity.iter().flat_map(|(node, activity)| {
            activity.window.iter().map(|seen| RowValue::Batch { node: *node, seen: *seen })
        });
        meta.chain([RowValue::Head(self.head_row())])
            .chain(self.tenants.values().cloned().map(RowValue::Tenant))
            .chain(self.principals.values().cloned().map(RowValue::Principal))
            .chain(self.api_keys.values().cloned().map(RowValue::ApiKey))
            .chain(self.roles.values().cloned().map(RowValue::Role))
            .chain(self.grants.values().cloned().map(RowValue::Grant))
            .chain(self.restrictions.values().cloned().map(RowValue::Restriction))
            .chain(self.denies.values().cloned().map(RowValue::Deny))
            .chain(self.upstreams.values().cloned().map(RowValue::Upstream))
            .chain(self.nodes.values().cloned().map(RowValue::Node))
            .chain(self.join_tokens.values().cloned().map(RowValue::JoinToken))
            .chain(
                self.activity
                    .iter()
                    .map(|(node, activity)| RowValue::Activity(activity_row(*node, activity))),
            )
            .chain(batches)
            .chain(
                self.commands_seen.iter().map(|(id, seen)| RowValue::Command { id: *id, seen: seen.clone() }),
            )
            .chain(
                self.closed_sessions
                    .iter()
                    .map(|(id, at)| RowValue::ClosedSession { id: *id, expires_at: *at }),
            )
            .chain(self.clocks.iter().map(|(node, at)| RowValue::Clock { node: *node, at: *at }))
            .chain(self.budgets.values().cloned().map(RowValue::Budget))
            .chain(self.account_rows())
            .chain(
                self.ledger
                    .waiters
                    .iter()
                    .map(|(place, waiter)| RowValue::Waiter { place: *place, waiter: waiter.clone() }),
            )
            .chain(
                self.ledger
                    .settled_through
                    .iter()
                    .map(|(node, at)| RowValue::Settled { node: *node, at: *at }),
            )
            .chain(self.prices.values().cloned().map(RowValue::Price))
            .chain(self.meterings.values().cloned().map(RowValue::Metering))
            .chain(self.discounts.values().cloned().map(RowValue::Discount))
            .chain(self.rates.values().cloned().map(RowValue::Rate))
            .chain(self.month_usage.iter().map(|((tenant, month), used)| RowValue::MonthUsage {
                tenant: tenant.clone(),
                month: *month,
                used: *used,
            }))
            .chain(self.corrected.iter().map(|(tenant, record, part)| RowValue::Corrected {
                tenant: tenant.clone(),
                record: *record,
                part: *part,
            }))
            .chain(self.raised.iter().map(|((tenant, metering), bounds)| RowValue::Raised {
                tenant: tenant.clone(),
                metering: metering.clone(),
                bounds: *bounds,
            }))
            .chain(self.webhooks.values().cloned().map(RowValue::Webhook))
            .chain(self.duties.iter().map(|(id, duty)| RowValue::Duty { id: id.clone(), duty: duty.clone() }))
            .chain(self.subjects.iter().map(|((tenant, principal), subject)| RowValue::Subject {
                tenant: tenant.clone(),
                principal: principal.clone(),
                subject: subject.clone(),
            }))
            // A cluster that never had any is stored as it was before there were any.
            .chain((self.erasure != Erasure::default()).then(|| RowValue::Erasure(self.erasure.clone())))
            .chain((self.retention != Retention::default()).then_some(RowValue::Retention(self.retention)))
            .chain(self.dropped.values().cloned().map(RowValue::Dropped))
            .map(RowChange::from)
    }

    /// A limit's text decides where its accounts' rows stand, not the order of its kinds.
    fn account_rows(&self) -> impl Iterator<Item = RowValue> + Send + '_ {
        let mut places: Vec<(RowKey, &AccountKey)> =
            self.ledger.accounts.keys().map(|key| (RowKey::account(key), key)).collect();
        places.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        places.into_iter().filter_map(|(_, key)| {
            let account = self.ledger.accounts.get(key)?.clone();
            Some(RowValue::Account { key: key.clone(), account })
        })
    }

    /// Rebuilds the state from its rows, in any order; audit rows and cost records are passed over.
    /// Errors: `RowFault` for a row that cannot stand beside the others.
    pub fn from_rows(rows: impl IntoIterator<Item = RowValue>) -> Result<Self, RowFault> {
        let mut state = Self::default();
        let mut batches: BTreeMap<(NodeId, Incarnation, u64), BatchSeen> = BTreeMap::new();
        for row in rows {
            match row {
                RowValue::Meta(meta) => state.cluster = Some(cluster(meta)),
                RowValue::Head(head) => state.set_head(&head),
                RowValue::Tenant(record) => state.set_tenant(record),
                RowValue::Principal(record) => state.set_principal(record),
                RowValue::ApiKey(record) => state.set_api_key(record),
                RowValue::Role(record) => state.set_role(record),
                RowValue::Grant(record) => state.set_grant(record),
                RowValue::Restriction(record) => state.set_restriction(record),
                RowValue::Deny(record) => state.set_deny(record),
                RowValue::Upstream(record) => state.set_upstream(record),
                RowValue::Node(record) => {
                    state.nodes.insert(record.value.id, record);
                }
                RowValue::JoinToken(token) => {
                    state.join_tokens.insert(token.id.clone(), token);
                }
                RowValue::Activity(row) => {
                    state.activity.insert(row.node, activity(&row));
                }
                RowValue::Batch { node, seen } => {
                    batches.insert((node, seen.incarnation, seen.sequence), seen);
                }
                RowValue::Command { id, seen } => state.set_command(id, seen),
                RowValue::ClosedSession { id, expires_at } => state.set_closed_session(id, expires_at),
                RowValue::Clock { node, at } => {
                    state.clocks.insert(node, at);
                }
                RowValue::Audit(_) | RowValue::Cost(_) => {}
                RowValue::Budget(record) => state.set_budget(record),
                RowValue::Account { key, account } => state.ledger.set_account(key, account),
                RowValue::Waiter { place, waiter } => {
                    state.ledger.waiters.insert(place, waiter);
                }
                RowValue::Settled { node, at } => {
                    state.ledger.settled_through.insert(node, at);
                }
                RowValue::Price(record) => state.set_price(record),
                RowValue::Metering(record) => state.set_metering(record),
                RowValue::Discount(record) => state.set_discount(record),
                RowValue::Rate(record) => state.set_rate(record),
                RowValue::MonthUsage { tenant, month, used } => {
                    state.month_usage.0.insert((tenant, month), used);
                }
                RowValue::Raised { tenant, metering, bounds } => {
                    state.raised.insert((tenant, metering), bounds);
                }
                RowValue::Corrected { tenant, record, part } => {
                    state.corrected.insert((tenant, record, part));
                }
                RowValue::Webhook(record) => state.set_webhook(record),
                RowValue::Duty { id, duty } => {
                    state.duties.insert(id, duty);
                }
                RowValue::Subject { tenant, principal, subject } => {
                    state.set_subject((tenant, principal), subject);
                }
                RowValue::Erasure(erasure) => state.erasure = erasure,
                RowValue::Retention(retention) => state.retention = retention,
                RowValue::Dropped(dropped) => {
                    state.dropped.insert((dropped.drop.first, dropped.drop.number), dropped);
                }
            }
        }
        for ((node, _, sequence), seen) in batches {
            let Some(activity) = state.activity.get_mut(&node) else {
                return Err(RowFault {
                    detail: format!("batch {sequence} of node {node}, which has no activity"),
                });
            };
            activity.window.push_back(seen);
        }
        Ok(state)
    }

    /// SHA3-256 over all rows in key order, each key and value with its length before it; `encode` gives the bytes
    /// that a row is stored as. Equal on all nodes at equal indexes.
    pub fn digest(&self, encode: impl Fn(&RowValue) -> Vec<u8>) -> Digest {
        let mut hasher = StateHasher::default();
        self.each_row().for_each(|row| hasher.add(&row, &encode));
        hasher.finish()
    }

    pub(super) fn head_row(&self) -> HeadRow {
        HeadRow {
            chain_index: self.chain.index.0,
            chain_hash: self.chain.hash,
            log_time: self.log_time,
            policy_revision: self.policy_revision.0,
            last_applied: self.last_applied,
        }
    }

    fn set_head(&mut self, head: &HeadRow) {
        self.chain = ChainHead { index: AuditIndex(head.chain_index), hash: head.chain_hash };
        self.log_time = head.log_time;
        self.policy_revision = Revision(head.policy_revision);
        self.last_applied = head.last_applied;
    }
}

/// [`State::digest`] for those who take the rows of [`State::each_row`] a few at a time.
#[derive(Default)]
pub struct StateHasher(Sha3_256);

impl StateHasher {
    pub fn add(&mut self, row: &RowChange, encode: impl Fn(&RowValue) -> Vec<u8>) {
        self.part(&row.key.0);
        if let Some(value) = &row.value {
            self.part(&encode(value));
        }
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

pub(super) fn meta_row(cluster: &Cluster) -> MetaRow {
    MetaRow {
        cluster_id: cluster.id,
        settings: cluster.settings.clone(),
        key_hash_key: cluster.key_hash_key.clone(),
        session_key: cluster.session_key.clone(),
        next_node: cluster.next_node,
        epoch: cluster.epoch,
    }
}

fn cluster(row: MetaRow) -> Cluster {
    Cluster {
        id: row.cluster_id,
        settings: row.settings,
        key_hash_key: row.key_hash_key,
        session_key: row.session_key,
        next_node: row.next_node,
        epoch: row.epoch,
    }
}

pub(super) fn activity_row(node: NodeId, activity: &NodeActivity) -> ActivityRow {
    ActivityRow {
        node,
        incarnation: activity.incarnation.0,
        last_sequence: activity.last_sequence,
        journal_sealed: activity.journal_sealed,
    }
}

fn activity(row: &ActivityRow) -> NodeActivity {
    NodeActivity {
        incarnation: Incarnation(row.incarnation),
        last_sequence: row.last_sequence,
        journal_sealed: row.journal_sealed,
        window: imbl::Vector::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_state_is_its_head_alone() {
        let state = State::default();
        let rows = state.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!(State::from_rows(rows.into_iter().filter_map(|row| row.value)).unwrap(), state);
        assert_eq!(State::from_rows([]).unwrap(), state);
    }

    #[test]
    fn a_batch_of_no_node_is_refused() {
        let seen = BatchSeen {
            incarnation: Incarnation(1),
            sequence: 1,
            digest: Digest([0; 32]),
            first_index: AuditIndex(1),
        };
        assert!(State::from_rows([RowValue::Batch { node: NodeId(1), seen }]).is_err());
    }

    #[test]
    fn the_digest_depends_on_every_row() {
        let encode = |row: &RowValue| format!("{row:?}").into_bytes();
        let mut state = State::default();
        let empty = state.digest(encode);
        state.clocks.insert(NodeId(1), crate::time::TimestampMs(5));
        let with_clock = state.digest(encode);
        assert_ne!(empty, with_clock);
        state.clocks.insert(NodeId(1), crate::time::TimestampMs(6));
        assert_ne!(with_clock, state.digest(encode));
    }
}

//! Persons' keys and the generations they are wrapped by: given, wrapped anew, and gone.
//!
//! A generation begins once a majority of voters said that they hold its key, so that no single loss takes the names
//! of everybody along. It ends on a member when that member says that it holds none so old any more; once all said so,
//! what was erased under it is unrecoverable, wherever a copy of the wrapped key may lie.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::member;
use crate::apply::principal;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{Check, at_most, ensure, invalid, list_of, text};
use crate::audit::Severity;
use crate::command::AdoptKeys;
use crate::ids::{NodeId, PrincipalId, TenantId};
use crate::limits;
use crate::model::{Erased, Erasure, Held, NodeRole, Offer, Personal, Principal, Subject, SubjectKey};
use crate::outcome::Rejection;
use crate::state::State;

/// Feature level from which personal data is sealed.
const SINCE_LEVEL: u32 = 3;
/// What is in a slot of bounded texts, with room to spare.
const SLOT_BYTES_MAX: usize = 4 * limits::LABEL_BYTES_MAX + 2 * limits::EVENT_TEXT_BYTES_MAX;
const WRAPPED_BYTES_MAX: usize = 256;

type Whose = (TenantId, PrincipalId);

/// For one more person. Whoever is there already is not asked: no event loses its address for a bound.
pub(super) fn room(state: &State, record: &Principal) -> Check {
    let known = state.subjects.contains_key(&(record.tenant.clone(), record.id.clone()));
    if known || level(state) < limits::FEATURE_LEVEL_GENERATION_KEYS {
        return Ok(());
    }
    let there = state.lookup.subjects_in.get(&record.tenant).copied().unwrap_or(0);
    at_most(there + 1, limits::SUBJECTS_PER_TENANT_MAX, "persons in one tenant, those who are gone included,")
}

/// The record as it is kept: a key that came with it moves to the person's own row.
pub(super) fn received(change: &mut Change<'_>, record: &Principal) -> Result<Principal, Rejection> {
    let whose = (record.tenant.clone(), record.id.clone());
    let known = change.state.subjects.get(&whose).cloned().unwrap_or_default();
    ensure(known.erased.is_none(), "id", "was that of a person who was erased, and is not given again")?;
    let Some(Personal { slot, key }) = &record.personal else { return Ok(record.clone()) };
    ensure(record.display_name.is_empty() && record.email.is_empty(), "personal", "is told besides")?;
    ensure(slot.ciphertext.len() <= SLOT_BYTES_MAX, "personal", "is too long")?;
    if let (None, Some(key)) = (&known.key, key) {
        let key =
            SubjectKey { tenant: record.tenant.clone(), principal: record.id.clone(), key: key.clone() };
        current(change.state, &key)?;
        change.put_subject(whose.clone(), Subject { key: Some(key.key), ..known });
    }
    let of = change.state.subjects.get(&whose).and_then(|subject| subject.key.as_ref());
    ensure(of.is_some_and(|key| key.id == slot.key), "personal", "is not sealed under the person's key")?;
    Ok(Principal { personal: Some(Personal { slot: slot.clone(), key: None }), ..record.clone() })
}

/// For those that have none, or whose key nobody can open any more; others keep theirs.
pub(super) fn add_keys(change: &mut Change<'_>, keys: &[SubjectKey]) -> Result<Report, Rejection> {
    list_of("keys", keys.len(), limits::SUBJECT_KEYS_MAX)?;
    keys.iter().try_for_each(|key| current(change.state, key))?;
    let oldest = change.state.oldest_generation_held();
    for key in keys {
        let whose = (key.tenant.clone(), key.principal.clone());
        let known = change.state.subjects.get(&whose).cloned().unwrap_or_default();
        let lost = known.key.as_ref().is_none_or(|key| key.generation < oldest);
        if lost && known.erased.is_none() && change.state.principals.contains_key(&whose) {
            change.put_subject(whose, Subject { key: Some(key.key.clone()), ..known });
        }
    }
    Ok(Report::silent())
}

pub(super) fn offer(change: &mut Change<'_>, offer: Offer) -> Result<Report, Rejection> {
    sealing(change.state)?;
    let erasure = change.state.erasure.clone();
    ensure(offer.generation == erasure.generation.saturating_add(1), "generation", "is not the next one")?;
    if !change.state.is_member(offer.node) {
        return Err(member::not_found(offer.node));
    }
    change.put_erasure(Erasure { offer: Some(offer), ..erasure });
    Ok(Report::silent())
}

pub(super) fn begin(change: &mut Change<'_>, generation: u32) -> Result<Report, Rejection> {
    let erasure = change.state.erasure.clone();
    let offer = erasure.offer.filter(|offer| offer.generation == generation);
    let Some(offer) = offer else { return Err(invalid("generation", "is not offered")) };
    let voters = change.state.nodes.values().filter(|node| node.value.role == NodeRole::Voter);
    let voters: Vec<NodeId> = voters.map(|node| node.value.id).collect();
    let holds = |node: &&NodeId| {
        let held = erasure.held.get(*node);
        held.is_some_and(|held| held.newest == generation && held.check == offer.check)
    };
    // INVARIANT: P6 (no name is sealed under a key that one node alone has)
    let enough = voters.iter().filter(holds).count() > voters.len() / 2;
    ensure(enough, "generation", "is not held by a majority of voters yet")?;
    let before = erasure.generation;
    let since = change.now();
    change.put_erasure(Erasure {
        generation,
        check: Some(offer.check),
        since,
        offer: None,
        wanted: false,
        ..erasure
    });
    Ok(Report::changed(None, None)
        .detail("generation", generation.to_string())
        .detail("generation_before", before.to_string()))
}

pub(super) fn tell(change: &mut Change<'_>, node: NodeId, held: Held) -> Result<Report, Rejection> {
    ensure(held.oldest <= held.newest, "oldest", "is newer than the newest")?;
    let soon =
        held.destroyed_at.0 <= change.now().0.saturating_add(limits::DELETION_MS_MAX.saturating_mul(2));
    ensure(soon, "destroyed_at", "is too far ahead")?;
    let mut erasure = change.state.erasure.clone();
    let before = erasure.held.insert(node, held);
    change.put_erasure(erasure);
    let gone = settle(change);
    let destroyed = before.is_some_and(|before| before.oldest < held.oldest);
    if !destroyed && gone == 0 {
        return Ok(Report::silent());
    }
    Ok(Report::changed(None, None)
        .detail("oldest_generation_held", held.oldest.to_string())
        .detail("persons_unrecoverable", gone.to_string()))
}

pub(super) fn rewrap(change: &mut Change<'_>, keys: &[SubjectKey]) -> Result<Report, Rejection> {
    list_of("keys", keys.len(), limits::SUBJECT_KEYS_MAX)?;
    keys.iter().try_for_each(|key| current(change.state, key))?;
    for key in keys {
        let whose = (key.tenant.clone(), key.principal.clone());
        let Some(known) = change.state.subjects.get(&whose).cloned() else { continue };
        if known.key.as_ref().is_some_and(|old| old.id == key.key.id) {
            change.put_subject(whose, Subject { key: Some(key.key.clone()), ..known });
        }
    }
    Ok(Report::silent())
}

pub(super) fn erase(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let whose = (tenant.clone(), id.clone());
    let known = find(change.state, &whose)?;
    if !known.hold.is_empty() {
        let by = format!("a legal hold: {}", known.hold);
        return Err(Rejection::InUse { kind: "subject".to_owned(), id: id.to_string(), by });
    }
    ensure(known.erased.is_none(), "principal", "is erased already")?;
    let erased = Erased {
        at: change.now(),
        generation: known.key.as_ref().map_or(change.state.erasure.generation, |key| key.generation),
        unrecoverable_since: None,
    };
    Ok(erased_now(change, whose, erased).severity(Severity::Warning))
}

/// A person without a principal, or whose data was never sealed, can be erased too: the id is not given again.
fn find(state: &State, whose: &Whose) -> Result<Subject, Rejection> {
    match state.subjects.get(whose) {
        Some(subject) => Ok(subject.clone()),
        None if state.principals.contains_key(whose) => Ok(Subject::default()),
        None => Err(not_found("subject", whose.1.as_str())),
    }
}

fn erased_now(change: &mut Change<'_>, whose: Whose, erased: Erased) -> Report {
    let report = Report::changed(None, None).detail("generation", erased.generation.to_string());
    let report = if change.state.principals.contains_key(&whose) {
        principal::taken_out(change, &whose.0, &whose.1, report)
    } else {
        report
    };
    change.put_subject(whose, Subject { key: None, hold: String::new(), erased: Some(erased) });
    report
}

pub(super) fn hold(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
    hold: &str,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    text("hold", hold, limits::LABEL_BYTES_MAX)?;
    let whose = (tenant.clone(), id.clone());
    let known = find(change.state, &whose)?;
    ensure(known.erased.is_none(), "principal", "is erased already")?;
    let report = Report::changed(None, None)
        .detail("hold", hold)
        .detail("hold_before", known.hold.as_str())
        .severity(Severity::Warning);
    change.put_subject(whose, Subject { hold: hold.to_owned(), ..known });
    Ok(report)
}

pub(super) fn want(change: &mut Change<'_>) -> Result<Report, Rejection> {
    sealing(change.state)?;
    let erasure = change.state.erasure.clone();
    change.put_erasure(Erasure { wanted: true, ..erasure });
    Ok(Report::changed(None, None).detail("generation", change.state.erasure.generation.to_string()))
}

/// None of the members there are has any key of the old cluster.
pub(super) fn restored(change: &mut Change<'_>) {
    let old = change.state.erasure.clone();
    if old != Erasure::default() {
        change.put_erasure(Erasure { generation: old.generation, since: old.since, ..Erasure::default() });
    }
}

pub(super) fn adopt(change: &mut Change<'_>, adopt: &AdoptKeys) -> Result<Report, Rejection> {
    list_of("keys", adopt.keys.len().saturating_add(adopt.erased.len()), limits::SUBJECT_KEYS_MAX)?;
    let erasure = change.state.erasure.clone();
    let in_force =
        erasure.check.is_some_and(|check| check == adopt.check && erasure.generation == adopt.generation);
    let lost = erasure.check.is_none() && erasure.generation <= adopt.generation;
    ensure(in_force || lost, "generation", "is not one that this cluster lost")?;
    ensure(adopt.generation > 0, "generation", "is zero")?;
    if lost {
        let since = change.now();
        change.put_erasure(Erasure {
            generation: adopt.generation,
            check: Some(adopt.check),
            since,
            ..Erasure::default()
        });
    }
    adopt.keys.iter().try_for_each(|key| current(change.state, key))?;
    for SubjectKey { tenant, principal, key } in &adopt.keys {
        let whose = (tenant.clone(), principal.clone());
        let known = change.state.subjects.get(&whose).cloned().unwrap_or_default();
        change.put_subject(whose, Subject { key: Some(key.clone()), ..known });
    }
    for (tenant, principal, erased) in &adopt.erased {
        erased_now(change, (tenant.clone(), principal.clone()), *erased);
    }
    Ok(Report::changed(None, None)
        .severity(Severity::Critical)
        .detail("generation", adopt.generation.to_string())
        .detail("keys", adopt.keys.len().to_string())
        .detail("erased", adopt.erased.len().to_string()))
}

/// The node is no member any more: what it may hold nobody waits for.
pub(super) fn released(change: &mut Change<'_>, node: NodeId) {
    let mut erasure = change.state.erasure.clone();
    if erasure.held.remove(&node).is_some() {
        change.put_erasure(erasure);
        settle(change);
    }
}

/// Marks those whose generation no member holds any more; says how many.
fn settle(change: &mut Change<'_>) -> usize {
    let (oldest, now) = (change.state.oldest_generation_held(), change.now());
    let told = change.state.erasure.held.values().map(|held| held.destroyed_at);
    let since = told.max().unwrap_or_default().max(now);
    let erased = change.state.subjects.iter().filter_map(|(whose, subject)| {
        let erased = subject.erased.filter(|e| e.unrecoverable_since.is_none() && e.generation < oldest)?;
        let erased = Some(Erased { unrecoverable_since: Some(since), ..erased });
        Some((whose.clone(), Subject { erased, ..subject.clone() }))
    });
    let erased: Vec<(Whose, Subject)> = erased.collect();
    let count = erased.len();
    erased.into_iter().for_each(|(whose, subject)| change.put_subject(whose, subject));
    count
}

impl State {
    /// Below this no member holds any generation's key; 0 while one has not said.
    pub fn oldest_generation_held(&self) -> u32 {
        let members = self.nodes.values().filter(|node| node.value.role != NodeRole::Removed);
        let told = members.map(|node| self.erasure.held.get(&node.value.id).map_or(0, |held| held.oldest));
        told.min().unwrap_or(0)
    }
}

fn current(state: &State, key: &SubjectKey) -> Check {
    let generation = state.erasure.generation;
    ensure(generation > 0 && key.key.generation == generation, "generation", "is not the one in force")?;
    ensure(key.key.bytes.len() <= WRAPPED_BYTES_MAX, "key", "is too long")?;
    let owner = state.lookup.subject_of(key.key.id);
    let free = owner.is_none_or(|(tenant, id)| *tenant == key.tenant && *id == key.principal);
    ensure(free, "key", "is somebody else's")
}

fn level(state: &State) -> u32 {
    state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level)
}

fn sealing(state: &State) -> Check {
    ensure(level(state) >= SINCE_LEVEL, "feature_level", "is too low for personal data to be sealed")
}

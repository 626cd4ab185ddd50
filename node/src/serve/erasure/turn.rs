//! Generations come and go: each member keeps the keys that the log tells of, the leader begins the next one when it is
//! due, gives persons their keys, and has surviving ones wrapped anew; a generation that wraps none any more is destroyed.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use only1mcp_consensus::{Handle, Role};
use only1mcp_domain::State;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_domain::model::{NodeRole, Offer, SubjectKey};
use only1mcp_keys::{generation_check, new_generation_key, wrap_subject};
use tokio::time::{Duration, sleep};

use super::keys::PersonalKeys;
use super::peers;
use crate::serve::admin_port::propose_own;

/// How often it is looked whether something is to be done; and again at once after something was.
const LOOK: Duration = Duration::from_millis(500);
/// The same while it fails.
const LOOK_LAST: Duration = Duration::from_secs(60);
const TELL: Duration = Duration::from_secs(5);
/// A person who was erased waits this long for the next generation, so that it has a day to end within the bound, and what
/// wrapped it is beyond calling back within it, too.
const ERASURE_DUE_MS: u64 = limits::ERASURE_MS_MAX - limits::DELETION_MS_MAX - 24 * 3_600_000;
/// Feature level from which personal data is sealed.
const SINCE_LEVEL: u32 = 3;
/// Keys given or wrapped anew in one entry.
const AT_ONCE: usize = 200;

/// Runs until the node ends.
pub async fn run(handle: Handle, keys: Arc<PersonalKeys>) {
    let mut pause = LOOK;
    loop {
        pause = match look(&handle, &keys).await {
            Ok(true) => {
                pause = LOOK;
                continue;
            }
            Ok(false) => LOOK,
            Err(error) => {
                tracing::info!(%error, "generations of keys are not brought forward yet");
                // A provider that refuses is not asked for keys again and again.
                pause.saturating_mul(2).min(LOOK_LAST)
            }
        };
        sleep(pause).await;
    }
}

/// Of a cluster that was just formed, before anybody has a name in it.
pub async fn first_generation(handle: &Handle, keys: &PersonalKeys) -> anyhow::Result<()> {
    while seals(&handle.state()) && handle.state().erasure.generation == 0 {
        if !look(handle, keys).await? {
            sleep(LOOK).await;
        }
    }
    Ok(())
}

fn seals(state: &State) -> bool {
    state.cluster.as_ref().is_some_and(|cluster| cluster.settings.value.feature_level >= SINCE_LEVEL)
}

/// Does the next thing that is to be done; false where there is none.
async fn look(handle: &Handle, keys: &PersonalKeys) -> anyhow::Result<bool> {
    let state = handle.state();
    if !seals(&state) || !state.is_member(handle.node()) {
        return Ok(false);
    }
    keys.forget_erased(&state);
    // A provider that does not destroy a key holds up nothing else.
    let destroyed = destroy(keys, &state).await;
    if obtain(handle, keys, &state).await?
        || destroyed.as_ref().is_ok_and(|destroyed| *destroyed)
        || tell(handle, keys, &state).await?
    {
        return Ok(true);
    }
    if handle.status().role == Role::Leader
        && let Some(command) = due(handle.node(), keys, &state).await?
    {
        propose(handle, command).await?;
        return Ok(true);
    }
    destroyed.context("a past generation is not destroyed")
}

async fn propose(handle: &Handle, command: Command) -> anyhow::Result<()> {
    let committed = propose_own(handle, command, TELL).await?;
    committed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
    handle.wait_applied(committed.log_index, tokio::time::Instant::now() + TELL).await?;
    Ok(())
}

fn members(state: &State) -> impl Iterator<Item = NodeId> + '_ {
    let members = state.nodes.values().filter(|node| node.value.role != NodeRole::Removed);
    members.map(|node| node.value.id)
}

/// Fetches what the log tells of and this node lacks.
async fn obtain(handle: &Handle, keys: &PersonalKeys, state: &State) -> anyhow::Result<bool> {
    let erasure = &state.erasure;
    let offered = erasure.offer.map(|offer| (offer.generation, offer.check));
    let in_force = erasure.check.map(|check| (erasure.generation, check));
    let lacking = in_force.into_iter().chain(offered).find(|(number, check)| !keys.has(*number, check));
    let Some((generation, check)) = lacking else { return Ok(false) };
    let offerer = erasure.offer.filter(|offer| offer.generation == generation).map(|offer| offer.node);
    let nodes = offerer.into_iter().chain(members(state));
    let Some(key) = peers::fetch(handle, nodes, generation, &check).await else { return Ok(false) };
    keys.keep(generation, key).await?;
    tracing::info!(generation, "this node holds the key of a generation");
    Ok(true)
}

/// Of generations that wrap nothing any more.
async fn destroy(keys: &PersonalKeys, state: &State) -> anyhow::Result<bool> {
    let erasure = &state.erasure;
    let (Some(held), Some(check)) = (keys.held(state), &erasure.check) else { return Ok(false) };
    if keys.forgets_still() {
        keys.forget(held.oldest).await?;
        return Ok(true);
    }
    if held.oldest >= erasure.generation || !keys.has(erasure.generation, check) {
        return Ok(false);
    }
    let wrapped = state.subjects.values().filter_map(|subject| subject.key.as_ref());
    let oldest = wrapped.map(|key| key.generation).chain([erasure.generation]).min().unwrap_or_default();
    if oldest <= held.oldest {
        return Ok(false);
    }
    keys.forget(oldest).await?;
    tracing::warn!(
        code = "GENERATION_DESTROYED",
        before = oldest,
        "keys of older generations are destroyed here"
    );
    Ok(true)
}

/// What the log does not know yet of this node.
async fn tell(handle: &Handle, keys: &PersonalKeys, state: &State) -> anyhow::Result<bool> {
    let Some(held) = keys.held(state) else { return Ok(false) };
    if state.erasure.held.get(&handle.node()) == Some(&held) {
        return Ok(false);
    }
    propose(handle, Command::TellGenerations { node: handle.node(), held }).await?;
    Ok(true)
}

/// The leader's next step.
async fn due(own: NodeId, keys: &PersonalKeys, state: &State) -> anyhow::Result<Option<Command>> {
    let erasure = &state.erasure;
    if let Some(offer) = &erasure.offer {
        let voters = state.nodes.values().filter(|node| node.value.role == NodeRole::Voter);
        let voters: Vec<NodeId> = voters.map(|node| node.value.id).collect();
        if holders(state, &voters, offer) > voters.len() / 2 {
            return Ok(Some(Command::BeginGeneration { generation: offer.generation }));
        }
        if offer.node == own || state.is_member(offer.node) && keys.has(offer.generation, &offer.check) {
            return Ok(None);
        }
        // Whoever offered it may be gone with it: this leader makes another, which takes its place.
    } else if !is_due(state) {
        return maintain(keys, state);
    }
    let generation = erasure.generation.saturating_add(1);
    let key = new_generation_key()?;
    let check = generation_check(&key);
    keys.keep(generation, key).await?;
    tracing::info!(generation, "the key of a new generation is offered to the members");
    Ok(Some(Command::OfferGeneration(Offer { generation, check, node: own })))
}

fn holders(state: &State, voters: &[NodeId], offer: &Offer) -> usize {
    let holds = |node: &&NodeId| {
        let held = state.erasure.held.get(*node);
        held.is_some_and(|held| (held.newest, held.check) == (offer.generation, offer.check))
    };
    voters.iter().filter(holds).count()
}

/// None has begun or nobody has its key, one is wanted, or somebody who was erased has waited long enough.
fn is_due(state: &State) -> bool {
    let erasure = &state.erasure;
    let waited = state.subjects.values().filter_map(|subject| subject.erased).any(|erased| {
        erased.unrecoverable_since.is_none()
            && erased.generation >= erasure.generation
            && state.log_time.0.saturating_sub(erased.at.0) >= ERASURE_DUE_MS
    });
    erasure.check.is_none() || erasure.wanted || waited
}

/// Keys for those who have none, then those of older generations wrapped anew.
fn maintain(keys: &PersonalKeys, state: &State) -> anyhow::Result<Option<Command>> {
    let Some((generation, by)) = keys.in_force(state) else { return Ok(None) };
    let oldest = state.oldest_generation_held();
    let keyless = state.principals.keys().filter(|whose| {
        let subject = state.subjects.get(*whose);
        let key = subject.and_then(|subject| subject.key.as_ref());
        key.is_none_or(|key| key.generation < oldest)
    });
    let mut given = Vec::new();
    for (tenant, principal) in keyless.take(AT_ONCE) {
        let (_, key) = keys.make(state, (tenant, principal))?;
        given.push(SubjectKey { tenant: tenant.clone(), principal: principal.clone(), key });
    }
    if !given.is_empty() {
        return Ok(Some(Command::AddSubjectKeys(given)));
    }
    let mut rewrapped = Vec::new();
    for ((tenant, principal), subject) in &state.subjects {
        let behind =
            subject.key.as_ref().filter(|key| key.generation < generation && key.generation >= oldest);
        let Some(old) = behind else { continue };
        let Some((id, key)) = keys.of(state, tenant, principal) else { continue };
        ensure!(id == old.id, "the state moved on");
        let key = wrap_subject((generation, &by), (tenant, principal), (id, &key))?;
        rewrapped.push(SubjectKey { tenant: tenant.clone(), principal: principal.clone(), key });
        if rewrapped.len() >= AT_ONCE {
            break;
        }
    }
    Ok((!rewrapped.is_empty()).then_some(Command::RewrapSubjects(rewrapped)))
}

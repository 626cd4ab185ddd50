//! The keys of generations in memory, and persons' keys as they are needed: what seals and what opens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use only1mcp_consensus::Handle;
use only1mcp_domain::State;
use only1mcp_domain::activity::Caller;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::{Digest, PrincipalId, SubjectKeyId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Held, Personal, Principal, Slot, SlotPart, WrappedKey};
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::PersonalPort;
use only1mcp_keys::{KeyError, generation_check, new_subject_key, seal_slot, unwrap_subject, wrap_subject};
use only1mcp_storage::Key32;

use super::store::GenerationStore;
use crate::serve::rotate::Rotation;

/// Persons whose keys are kept unwrapped; beyond, all are unwrapped again.
const KNOWN_MAX: usize = 4_096;

/// Why personal data could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    #[error("this node has no key of generation {0}")]
    NoGeneration(u32),
    #[error(transparent)]
    Key(#[from] KeyError),
}

pub struct PersonalKeys {
    handle: Handle,
    store: GenerationStore,
    generations: RwLock<BTreeMap<u32, Key32>>,
    known: Mutex<BTreeMap<SubjectKeyId, Key32>>,
}

impl PersonalKeys {
    pub fn new(handle: Handle, store: GenerationStore, generations: BTreeMap<u32, Key32>) -> Arc<Self> {
        let generations = RwLock::new(generations);
        Arc::new(Self { handle, store, generations, known: Mutex::default() })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn generation(&self, generation: u32) -> Option<Key32> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.get(&generation).cloned()
    }

    /// The generation in force and its key, where this node has that very one.
    pub(super) fn in_force(&self, state: &State) -> Option<(u32, Key32)> {
        let (generation, check) = (state.erasure.generation, state.erasure.check?);
        let key = self.generation(generation).filter(|key| generation_check(key) == check)?;
        Some((generation, key))
    }

    /// Whether this node has the very key that `check` tells.
    pub(super) fn has(&self, generation: u32, check: &Digest) -> bool {
        self.generation(generation).is_some_and(|key| generation_check(&key) == *check)
    }

    /// Whether [`PersonalKeys::forget`] has not come to its end, in this process or one before.
    pub(super) fn forgets_still(&self) -> bool {
        self.store.destroys_still()
    }

    /// Where the keys of this node come from, unless nothing is encrypted.
    pub fn rotation(&self) -> Option<Arc<Rotation>> {
        self.store.rotation().cloned()
    }

    /// `None` where it has none.
    pub(super) fn held(&self, state: &State) -> Option<Held> {
        let level = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
        let tells = level >= limits::FEATURE_LEVEL_GENERATION_KEYS;
        let destroyed_at = TimestampMs(if tells { self.store.destroyed_at_ms() } else { 0 });
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let (oldest, _) = generations.first_key_value()?;
        let (newest, key) = generations.last_key_value()?;
        // What is gone here may still be opened as long as what wrapped it is not destroyed.
        let told = state.erasure.held.get(&self.handle.node()).map(|told| told.oldest);
        let oldest = told.filter(|_| self.forgets_still()).unwrap_or(*oldest).min(*oldest);
        Some(Held { oldest, newest: *newest, check: generation_check(key), destroyed_at })
    }

    /// Durable at return.
    pub(super) async fn keep(&self, generation: u32, key: Key32) -> anyhow::Result<()> {
        self.store.keep(generation, &key).await?;
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        generations.insert(generation, key);
        Ok(())
    }

    /// Destroys those before `oldest`, on disk before in memory.
    pub(super) async fn forget(&self, oldest: u32) -> anyhow::Result<()> {
        self.store.forget(oldest).await?;
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        generations.retain(|generation, _| *generation >= oldest);
        Ok(())
    }

    /// The person's key; never that of one who is erased.
    pub(super) fn of(
        &self,
        state: &State,
        tenant: &TenantId,
        principal: &PrincipalId,
    ) -> Option<(SubjectKeyId, Key32)> {
        let subject = state.subjects.get(&(tenant.clone(), principal.clone()))?;
        let wrapped = subject.key.as_ref()?;
        Some((wrapped.id, self.unwrapped((tenant, principal), wrapped)?))
    }

    /// The key of that id; never that of one who is erased.
    pub(super) fn by_id(&self, state: &State, id: SubjectKeyId) -> Option<Key32> {
        let (tenant, principal) = state.lookup.subject_of(id)?;
        self.of(state, tenant, principal).map(|(_, key)| key)
    }

    fn unwrapped(&self, whose: (&TenantId, &PrincipalId), wrapped: &WrappedKey) -> Option<Key32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&wrapped.id) {
            return Some(key.clone());
        }
        let key = unwrap_subject(&self.generation(wrapped.generation)?, whose, wrapped)
            .inspect_err(|error| tracing::error!(key = %wrapped.id, %error, "a person's key does not open"))
            .ok()?;
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(wrapped.id, key.clone());
        Some(key)
    }

    /// Of keys that nothing may be read with any more, none stays in memory.
    pub(super) fn forget_erased(&self, state: &State) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| state.lookup.subject_of(*id).is_some());
    }

    /// A key for a person that has none, wrapped by the generation in force.
    pub(super) fn make(
        &self,
        state: &State,
        whose: (&TenantId, &PrincipalId),
    ) -> Result<(Key32, WrappedKey), NotSealed> {
        let none = NotSealed::NoGeneration(state.erasure.generation);
        let (generation, by) = self.in_force(state).ok_or(none)?;
        let (id, key) = new_subject_key()?;
        let wrapped = wrap_subject((generation, &by), whose, (id, &key))?;
        Ok((key, wrapped))
    }

    fn context(
        &self,
        state: &State,
        whose: (&TenantId, &PrincipalId),
        ip: Option<IpAddr>,
        user_agent: &str,
    ) -> Option<Slot> {
        let (id, key) = self.of(state, whose.0, whose.1)?;
        let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
        let fields = [("ip_address", ip.as_str()), ("user_agent", user_agent)];
        seal_slot((id, &key), SlotPart::Context, &fields)
            .inspect_err(|error| tracing::error!(%error, "an address could not be sealed, and is left out"))
            .ok()
    }

    /// Seals what is personal in an administrative entry.
    /// Errors: where the cluster seals, and this node cannot.
    pub fn seal_entry(&self, entry: &mut Entry) -> Result<(), NotSealed> {
        let state = self.handle.state();
        if state.erasure.generation == 0 {
            return Ok(());
        }
        let actor = &mut entry.actor;
        if actor.ip.is_some() || !actor.user_agent.is_empty() {
            let whose = (&actor.tenant, &actor.principal);
            actor.personal = self.context(&state, whose, actor.ip, &actor.user_agent);
            actor.ip = None;
            actor.user_agent.clear();
        }
        match &mut entry.command {
            Command::CreatePrincipal(principal) | Command::UpdatePrincipal { principal, .. } => {
                self.seal_record(&state, principal)
            }
            _ => Ok(()),
        }
    }

    fn seal_record(&self, state: &State, record: &mut Principal) -> Result<(), NotSealed> {
        let whose = (&record.tenant, &record.id);
        let known = state.subjects.get(&(record.tenant.clone(), record.id.clone()));
        let (key, wrapped) = match known.and_then(|subject| subject.key.as_ref()) {
            Some(wrapped) => {
                let none = || NotSealed::NoGeneration(wrapped.generation);
                (self.unwrapped(whose, wrapped).ok_or_else(none)?, None)
            }
            None => {
                let (key, wrapped) = self.make(state, whose)?;
                (key, Some(wrapped))
            }
        };
        let id = wrapped.as_ref().or(known.and_then(|subject| subject.key.as_ref())).map(|key| key.id);
        let fields = [("display_name", record.display_name.as_str()), ("email", record.email.as_str())];
        // Before and after a change it is the same slot: what it is of stands beside it in the event.
        let slot = seal_slot((id.unwrap_or_default(), &key), SlotPart::After, &fields)?;
        record.personal = Some(Personal { slot, key: wrapped });
        record.display_name.clear();
        record.email.clear();
        Ok(())
    }
}

impl PersonalPort for PersonalKeys {
    fn seal(&self, caller: &mut Caller) {
        let state = self.handle.state();
        if state.erasure.generation == 0 || (caller.ip.is_none() && caller.user_agent.is_empty()) {
            return;
        }
        caller.personal =
            self.context(&state, (&caller.tenant, &caller.principal), caller.ip, &caller.user_agent);
        caller.ip = None;
        caller.user_agent.clear();
    }
}

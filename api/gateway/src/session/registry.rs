//! The sessions whose home this node is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use only1mcp_domain::ids::{McpSessionId, PrincipalId, TenantId};

use crate::config::Config;
use crate::session::Session;

type Owner = (TenantId, PrincipalId);

#[derive(Default)]
struct Table {
    sessions: HashMap<McpSessionId, Arc<Session>>,
    per_owner: HashMap<Owner, usize>,
}

/// No room for another session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

#[derive(Default)]
pub(crate) struct Sessions(Mutex<Table>);

fn owner(session: &Session) -> Owner {
    (session.caller.identity.tenant.clone(), session.caller.identity.principal.clone())
}

impl Sessions {
    pub(crate) fn insert(&self, session: Arc<Session>, config: &Config) -> Result<(), Full> {
        let mut table = self.lock();
        let of_owner = table.per_owner.get(&owner(&session)).copied().unwrap_or(0);
        if table.sessions.len() >= config.sessions_max || of_owner >= config.sessions_per_principal_max {
            return Err(Full);
        }
        *table.per_owner.entry(owner(&session)).or_default() += 1;
        table.sessions.insert(session.id, session);
        Ok(())
    }

    pub(crate) fn get(&self, id: McpSessionId) -> Option<Arc<Session>> {
        self.lock().sessions.get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: McpSessionId) -> Option<Arc<Session>> {
        let mut table = self.lock();
        let session = table.sessions.remove(&id)?;
        let owner = owner(&session);
        if let Some(count) = table.per_owner.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                table.per_owner.remove(&owner);
            }
        }
        Some(session)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Persons' keys, their generations, and what is sealed.

use only1mcp_domain::activity::Record;
use only1mcp_domain::command::{Actor, AdoptKeys, Command, Entry};
use only1mcp_domain::ids::{NodeId, SubjectKeyId};
use only1mcp_domain::model::{
    Erased, Erasure, Held, Offer, Personal, Principal, Slot, Subject, SubjectKey, WrappedKey,
};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::state::Versioned;

use crate::random::Gen;

/// Where the numbers of this file's values begin.
const APART: u64 = 190;

impl Gen {
    pub fn slot(&mut self) -> Slot {
        Slot {
            key: SubjectKeyId(self.raw()),
            commitment: self.digest(),
            ciphertext: self.raw::<40>().to_vec(),
        }
    }

    fn wrapped_key(&mut self) -> WrappedKey {
        WrappedKey {
            id: SubjectKeyId(self.raw()),
            generation: self.number32(),
            bytes: self.raw::<33>().to_vec(),
        }
    }

    fn subject_key(&mut self) -> SubjectKey {
        SubjectKey { tenant: self.tenant_id(), principal: self.principal_id(), key: self.wrapped_key() }
    }

    fn offer(&mut self) -> Offer {
        Offer { generation: self.number32(), check: self.digest(), node: self.node_id() }
    }

    fn held(&mut self) -> Held {
        let destroyed_at = Default::default();
        Held { oldest: self.number32(), newest: self.number32(), check: self.digest(), destroyed_at }
    }

    fn erased(&mut self) -> Erased {
        Erased { at: self.time(), generation: self.number32(), unrecoverable_since: self.option(Gen::time) }
    }

    /// Its key, where it brings one, is the slot's, and of a generation.
    fn personal(&mut self) -> Personal {
        let slot = self.slot();
        let key = self.option(|g| {
            let made = g.wrapped_key();
            WrappedKey { id: slot.key, generation: made.generation.max(1), ..made }
        });
        Personal { slot, key }
    }

    fn sealed_principal(&mut self) -> Principal {
        let personal = Some(self.personal());
        Principal { personal, display_name: String::new(), email: String::new(), ..self.principal() }
    }

    pub fn subject_entries(&self) -> Vec<Entry> {
        let mut g = self.apart(APART);
        let commands = vec![
            Command::CreatePrincipal(g.sealed_principal()),
            Command::AddSubjectKeys(g.list(Gen::subject_key)),
            Command::OfferGeneration(g.offer()),
            Command::BeginGeneration { generation: g.number32() },
            Command::TellGenerations { node: g.node_id(), held: g.held() },
            Command::RewrapSubjects(g.list(Gen::subject_key)),
            Command::EraseSubject { tenant: g.tenant_id(), principal: g.principal_id() },
            Command::HoldSubject { tenant: g.tenant_id(), principal: g.principal_id(), hold: g.text() },
            Command::WantGeneration,
            Command::AdoptKeys(Box::new(AdoptKeys {
                generation: g.number32(),
                check: g.digest(),
                keys: g.list(Gen::subject_key),
                erased: g.list(|g| (g.tenant_id(), g.principal_id(), g.erased())),
            })),
        ];
        let mut g = self.apart(APART + 1);
        let sealed = |g: &mut Gen, command| {
            let entry = g.entry(command);
            let personal = Some(g.slot());
            let actor = Actor { ip: None, user_agent: String::new(), personal, ..entry.actor };
            Entry { actor, ..entry }
        };
        commands.into_iter().map(|command| sealed(&mut g, command)).collect()
    }

    pub fn subject_rows(&self) -> Vec<RowValue> {
        let mut g = self.apart(APART + 2);
        let subject =
            Subject { key: g.option(Gen::wrapped_key), hold: g.text(), erased: g.option(Gen::erased) };
        let erasure = Erasure {
            generation: g.number32(),
            check: g.option(Gen::digest),
            since: g.time(),
            offer: g.option(Gen::offer),
            wanted: g.flag(),
            held: [(NodeId(1), g.held()), (NodeId(2), g.held())].into_iter().collect(),
        };
        let principal = Versioned { revision: g.number(), value: g.sealed_principal() };
        vec![
            RowValue::Principal(principal),
            RowValue::Subject { tenant: g.tenant_id(), principal: g.principal_id(), subject },
            RowValue::Erasure(erasure),
        ]
    }

    pub fn subject_records(&self) -> Vec<Record> {
        let mut g = self.apart(APART + 3);
        let mut refusal = g.refusal();
        (refusal.caller.ip, refusal.caller.user_agent) = (None, String::new());
        refusal.caller.personal = Some(g.slot());
        vec![Record::Refusal(Box::new(refusal))]
    }
}

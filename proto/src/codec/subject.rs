//! Persons' keys, their generations, and what is sealed under them.

use only1mcp_domain::command::AdoptKeys;
use only1mcp_domain::ids::{NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::{Erased, Erasure, Held, Offer, Personal, Slot, Subject, SubjectKey, WrappedKey};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::time::TimestampMs;

use super::error::DecodeError;
use super::parts::{Decoded, Raw as _, Text as _, optional_raw, raw, record, required, text};
use crate::{log, model};

impl From<&Slot> for model::Slot {
    fn from(slot: &Slot) -> Self {
        Self {
            key: slot.key.written(),
            commitment: slot.commitment.written(),
            ciphertext: slot.ciphertext.clone().into(),
        }
    }
}

impl TryFrom<model::Slot> for Slot {
    type Error = DecodeError;

    fn try_from(wire: model::Slot) -> Result<Self, DecodeError> {
        Ok(Self {
            key: raw("Slot.key", &wire.key)?,
            commitment: raw("Slot.commitment", &wire.commitment)?,
            ciphertext: wire.ciphertext.to_vec(),
        })
    }
}

/// The key is the slot's: it is not told twice. Generations begin at 1.
impl From<&Personal> for model::SealedPersonal {
    fn from(personal: &Personal) -> Self {
        let key = personal.key.as_ref();
        Self {
            slot: Some((&personal.slot).into()),
            wrapped_key: key.map(|key| key.bytes.clone()).unwrap_or_default().into(),
            generation: key.map_or(0, |key| key.generation),
        }
    }
}

impl TryFrom<model::SealedPersonal> for Personal {
    type Error = DecodeError;

    fn try_from(wire: model::SealedPersonal) -> Result<Self, DecodeError> {
        let slot: Slot = record("SealedPersonal.slot", wire.slot)?;
        let key = (wire.generation != 0).then(|| WrappedKey {
            id: slot.key,
            generation: wire.generation,
            bytes: wire.wrapped_key.to_vec(),
        });
        Ok(Self { slot, key })
    }
}

impl From<&WrappedKey> for log::WrappedKey {
    fn from(key: &WrappedKey) -> Self {
        Self { id: key.id.written(), generation: key.generation, wrapped: key.bytes.clone().into() }
    }
}

impl TryFrom<log::WrappedKey> for WrappedKey {
    type Error = DecodeError;

    fn try_from(wire: log::WrappedKey) -> Result<Self, DecodeError> {
        Ok(Self {
            id: raw("WrappedKey.id", &wire.id)?,
            generation: wire.generation,
            bytes: wire.wrapped.to_vec(),
        })
    }
}

impl From<&SubjectKey> for log::SubjectKey {
    fn from(key: &SubjectKey) -> Self {
        Self {
            tenant: key.tenant.written(),
            principal: key.principal.written(),
            key: Some((&key.key).into()),
        }
    }
}

impl TryFrom<log::SubjectKey> for SubjectKey {
    type Error = DecodeError;

    fn try_from(wire: log::SubjectKey) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: text("SubjectKey.tenant", &wire.tenant)?,
            principal: text("SubjectKey.principal", &wire.principal)?,
            key: record("SubjectKey.key", wire.key)?,
        })
    }
}

pub(super) fn write_keys(keys: &[SubjectKey]) -> log::SubjectKeys {
    log::SubjectKeys { keys: keys.iter().map(Into::into).collect() }
}

pub(super) fn read_keys(wire: log::SubjectKeys) -> Decoded<Vec<SubjectKey>> {
    wire.keys.into_iter().map(TryInto::try_into).collect()
}

impl From<&Offer> for log::GenerationOffer {
    fn from(offer: &Offer) -> Self {
        Self { generation: offer.generation, check: offer.check.written(), node: offer.node.0 }
    }
}

impl TryFrom<log::GenerationOffer> for Offer {
    type Error = DecodeError;

    fn try_from(wire: log::GenerationOffer) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: wire.generation,
            check: raw("GenerationOffer.check", &wire.check)?,
            node: NodeId(wire.node),
        })
    }
}

pub(super) fn write_held(node: NodeId, held: &Held) -> log::GenerationsHeld {
    log::GenerationsHeld {
        node: node.0,
        oldest: held.oldest,
        newest: held.newest,
        check: held.check.written(),
        destroyed_at_ms: held.destroyed_at.0,
    }
}

pub(super) fn read_held(wire: &log::GenerationsHeld) -> Decoded<(NodeId, Held)> {
    let check = raw("GenerationsHeld.check", &wire.check)?;
    Ok((
        NodeId(wire.node),
        Held {
            oldest: wire.oldest,
            newest: wire.newest,
            check,
            destroyed_at: TimestampMs(wire.destroyed_at_ms),
        },
    ))
}

impl From<&Erased> for log::Erased {
    fn from(erased: &Erased) -> Self {
        Self {
            at_ms: erased.at.0,
            generation: erased.generation,
            unrecoverable_since_ms: erased.unrecoverable_since.map(|at| at.0),
        }
    }
}

impl From<log::Erased> for Erased {
    fn from(wire: log::Erased) -> Self {
        Self {
            at: TimestampMs(wire.at_ms),
            generation: wire.generation,
            unrecoverable_since: wire.unrecoverable_since_ms.map(TimestampMs),
        }
    }
}

/// Who was erased, and when.
pub fn write_erased(tenant: &TenantId, principal: &PrincipalId, erased: &Erased) -> log::ErasedSubject {
    log::ErasedSubject {
        tenant: tenant.written(),
        principal: principal.written(),
        erased: Some(erased.into()),
    }
}

/// Reads what [`write_erased`] wrote.
pub fn read_erased(wire: log::ErasedSubject) -> Result<(TenantId, PrincipalId, Erased), DecodeError> {
    Ok((
        text("ErasedSubject.tenant", &wire.tenant)?,
        text("ErasedSubject.principal", &wire.principal)?,
        required("ErasedSubject.erased", wire.erased)?.into(),
    ))
}

impl From<&AdoptKeys> for log::AdoptKeys {
    fn from(adopt: &AdoptKeys) -> Self {
        Self {
            generation: adopt.generation,
            check: adopt.check.written(),
            keys: adopt.keys.iter().map(Into::into).collect(),
            erased: adopt
                .erased
                .iter()
                .map(|(tenant, id, erased)| write_erased(tenant, id, erased))
                .collect(),
        }
    }
}

impl TryFrom<log::AdoptKeys> for AdoptKeys {
    type Error = DecodeError;

    fn try_from(wire: log::AdoptKeys) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: wire.generation,
            check: raw("AdoptKeys.check", &wire.check)?,
            keys: wire.keys.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            erased: wire.erased.into_iter().map(read_erased).collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn write_subject(
    tenant: &TenantId,
    principal: &PrincipalId,
    subject: &Subject,
) -> log::SubjectRow {
    log::SubjectRow {
        tenant: tenant.written(),
        principal: principal.written(),
        key: subject.key.as_ref().map(Into::into),
        hold: subject.hold.clone(),
        erased: subject.erased.as_ref().map(Into::into),
    }
}

pub(super) fn read_subject(wire: log::SubjectRow) -> Decoded<RowValue> {
    Ok(RowValue::Subject {
        tenant: text("SubjectRow.tenant", &wire.tenant)?,
        principal: text("SubjectRow.principal", &wire.principal)?,
        subject: Subject {
            key: wire.key.map(TryInto::try_into).transpose()?,
            hold: wire.hold,
            erased: wire.erased.map(Into::into),
        },
    })
}

impl From<&Erasure> for log::ErasureRow {
    fn from(erasure: &Erasure) -> Self {
        Self {
            generation: erasure.generation,
            check: erasure.check.map(|check| check.written()),
            since_ms: erasure.since.0,
            offer: erasure.offer.as_ref().map(Into::into),
            wanted: erasure.wanted,
            held: erasure.held.iter().map(|(node, held)| write_held(*node, held)).collect(),
        }
    }
}

impl TryFrom<log::ErasureRow> for Erasure {
    type Error = DecodeError;

    fn try_from(wire: log::ErasureRow) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: wire.generation,
            check: optional_raw("ErasureRow.check", wire.check.as_deref())?,
            since: TimestampMs(wire.since_ms),
            offer: wire.offer.map(TryInto::try_into).transpose()?,
            wanted: wire.wanted,
            held: wire.held.iter().map(read_held).collect::<Result<_, _>>()?,
        })
    }
}

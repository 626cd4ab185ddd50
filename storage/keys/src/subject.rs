//! Persons' keys: wrapped by the key of a generation, and what is sealed under them.
//!
//! A slot is sealed under a key derived from the person's key and the commitment, an HMAC under the person's key of a
//! random salt of 16 bytes and what is inside. So no nonce can come twice with one derived key, equal data gives unequal
//! slots, and a slot opens to one content alone.
//!
//! What is inside, before sealing: the salt, then for each field its name and its value, each with its length (4 bytes,
//! big-endian) before it. Associated data, of the seal and of the commitment: the key's id and the number of the part.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use only1mcp_domain::ids::{Digest, PrincipalId, SubjectKeyId, TenantId};
use only1mcp_domain::model::{Slot, SlotPart, WrappedKey};
use only1mcp_storage::Key32;
use zeroize::Zeroizing;

use crate::provider::KeyError;
use crate::wrap;

const SALT_BYTES: usize = 16;
const NAME: &str = "the person's key";

fn wrong(detail: &str) -> KeyError {
    KeyError::Wrong { provider: NAME, detail: detail.to_owned() }
}

/// A key for a person that has none.
pub fn new_subject_key() -> Result<(SubjectKeyId, Key32), KeyError> {
    let failed = |_| wrong("the system gives no randomness");
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(failed)?;
    Ok((SubjectKeyId(id), wrap::random_key().map_err(failed)?))
}

/// A key for a new generation.
pub fn new_generation_key() -> Result<Key32, KeyError> {
    wrap::random_key().map_err(|_| wrong("the system gives no randomness"))
}

/// Tells a generation's key from any other, and tells nothing of it.
pub fn generation_check(key: &Key32) -> Digest {
    Digest(mac(key, &[b"only1mcp generation 1"]))
}

/// Whose key, and by which generation it is wrapped.
fn context(tenant: &TenantId, principal: &PrincipalId, id: SubjectKeyId, generation: u32) -> Vec<u8> {
    let mut out = generation.to_be_bytes().to_vec();
    out.extend(id.0);
    out.extend_from_slice(tenant.as_str().as_bytes());
    out.push(0);
    out.extend_from_slice(principal.as_str().as_bytes());
    out
}

pub fn wrap_subject(
    (generation, by): (u32, &Key32),
    (tenant, principal): (&TenantId, &PrincipalId),
    (id, key): (SubjectKeyId, &Key32),
) -> Result<WrappedKey, KeyError> {
    let bytes = wrap::wrap(by, key, &context(tenant, principal, id, generation));
    let bytes = bytes.map_err(|_| wrong("it does not wrap"))?;
    Ok(WrappedKey { id, generation, bytes })
}

/// Errors: `Wrong` also for another person, and for another generation's key.
pub fn unwrap_subject(
    by: &Key32,
    (tenant, principal): (&TenantId, &PrincipalId),
    key: &WrappedKey,
) -> Result<Key32, KeyError> {
    wrap::unwrap(by, &key.bytes, &context(tenant, principal, key.id, key.generation))
        .map_err(|_| wrong("it was wrapped by another generation, or changed"))
}

fn mac(key: &Key32, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().first_chunk::<32>().copied().unwrap_or_default()
}

fn associated(id: SubjectKeyId, part: SlotPart) -> [u8; 17] {
    let mut out = [part.number(); 17];
    if let Some(name) = out.first_chunk_mut::<16>() {
        *name = id.0;
    }
    out
}

fn commitment(key: &Key32, aad: &[u8], plain: &[u8]) -> Digest {
    Digest(mac(key, &[b"only1mcp slot 1", aad, plain]))
}

fn cipher(key: &Key32, commitment: &Digest) -> Result<LessSafeKey, KeyError> {
    let mut derived = mac(key, &[b"only1mcp slot key 1", &commitment.0]);
    let derived = Key32::take(&mut derived);
    let key = UnboundKey::new(&AES_256_GCM, derived.bytes()).map_err(|_| wrong("no key could be derived"))?;
    Ok(LessSafeKey::new(key))
}

fn push(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(text.bytes().take(usize::try_from(length).unwrap_or(usize::MAX)));
}

/// Seals `fields`, each a name and a value.
pub fn seal_slot(
    (id, key): (SubjectKeyId, &Key32),
    part: SlotPart,
    fields: &[(&str, &str)],
) -> Result<Slot, KeyError> {
    let mut plain = Zeroizing::new(vec![0; SALT_BYTES]);
    rand::fill(&mut plain).map_err(|_| wrong("the system gives no randomness"))?;
    for (name, value) in fields {
        push(&mut plain, name);
        push(&mut plain, value);
    }
    let aad = associated(id, part);
    let commitment = commitment(key, &aad, &plain);
    let mut ciphertext = plain.to_vec();
    cipher(key, &commitment)?
        .seal_in_place_append_tag(zero_nonce(), Aad::from(aad), &mut ciphertext)
        .map_err(|_| wrong("it does not encrypt"))?;
    Ok(Slot { key: id, commitment, ciphertext })
}

/// Errors: `Wrong` for another key or part, and for a slot that was changed.
pub fn open_slot(key: &Key32, part: SlotPart, slot: &Slot) -> Result<Vec<(String, String)>, KeyError> {
    let changed = || wrong("what is sealed under it was changed, or is another's");
    let aad = associated(slot.key, part);
    let mut plain = Zeroizing::new(slot.ciphertext.clone());
    let opened = cipher(key, &slot.commitment)?
        .open_in_place(zero_nonce(), Aad::from(aad), &mut plain)
        .map_err(|_| changed())?;
    if commitment(key, &aad, opened) != slot.commitment {
        return Err(changed());
    }
    let mut rest = opened.get(SALT_BYTES..).ok_or_else(changed)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (name, after) = text(rest).ok_or_else(changed)?;
        let (value, after) = text(after).ok_or_else(changed)?;
        out.push((name, value));
        rest = after;
    }
    Ok(out)
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

/// Each key seals one text.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose() -> (TenantId, PrincipalId) {
        (TenantId::new("acme").unwrap(), PrincipalId::new("ann@example.com").unwrap())
    }

    #[test]
    fn a_slot_opens_under_its_key_in_its_part_alone() {
        let (id, key) = new_subject_key().unwrap();
        let fields = [("ip_address", "10.1.2.3"), ("user_agent", "")];
        let slot = seal_slot((id, &key), SlotPart::Context, &fields).unwrap();
        let open = |key: &Key32, part, slot: &Slot| open_slot(key, part, slot);
        let opened = open(&key, SlotPart::Context, &slot).unwrap();
        assert_eq!(opened, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let again = seal_slot((id, &key), SlotPart::Context, &fields).unwrap();
        assert_ne!(again, slot, "equal data must not look equal");
        assert!(!slot.ciphertext.windows(8).any(|window| window == b"10.1.2.3"));
        let (other_id, other) = new_subject_key().unwrap();
        assert!(open(&other, SlotPart::Context, &slot).is_err());
        assert!(open(&key, SlotPart::After, &slot).is_err(), "another part");
        assert!(open(&key, SlotPart::Context, &Slot { key: other_id, ..slot.clone() }).is_err());
        let commitment = Digest([7; 32]);
        assert!(open(&key, SlotPart::Context, &Slot { commitment, ..slot.clone() }).is_err());
        let swapped = Slot { ciphertext: again.ciphertext.clone(), ..slot.clone() };
        assert!(open(&key, SlotPart::Context, &swapped).is_err());
        for at in 0..slot.ciphertext.len() {
            let mut changed = slot.clone();
            changed.ciphertext[at] ^= 1;
            assert!(open(&key, SlotPart::Context, &changed).is_err(), "byte {at}");
        }
        let cut = Slot { ciphertext: slot.ciphertext[..20].to_vec(), ..slot };
        assert!(open(&key, SlotPart::Context, &cut).is_err());
    }

    #[test]
    fn a_persons_key_is_bound_to_person_and_generation() {
        let (tenant, ann) = whose();
        let bob = PrincipalId::new("bob").unwrap();
        let (by, newer) = (new_generation_key().unwrap(), new_generation_key().unwrap());
        let (id, key) = new_subject_key().unwrap();
        let wrapped = wrap_subject((3, &by), (&tenant, &ann), (id, &key)).unwrap();
        assert_eq!(unwrap_subject(&by, (&tenant, &ann), &wrapped).unwrap(), key);
        assert!(unwrap_subject(&newer, (&tenant, &ann), &wrapped).is_err());
        assert!(unwrap_subject(&by, (&tenant, &bob), &wrapped).is_err());
        let moved = WrappedKey { generation: 4, ..wrapped.clone() };
        assert!(unwrap_subject(&by, (&tenant, &ann), &moved).is_err());
        for at in 0..wrapped.bytes.len() {
            let mut changed = wrapped.clone();
            changed.bytes[at] ^= 1;
            assert!(unwrap_subject(&by, (&tenant, &ann), &changed).is_err(), "byte {at}");
            let cut = WrappedKey { bytes: wrapped.bytes[..at].to_vec(), ..wrapped.clone() };
            assert!(unwrap_subject(&by, (&tenant, &ann), &cut).is_err(), "cut at {at}");
        }
        // Another key of the same person, and what wrapped this one under the generation before: neither in its place.
        let (other_id, other) = new_subject_key().unwrap();
        let swapped = wrap_subject((3, &by), (&tenant, &ann), (other_id, &other)).unwrap();
        let swapped = WrappedKey { id, ..swapped };
        assert!(unwrap_subject(&by, (&tenant, &ann), &swapped).is_err());
        let rewrapped = wrap_subject((4, &newer), (&tenant, &ann), (id, &key)).unwrap();
        let replayed = WrappedKey { bytes: wrapped.bytes.clone(), ..rewrapped };
        assert!(unwrap_subject(&newer, (&tenant, &ann), &replayed).is_err());
        assert_ne!(generation_check(&by), generation_check(&newer));
        assert_eq!(generation_check(&by), generation_check(&by));
    }
}

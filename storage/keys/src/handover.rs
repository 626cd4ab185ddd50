//! A key on its way from one member to another: sealed for the one who asked, whatever carries it.
//!
//! Who asks draws an X25519 pair for this one question and signs its public half with the node's own signing key
//! ([`question`]); who answers checks that signature and draws a pair too. The key is wrapped under HKDF of what both
//! agree on, bound to the question. Neither pair outlives the question, so that what was sent cannot be opened later by
//! whoever has the nodes' certificates or signing keys.
//!
//! An answer: the public half (32 bytes), then the wrapped key as in `wrap.rs`.

use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::hkdf;
use aws_lc_rs::rand::SystemRandom;
use only1mcp_domain::ids::NodeId;
use only1mcp_storage::Key32;

use crate::provider::KeyError;
use crate::wrap;

const NAME: &str = "the member";
const PUBLIC_BYTES: usize = 32;

fn wrong(detail: &str) -> KeyError {
    KeyError::Wrong { provider: NAME, detail: detail.to_owned() }
}

/// Who asks whom for which generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handover {
    pub from: NodeId,
    pub to: NodeId,
    pub generation: u32,
}

/// The asker's secret half of one question.
pub struct Asking {
    handover: Handover,
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

/// What the asker signs.
pub fn question(handover: &Handover, public: &[u8]) -> Vec<u8> {
    let mut out = b"only1mcp fetch generation 1".to_vec();
    out.extend(handover.from.0.to_be_bytes());
    out.extend(handover.to.0.to_be_bytes());
    out.extend(handover.generation.to_be_bytes());
    out.extend_from_slice(public);
    out
}

fn pair() -> Result<(EphemeralPrivateKey, Vec<u8>), KeyError> {
    let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new());
    let private = private.map_err(|_| wrong("the system gives no randomness"))?;
    let public = private.compute_public_key().map_err(|_| wrong("no key pair could be made"))?;
    Ok((private, public.as_ref().to_vec()))
}

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

fn agreed(private: EphemeralPrivateKey, theirs: &[u8], context: &[u8]) -> Result<Key32, KeyError> {
    let failed = || wrong("what it sent agrees on no key");
    let theirs = UnparsedPublicKey::new(&X25519, theirs);
    agree_ephemeral(private, theirs, failed(), |secret| {
        let mut key = [0; 32];
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"only1mcp handover 1").extract(secret);
        let expanded = extracted.expand(&[context], KeyBytes).and_then(|okm| okm.fill(&mut key));
        expanded.map(|()| Key32::take(&mut key)).map_err(|_| failed())
    })
}

fn context(handover: &Handover, asker: &[u8], answerer: &[u8]) -> Vec<u8> {
    [question(handover, asker).as_slice(), answerer].concat()
}

impl Asking {
    pub fn new(handover: Handover) -> Result<Self, KeyError> {
        let (private, public) = pair()?;
        Ok(Self { handover, private, public })
    }

    /// Goes with the question, signed in [`question`].
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The key inside of an answer to this question.
    /// Errors: `Wrong` for any other answer, and for one that was changed.
    pub fn open(self, answer: &[u8]) -> Result<Key32, KeyError> {
        let (theirs, wrapped) =
            answer.split_at_checked(PUBLIC_BYTES).ok_or_else(|| wrong("its answer is cut off"))?;
        let context = context(&self.handover, &self.public, theirs);
        let outer = agreed(self.private, theirs, &context)?;
        wrap::unwrap(&outer, wrapped, &context).map_err(|_| wrong("its answer was changed, or is another's"))
    }
}

/// The answer to whoever drew `public` for this question.
pub fn hand_over(handover: &Handover, public: &[u8], key: &Key32) -> Result<Vec<u8>, KeyError> {
    let (private, own) = pair()?;
    let context = context(handover, public, &own);
    let outer = agreed(private, public, &context)?;
    let wrapped = wrap::wrap(&outer, key, &context).map_err(|_| wrong("the key does not wrap"))?;
    Ok([own, wrapped].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Handover = Handover { from: NodeId(3), to: NodeId(1), generation: 2 };

    fn key() -> Key32 {
        Key32::take(&mut [7; 32])
    }

    #[test]
    fn a_key_opens_for_who_asked_and_for_that_question_alone() {
        let asking = Asking::new(ASKED).unwrap();
        let answer = hand_over(&ASKED, asking.public(), &key()).unwrap();
        assert!(!answer.windows(32).any(|window| window == key().bytes()));
        assert_eq!(asking.open(&answer).unwrap(), key());
        // Sent again to another question of the same node: a replay.
        assert!(Asking::new(ASKED).unwrap().open(&answer).is_err());
        for other in [
            Handover { from: NodeId(4), ..ASKED },
            Handover { to: NodeId(2), ..ASKED },
            Handover { generation: 3, ..ASKED },
        ] {
            let asking = Asking::new(other).unwrap();
            let answer = hand_over(&ASKED, asking.public(), &key()).unwrap();
            assert!(asking.open(&answer).is_err(), "{other:?}");
        }
    }

    #[test]
    fn an_answer_that_was_changed_or_cut_gives_no_key() {
        let answered = || {
            let asking = Asking::new(ASKED).unwrap();
            let answer = hand_over(&ASKED, asking.public(), &key()).unwrap();
            (asking, answer)
        };
        for at in 0..answered().1.len() {
            let (asking, mut answer) = answered();
            answer[at] ^= 1;
            assert!(asking.open(&answer).is_err(), "byte {at}");
            let (asking, answer) = answered();
            assert!(asking.open(&answer[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_key_is_wrapped_for_a_public_half_that_everybody_agrees_with() {
        for bad in [vec![0; 32], vec![0; 31], Vec::new()] {
            assert!(hand_over(&ASKED, &bad, &key()).is_err(), "{bad:?}");
        }
    }
}

//! Signed notes. Source: C2SP signed-note, tlog-cosignature.

use only1mcp_domain::ids::PublicKey;
use only1mcp_domain::limits;
use sha2::{Digest as _, Sha256};

use crate::key::{SigningKey, verifies};
use crate::text::{base64, unbase64};

const DASH: &str = "\u{2014} ";

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// Over the note's text: nodes.
    Ed25519,
    /// `cosignature/v1`, with a time: witnesses.
    Cosignature,
}

impl KeyType {
    fn number(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// The first four bytes of SHA-256(name, line feed, type, key).
pub fn key_id(name: &str, of: KeyType, key: PublicKey) -> [u8; 4] {
    let hash = Sha256::digest([name.as_bytes(), b"\n", &[of.number()], &key.0].concat());
    hash.first_chunk().copied().unwrap_or_default()
}

/// A key with the name and type it signs under: `NAME+HASH+BASE64`, a vkey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    pub name: String,
    pub of: KeyType,
    pub key: PublicKey,
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = u32::from_be_bytes(key_id(&self.name, self.of, self.key));
        let bytes = [&[self.of.number()], self.key.0.as_slice()].concat();
        write!(f, "{}+{id:08x}+{}", self.name, base64(&bytes))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no verifier key NAME+HASH+BASE64");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let bytes = unbase64(bytes).ok_or_else(wrong)?;
        let (number, key) = bytes.split_first().ok_or_else(wrong)?;
        let of = match number {
            1 => KeyType::Ed25519,
            4 => KeyType::Cosignature,
            other => return Err(format!("{text:?} is of the unknown type {other}")),
        };
        let key = PublicKey(key.try_into().map_err(|_| wrong())?);
        let parsed = Self { name: name.to_owned(), of, key };
        if is_name(name) && parsed.to_string() == text { Ok(parsed) } else { Err(wrong()) }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    pub name: String,
    pub id: [u8; 4],
    pub bytes: Vec<u8>,
}

impl std::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{DASH}{} {}", self.name, base64(&[self.id.as_slice(), &self.bytes].concat()))
    }
}

impl NoteSignature {
    pub fn ed25519(name: &str, key: &SigningKey, text: &str) -> Self {
        let id = key_id(name, KeyType::Ed25519, key.public());
        Self { name: name.to_owned(), id, bytes: key.sign(text.as_bytes()).to_vec() }
    }

    /// `seconds`: since the Unix epoch.
    pub fn cosignature(name: &str, key: &SigningKey, text: &str, seconds: u64) -> Self {
        let id = key_id(name, KeyType::Cosignature, key.public());
        let signature = key.sign(cosigned(text, seconds).as_bytes());
        Self { name: name.to_owned(), id, bytes: [seconds.to_be_bytes().as_slice(), &signature].concat() }
    }

    /// Whether it claims to be that key's.
    pub fn claims(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.id == key_id(&key.name, key.of, key.key)
    }

    /// When a witness signed (0 for a node), or `None` where the signature is not `key`'s over `text`.
    pub fn verified(&self, key: &VerifierKey, text: &str) -> Option<u64> {
        if !self.claims(key) {
            return None;
        }
        match key.of {
            KeyType::Ed25519 => verifies(key.key, text.as_bytes(), &self.bytes).then_some(0),
            KeyType::Cosignature => {
                let (seconds, signature) = self.bytes.split_first_chunk::<8>()?;
                let seconds = u64::from_be_bytes(*seconds);
                verifies(key.key, cosigned(text, seconds).as_bytes(), signature).then_some(seconds)
            }
        }
    }

    /// One line, without its end.
    pub fn parse(line: &str) -> Result<Self, NoteFault> {
        let rest = line.strip_prefix(DASH).ok_or(NoteFault("a signature line does not begin with a dash"))?;
        let (name, bytes) = rest.split_once(' ').ok_or(NoteFault("a signature line has no signature"))?;
        let bytes = unbase64(bytes).ok_or(NoteFault("a signature is not base64"))?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or(NoteFault("a signature is too short"))?;
        if !is_name(name) || bytes.is_empty() {
            return Err(NoteFault("a signature line has no name or no signature"));
        }
        Ok(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// Bytes that are no signed note.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a signed note: {0}")]
pub struct NoteFault(pub &'static str);

/// A text and its signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// With the line feed at its end.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Note {
    pub fn parse(note: &str) -> Result<Self, NoteFault> {
        if note.len() > limits::NOTE_BYTES_MAX {
            return Err(NoteFault("it is too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteFault("it holds control characters"));
        }
        let end = note.rfind("\n\n").ok_or(NoteFault("it has no empty line before its signatures"))?;
        let (text, rest) = note.split_at(end.saturating_add(1));
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(NoteFault("its last line has no end"))?;
        let signatures: Result<Vec<_>, _> = lines.split('\n').map(NoteSignature::parse).collect();
        let signatures = signatures?;
        if signatures.len() > limits::NOTE_SIGNATURES_MAX {
            return Err(NoteFault("it has too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_signatures_max_and_note_bytes_max() {
        let key = SigningKey::of_seed([1; 32]);
        let of = |count: usize, name: &str| Note {
            text: "text\n".to_owned(),
            signatures: vec![NoteSignature::ed25519(name, &key, "text\n"); count],
        };
        let most = of(limits::NOTE_SIGNATURES_MAX, "n");
        assert_eq!(Note::parse(&most.to_string()), Ok(most));
        assert!(Note::parse(&of(limits::NOTE_SIGNATURES_MAX + 1, "n").to_string()).is_err());
        let rest = of(1, "").to_string().len();
        let longest = of(1, &"n".repeat(limits::NOTE_BYTES_MAX - rest)).to_string();
        assert_eq!(longest.len(), limits::NOTE_BYTES_MAX);
        assert!(Note::parse(&longest).is_ok());
        assert!(Note::parse(&of(1, &"n".repeat(limits::NOTE_BYTES_MAX - rest + 1)).to_string()).is_err());
    }

    #[test]
    fn verifier_keys_are_read_as_they_are_written() {
        let key = VerifierKey { name: "w.test/1".into(), of: KeyType::Cosignature, key: PublicKey([5; 32]) };
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let wrong = key.to_string().replace("w.test/1+", "w.test/2+");
        assert!(wrong.parse::<VerifierKey>().is_err(), "the hash is of the name too");
        assert!("w.test".parse::<VerifierKey>().is_err());
    }
}

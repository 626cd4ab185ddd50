//! Key material in memory: never shown, and wiped when it goes.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// 256 bits that are a key.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Key32([u8; 32]);

impl Key32 {
    /// Takes the key out of `bytes`, which are wiped.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32(…)")
    }
}

/// What a [`super::Sealer`] needs: a node's key ring, unwrapped.
#[derive(Clone, Debug)]
pub struct SealerKeys {
    /// Names the ring, and so the data folder: what is sealed here opens nowhere else.
    pub ring: [u8; 16],
    /// By id. Those that are not the current one only open.
    pub data: BTreeMap<u32, Key32>,
    pub current: u32,
    /// For hidden keys of rows and the tally of rows: the same as long as the rows are.
    pub names: Key32,
    /// Seal nothing here, and only lie in the same ring: the cluster's keys that persons' keys are wrapped by.
    pub generations: BTreeMap<u32, Key32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown_and_what_it_was_made_of_is_wiped() {
        let mut bytes = [0xa5; 32];
        let key = Key32::take(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        assert_eq!(key.bytes(), &[0xa5; 32]);
        assert_eq!(format!("{key:?}"), "Key32(…)");
    }

    /// That memory is wiped cannot be read back in safe code; that the type does it when dropped can be asked of it.
    #[test]
    fn a_key_is_wiped_when_it_goes() {
        fn wiped_on_drop<T: ZeroizeOnDrop>() {}
        wiped_on_drop::<Key32>();
        assert!(std::mem::needs_drop::<Key32>());
    }
}

//! How rows lie in sled: one tree, two kinds of keys, a checksum in each value, and a tally of all rows.
//!
//! sled keeps checksums of its own pages but may, where it finds one damaged at start, go back to an older version
//! of that page, or of everything, and say nothing. So each batch also writes the tally: number and combined
//! fingerprint of all rows, and the batch's own number. At open every row is read and the tally computed anew: a row
//! lost, stale or come back makes it differ. That all went back together shows in the batch's number: see
//! `sled_store.rs`.

use std::collections::BTreeMap;

use only1mcp_domain::limits::ROW_KEY_BYTES_MAX;

use crate::engine::Rows;
use crate::error::StorageError;
use crate::seal::{RowGuard, STORED_ROW_BYTES_MAX};

/// First byte of a caller's key in the tree.
const ROW: u8 = b'r';
/// First byte of keys that are not the caller's.
const META: u8 = b'm';
pub(crate) const TALLY_KEY: &[u8] = &[META, b't'];
const CRC_BYTES: usize = 4;

pub(crate) fn stored_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(ROW);
    out.extend_from_slice(key);
    out
}

/// First key after all rows.
pub(crate) fn rows_end() -> Vec<u8> {
    vec![ROW + 1]
}

pub(crate) fn caller_key(stored: &[u8]) -> &[u8] {
    stored.get(1..).unwrap_or_default()
}

fn crc(stored_key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(stored_key.len() as u64).to_le_bytes());
    hasher.update(stored_key);
    hasher.update(value);
    hasher.finalize()
}

pub(crate) fn stored_value(stored_key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CRC_BYTES + value.len());
    out.extend_from_slice(&crc(stored_key, value).to_le_bytes());
    out.extend_from_slice(value);
    out
}

/// The value behind its checksum.
/// Errors: `Corrupt`.
pub(crate) fn open_value<'a>(stored_key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], StorageError> {
    let damaged = |detail: &str| StorageError::Corrupt {
        what: format!("row {}", hex(caller_key(stored_key))),
        detail: detail.to_owned(),
    };
    let (head, value) = stored.split_first_chunk::<CRC_BYTES>().ok_or_else(|| damaged("too short"))?;
    if u32::from_le_bytes(*head) != crc(stored_key, value) {
        return Err(damaged("checksum does not match"));
    }
    Ok(value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(64).map(|b| format!("{b:02x}")).collect()
}

/// Refuses what is past its bound; of several changes to one key the last one stands.
pub(crate) fn checked(rows: Rows) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>, StorageError> {
    let mut out = BTreeMap::new();
    for (key, value) in rows {
        check_row(&key, value.as_deref().unwrap_or_default())?;
        out.insert(key, value);
    }
    Ok(out)
}

/// Rows as they are stored: what may be in one is checked where it is sealed, or gathered.
pub(crate) fn check_row(key: &[u8], value: &[u8]) -> Result<(), StorageError> {
    if key.len() > ROW_KEY_BYTES_MAX {
        return Err(StorageError::TooLarge { what: "row key", max: ROW_KEY_BYTES_MAX });
    }
    if value.len() > STORED_ROW_BYTES_MAX {
        return Err(StorageError::TooLarge { what: "row", max: STORED_ROW_BYTES_MAX });
    }
    Ok(())
}

/// Number and combined fingerprint of a set of stored rows; the order of changes does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    rows: u64,
    sum: u64,
    /// Number of the batch that wrote this.
    pub batch: u64,
}

impl Tally {
    pub fn add(&mut self, guard: &RowGuard, (key, stored): (&[u8], &[u8])) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(fingerprint(guard, key, stored));
    }

    pub fn remove(&mut self, guard: &RowGuard, (key, stored): (&[u8], &[u8])) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(fingerprint(guard, key, stored));
    }

    /// Whether the rows are the same, whichever batch wrote them.
    pub fn same_rows(self, other: Self) -> bool {
        (self.rows, self.sum) == (other.rows, other.sum)
    }

    /// As the value of [`TALLY_KEY`].
    pub fn encode(self, guard: &RowGuard) -> Result<Vec<u8>, StorageError> {
        let value = [self.rows, self.sum, self.batch].map(u64::to_le_bytes).concat();
        Ok(stored_value(TALLY_KEY, &guard.seal(value)?))
    }

    pub fn decode(guard: &RowGuard, stored: &[u8]) -> Result<Self, StorageError> {
        let value = guard.open(open_value(TALLY_KEY, stored)?)?;
        let value = value.as_slice();
        let short = || StorageError::Corrupt { what: "tally of rows".into(), detail: "too short".into() };
        let (rows, rest) = value.split_first_chunk::<8>().ok_or_else(short)?;
        let (sum, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (batch, _) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let [rows, sum, batch] = [rows, sum, batch].map(|b| u64::from_le_bytes(*b));
        Ok(Self { rows, sum, batch })
    }
}

/// Spreads a stored row's checksum (which covers key and value) over 64 bits, so that sums of many do not cancel
/// out (the finalizer of splitmix64).
fn fingerprint(guard: &RowGuard, key: &[u8], stored: &[u8]) -> u64 {
    if let Some(keyed) = guard.fingerprint(key, stored) {
        return keyed;
    }
    let crc = stored.first_chunk::<CRC_BYTES>().map_or(0, |c| u32::from_le_bytes(*c));
    let mut z = u64::from(crc).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_swapped_key_is_noticed() {
        let key = stored_key(b"k");
        let stored = stored_value(&key, b"value");
        assert_eq!(open_value(&key, &stored).unwrap(), b"value");
        for bit in 0..stored.len() * 8 {
            let mut bad = stored.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open_value(&key, &bad).is_err(), "bit {bit}");
        }
        assert!(open_value(&stored_key(b"other"), &stored).is_err());
        assert!(open_value(&key, &stored[..3]).is_err());
    }

    #[test]
    fn a_tally_does_not_depend_on_order_and_comes_back_to_nothing() {
        let guard = RowGuard::plain();
        let rows: Vec<Vec<u8>> = (0..50u8).map(|i| stored_value(&stored_key(&[i]), &[i, i])).collect();
        let mut up = Tally::default();
        rows.iter().for_each(|r| up.add(&guard, (b"", r)));
        let mut down = Tally::default();
        rows.iter().rev().for_each(|r| down.add(&guard, (b"", r)));
        assert_eq!(up, down);
        assert_eq!(Tally::decode(&guard, &up.encode(&guard).unwrap()).unwrap(), up);
        rows.iter().for_each(|r| up.remove(&guard, (b"", r)));
        assert_eq!(up, Tally::default());
    }

    #[test]
    fn stored_row_bytes_max_and_row_key_bytes_max() {
        assert!(check_row(&vec![0; ROW_KEY_BYTES_MAX], &vec![0; STORED_ROW_BYTES_MAX]).is_ok());
        assert!(check_row(&vec![0; ROW_KEY_BYTES_MAX + 1], b"").is_err());
        assert!(check_row(b"", &vec![0; STORED_ROW_BYTES_MAX + 1]).is_err());
    }
}

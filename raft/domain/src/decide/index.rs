//! A read-only map from text to values, for lookups whose cost does not grow with the number of entries. A sorted
//! array with a table into it and not a hash map: equal inputs give equal memory, nothing is iterated in a random
//! order, and keys chosen to collide cost a logarithm.

use std::collections::BTreeMap;

/// A text with its hash and its first bytes, so that one request works them out once for many lookups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'a> {
    pub(super) text: &'a str,
    /// The first 16 bytes, little-endian, zeros after the end.
    pub(super) head: u128,
    hash: u64,
}

impl<'a> Hashed<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, head: head(text.bytes()), hash: hash(text) }
    }

    /// Half of the hash.
    pub(super) fn tag(self) -> u32 {
        (self.hash >> u32::BITS) as u32
    }
}

/// The first 16 bytes as one number.
pub(super) fn head(bytes: impl Iterator<Item = u8>) -> u128 {
    let mut head = [0u8; 16];
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    u128::from_le_bytes(head)
}

/// Built once by [`Index::new`]; found by text.
#[derive(Clone, Debug)]
pub(super) struct Index<K, V> {
    /// By hash, then by key.
    entries: Box<[Entry<K, V>]>,
    /// Where the entries begin whose hash starts with the table's position, and the end; empty for few entries.
    starts: Box<[u32]>,
    /// Bits of a hash that are not the table's position.
    shift: u32,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// Up to here a binary search alone is faster.
const SMALL: usize = 16;

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self { entries: Box::default(), starts: Box::default(), shift: 0 }
    }
}

impl<K: AsRef<str>, V> Index<K, V> {
    /// Of entries with equal keys the first one counts.
    pub(super) fn new(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let make = |(key, value): (K, V)| Entry { hash: hash(key.as_ref()), key, value };
        let mut entries: Vec<Entry<K, V>> = entries.into_iter().map(make).collect();
        entries.sort_by(|a, b| (a.hash, a.key.as_ref()).cmp(&(b.hash, b.key.as_ref())));
        entries.dedup_by(|later, kept| later.key.as_ref() == kept.key.as_ref());
        let (starts, shift) = table(&entries);
        Self { entries: entries.into(), starts, shift }
    }

    /// A copy in which each entry that `changes` names is replaced, added, or, with `None`, absent.
    pub(super) fn with<'k>(&self, changes: Vec<(&'k K, Option<V>)>) -> Self
    where
        K: Clone + Ord + 'k,
        V: Clone,
    {
        let mut changes: BTreeMap<&K, Option<V>> = changes.into_iter().collect();
        let mut copy = self.clone();
        if changes.iter().all(|(key, value)| value.is_some() && self.contains(key.as_ref())) {
            for entry in &mut copy.entries {
                if let Some(value) = changes.remove(&entry.key).flatten() {
                    entry.value = value;
                }
            }
            return copy;
        }
        let kept = copy.entries.into_iter().filter(|entry| !changes.contains_key(&entry.key));
        let kept: Vec<(K, V)> = kept.map(|entry| (entry.key, entry.value)).collect();
        let changed = changes.into_iter().filter_map(|(key, value)| Some((key.clone(), value?)));
        Self::new(kept.into_iter().chain(changed))
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        if self.entries.is_empty() { None } else { self.find(Hashed::new(key)).map(|(_, value)| value) }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn find(&self, key: Hashed<'_>) -> Option<(&K, &V)> {
        let candidates = self.candidates(key.hash)?;
        let at = candidates.partition_point(|entry| entry.hash < key.hash);
        let first = candidates.get(at).filter(|entry| entry.hash == key.hash)?;
        if first.key.as_ref() == key.text {
            return Some((&first.key, &first.value));
        }
        let order = |entry: &Entry<K, V>| (entry.hash, entry.key.as_ref()).cmp(&(key.hash, key.text));
        let found = candidates.get(candidates.binary_search_by(order).ok()?)?;
        Some((&found.key, &found.value))
    }

    /// Entries among which one with this hash must be.
    fn candidates(&self, hash: u64) -> Option<&[Entry<K, V>]> {
        if self.starts.is_empty() {
            return Some(&self.entries);
        }
        let bucket = usize::try_from(hash >> self.shift).ok()?;
        let [start, end] = *self.starts.get(bucket..)?.first_chunk()?;
        self.entries.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// In an order that depends on nothing but the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }
}

/// About one bucket per entry.
fn table<K, V>(entries: &[Entry<K, V>]) -> (Box<[u32]>, u32) {
    let Ok(len) = u32::try_from(entries.len()) else { return (Box::default(), 0) };
    if entries.len() <= SMALL {
        return (Box::default(), 0);
    }
    let bits = u32::BITS - len.leading_zeros();
    let shift = u64::BITS - bits;
    let mut starts = Vec::with_capacity((1 << bits) + 1);
    let mut at = 0;
    for bucket in 0..1u64 << bits {
        starts.push(at);
        let rest = entries.iter().skip(at as usize);
        at += rest.take_while(|entry| entry.hash >> shift == bucket).fold(0u32, |count, _| count + 1);
    }
    starts.push(len);
    (starts.into(), shift)
}

/// Eight bytes a step; spreads ids that differ in a few characters over all 64 bits.
fn hash(text: &str) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |state: u64, word: u64| {
        let state = (state ^ word).wrapping_mul(ODD);
        state ^ (state >> 29)
    };
    let mut state = ODD ^ text.len() as u64;
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let tail = rest.iter().fold(0u64, |tail, byte| tail << 8 | u64::from(*byte));
    mix(mix(state, tail), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_key_and_nothing_else() {
        for count in [0, 1, SMALL, SMALL + 1, 31, 32, 33, 5_000] {
            let index = Index::new((0..count).map(|n| (format!("key-{n}"), n)));
            for n in 0..count {
                assert_eq!(index.get(&format!("key-{n}")), Some(&n));
            }
            assert_eq!(index.get(&format!("key-{count}")), None);
            assert_eq!(index.get(""), None);
        }
    }

    #[test]
    fn the_first_of_equal_keys_counts() {
        let index = Index::new([("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!(index.get("a"), Some(&1));
        assert_eq!(index.iter().count(), 2);
    }

    #[test]
    fn changing_a_copy_equals_building_it() {
        let index = Index::new((0..100).map(|n| (format!("k{n}"), n)));
        let [k7, k8, new] = ["k7", "k8", "new"].map(str::to_owned);
        let replaced = index.with(vec![(&k7, Some(700))]);
        assert_eq!(
            (replaced.get("k7"), replaced.get("k8"), replaced.iter().count()),
            (Some(&700), Some(&8), 100)
        );
        let mixed = index.with(vec![(&k7, Some(700)), (&k8, None), (&new, Some(-1))]);
        assert_eq!((mixed.get("k7"), mixed.get("k8"), mixed.get("new")), (Some(&700), None, Some(&-1)));
        assert_eq!((mixed.iter().count(), index.get("k8")), (100, Some(&8)));
    }

    #[test]
    fn order_of_insertion_leaves_no_trace() {
        let forward = Index::new((0..100).map(|n| (format!("k{n}"), n)));
        let backward = Index::new((0..100).rev().map(|n| (format!("k{n}"), n)));
        assert!(forward.iter().eq(backward.iter()));
    }

    #[test]
    fn keys_inside_a_run_of_equal_hashes_are_found() {
        // Runs do not occur by chance: this one is made by hand.
        let entry = |key, value| Entry { hash: hash("m"), key, value };
        let entries = vec![entry("a", 1), entry("m", 2), entry("z", 3)].into();
        let index = Index { entries, ..Index::default() };
        assert_eq!(index.get("m"), Some(&2));
    }

    #[test]
    fn similar_ids_fall_into_different_buckets() {
        let index = Index::new((0..4_096).map(|n| (format!("user-{n}@example.org"), ())));
        let widest = index.starts.windows(2).map(|w| w[1] - w[0]).max();
        assert!(widest < Some(10), "{widest:?}");
    }
}

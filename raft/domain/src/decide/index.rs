//! A read-only map from text to values, for lookups whose cost hardly grows with the number of entries. A sorted
//! array of hashes and not a hash map: equal inputs give equal memory, and chosen collisions cost a logarithm.

/// Built once by [`Index::new`]; found by text.
#[derive(Clone, Debug)]
pub(super) struct Index<K, V> {
    /// Ascending; position by position the hash of `entries`.
    hashes: Box<[u64]>,
    /// By hash, then by key.
    entries: Box<[(K, V)]>,
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self { hashes: Box::default(), entries: Box::default() }
    }
}

impl<K: AsRef<str>, V> Index<K, V> {
    /// Of entries with equal keys the first one counts.
    pub(super) fn new(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut hashed: Vec<(u64, (K, V))> =
            entries.into_iter().map(|entry| (hash(entry.0.as_ref()), entry)).collect();
        hashed.sort_by(|(a_hash, (a, _)), (b_hash, (b, _))| {
            a_hash.cmp(b_hash).then_with(|| a.as_ref().cmp(b.as_ref()))
        });
        hashed.dedup_by(|(_, (later, _)), (_, (kept, _))| later.as_ref() == kept.as_ref());
        let (hashes, entries): (Vec<u64>, Vec<(K, V)>) = hashed.into_iter().unzip();
        Self { hashes: hashes.into(), entries: entries.into() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let hash = hash(key);
        let start = self.hashes.partition_point(|h| *h < hash);
        let (first, value) = self.entries.get(start)?;
        if first.as_ref() == key {
            return Some(value);
        }
        let equal = self.hashes.get(start..)?.partition_point(|h| *h == hash);
        let run = self.entries.get(start..start + equal)?;
        let at = run.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok()?;
        run.get(at).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// In an order that depends on nothing but the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

/// Eight bytes a step; spreads ids that differ in a few characters over all 64 bits.
fn hash(text: &str) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = ODD ^ text.len() as u64;
    for chunk in text.as_bytes().chunks(8) {
        let mut word = [0u8; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
        state ^= state >> 29;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_key_and_nothing_else() {
        let index = Index::new((0..5_000).map(|n| (format!("key-{n}"), n)));
        for n in 0..5_000 {
            assert_eq!(index.get(&format!("key-{n}")), Some(&n));
        }
        assert_eq!(index.get("key-5000"), None);
        assert_eq!(index.get(""), None);
        assert_eq!(Index::<String, u8>::default().get("x"), None);
    }

    #[test]
    fn the_first_of_equal_keys_counts() {
        let index = Index::new([("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!(index.get("a"), Some(&1));
        assert_eq!(index.iter().count(), 2);
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
        let at = hash("m");
        let index = Index { hashes: vec![at; 3].into(), entries: vec![("a", 1), ("m", 2), ("z", 3)].into() };
        assert_eq!(index.get("m"), Some(&2));
    }
}

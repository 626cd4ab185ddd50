//! The Merkle tree over the chain (RFC 6962, SHA-256), so that one event, or one earlier tree, is proven by a few hashes.
//!
//! The leaf of an event is 40 bytes: its index (8 bytes, big-endian), then its digest (32 bytes). Events count from 1,
//! places in the tree from 0: the event of index `i` is leaf `i - 1`, and the tree up to it has `i` leaves.
//! `leaf hash = SHA-256(00 || index || digest)`, `node = SHA-256(01 || left || right)`, `root of nothing = SHA-256()`.

use sha2::{Digest as _, Sha256};

use crate::ids::{AuditIndex, Digest};

/// A proof is never longer: a tree of 2^64 leaves has no more levels.
pub const PROOF_HASHES_MAX: usize = 64;

/// The hash of an event's leaf.
pub fn leaf(index: AuditIndex, digest: Digest) -> Digest {
    let mut bytes = [0; 41];
    let (_, rest) = bytes.split_at_mut(1);
    let (place, content) = rest.split_at_mut(8);
    place.copy_from_slice(&index.0.to_be_bytes());
    content.copy_from_slice(&digest.0);
    Digest(Sha256::digest(bytes).into())
}

/// The hash above two subtrees.
pub fn parent(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    let (_, rest) = bytes.split_at_mut(1);
    let (first, second) = rest.split_at_mut(32);
    first.copy_from_slice(&left.0);
    second.copy_from_slice(&right.0);
    Digest(Sha256::digest(bytes).into())
}

/// The root of the tree without leaves.
pub fn empty_root() -> Digest {
    Digest(Sha256::digest([]).into())
}

/// The roots of a tree's largest complete subtrees, from the left: all that is needed to append leaves and to tell the
/// root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// `None` where a tree of that size has another number of complete subtrees.
    pub fn of(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        let fits = u32::try_from(peaks.len()).is_ok_and(|count| count == size.count_ones());
        fits.then_some(Self { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends a leaf's hash.
    pub fn append(&mut self, leaf: Digest) {
        let (mut hash, mut complete) = (leaf, self.size);
        while complete & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = parent(left, hash);
            complete >>= 1;
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    pub fn root(&self) -> Digest {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| parent(left, right));
        joined.unwrap_or_else(empty_root)
    }
}

/// All complete subtrees over equal parts, lowest level first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Complete {
    levels: Vec<Vec<Digest>>,
}

impl Complete {
    /// Appends the next part's hash.
    pub fn push(&mut self, hash: Digest) {
        let mut hash = hash;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(nodes) = self.levels.get_mut(level) else { return };
            let left = nodes.last().copied();
            nodes.push(hash);
            match left.filter(|_| nodes.len().is_multiple_of(2)) {
                Some(left) => hash = parent(left, hash),
                None => return,
            }
        }
    }

    /// How many parts there are.
    pub fn len(&self) -> u64 {
        self.levels.first().map_or(0, |nodes| u64::try_from(nodes.len()).unwrap_or(u64::MAX))
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The root of the parts `index << level .. (index + 1) << level`, where all are there.
    pub fn get(&self, level: u32, index: u64) -> Option<Digest> {
        let nodes = self.levels.get(usize::try_from(level).ok()?)?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }

    pub fn parts(&self) -> &[Digest] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }
}

/// Whoever has a tree gives the root of the leaves `index << level .. (index + 1) << level`; level 0 is a leaf's hash.
pub trait Nodes {
    type Error;
    fn node(&mut self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// The leaves `start .. end`, as RFC 6962 cuts a tree: so one whose length is a power of two is a complete subtree.
#[derive(Clone, Copy)]
struct Part {
    start: u64,
    end: u64,
}

impl Part {
    fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// In two, the left one the largest complete subtree that is not all.
    fn cut(self) -> (Self, Self) {
        let highest =
            u64::BITS.saturating_sub(self.length().saturating_sub(1).leading_zeros()).saturating_sub(1);
        let middle = self.start.saturating_add(1 << highest);
        (Self { start: self.start, end: middle }, Self { start: middle, end: self.end })
    }

    fn root<N: Nodes>(self, nodes: &mut N) -> Result<Digest, N::Error> {
        let length = self.length();
        if length == 0 {
            return Ok(empty_root());
        }
        if length.is_power_of_two() {
            let level = length.trailing_zeros();
            return nodes.node(level, self.start >> level);
        }
        let (left, right) = self.cut();
        Ok(parent(left.root(nodes)?, right.root(nodes)?))
    }
}

/// The root of the first `size` leaves.
pub fn root<N: Nodes>(nodes: &mut N, size: u64) -> Result<Digest, N::Error> {
    Part { start: 0, end: size }.root(nodes)
}

/// The frontier of the first `size` leaves.
pub fn frontier<N: Nodes>(nodes: &mut N, size: u64) -> Result<Frontier, N::Error> {
    let (mut peaks, mut start) = (Vec::new(), 0_u64);
    for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
        peaks.push(nodes.node(level, start >> level)?);
        start = start.saturating_add(1 << level);
    }
    Ok(Frontier { size, peaks })
}

/// Proves that leaf `place` is in the tree of `size` leaves. Empty where it is not.
/// Source: RFC 6962, 2.1.1.
pub fn prove_inclusion<N: Nodes>(nodes: &mut N, place: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    let (mut part, mut path) = (Part { start: 0, end: size }, Vec::new());
    if place >= size {
        return Ok(path);
    }
    while part.length() > 1 {
        let (left, right) = part.cut();
        let (within, beside) = if place < right.start { (left, right) } else { (right, left) };
        path.push(beside.root(nodes)?);
        part = within;
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of `old` leaves is the beginning of that of `size`. Empty where they are equal, or `old` is 0.
/// Source: RFC 6962, 2.1.2.
pub fn prove_consistency<N: Nodes>(nodes: &mut N, old: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    let (mut part, mut path, mut whole) = (Part { start: 0, end: size }, Vec::new(), true);
    if old == 0 || old >= size {
        return Ok(path);
    }
    while part.end != old {
        let (left, right) = part.cut();
        if old <= right.start {
            path.push(right.root(nodes)?);
            part = left;
        } else {
            path.push(left.root(nodes)?);
            (part, whole) = (right, false);
        }
    }
    if !whole {
        path.push(part.root(nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that follows from a leaf's hash and its path; `None` where the path has not the length it must have.
pub fn root_by_inclusion(place: u64, size: u64, leaf: Digest, path: &[Digest]) -> Option<Digest> {
    if place >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (place, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = parent(*beside, hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = parent(hash, *beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// A tree as its size and root tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeHead {
    pub size: u64,
    pub root: Digest,
}

/// Whether `path` proves that `old` is the beginning of `new`.
pub fn is_consistent(old: TreeHead, new: TreeHead, path: &[Digest]) -> bool {
    if old.size == new.size {
        return path.is_empty() && old.root == new.root;
    }
    if old.size == 0 {
        return path.is_empty() && old.root == empty_root();
    }
    roots_by_consistency(old, new.size, path) == Some((old.root, new.root))
}

/// The two roots that follow from the path; `None` where it has not the length it must have.
fn roots_by_consistency(old: TreeHead, size: u64, path: &[Digest]) -> Option<(Digest, Digest)> {
    if old.size > size {
        return None;
    }
    let (mut at, mut last) = (old.size - 1, size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    // Where the old tree is complete it stands in the new one as it is, and the path does not repeat it.
    let (first, path) = if old.size.is_power_of_two() { (old.root, path) } else { take_first(path)? };
    let (mut before, mut after) = (first, first);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            before = parent(*beside, before);
            after = parent(*beside, after);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            after = parent(after, *beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some((before, after))
}

fn take_first(path: &[Digest]) -> Option<(Digest, &[Digest])> {
    path.split_first().map(|(first, rest)| (*first, rest))
}

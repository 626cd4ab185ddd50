//! The tree against the definition of RFC 6962 written down as it stands there, and against known values.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::merkle::*;
use crate::ids::{AuditIndex, Digest};

/// RFC 6962, 2.1, word by word.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let k = (1..more.len()).rev().find(|k| k.is_power_of_two()).unwrap();
            parent(naive_root(&more[..k]), naive_root(&more[k..]))
        }
    }
}

fn naive_path(place: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, beside) = if place < k {
        (naive_path(place, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(place - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(beside);
    path
}

fn naive_consistency(old: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, beside) = if old <= k {
        (naive_consistency(old, &leaves[..k], whole), naive_root(&leaves[k..]))
    } else {
        (naive_consistency(old - k, &leaves[k..], false), naive_root(&leaves[..k]))
    };
    path.push(beside);
    path
}

struct All(Complete);

impl Nodes for All {
    type Error = ();

    fn node(&mut self, level: u32, index: u64) -> Result<Digest, ()> {
        self.0.get(level, index).ok_or(())
    }
}

fn leaves(count: u64) -> Vec<Digest> {
    (1..=count).map(|index| leaf(AuditIndex(index), Digest([index.to_le_bytes()[0]; 32]))).collect()
}

fn all(leaves: &[Digest]) -> All {
    let mut complete = Complete::default();
    leaves.iter().for_each(|leaf| complete.push(*leaf));
    assert_eq!(complete.len(), leaves.len() as u64);
    All(complete)
}

fn head(leaves: &[Digest]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: naive_root(leaves) }
}

#[test]
fn the_values_of_certificate_transparency() {
    let inputs: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let mut frontier = Frontier::default();
    assert_eq!(
        frontier.root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for input in inputs {
        frontier.append(Digest(Sha256::digest([&[0], input].concat()).into()));
    }
    assert_eq!(
        frontier.root().to_string(),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    );
}

#[test]
fn every_proof_of_every_small_tree() {
    for size in 0..=40_usize {
        let leaves = leaves(size as u64);
        let mut nodes = all(&leaves);
        let mut front = Frontier::default();
        leaves.iter().for_each(|leaf| front.append(*leaf));
        let new = head(&leaves);
        assert_eq!(front.root(), new.root);
        assert_eq!(root(&mut nodes, new.size), Ok(new.root));
        assert_eq!(frontier(&mut nodes, new.size), Ok(front));
        for place in 0..size {
            let path = prove_inclusion(&mut nodes, place as u64, new.size).unwrap();
            assert_eq!(path, naive_path(place, &leaves));
            assert_eq!(root_by_inclusion(place as u64, new.size, leaves[place], &path), Some(new.root));
            // Another place, another length, another leaf.
            let elsewhere = (place as u64 + 1) % new.size;
            if size > 1 {
                assert_ne!(root_by_inclusion(elsewhere, new.size, leaves[place], &path), Some(new.root));
                assert_eq!(root_by_inclusion(place as u64, new.size, leaves[place], &path[1..]), None);
            }
            let longer = [path.as_slice(), &[new.root]].concat();
            assert_eq!(root_by_inclusion(place as u64, new.size, leaves[place], &longer), None);
            assert_ne!(root_by_inclusion(place as u64, new.size, empty_root(), &path), Some(new.root));
        }
        assert_eq!(root_by_inclusion(new.size, new.size, empty_root(), &[]), None);
        for old_size in 0..=size {
            let old = head(&leaves[..old_size]);
            let path = prove_consistency(&mut nodes, old.size, new.size).unwrap();
            if (1..size).contains(&old_size) {
                assert_eq!(path, naive_consistency(old_size, &leaves, true));
            }
            assert!(is_consistent(old, new, &path));
            let forked = TreeHead { root: leaf(AuditIndex(1), old.root), ..old };
            assert!(!is_consistent(forked, new, &path));
            assert!(!is_consistent(old, TreeHead { root: forked.root, ..new }, &path) || old_size == 0);
            let longer = [path.as_slice(), &[new.root]].concat();
            assert!(!is_consistent(old, new, &longer));
            if !path.is_empty() {
                assert!(!is_consistent(old, new, &path[1..]));
                assert!(!is_consistent(new, old, &path), "{old_size} {size}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_hold_and_changed_ones_do_not(size in 2_u64..3_000, at in any::<u64>(), old in any::<u64>(), flip in any::<(u8, u8)>()) {
        let leaves = leaves(size);
        let mut nodes = all(&leaves);
        let (place, old_size) = (at % size, old % (size - 1) + 1);
        let new = TreeHead { size, root: root(&mut nodes, size).unwrap() };
        prop_assert_eq!(new.root, naive_root(&leaves));
        let own = leaves[usize::try_from(place).unwrap()];
        let mut path = prove_inclusion(&mut nodes, place, size).unwrap();
        prop_assert!(path.len() <= PROOF_HASHES_MAX);
        prop_assert_eq!(root_by_inclusion(place, size, own, &path), Some(new.root));
        let which = usize::from(flip.0) % path.len();
        path[which].0[usize::from(flip.1) % 32] ^= 1;
        prop_assert_ne!(root_by_inclusion(place, size, own, &path), Some(new.root));

        let earlier = TreeHead { size: old_size, root: root(&mut nodes, old_size).unwrap() };
        let mut path = prove_consistency(&mut nodes, old_size, size).unwrap();
        prop_assert!(is_consistent(earlier, new, &path));
        let which = usize::from(flip.0) % path.len();
        path[which].0[usize::from(flip.1) % 32] ^= 1;
        prop_assert!(!is_consistent(earlier, new, &path));
    }
}

#[test]
fn a_frontier_of_another_size_is_none() {
    assert!(Frontier::of(3, vec![empty_root()]).is_none());
    assert!(Frontier::of(3, vec![empty_root(); 2]).is_some());
}

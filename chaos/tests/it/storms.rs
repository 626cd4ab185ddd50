//! Fixed seeds of random faults, in several tests so that a runner may share them out and none takes long on a busy machine.
//!
//! What they found so far: a node that crashed twice sent its journal again, because opening an incarnation forgot which
//! batches of the one before were posted (seeds 1 and 3).

use crate::{fuzz, must_hold, text};

#[test]
fn seeds_1_to_3_hold() {
    must_hold("--seeds 3 --from 1 --jobs 1");
}

#[test]
fn seeds_4_to_6_hold() {
    must_hold("--seeds 3 --from 4 --jobs 1");
}

#[test]
fn seeds_7_to_9_hold() {
    must_hold("--seeds 3 --from 7 --jobs 1");
}

#[test]
fn seeds_10_to_12_hold() {
    must_hold("--seeds 3 --from 10 --jobs 1");
}

#[test]
fn seeds_13_to_15_hold() {
    must_hold("--seeds 3 --from 13 --jobs 1");
}

#[test]
fn seeds_16_to_18_hold() {
    must_hold("--seeds 3 --from 16 --jobs 1");
}

#[test]
fn seeds_19_to_21_hold() {
    must_hold("--seeds 3 --from 19 --jobs 1");
}

#[test]
fn seeds_22_to_24_hold() {
    must_hold("--seeds 3 --from 22 --jobs 1");
}

/// Without this no failure could be looked at twice.
#[test]
fn the_same_seed_prints_the_same_bytes() {
    let [first, second] = [fuzz("--reproduce 25"), fuzz("--reproduce 25")];
    assert!(first.status.success(), "{}", text(&first));
    assert!(first.stdout.len() > 10_000, "a world has much to tell");
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.stderr, second.stderr);
    let other = fuzz("--reproduce 26");
    assert_ne!(first.stdout, other.stdout, "another seed is another world");
}

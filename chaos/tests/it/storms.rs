//! Fixed seeds of random faults, in several tests so that a runner may share them out and none takes long on a busy machine.
//!
//! What they found so far: a node that crashed twice sent its journal again, because opening an incarnation forgot which
//! batches of the one before were posted (seeds 1 and 3 then). In six of ten worlds a node is replaced in the midst of it. In
//! seeds 11 and 31 more than rows may rot; 11 found that a simulated node did not read all its rows when it started.

use crate::{fuzz, must_hold, text};

#[test]
fn seeds_1_to_5_hold() {
    must_hold("--seeds 5 --from 1 --jobs 1");
}

#[test]
fn seeds_6_to_10_hold() {
    must_hold("--seeds 5 --from 6 --jobs 1");
}

#[test]
fn seeds_11_to_15_hold() {
    must_hold("--seeds 5 --from 11 --jobs 1");
}

#[test]
fn seeds_16_to_20_hold() {
    must_hold("--seeds 5 --from 16 --jobs 1");
}

#[test]
fn seeds_21_to_25_hold() {
    must_hold("--seeds 5 --from 21 --jobs 1");
}

#[test]
fn seeds_26_to_30_hold() {
    must_hold("--seeds 5 --from 26 --jobs 1");
}

#[test]
fn seeds_31_to_35_hold() {
    must_hold("--seeds 5 --from 31 --jobs 1");
}

#[test]
fn seeds_36_to_40_hold() {
    must_hold("--seeds 5 --from 36 --jobs 1");
}

#[test]
fn seeds_41_to_45_hold() {
    must_hold("--seeds 5 --from 41 --jobs 1");
}

/// Without this no failure could be looked at twice.
#[test]
fn the_same_seed_prints_the_same_bytes() {
    let [first, second] = [fuzz("--reproduce 1"), fuzz("--reproduce 1")];
    assert!(first.status.success(), "{}", text(&first));
    assert!(first.stdout.len() > 10_000, "a world has much to tell");
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.stderr, second.stderr);
    let other = fuzz("--reproduce 2");
    assert_ne!(first.stdout, other.stdout, "another seed is another world");
}

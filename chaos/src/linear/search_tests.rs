//! Histories by hand: right ones, and ones that are wrong in the ways a cluster can be.

use super::*;
use crate::linear::Level;

/// From `invoked` to `returned`; 0: without an answer.
fn did(act: Act, came: Came, invoked: u64, returned: u64) -> Operation {
    let at = |ms| At { ms, number: ms };
    let from = match act {
        Act::Read(Level::Local { staleness_ms_max }) => at(invoked.saturating_sub(staleness_ms_max)),
        _ => at(invoked),
    };
    let returned = (returned > 0).then_some(at(returned));
    Operation { process: "p".to_owned(), node: 1, act, invoked: at(invoked), from, returned, came }
}

fn put(value: u64, invoked: u64, returned: u64) -> Operation {
    did(Act::Put(value), if returned > 0 { Came::Done } else { Came::Unknown }, invoked, returned)
}

fn swap(from: u64, to: u64, came: Came, invoked: u64, returned: u64) -> Operation {
    did(Act::Swap { from: Some(from), to }, came, invoked, returned)
}

fn read(value: u64, invoked: u64, returned: u64) -> Operation {
    let found = (value > 0).then_some(value);
    did(Act::Read(Level::Linearizable), Came::Found(found), invoked, returned)
}

fn local(value: u64, invoked: u64, returned: u64) -> Operation {
    let act = Act::Read(Level::Local { staleness_ms_max: 100 });
    did(act, Came::Found((value > 0).then_some(value)), invoked, returned)
}

#[track_caller]
fn good(history: &[Operation]) {
    assert_eq!(search(history), Verdict::Linearizable);
}

#[track_caller]
fn bad(history: &[Operation]) {
    assert!(matches!(search(history), Verdict::Not(..)), "passed for right: {history:?}");
}

#[test]
fn one_after_the_other() {
    good(&[]);
    good(&[read(0, 1, 2), put(1, 3, 4), read(1, 5, 6), put(2, 7, 8), read(2, 9, 10)]);
    bad(&[read(7, 1, 2)]);
}

#[test]
fn reads_during_a_write_see_either_but_never_go_back() {
    good(&[put(1, 1, 2), put(2, 3, 20), read(1, 4, 5), read(2, 6, 7), read(2, 8, 9)]);
    bad(&[put(1, 1, 2), put(2, 3, 20), read(2, 4, 5), read(1, 6, 7)]);
}

#[test]
fn a_stale_read_is_found() {
    bad(&[put(1, 1, 2), put(2, 3, 4), read(1, 5, 6)]);
}

#[test]
fn a_lost_write_is_found() {
    bad(&[put(1, 1, 2), read(0, 3, 4)]);
    bad(&[put(1, 1, 2), put(2, 3, 4), read(2, 5, 6), read(1, 7, 8)]);
}

/// It was retried, both attempts took effect, and what another wrote in between is gone.
#[test]
fn a_write_twice_is_found() {
    bad(&[put(1, 1, 4), put(2, 5, 6), read(1, 7, 8)]);
    bad(&[put(1, 1, 0), read(1, 2, 3), put(2, 4, 5), read(2, 6, 7), read(1, 8, 9)]);
}

#[test]
fn a_write_of_unknown_end_stands_late_or_never() {
    good(&[put(1, 1, 2), put(2, 3, 0), read(1, 4, 5), read(1, 6, 7)]);
    good(&[put(1, 1, 2), put(2, 3, 0), read(1, 4, 5), read(2, 6, 7)]);
    bad(&[put(1, 1, 2), read(2, 3, 4), put(2, 5, 0)]);
}

#[test]
fn only_one_of_two_swaps_wins() {
    let both = |second| [put(1, 1, 2), swap(1, 2, Came::Done, 3, 9), swap(1, 3, second, 4, 10)];
    good(&both(Came::Refused));
    bad(&both(Came::Done));
    bad(&[put(1, 1, 2), swap(1, 2, Came::Refused, 3, 4)]);
    good(&[put(1, 1, 2), swap(1, 2, Came::Unknown, 3, 0), read(1, 4, 5), read(2, 6, 7)]);
    good(&[put(1, 1, 2), swap(1, 2, Came::Unknown, 3, 0), put(3, 4, 5), read(3, 6, 7)]);
    good(&[swap(1, 2, Came::Unknown, 1, 0), put(1, 2, 3), read(1, 4, 5), read(2, 6, 7)]);
    bad(&[put(1, 1, 2), swap(1, 2, Came::Unknown, 3, 0), put(3, 4, 5), read(3, 6, 7), read(2, 8, 9)]);
}

#[test]
fn a_local_read_is_stale_within_its_bound_only() {
    good(&[put(1, 1, 2), put(2, 300, 301), local(1, 400, 402)]);
    bad(&[put(1, 1, 2), put(2, 300, 301), local(1, 402, 403)]);
    good(&[put(1, 1, 2), put(2, 300, 301), local(2, 402, 403)]);
}

/// What could not be placed is told.
#[test]
fn the_verdict_names_what_does_not_fit() {
    let Verdict::Not(stuck, value) = search(&[put(1, 1, 2), put(2, 3, 4), read(1, 5, 6)]) else {
        panic!("passed for right");
    };
    assert_eq!((stuck, value), (vec![read(1, 5, 6)], Some(2)));
}

/// Writes without an answer double the places to look at, unless those looked at are remembered.
#[test]
fn many_writes_of_unknown_end_are_judged() {
    let mut history: Vec<Operation> = (1..=9).map(|value| put(value, value, 0)).collect();
    history.extend((0..60).map(|n| put(100 + n, 100 + 10 * n, 105 + 10 * n)));
    history.extend((0..60).map(|n| read(100 + n, 106 + 10 * n, 108 + 10 * n)));
    good(&history);
    history.push(read(100, 2_000, 2_001));
    assert!(matches!(search(&history), Verdict::Not(..) | Verdict::TooHard));
}

/// With forty writes that may have come whenever and that nobody saw, each place would have two to the fortieth others.
#[test]
fn writes_of_unknown_end_that_nobody_saw_make_nothing_hard() {
    let unseen = (1..=40).map(|value| put(value, value, 0));
    let known = [put(100, 50, 51), read(100, 52, 53), read(7, 54, 55), put(101, 56, 57), read(101, 58, 59)];
    let mut history: Vec<Operation> = unseen.chain(known).collect();
    good(&history);
    history.push(read(100, 60, 61));
    bad(&history);
}

#[test]
fn a_write_of_unknown_end_may_be_why_another_was_refused_or_done() {
    good(&[put(1, 1, 2), put(2, 3, 0), swap(1, 5, Came::Refused, 4, 6), read(2, 7, 8)]);
    good(&[put(1, 1, 2), put(2, 3, 0), swap(2, 5, Came::Done, 4, 6), read(5, 7, 8)]);
    good(&[put(1, 1, 2), put(2, 3, 0), swap(2, 3, Came::Unknown, 4, 0), read(3, 7, 8)]);
    bad(&[put(1, 1, 2), put(2, 7, 0), swap(1, 5, Came::Refused, 4, 6)]);
}

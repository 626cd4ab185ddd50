//! The harness can fail: parts that lie about what is on a disk are caught within a few seeds.

use crate::{fuzz, text};

fn must_be_caught(mutant: &str, seeds: u64) {
    let output = fuzz(&format!("--seeds {seeds} --jobs 1 --mutant {mutant}"));
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{mutant} passed for right:\n{text}");
    assert!(text.contains("VIOLATED") && text.contains("--reproduce"), "{text}");
}

#[test]
fn a_log_that_acknowledges_before_it_syncs_is_caught() {
    must_be_caught("log-before-sync", 12);
}

#[test]
fn a_journal_that_acknowledges_before_it_syncs_is_caught() {
    must_be_caught("journal-before-sync", 12);
}

#[test]
fn a_journal_that_drops_records_is_caught() {
    must_be_caught("journal-drops", 6);
}

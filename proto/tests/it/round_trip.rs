//! What is written is read back: for every kind of value, over many seeds.

use std::collections::BTreeSet;

use only1mcp_domain::audit::AuditEvent;
use only1mcp_domain::model::Upstream;
use only1mcp_proto::codec::{
    decode_entry, decode_outcome, decode_records, decode_row, encode_entry, encode_outcome, encode_records,
    encode_row,
};
use only1mcp_proto::{log, model};

use crate::described::{first_field, oneof_fields};
use crate::random::Gen;

const SEEDS: u64 = 400;

fn generators() -> impl Iterator<Item = Gen> {
    std::iter::once(Gen::full()).chain((0..SEEDS).map(Gen::random))
}

#[test]
fn entries() {
    for mut g in generators() {
        for entry in g.entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(&bytes).unwrap(), entry);
            assert_eq!(encode_entry(&entry.clone()), bytes, "equal values, equal bytes");
        }
    }
}

#[test]
fn rows() {
    for mut g in generators() {
        for row in g.rows() {
            let table = row.key().table().unwrap();
            assert_eq!(decode_row(table, &encode_row(&row)).unwrap(), row);
        }
    }
}

#[test]
fn records() {
    for mut g in generators() {
        let records = g.records();
        assert_eq!(decode_records(&encode_records(&records)).unwrap(), records);
    }
    assert_eq!(decode_records(&encode_records(&[])).unwrap(), Vec::new());
}

#[test]
fn outcomes() {
    for mut g in generators() {
        let rejections = g.rejections().into_iter().map(Err);
        for outcome in g.outcomes().into_iter().chain(rejections.collect::<Vec<_>>()) {
            assert_eq!(decode_outcome(&encode_outcome(&outcome)).unwrap(), outcome);
        }
    }
}

/// The API's messages that no row or entry carries.
#[test]
fn readable_events() {
    for mut g in generators() {
        let event = g.audit_event();
        assert_eq!(AuditEvent::try_from(model::AuditEvent::from(&event)).unwrap(), event);
    }
}

#[test]
fn redacted_upstreams_come_back_with_their_secrets() {
    for mut g in generators() {
        let stored = g.upstream();
        let mut shown = model::Upstream::redacted(&stored);
        shown.keep_secrets_of(&stored);
        assert_eq!(Upstream::try_from(shown).unwrap(), stored);
    }
}

/// Every number declared in `log.proto` and `rows.proto` is reached by a generator, so that the tests here leave nothing out.
#[test]
fn every_kind_is_generated() {
    let mut g = Gen::full();
    let declared = |name| oneof_fields(name).into_keys().collect::<BTreeSet<u32>>();
    let first = |bytes: Vec<u8>| first_field(&bytes);
    let encoded = |command: &_| prost::Message::encode_to_vec(&log::Command::from(command));
    let commands = g.entries().iter().map(|entry| first(encoded(&entry.command))).collect();
    assert_eq!(declared("Command"), commands);
    let rows = g.rows().iter().map(|row| first(encode_row(row))).collect();
    assert_eq!(declared("Row"), rows);
    let record = |record: &_| first(prost::Message::encode_to_vec(&log::Record::from(record)));
    assert_eq!(declared("Record"), g.records().iter().map(record).collect());
    let rejection = |rejection: &_| first(prost::Message::encode_to_vec(&log::Rejection::from(rejection)));
    assert_eq!(declared("Rejection"), g.rejections().iter().map(rejection).collect());
    let mut outcomes = g.outcomes();
    outcomes.extend(g.rejections().into_iter().take(1).map(Err));
    assert_eq!(declared("Outcome"), outcomes.iter().map(|outcome| first(encode_outcome(outcome))).collect());
}

//! The stored form, byte for byte: one file per command, row, record, outcome, rejection, log payload and snapshot
//! frame. A changed file is a changed disk format. `UPDATE_GOLDEN=1` writes them anew. A kind that learned to say more
//! has its later form in a file of the next number; what was written before stays as it was.

use std::collections::BTreeMap;
use std::path::PathBuf;

use only1mcp_domain::activity::{ItemKind, Record, Refusal};
use only1mcp_proto::codec::{
    decode_entry, decode_outcome, decode_records, decode_row, encode_entry, encode_outcome, encode_records,
    encode_row,
};
use only1mcp_proto::{log, snapshot};
use prost::Message as _;

use crate::described::{first_field, oneof_fields};
use crate::random::Gen;

const BYTES_PER_LINE: usize = 48;

/// Names files, the second of one kind `v2`.
#[derive(Default)]
struct Files(BTreeMap<u32, usize>);

impl Files {
    fn next(&mut self, kind: &str, oneof: &str, bytes_of_oneof: &[u8]) -> PathBuf {
        let number = first_field(bytes_of_oneof);
        let version = self.0.entry(number).or_default();
        *version += 1;
        let name = &oneof_fields(oneof)[&number];
        folder().join(format!("{kind}.{name}.v{version}.hex"))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden")
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n";
    bytes.chunks(BYTES_PER_LINE).map(line).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

/// Compares, or writes; gives the stored bytes.
fn golden(path: PathBuf, bytes: &[u8]) -> Vec<u8> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, hex(bytes)).unwrap();
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert_eq!(text, hex(bytes), "{} differs: the stored format changed", path.display());
    unhex(&text)
}

#[test]
fn commands() {
    let mut files = Files::default();
    for entry in Gen::full().entries() {
        let command = log::Command::from(&entry.command).encode_to_vec();
        let stored = golden(files.next("command", "Command", &command), &encode_entry(&entry));
        assert_eq!(decode_entry(&stored).unwrap(), entry);
    }
}

#[test]
fn rows() {
    let mut files = Files::default();
    for row in Gen::full().rows() {
        let bytes = encode_row(&row);
        let stored = golden(files.next("row", "Row", &bytes), &bytes);
        assert_eq!(decode_row(row.key().table().unwrap(), &stored).unwrap(), row);
    }
}

#[test]
fn records() {
    let mut files = Files::default();
    for record in Gen::full().records() {
        let bytes = log::Record::from(&record).encode_to_vec();
        let records = [record];
        let stored = golden(files.next("record", "Record", &bytes), &encode_records(&records));
        assert_eq!(decode_records(&stored).unwrap(), records);
    }
}

/// The other shape of a record that has two.
#[test]
fn administrative_refusal() {
    let refusal = Refusal {
        kind: ItemKind::Administration,
        item: "Tenants/CreateTenant GlobalAdmin".to_owned(),
        ..Gen::full().refusal()
    };
    let records = [Record::Refusal(Box::new(refusal))];
    let path = folder().join("record.refusal_administration.v1.hex");
    let stored = golden(path, &encode_records(&records));
    assert_eq!(decode_records(&stored).unwrap(), records);
}

#[test]
fn outcomes() {
    let mut files = Files::default();
    for outcome in Gen::full().outcomes() {
        let bytes = encode_outcome(&outcome);
        let stored = golden(files.next("outcome", "Outcome", &bytes), &bytes);
        assert_eq!(decode_outcome(&stored).unwrap(), outcome);
    }
}

#[test]
fn rejections() {
    let mut files = Files::default();
    for rejection in Gen::full().rejections() {
        let bytes = log::Rejection::from(&rejection).encode_to_vec();
        let outcome = Err(rejection);
        let stored = golden(files.next("rejection", "Rejection", &bytes), &encode_outcome(&outcome));
        assert_eq!(decode_outcome(&stored).unwrap(), outcome);
    }
}

fn membership() -> log::Membership {
    let node = |id| log::MemberNode { id, name: format!("n{id}"), peer_address: format!("127.0.0.1:{id}") };
    let set = |nodes: &[u64]| log::VoterSet { nodes: nodes.to_vec() };
    log::Membership { configs: vec![set(&[1, 2]), set(&[1, 2, 3])], nodes: (1..=4).map(node).collect() }
}

/// What consensus stores: log payloads and snapshot frames.
#[test]
fn consensus() {
    use log::payload::Kind;
    use snapshot::frame::Part;
    let log_id = Some(log::LogId { term: 1, node: 2, index: 3 });
    let last_membership = Some(log::StoredMembership { log_id, membership: Some(membership()) });
    let meta = Some(log::SnapshotMeta { last_log_id: log_id, last_membership });
    let header = snapshot::Header {
        format: 1,
        meta,
        cluster_id: vec![4; 32].into(),
        state_digest: vec![5; 32].into(),
    };
    let row = |n: u8| snapshot::Row { key: vec![n; 2].into(), value: vec![n; 3].into() };
    let payload = |kind| log::Payload { kind: Some(kind) }.encode_to_vec();
    let frame = |part| snapshot::Frame { part: Some(part) }.encode_length_delimited_to_vec();
    let segment = snapshot::Segment {
        first: 1,
        last: 300,
        address: vec![7; 32].into(),
        bytes: 70_000,
        hash: vec![8; 32].into(),
    };
    let stored = [
        ("frame.segments", frame(Part::Segments(snapshot::Segments { segments: vec![segment] }))),
        ("payload.blank", payload(Kind::Blank(log::Nothing {}))),
        ("payload.entry", payload(Kind::Entry(vec![1, 2, 3].into()))),
        ("payload.membership", payload(Kind::Membership(membership()))),
        ("frame.header", frame(Part::Header(header))),
        ("frame.rows", frame(Part::Rows(snapshot::Rows { rows: vec![row(1), row(2)] }))),
        ("frame.trailer", frame(Part::Trailer(snapshot::Trailer { rows: 2, digest: vec![6; 32].into() }))),
    ];
    for (name, bytes) in stored {
        golden(folder().join(format!("{name}.v1.hex")), &bytes);
    }
}

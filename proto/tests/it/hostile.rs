//! Input that nobody of ours wrote: refused with a reason, never a panic, and never much memory for few bytes.

use only1mcp_domain::limits::{self, SUBJECT_BYTES_MAX};
use only1mcp_domain::row::Table;
use only1mcp_proto::codec::{
    Problem, decode_entry, decode_outcome, decode_records, decode_row, encode_entry, encode_outcome,
    encode_records, encode_row,
};
use only1mcp_proto::log;
use only1mcp_proto::log::record::Kind;
use prost::Message as _;

use crate::described::oneof_fields;
use crate::random::Gen;

/// Reads `bytes` as everything; what is read must be written and read again as the same.
fn read_as_everything(bytes: &[u8]) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
    }
    if let Ok(outcome) = decode_outcome(bytes) {
        assert_eq!(decode_outcome(&encode_outcome(&outcome)).unwrap(), outcome);
    }
    if let Ok(records) = decode_records(bytes) {
        assert_eq!(decode_records(&encode_records(&records)).unwrap(), records);
    }
    for table in Table::ALL {
        if let Ok(row) = decode_row(table, bytes) {
            assert_eq!(row.key().table(), Some(table));
            assert_eq!(decode_row(table, &encode_row(&row)).unwrap(), row);
        }
    }
}

fn samples(g: &mut Gen) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = g.entries().iter().map(encode_entry).collect();
    all.extend(g.rows().iter().map(encode_row));
    all.extend(g.outcomes().iter().map(encode_outcome));
    all.push(encode_records(&g.records()));
    all
}

#[test]
fn random_bytes() {
    let mut g = Gen::random(1);
    for _ in 0..20_000 {
        let len = g.below(200) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| g.bits() as u8).collect();
        read_as_everything(&bytes);
    }
}

#[test]
fn damaged_bytes() {
    for seed in 0..20 {
        let mut g = Gen::random(seed);
        for sample in samples(&mut g) {
            for _ in 0..8 {
                let mut bytes = sample.clone();
                match g.below(4) {
                    0 => bytes.truncate(g.below(bytes.len() as u64 + 1) as usize),
                    1 => bytes.extend((0..=g.below(9)).map(|n| n as u8)),
                    2 if !bytes.is_empty() => {
                        let at = g.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << g.below(8);
                    }
                    _ => {
                        let at = g.below(bytes.len() as u64 + 1) as usize;
                        let other = sample[at..].to_vec();
                        bytes.splice(..at, other);
                    }
                }
                read_as_everything(&bytes);
            }
        }
    }
}

#[test]
fn every_prefix_of_a_sample() {
    for sample in samples(&mut Gen::full()) {
        for end in 0..sample.len().min(400) {
            read_as_everything(&sample[..end]);
        }
    }
}

#[test]
fn nothing_is_refused() {
    assert_eq!(decode_entry(&[]).unwrap_err().to_string(), "Entry.actor: is missing");
    assert_eq!(decode_outcome(&[]).unwrap_err().to_string(), "Outcome.kind: is missing");
    assert_eq!(decode_row(Table::Roles, &[]).unwrap_err().to_string(), "Row.kind: is missing");
}

/// Commands whose every field may be at its default.
const EMPTY_IS_A_VALUE: [&str; 13] = [
    "register_node",
    "remove_node",
    "update_node",
    "tick",
    "open_incarnation",
    "seal_journal",
    "force_close",
    "note_backup",
    "add_subject_keys",
    "begin_generation",
    "rewrap_subjects",
    "want_generation",
    "run_retention",
];

/// Fields that are left out, enums that are unspecified, identifiers that are empty.
#[test]
fn empty_commands_are_refused() {
    for (number, name) in oneof_fields("Command") {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
        bytes.push(0);
        let mut entry = log::Entry::from(&Gen::full().entries()[0]);
        entry.command = Some(log::Command::decode(&bytes[..]).unwrap());
        let refused = decode_entry(&entry.encode_to_vec()).is_err();
        assert_eq!(refused, !EMPTY_IS_A_VALUE.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn rows_of_another_table_are_refused() {
    for row in Gen::full().rows() {
        let home = row.key().table().unwrap();
        for table in Table::ALL.into_iter().filter(|table| *table != home) {
            assert_eq!(decode_row(table, &encode_row(&row)).unwrap_err().problem, Problem::OtherTable);
        }
    }
}

#[test]
fn numbers_from_a_newer_version_are_refused() {
    let mut entry = log::Entry::from(&Gen::full().entries()[4]);
    let Some(log::command::Kind::SetNodeRole(role)) = entry.command.as_mut().unwrap().kind.as_mut() else {
        panic!("the fifth command sets a node's role");
    };
    role.role = 77;
    let error = decode_entry(&entry.encode_to_vec()).unwrap_err();
    assert_eq!(error.problem, Problem::UnknownNumber { number: 77 });
}

/// A record that does not say whose item is used would stand in nobody's trail.
#[test]
fn activity_without_a_tenant_is_refused() {
    let mut tried = 0;
    for record in Gen::full().records() {
        let mut wire = log::Record::from(&record);
        match &mut wire.kind {
            Some(Kind::Admission(admission)) => admission.tenant.clear(),
            Some(Kind::Completion(completion)) => completion.tenant.clear(),
            Some(Kind::Refusal(refusal)) => refusal.tenant.clear(),
            Some(Kind::SessionOpened(event) | Kind::SessionClosed(event)) => event.tenant.clear(),
            Some(Kind::AuditRead(read)) => read.tenant.clear(),
            _ => continue,
        }
        tried += 1;
        let bytes = log::Records { records: vec![wire] }.encode_to_vec();
        let refused = decode_records(&bytes).unwrap_err().to_string();
        assert!(refused.contains(".tenant"), "{refused}");
    }
    assert_eq!(tried, 15, "admissions have five forms, completions four, readings three");
}

/// What would name an account nobody has, or hold an amount of another width.
#[test]
fn accounts_that_cannot_be_are_refused() {
    let row = |change: &dyn Fn(&mut log::AccountRow)| {
        let rows = Gen::full().rows();
        let found = rows.iter().find(|row| row.key().table() == Some(Table::Accounts)).unwrap();
        let mut wire = log::Row::decode(&encode_row(found)[..]).unwrap();
        let Some(log::row::Kind::Account(account)) = wire.kind.as_mut() else { panic!("a row of accounts") };
        change(account);
        decode_row(Table::Accounts, &wire.encode_to_vec()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(row(&|_| ()), Ok(()));
    let lent = |nodes: &[u64]| -> Vec<log::Lent> {
        nodes
            .iter()
            .map(|node| log::Lent {
                node: *node,
                outstanding: vec![0; 16].into(),
                forfeited: vec![0; 16].into(),
            })
            .collect()
    };
    assert_eq!(row(&|account| account.lent = lent(&[1, 2, 9])), Ok(()));
    let exact = |account: &mut log::AccountRow| {
        account.key.as_mut().unwrap().subject = "x".repeat(SUBJECT_BYTES_MAX);
    };
    assert_eq!(row(&exact), Ok(()));
    let key = |change: fn(&mut log::AccountKey)| row(&|account| change(account.key.as_mut().unwrap()));
    for (refused, field) in [
        (key(|key| key.limit = "budget".into()), "AccountKey.limit"),
        (key(|key| key.limit = "salary/x".into()), "AccountKey.limit"),
        (key(|key| key.limit = "budget/no spaces".into()), "AccountKey.limit"),
        (key(|key| key.subject = "a\0b".into()), "AccountKey.subject"),
        (key(|key| key.tenant.clear()), "AccountKey.tenant"),
        (row(&|account| account.key = None), "AccountRow.key"),
        (row(&|account| account.posted = vec![0; 8].into()), "AccountRow.posted"),
        (key(|key| key.subject = "x".repeat(SUBJECT_BYTES_MAX + 1)), "AccountKey.subject"),
        (row(&|account| account.lent = lent(&[2, 1])), "AccountRow.lent"),
        (row(&|account| account.lent = lent(&[1, 1])), "AccountRow.lent"),
        (row(&|account| account.level = 256), "AccountRow.level"),
        (row(&|account| account.lent[0].outstanding = vec![0; 17].into()), "Lent.outstanding"),
    ] {
        let refused = refused.expect_err(field);
        assert!(refused.contains(field), "{refused}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for len in [0, 31, 33] {
        let mut entry = log::Entry::from(&Gen::full().entries()[0]);
        entry.request_digest = vec![1; len].into();
        let error = decode_entry(&entry.encode_to_vec()).unwrap_err();
        assert_eq!(error.problem, Problem::Length { expected: 32, found: len });
    }
}

/// Both sides of `ENTRY_BYTES_MAX`, `ROW_BYTES_MAX`, `OUTCOME_BYTES_MAX`, `BATCH_BYTES_MAX`: an unknown field is skipped,
/// so padding changes the size and nothing else.
#[test]
fn sizes() {
    let entry = encode_entry(&Gen::full().entries()[0]);
    let row = Gen::full().rows().remove(2);
    let outcome = encode_outcome(&Gen::full().outcomes()[0]);
    let records = encode_records(&Gen::full().records());
    assert!(decode_entry(&padded(&entry, limits::ENTRY_BYTES_MAX)).is_ok());
    assert!(too_large(decode_entry(&padded(&entry, limits::ENTRY_BYTES_MAX + 1)).map(drop)));
    let table = row.key().table().unwrap();
    assert!(decode_row(table, &padded(&encode_row(&row), limits::ROW_BYTES_MAX)).is_ok());
    assert!(too_large(decode_row(table, &padded(&encode_row(&row), limits::ROW_BYTES_MAX + 1)).map(drop)));
    assert!(decode_outcome(&padded(&outcome, limits::OUTCOME_BYTES_MAX)).is_ok());
    assert!(too_large(decode_outcome(&padded(&outcome, limits::OUTCOME_BYTES_MAX + 1)).map(drop)));
    assert!(decode_records(&padded(&records, limits::BATCH_BYTES_MAX)).is_ok());
    assert!(too_large(decode_records(&padded(&records, limits::BATCH_BYTES_MAX + 1)).map(drop)));
}

/// `bytes` and a field of number 2,000, `len` bytes in all.
fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    prost::encoding::encode_key(2_000, prost::encoding::WireType::LengthDelimited, &mut out);
    let room = len - out.len();
    let filler =
        (1..=5).map(|size| room - size).find(|n| prost::encoding::encoded_len_varint(*n as u64) + n == room);
    let filler = filler.unwrap();
    prost::encoding::encode_varint(filler as u64, &mut out);
    out.resize(len, 0);
    out
}

fn too_large(result: Result<(), only1mcp_proto::codec::DecodeError>) -> bool {
    matches!(result.unwrap_err().problem, Problem::TooLarge { .. })
}

/// Both sides of `BATCH_RECORDS_MAX`: counted before a single record is read.
#[test]
fn records_are_counted_first() {
    let record = Gen::full().records().remove(6);
    let full = vec![record; limits::BATCH_RECORDS_MAX];
    assert_eq!(decode_records(&encode_records(&full)).unwrap().len(), limits::BATCH_RECORDS_MAX);
    let empty_ones: Vec<u8> = [0x0a, 0x00].repeat(limits::BATCH_RECORDS_MAX + 1);
    assert!(too_large(decode_records(&empty_ones).map(drop)));
}

/// The largest batch's outcome fits what one node may tell another.
#[test]
fn the_largest_outcome_fits() {
    use only1mcp_domain::activity::RecordApplied;
    use only1mcp_domain::ids::{AuditIndex, Digest};
    let record =
        RecordApplied { audit: Some((AuditIndex(u64::MAX), Digest([0xff; 32]))), revoked_in_flight: true };
    let outcome =
        Ok(only1mcp_domain::Outcome::BatchApplied { records: vec![record; limits::BATCH_RECORDS_MAX] });
    assert_eq!(decode_outcome(&encode_outcome(&outcome)).unwrap(), outcome);
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        let mut outer = Vec::new();
        prost::encoding::encode_key(5, prost::encoding::WireType::StartGroup, &mut outer);
        bytes.splice(0..0, outer);
    }
    assert!(decode_entry(&bytes).is_err());
    assert!(decode_records(&bytes).is_err());
}

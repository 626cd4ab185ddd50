//! What the `.proto` files declare, read from the descriptors: so that a test can tell that nothing was left out.

use std::collections::BTreeMap;

use only1mcp_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn message(package: &str, name: &str) -> DescriptorProto {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    // A package may be spread over files.
    let files = set.file.into_iter().filter(|file| file.package() == package);
    files.flat_map(|file| file.message_type).find(|message| message.name() == name).unwrap()
}

/// Names of the fields of a log message's oneof, by number.
pub fn oneof_fields(name: &str) -> BTreeMap<u32, String> {
    let fields = message("only1mcp.log.v1", name).field.into_iter();
    fields
        .filter(|field| field.oneof_index.is_some() && !field.proto3_optional())
        .map(|field| (u32::try_from(field.number()).unwrap(), field.name().to_owned()))
        .collect()
}

/// Number of the first field of an encoded message.
pub fn first_field(mut bytes: &[u8]) -> u32 {
    prost::encoding::decode_key(&mut bytes).unwrap().0
}

#[test]
fn reflection_finds_every_service() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let packages: Vec<_> = set.file.iter().map(|file| file.package()).collect();
    for package in ["admin", "log", "model", "peer", "snapshot"] {
        assert!(packages.contains(&format!("only1mcp.{package}.v1").as_str()), "{package}");
    }
    let services: Vec<_> = set.file.iter().flat_map(|file| &file.service).map(|s| s.name()).collect();
    assert!(services.contains(&"Peer"));
}

#[test]
fn row_numbers_are_table_numbers() {
    use only1mcp_domain::row::Table;
    let fields = oneof_fields("Row");
    let tables: Vec<u32> = Table::ALL.iter().map(|table| u32::from(table.number())).collect();
    let rows: Vec<u32> = fields.keys().copied().filter(|number| *number != 100).collect();
    assert_eq!(rows, tables);
}

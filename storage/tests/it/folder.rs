//! The data folder: one process, small files written whole.

use only1mcp_storage::{DataFolder, StorageError, free_bytes};

use crate::support::is_corrupt;

#[test]
fn one_process_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let folder = DataFolder::open(&path).unwrap();
    assert!(matches!(DataFolder::open(&path), Err(StorageError::Locked { .. })));
    for part in [folder.log(), folder.state(), folder.journal()] {
        assert!(part.is_dir());
    }
    drop(folder);
    DataFolder::open(&path).unwrap();
}

#[test]
fn node_id_and_identity_survive_and_rot_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(root.path()).unwrap();
    assert_eq!(folder.node_id().unwrap(), None);
    assert_eq!(folder.identity().unwrap(), None);
    folder.write_node_id(u64::MAX).unwrap();
    folder.write_identity(b"\n\0bytes\xff").unwrap();
    folder.write_identity(b"\n\0other\xff").unwrap();
    drop(folder);
    let folder = DataFolder::open(root.path()).unwrap();
    assert_eq!(folder.node_id().unwrap(), Some(u64::MAX));
    assert_eq!(folder.identity().unwrap(), Some(b"\n\0other\xff".to_vec()));
    for name in ["node-id", "identity"] {
        let path = root.path().join(name);
        let good = std::fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            let noticed = match name {
                "node-id" => folder.node_id().is_err(),
                _ => folder.identity().is_err(),
            };
            // The checksum is hexadecimal: its letters read the same in either case.
            let case = good[bit / 8].is_ascii_alphabetic() && bit % 8 == 5;
            assert!(noticed || case, "bit {bit} of {name}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    }
    assert!(is_corrupt(&folder.node_id()) && is_corrupt(&folder.identity()));
}

#[test]
fn another_version_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    drop(DataFolder::open(root.path()).unwrap());
    std::fs::write(root.path().join("format"), "only1mcp data 2 00000000\n").unwrap();
    assert!(matches!(DataFolder::open(root.path()), Err(StorageError::Version { found: 2, known: 1, .. })));
}

#[test]
fn free_space_is_told() {
    let root = tempfile::tempdir().unwrap();
    assert!(free_bytes(root.path()).unwrap() > 0);
    assert!(free_bytes(&root.path().join("missing")).is_err());
}

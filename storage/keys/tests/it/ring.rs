//! The key ring: what a folder opens with, and what it refuses.

use only1mcp_keys::{KeyFile, KeyRing, RecoveryKey, RecoveryPublic, RingError};
use only1mcp_storage::{DataFolder, SealerKeys};

use crate::owner;

fn same(left: &SealerKeys, right: &SealerKeys) -> bool {
    (left.ring, left.current, &left.names, &left.data)
        == (right.ring, right.current, &right.names, &right.data)
}

#[tokio::test]
async fn a_ring_opens_again_and_grows_and_is_wrapped_anew() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let path = keys.path().join("keys.json");
    let file = KeyFile::create(&path).unwrap();
    assert!(KeyRing::read(&folder).unwrap().is_none());
    let (_, first) = KeyRing::create(&folder, &file, &owner(), None, 5).await.unwrap();
    let mut ring = KeyRing::read(&folder).unwrap().unwrap();
    assert!(same(&ring.open(&file).await.unwrap(), &first));
    assert_eq!((ring.current(), ring.current_since_ms()), (1, 5));
    let (id, key) = ring.rotate(&folder, &file, None, 9).await.unwrap();
    assert_eq!((ring.current(), ring.current_since_ms()), (id, 9));
    let mut ring = KeyRing::read(&folder).unwrap().unwrap();
    let second = ring.open(&file).await.unwrap();
    assert_eq!((second.current, second.data.len()), (id, 2));
    assert_eq!(second.data[&id], key);
    assert_eq!(second.data[&1], first.data[&1], "what was sealed before still opens");
    assert_eq!(second.names, first.names, "names stay the same");
    let newer = KeyFile::add_key(&path).unwrap();
    ring.rewrap(&folder, &second, &newer, None).await.unwrap();
    let ring = KeyRing::read(&folder).unwrap().unwrap();
    assert!(same(&ring.open(&newer).await.unwrap(), &second));
    assert!(ring.data_keys().iter().all(|(_, key, _)| key == newer.current()));
    assert!(matches!(ring.open(&file).await, Err(RingError::Key(_))), "the old file lacks the new key");
}

/// What lies in the folder is wrapped, and bound: keys that change places, or come from another ring, do not open.
#[tokio::test]
async fn entries_open_in_their_place_alone() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let file = KeyFile::create(&keys.path().join("keys.json")).unwrap();
    let (mut ring, plain) = KeyRing::create(&folder, &file, &owner(), None, 5).await.unwrap();
    ring.rotate(&folder, &file, None, 6).await.unwrap();
    let text = String::from_utf8(folder.key_ring().unwrap().unwrap()).unwrap();
    for key in plain.data.values().chain([&plain.names]) {
        use base64::Engine as _;
        let shown = base64::engine::general_purpose::STANDARD.encode(key.bytes());
        assert!(!text.contains(&shown[..40]), "a key lies in the clear");
        let bytes = text.as_bytes();
        assert!(!bytes.windows(32).any(|window| window == key.bytes()));
    }
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let good = json.clone();
    let put = |json: &serde_json::Value| folder.write_key_ring(json.to_string().as_bytes()).unwrap();
    for (field, value) in [
        ("node", "node-2".into()),
        ("cluster", "d".into()),
        ("ring", "ab".repeat(16).into()),
        ("current", 2.into()),
    ] {
        let value: serde_json::Value = value;
        json[field] = value;
        put(&json);
        let opened = KeyRing::read(&folder).unwrap().unwrap().open(&file).await;
        assert!(opened.is_err(), "{field}");
        json = good.clone();
    }
    for field in ["wrapped", "check"] {
        let first = json["keys"][0][field].clone();
        json["keys"][0][field] = json["keys"][2][field].clone();
        json["keys"][2][field] = first;
        put(&json);
        let opened = KeyRing::read(&folder).unwrap().unwrap().open(&file).await;
        assert!(matches!(opened, Err(RingError::Key(_))), "{field}: {opened:?}");
        json = good.clone();
    }
    put(&serde_json::json!({}));
    assert!(matches!(KeyRing::read(&folder), Err(RingError::Damaged { .. })));
    put(&good);
    KeyRing::read(&folder).unwrap().unwrap().open(&file).await.unwrap();
}

#[tokio::test]
async fn the_recovery_key_opens_a_ring_whose_provider_is_lost() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let file = KeyFile::create(&keys.path().join("keys.json")).unwrap();
    let (private, public) = RecoveryKey::generate().unwrap();
    let public = RecoveryPublic::parse(&public).unwrap();
    let (mut ring, _) = KeyRing::create(&folder, &file, &owner(), Some(&public), 5).await.unwrap();
    ring.rotate(&folder, &file, Some(&public), 6).await.unwrap();
    let before = ring.open(&file).await.unwrap();
    let key = RecoveryKey::parse(&private).unwrap();
    let recovered = ring.recover(&key).unwrap();
    assert!(same(&recovered, &before));
    let other = KeyFile::create(&keys.path().join("other.json")).unwrap();
    ring.rewrap(&folder, &recovered, &other, None).await.unwrap();
    let ring = KeyRing::read(&folder).unwrap().unwrap();
    assert!(same(&ring.open(&other).await.unwrap(), &before));
    assert!(ring.recover(&key).is_err(), "it was wrapped anew without one");
}

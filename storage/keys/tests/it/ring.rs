//! The key ring: what a folder opens with, and what it refuses.

use only1mcp_keys::{KeyError, KeyFile, KeyProvider as _, KeyRing, RecoveryKey, RecoveryPublic, RingError};
use only1mcp_storage::{DataFolder, Key32, SealerKeys};

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
    ring.rewrap(&folder, &second, &newer, None, 7).await.unwrap();
    let ring = KeyRing::read(&folder).unwrap().unwrap();
    assert!(same(&ring.open(&newer).await.unwrap(), &second));
    assert!(ring.data_keys().iter().all(|(_, key, _)| *key == newer.current()));
    let lacks = ring.open(&file).await.unwrap_err();
    assert!(matches!(lacks, RingError::Lacks { .. }) && lacks.may_pass(), "the old file lacks the new key");
    let (said, wraps) = (lacks.to_string(), "which wraps data key 1, the key for names, data key 3");
    assert!(said.contains(&newer.current()) && said.contains(wraps), "{said}");
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
    ring.rewrap(&folder, &recovered, &other, None, 7).await.unwrap();
    let ring = KeyRing::read(&folder).unwrap().unwrap();
    assert!(same(&ring.open(&other).await.unwrap(), &before));
    assert!(ring.recover(&key).is_err(), "it was wrapped anew without one");
}

/// A generation's key is wrapped by a key of its own, in the same file, which goes with it; and by no other.
#[tokio::test]
async fn what_wraps_a_generation_is_destroyed_with_it() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let path = keys.path().join("keys.json");
    let file = KeyFile::create(&path).unwrap();
    let (mut ring, _) = KeyRing::create(&folder, &file, &owner(), None, 5).await.unwrap();
    let key = |byte: u8| Key32::take(&mut [byte; 32]);
    ring.keep_generation(&folder, &file, None, (1, &key(1)), 6).await.unwrap();
    ring.keep_generation(&folder, &file, None, (2, &key(9)), 7).await.unwrap();
    let replaced = file.ids();
    ring.keep_generation(&folder, &file, None, (2, &key(2)), 8).await.unwrap();
    assert_eq!((replaced.len(), file.ids().len()), (3, 3), "what wrapped the one that was replaced is gone");
    assert_ne!(replaced, file.ids());
    let stolen_ring = folder.key_ring().unwrap().unwrap();
    let uses = ring.uses();
    assert_eq!((uses.len(), uses[&file.current()].len()), (3, 2), "{uses:?}");
    // Only what was made for one thing can be destroyed.
    assert!(matches!(file.destroy(&file.current()).await, Err(KeyError::Refused { .. })));
    ring.forget_generations(&folder, &file, 2).await.unwrap();
    assert_eq!((file.ids().len(), ring.destroyed_at_ms()), (2, 0));
    assert_eq!(ring.open(&file).await.unwrap().generations, [(2, key(2))].into());
    // A copy of the ring as it was before is worth nothing with the key file as it is now.
    let stolen = KeyRing::decode(&stolen_ring).unwrap().open(&KeyFile::open(&path).unwrap()).await;
    let said = stolen.unwrap_err().to_string();
    assert!(said.contains("generation 1") && !said.contains("data key"), "{said}");
    // Wrapping anew leaves it apart.
    let newer = KeyFile::add_key(&path).unwrap();
    let opened = ring.open(&newer).await.unwrap();
    let left = ring.rewrap(&folder, &opened, &newer, None, 9).await.unwrap();
    assert!(left.is_empty() && ring.uses().len() == 2, "{:?}", ring.uses());
    // A file that cannot be changed, as one that is mounted: the generation is kept all the same.
    let other = KeyFile::create(&keys.path().join("other.json")).unwrap();
    let left = ring.rewrap(&folder, &opened, &other, None, 9).await.unwrap();
    assert_eq!((left.len(), ring.uses().len()), (1, 2), "{:?}", ring.uses());
    std::fs::remove_file(keys.path().join("other.json")).unwrap();
    ring.keep_generation(&folder, &other, None, (3, &key(3)), 10).await.unwrap();
    assert_eq!(ring.uses()[&other.current()].len(), 3);
    ring.forget_generations(&folder, &other, 2).await.unwrap();
    assert_eq!(ring.open(&other).await.unwrap().generations.len(), 2);
}

/// The one that seals is never dropped.
#[tokio::test]
async fn data_keys_are_dropped_for_ever_and_never_the_one_in_use() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let file = KeyFile::create(&keys.path().join("keys.json")).unwrap();
    let (mut ring, _) = KeyRing::create(&folder, &file, &owner(), None, 5).await.unwrap();
    let (second, _) = ring.rotate(&folder, &file, None, 6).await.unwrap();
    assert!(ring.drop_data_keys(&folder, &[1, second].into()).is_err());
    assert_eq!(KeyRing::read(&folder).unwrap().unwrap().data_keys().len(), 2);
    ring.drop_data_keys(&folder, &[1, 2].into()).unwrap();
    let ring = KeyRing::read(&folder).unwrap().unwrap();
    assert_eq!(ring.data_keys().iter().map(|(id, _, _)| *id).collect::<Vec<_>>(), [second]);
    ring.open(&file).await.expect("the key for names is no data key");
}

/// A generation's key opens as that generation, in that ring, and whole.
#[tokio::test]
async fn generations_open_in_their_place_alone() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataFolder::open(folder.path()).unwrap();
    let file = KeyFile::create(&keys.path().join("keys.json")).unwrap();
    let (mut ring, _) = KeyRing::create(&folder, &file, &owner(), None, 5).await.unwrap();
    for generation in [1, 2] {
        let key = Key32::take(&mut [generation as u8; 32]);
        ring.keep_generation(&folder, &file, None, (generation, &key), 6).await.unwrap();
    }
    let good: serde_json::Value = serde_json::from_slice(&folder.key_ring().unwrap().unwrap()).unwrap();
    let opens = async |json: &serde_json::Value| {
        KeyRing::decode(json.to_string().as_bytes()).unwrap().open(&file).await.is_ok()
    };
    assert!(opens(&good).await);
    for fields in [&["wrapped"][..], &["wrapped", "key"], &["wrapped", "key", "check"]] {
        let mut json = good.clone();
        for field in fields {
            let (first, second) = (json["keys"][2][field].clone(), json["keys"][3][field].clone());
            (json["keys"][2][field], json["keys"][3][field]) = (second, first);
        }
        assert!(!opens(&json).await, "swapped: {fields:?}");
    }
    // One that was replaced, put back in the place of the new one.
    let key = Key32::take(&mut [9; 32]);
    ring.keep_generation(&folder, &file, None, (2, &key), 7).await.unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&folder.key_ring().unwrap().unwrap()).unwrap();
    json["keys"][3]["wrapped"] = good["keys"][3]["wrapped"].clone();
    assert!(!opens(&json).await, "replayed");
    let mut json = good.clone();
    json["keys"][2]["wrapped"] = json["keys"][2]["wrapped"].as_str().unwrap()[..40].into();
    assert!(!opens(&json).await, "cut off");
}

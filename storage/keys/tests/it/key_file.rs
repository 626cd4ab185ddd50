//! The key file: who may read it, and what it unwraps.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use only1mcp_keys::{KeyError, KeyFile, KeyProvider as _, NewKey, Wrapped};

use crate::{context, other_contexts};

#[tokio::test]
async fn a_key_opens_for_its_context_alone() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyFile::create(&folder.path().join("keys.json")).unwrap();
    let NewKey { plain, wrapped } = keys.generate(&context()).await.unwrap();
    assert_eq!(keys.unwrap(&wrapped, &context()).await.unwrap(), plain);
    for other in other_contexts() {
        assert!(matches!(keys.unwrap(&wrapped, &other).await, Err(KeyError::Wrong { .. })), "{other:?}");
    }
    for bit in 0..wrapped.bytes.len() * 8 {
        let mut bytes = wrapped.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bad = Wrapped { bytes, ..wrapped.clone() };
        assert!(matches!(keys.unwrap(&bad, &context()).await, Err(KeyError::Wrong { .. })), "bit {bit}");
    }
    for length in 0..wrapped.bytes.len() {
        let bad = Wrapped { bytes: wrapped.bytes[..length].to_vec(), ..wrapped.clone() };
        assert!(keys.unwrap(&bad, &context()).await.is_err(), "cut at {length}");
    }
    let again = keys.generate(&context()).await.unwrap();
    assert_ne!(again.plain, plain, "each key is another");
    assert_ne!(again.wrapped.bytes[1..33], wrapped.bytes[1..33], "each has a salt of its own");
}

#[tokio::test]
async fn a_new_key_wraps_and_the_old_one_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let old = KeyFile::create(&path).unwrap();
    let made = old.generate(&context()).await.unwrap();
    let new = KeyFile::add_key(&path).unwrap();
    assert_ne!(new.current(), old.current());
    assert_eq!(KeyFile::open(&path).unwrap().current(), new.current());
    assert_eq!(new.unwrap(&made.wrapped, &context()).await.unwrap(), made.plain);
    let wrapped = new.wrap(&made.plain, &context()).await.unwrap();
    assert_eq!(wrapped.key, new.current());
    let refused = old.unwrap(&wrapped, &context()).await;
    assert!(matches!(refused, Err(KeyError::Refused { .. })), "it does not know that key");
}

#[test]
fn a_file_that_others_may_read_is_refused_and_so_is_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    KeyFile::create(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(KeyFile::create(&path).is_err(), "it is not written over");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let refused = KeyFile::open(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{mode:o}: {refused}");
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    KeyFile::open(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let key = good.split('"').find(|word| word.len() == 44).unwrap();
    let bad = [
        String::new(),
        "{}".to_owned(),
        good.replace("\"format\": 1", "\"format\": 2"),
        good.replace(key, "c2hvcnQ="),
        good.replace("current", "currant"),
        good.replacen(&good.split('"').nth(5).unwrap().to_owned(), "another", 1),
    ];
    for text in bad {
        std::fs::write(&path, &text).unwrap();
        let error = KeyFile::open(&path).unwrap_err();
        assert!(matches!(error, KeyError::File { .. }), "{text}");
        assert!(!format!("{error:?} {error}").contains(key), "it tells the key: {error}");
    }
    assert!(KeyFile::open(&folder.path().join("none")).is_err());
    assert!(KeyFile::open(folder.path()).is_err());
}

/// Owned by somebody else: only root can make such a file, and only then is there anything to test.
#[test]
fn a_file_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    KeyFile::create(&path).unwrap();
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        let refused = KeyFile::open(&path).unwrap_err().to_string();
        assert!(refused.contains("another user"), "{refused}");
    }
}

#[test]
fn nothing_shown_holds_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let keys = KeyFile::create(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let key = text.split('"').find(|word| word.len() == 44).unwrap();
    assert!(!format!("{keys:?}").contains(key));
}

/// Nobody waits for ever on whoever has the folder.
#[test]
fn a_folder_that_another_keeps_locked_is_an_error_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    KeyFile::create(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let other = std::fs::File::open(folder.path()).unwrap();
    other.lock().unwrap();
    let refused = KeyFile::add_key(&path).unwrap_err();
    assert!(refused.to_string().contains("another process"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(other);
    assert_eq!(KeyFile::add_key(&path).unwrap().ids().len(), 2);
}

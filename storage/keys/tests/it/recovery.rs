//! The recovery key opens what nodes wrapped for it, and nothing else.

use only1mcp_keys::{KeyFile, KeyProvider as _, RecoveryKey, RecoveryPublic};

use crate::{context, other_contexts};

#[tokio::test]
async fn it_opens_for_the_same_context_alone() {
    let folder = tempfile::tempdir().unwrap();
    let plain = KeyFile::create(&folder.path().join("k")).unwrap().generate(&context()).await.unwrap().plain;
    let (private, public) = RecoveryKey::generate().unwrap();
    let (key, public) = (RecoveryKey::parse(&private).unwrap(), RecoveryPublic::parse(&public).unwrap());
    let wrapped = public.wrap(&plain, &context()).unwrap();
    assert_eq!(key.unwrap(&wrapped, &context()).unwrap(), plain);
    for other in other_contexts() {
        assert!(key.unwrap(&wrapped, &other).is_err(), "{other:?}");
    }
    let mut bad = wrapped.clone();
    bad[5] ^= 1;
    assert!(key.unwrap(&bad, &context()).is_err());
    assert!(key.unwrap(&wrapped[1..], &context()).is_err());
    let (another, _) = RecoveryKey::generate().unwrap();
    assert!(RecoveryKey::parse(&another).unwrap().unwrap(&wrapped, &context()).is_err());
    assert!(RecoveryPublic::parse(&private).is_err());
    assert!(RecoveryKey::parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_err());
    assert!(!format!("{key:?}").contains("MII"));
}

//! AWS KMS by a real endpoint: wrong contexts, bad days, other regions, answers that are not its own.

use only1mcp_keys::{KeyError, KeyProvider as _, KeyRing, NewKey, RingError};
use only1mcp_storage::DataFolder;

use crate::moto::{Fault, Moto, Proxy, REGION, provider};
use crate::{context, other_contexts, owner};

/// Neither the key, nor the secret that signs requests.
fn tells_nothing(error: &KeyError, plain: &only1mcp_storage::Key32) {
    use base64::Engine as _;
    let text = format!("{error} {error:?}");
    let key = base64::engine::general_purpose::STANDARD.encode(plain.bytes());
    assert!(!text.contains(&key) && !text.contains("the-secret-of-the-test"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_for_its_context_alone_whatever_happens_on_the_way() {
    let moto = Moto::start().await;
    let proxy = Proxy::start(&moto).await;
    let arn = moto.key(REGION).await;
    let kms = provider(vec![proxy.place(REGION, &arn)]).await;
    let NewKey { plain, wrapped } = kms.generate(&context()).await.unwrap();
    assert_eq!(wrapped.key, arn);
    assert_eq!(kms.unwrap(&wrapped, &context()).await.unwrap(), plain);
    let again = kms.wrap(&plain, &context()).await.unwrap();
    assert_eq!(kms.unwrap(&again, &context()).await.unwrap(), plain);
    for other in other_contexts() {
        let error = kms.unwrap(&wrapped, &other).await.unwrap_err();
        assert!(matches!(error, KeyError::Wrong { .. }), "{other:?}: {error}");
    }
    let bad_days = [
        (Fault::Answers(400, "DisabledException"), false),
        (Fault::Answers(400, "AccessDeniedException"), false),
        (Fault::Answers(400, "KMSInvalidStateException"), false),
        (Fault::Answers(400, "ThrottlingException"), true),
        (Fault::Answers(500, "KMSInternalException"), true),
        (Fault::Answers(503, "ServiceUnavailable"), true),
        (Fault::Hangs, true),
        (Fault::Drops, true),
        (Fault::Garbage, true),
    ];
    for (fault, unavailable) in bad_days {
        proxy.set(fault.clone());
        for error in [kms.unwrap(&wrapped, &context()).await.err(), kms.wrap(&plain, &context()).await.err()]
        {
            let error = error.unwrap();
            assert_eq!(matches!(error, KeyError::Unavailable { .. }), unavailable, "{fault:?}: {error}");
            assert_eq!(matches!(error, KeyError::Refused { .. }), !unavailable, "{fault:?}: {error}");
            tells_nothing(&error, &plain);
        }
    }
    proxy.set(Fault::Throttles(1));
    assert_eq!(kms.unwrap(&wrapped, &context()).await.unwrap(), plain, "asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_keys_answer_is_no_key() {
    let moto = Moto::start().await;
    let proxy = Proxy::start(&moto).await;
    let (arn, other) = (moto.key(REGION).await, moto.key(REGION).await);
    let kms = provider(vec![proxy.place(REGION, &arn)]).await;
    let others = provider(vec![proxy.place(REGION, &other)]).await;
    let wrapped = kms.generate(&context()).await.unwrap().wrapped;
    let theirs = others.generate(&context()).await.unwrap();
    let generated = proxy.passed.lock().unwrap().last().unwrap().clone();
    others.unwrap(&theirs.wrapped, &context()).await.unwrap();
    let decrypted = proxy.passed.lock().unwrap().last().unwrap().clone();
    proxy.set(Fault::Swaps(generated));
    assert!(matches!(kms.generate(&context()).await, Err(KeyError::Wrong { .. })));
    proxy.set(Fault::Swaps(decrypted));
    assert!(matches!(kms.unwrap(&wrapped, &context()).await, Err(KeyError::Wrong { .. })));
    // The right key, but what it decrypted was another data key: the ring tells.
    proxy.set(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(folder.path()).unwrap();
    let (ring, _) = KeyRing::create(&folder, &kms, &owner(), None, 1).await.unwrap();
    let own = kms.generate(&context()).await.unwrap();
    kms.unwrap(&own.wrapped, &context()).await.unwrap();
    let decrypted = proxy.passed.lock().unwrap().last().unwrap().clone();
    proxy.set(Fault::Swaps(decrypted));
    let opened = ring.open(&kms).await;
    assert!(matches!(opened, Err(RingError::Key(KeyError::Wrong { .. }))), "{opened:?}");
    // Nor is anything begun with a key that does not come back.
    let fresh = tempfile::tempdir().unwrap();
    let fresh = DataFolder::open(fresh.path()).unwrap();
    assert!(KeyRing::create(&fresh, &kms, &owner(), None, 1).await.is_err());
    assert!(KeyRing::read(&fresh).unwrap().is_none());
    proxy.set(Fault::None);
    ring.open(&kms).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_region_is_asked_where_one_is_down() {
    let moto = Moto::start().await;
    let (first, second) = (Proxy::start(&moto).await, Proxy::start(&moto).await);
    let (here, there) = (moto.key(REGION).await, moto.key("eu-west-1").await);
    let kms = provider(vec![first.place(REGION, &here), second.place("eu-west-1", &there)]).await;
    let at_home = kms.generate(&context()).await.unwrap();
    assert_eq!(*second.asked.lock().unwrap(), 0);
    first.set(Fault::Drops);
    let made = kms.generate(&context()).await.unwrap();
    assert_eq!(made.wrapped.key, there);
    assert_eq!(kms.unwrap(&made.wrapped, &context()).await.unwrap(), made.plain);
    // A key that is in one region only waits for that one.
    let error = kms.unwrap(&at_home.wrapped, &context()).await.unwrap_err();
    assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
    second.set(Fault::Answers(400, "DisabledException"));
    let error = kms.generate(&context()).await.unwrap_err();
    assert!(matches!(error, KeyError::Unavailable { .. }), "one of them may come back: {error}");
    first.set(Fault::None);
    assert_eq!(kms.unwrap(&at_home.wrapped, &context()).await.unwrap(), at_home.plain);
    kms.generate(&context()).await.unwrap();
    let nowhere = provider(vec![second.place("us-east-1", "k")]).await;
    let error = nowhere.unwrap(&at_home.wrapped, &context()).await.unwrap_err();
    assert!(matches!(error, KeyError::Refused { .. }), "{error}");
}

/// A generation has a KMS key of its own, which the KMS deletes in a week and uses no more from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generations_kms_key_is_made_for_it_and_deleted_with_it() {
    let moto = Moto::start().await;
    let proxy = Proxy::start(&moto).await;
    let arn = moto.key(REGION).await;
    let kms = provider(vec![proxy.place(REGION, &arn)]).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(folder.path()).unwrap();
    let (mut ring, _) = KeyRing::create(&folder, &kms, &owner(), None, 1).await.unwrap();
    let key = |byte: u8| only1mcp_storage::Key32::take(&mut [byte; 32]);
    ring.keep_generation(&folder, &kms, None, (1, &key(1)), 2).await.unwrap();
    ring.keep_generation(&folder, &kms, None, (2, &key(2)), 3).await.unwrap();
    let uses = ring.uses();
    let own =
        |generation: &str| uses.iter().find(|(_, uses)| uses.as_slice() == [generation]).unwrap().0.clone();
    let (first, second) = (own("generation 1"), own("generation 2"));
    assert_eq!((uses.len(), uses[&arn].len()), (3, 2), "{uses:?}");
    let client = moto.client(REGION);
    let tags = client.list_resource_tags().key_id(&first).send().await.unwrap();
    let tagged = |name: &str| tags.tags().iter().any(|tag| tag.tag_key() == name);
    assert!(tagged("only1mcp:node") && tagged("only1mcp:ring"), "{tags:?}");

    let stolen = ring.clone();
    proxy.set(Fault::Answers(400, "AccessDeniedException"));
    assert!(ring.forget_generations(&folder, &kms, 2).await.is_err());
    let kept = KeyRing::read(&folder).unwrap().unwrap();
    assert!(kept.destroys_still() && kept.uses().len() == 2, "it is to be done yet, by the next process too");
    proxy.set(Fault::None);
    kept.open(&kms).await.unwrap();
    let mut ring = kept;
    ring.forget_generations(&folder, &kms, 2).await.unwrap();
    assert!(!KeyRing::read(&folder).unwrap().unwrap().destroys_still());
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let days = ring.destroyed_at_ms().saturating_sub(now_ms) / 3_600_000;
    assert!((6 * 24..=7 * 24).contains(&days), "{days} hours");
    let again = kms.destroy(&first).await.unwrap();
    assert!(again.abs_diff(ring.destroyed_at_ms()) < 600_000, "told again");
    let described = client.describe_key().key_id(&first).send().await.unwrap();
    assert_eq!(described.key_metadata().unwrap().key_state().unwrap().as_str(), "PendingDeletion");
    // As KMS answers for such a key; moto opens with it still.
    proxy.set(Fault::Answers(400, "KMSInvalidStateException"));
    let refused = stolen.open(&kms).await.unwrap_err();
    assert!(matches!(&refused, RingError::Lacks { .. }) && refused.to_string().contains(&first), "{refused}");
    proxy.set(Fault::None);
    ring.open(&kms).await.unwrap();
    for never in [arn.as_str(), "alias/only1mcp"] {
        assert!(matches!(kms.destroy(never).await, Err(KeyError::Refused { .. })), "{never}");
    }
    let state = client.describe_key().key_id(&arn).send().await.unwrap();
    assert_eq!(state.key_metadata().unwrap().key_state().unwrap().as_str(), "Enabled");
    let state = client.describe_key().key_id(&second).send().await.unwrap();
    assert_eq!(state.key_metadata().unwrap().key_state().unwrap().as_str(), "Enabled");
}

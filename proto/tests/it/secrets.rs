//! No `Debug` of a message shows a secret, whoever comes to log one.

use only1mcp_proto::{admin, log, model, peer, snapshot};
use prost::Message as _;

use crate::gen_model::HIDDEN;
use crate::random::Gen;

#[track_caller]
fn assert_shown_without_secret(message: &dyn std::fmt::Debug) {
    let shown = format!("{message:?}");
    assert!(!shown.contains(HIDDEN), "{shown}");
}

#[test]
fn entries_and_rows() {
    let mut g = Gen::full();
    for entry in g.entries() {
        let wire = log::Entry::from(&entry);
        assert_shown_without_secret(&wire);
        let entry = wire.encode_to_vec();
        let kind = Some(log::payload::Kind::Entry(entry.clone().into()));
        assert_shown_without_secret(&log::Payload { kind });
        assert_shown_without_secret(&peer::ProposeRequest { entry: entry.into(), ..Default::default() });
    }
    for row in g.rows() {
        let value = only1mcp_proto::codec::encode_row(&row);
        assert_shown_without_secret(&log::Row::decode(&value[..]).unwrap());
        assert_shown_without_secret(&snapshot::Row { value: value.into(), ..Default::default() });
    }
}

#[test]
fn what_is_shown_once() {
    let hidden = || HIDDEN.to_owned();
    assert_shown_without_secret(&admin::CreateKeyResponse { key: hidden(), ..Default::default() });
    assert_shown_without_secret(&admin::CreateBackupResponse { frame: HIDDEN.into(), ..Default::default() });
    assert_shown_without_secret(&admin::RotateKeyResponse { key: hidden(), ..Default::default() });
    assert_shown_without_secret(&admin::PutWebhookResponse { secret: hidden(), ..Default::default() });
    assert_shown_without_secret(&admin::CreateJoinTokenResponse { token: hidden(), ..Default::default() });
    assert_shown_without_secret(&peer::JoinRequest { token: hidden(), ..Default::default() });
    let header = peer::Header { name: "authorization".to_owned(), value: HIDDEN.into() };
    assert_shown_without_secret(&peer::ForwardMcpRequest { headers: vec![header], ..Default::default() });
}

/// The API's view of a key holds neither the secret nor its hash.
#[test]
fn the_view_of_a_key_cannot_prove_it() {
    let mut g = Gen::full();
    let key = model::ApiKeyInfo::from(&g.api_key()).encode_to_vec();
    let token = model::JoinTokenInfo::from(&g.join_token()).encode_to_vec();
    let holds = |bytes: &[u8]| bytes.windows(HIDDEN.len()).any(|window| window == HIDDEN.as_bytes());
    assert!(!holds(&key) && !holds(&token));
}

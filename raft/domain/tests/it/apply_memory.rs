//! Retrying a command under its id (P8), and what is forgotten when.

use only1mcp_domain::audit::EventKind;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::{CommandId, Digest, NodeId};
use only1mcp_domain::row::RowValue;
use only1mcp_domain::state::CommandSeen;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection, State, limits};

use crate::apply_world::*;

fn entry(world: &World, id: u8, command: Command) -> Entry {
    Entry {
        actor: operator(),
        command_id: Some(CommandId([id; 16])),
        request_digest: Digest([id; 32]),
        observed_at: TimestampMs(world.now_ms),
        command,
        signature: None,
    }
}

#[test]
fn a_repetition_gets_the_same_answer_and_leaves_no_event() {
    let mut world = World::formed();
    let create = entry(&world, 0xa1, Command::CreateTenant(Box::new(tenant("acme"))));
    let first = world.enter(&create).outcome;
    assert_eq!(first, Ok(Outcome::Done { log_index: 2 }));
    let again = world.enter(&create);
    assert_eq!(again.outcome, first);
    assert!(again.audit.is_empty() && again.effects.is_empty());
    world.assert_mirrored();

    // A refusal is remembered too, though it would succeed by now.
    let grant = entry(&world, 0xa2, Command::CreatePrincipal(principal("later", "p")));
    let refused = world.enter(&grant).outcome;
    assert!(matches!(refused, Err(Rejection::NotFound { .. })));
    world.must(Command::CreateTenant(Box::new(tenant("later"))));
    assert_eq!(world.enter(&grant).outcome, refused);
    world.assert_mirrored();
}

#[test]
fn the_same_id_for_another_request_is_a_conflict() {
    let mut world = World::formed();
    let create = entry(&world, 0xa1, Command::CreateTenant(Box::new(tenant("acme"))));
    assert!(world.enter(&create).outcome.is_ok());
    let other = Entry { request_digest: Digest([2; 32]), ..create.clone() };
    let conflict = world.enter(&other);
    assert_eq!(conflict.outcome, Err(Rejection::CommandIdConflict {}));
    assert_eq!(conflict.audit.len(), 1);
    assert_eq!(world.last_event().kind, EventKind::ConfigurationChange);
    assert_eq!(
        world.enter(&create).outcome,
        Ok(Outcome::Done { log_index: 2 }),
        "the first one stays remembered"
    );
}

#[test]
fn a_secret_is_shown_once() {
    let mut world = World::with_acme();
    let overlap_until = TimestampMs(START_MS);
    let rotate =
        |new: &str| Command::RotateApiKey { old: key_id("k"), new: key("acme", "bot", new), overlap_until };
    let pairs = [
        (
            Command::CreateApiKey(key("acme", "bot", "k")),
            Command::CreateApiKey(key("acme", "bot", "k-b")),
            "k",
        ),
        (rotate("k2"), rotate("k2-b"), "k2"),
        (Command::CreateJoinToken(token("t")), Command::CreateJoinToken(token("t-b")), "t"),
    ];
    for (id, (first, retry, secret)) in (0xb0..).zip(pairs) {
        let first = entry(&world, id, first);
        assert!(world.enter(&first).outcome.is_ok());
        // The proposer of a retry made another secret under another id; the request is the same.
        let retry = entry(&world, id, retry);
        let not_recoverable = Err(Rejection::SecretNotRecoverable { id: secret.to_owned() });
        assert_eq!(world.enter(&retry).outcome, not_recoverable);
        assert_eq!(world.enter(&first).outcome, not_recoverable);
    }
    assert!(!world.state.api_keys.contains_key(&key_id("k-b")));
    let recover = Entry {
        actor: local(),
        ..entry(&world, 0xc0, Command::RecoverAdmin { key: key("system", "root", "r") })
    };
    assert!(world.enter(&recover).outcome.is_ok());
    assert_eq!(world.enter(&recover).outcome, Err(Rejection::SecretNotRecoverable { id: "r".to_owned() }));

    let mut world = World::empty();
    let form = Entry { actor: local(), ..entry(&world, 0xc1, form()) };
    assert!(world.enter(&form).outcome.is_ok());
    let lost = Err(Rejection::SecretNotRecoverable { id: "key-root".to_owned() });
    assert_eq!(world.enter(&form).outcome, lost);
    world.assert_mirrored();
}

/// A formed state that remembers `count` commands, the oldest from `START_MS`, one a millisecond.
fn remembering(count: usize) -> World {
    let mut world = World::formed();
    let mut rows: Vec<RowValue> = world.state.rows().into_iter().filter_map(|row| row.value).collect();
    rows.retain(|row| !matches!(row, RowValue::Command { .. }));
    for n in 0..count as u64 {
        let mut id = [0xff; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let seen = CommandSeen {
            request_digest: Digest([0; 32]),
            log_time: TimestampMs(START_MS + n),
            log_index: n,
            outcome: Ok(Outcome::Done { log_index: n }),
        };
        rows.push(RowValue::Command { id: CommandId(id), seen });
    }
    world.mirror = rows.iter().map(|row| (row.key(), row.clone())).collect();
    world.state = State::from_rows(rows).unwrap();
    world
}

fn tick_at(world: &mut World, at: u64) {
    let observed_at = TimestampMs(at);
    let command = Command::Tick { node: NodeId(1) };
    let (command_id, request_digest) = (None, Digest([0; 32]));
    let applied = world.enter(&Entry {
        actor: node(1),
        command_id,
        request_digest,
        observed_at,
        command,
        signature: None,
    });
    assert!(applied.outcome.is_ok());
}

#[test]
fn command_ids_min_and_command_id_age_ms() {
    let mut world = remembering(limits::COMMAND_IDS_MIN + 2);
    let after = |ms: u64| START_MS + limits::COMMAND_ID_AGE_MS + ms;
    tick_at(&mut world, after(0));
    assert_eq!(world.state.commands_seen.len(), limits::COMMAND_IDS_MIN + 2, "none is old enough");
    tick_at(&mut world, after(1));
    assert_eq!(world.state.commands_seen.len(), limits::COMMAND_IDS_MIN + 1, "one is");
    tick_at(&mut world, after(1_000_000));
    assert_eq!(
        world.state.commands_seen.len(),
        limits::COMMAND_IDS_MIN,
        "the rest is old, but few enough to keep"
    );
    assert_eq!(world.state.commands_by_index.len(), limits::COMMAND_IDS_MIN);
    world.assert_mirrored();
}

#[test]
fn forget_per_entry_max() {
    let mut world = remembering(limits::COMMAND_IDS_MIN + limits::FORGET_PER_ENTRY_MAX + 1);
    tick_at(&mut world, START_MS + 10 * limits::COMMAND_ID_AGE_MS);
    assert_eq!(world.state.commands_seen.len(), limits::COMMAND_IDS_MIN + 1);
    tick_at(&mut world, START_MS + 10 * limits::COMMAND_ID_AGE_MS);
    assert_eq!(world.state.commands_seen.len(), limits::COMMAND_IDS_MIN);
}

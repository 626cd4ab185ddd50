//! What is remembered for a while and then forgotten, by log time: `command_id`s and closed MCP sessions.

use crate::apply::change::Change;
use crate::command::{Command, Entry};
use crate::ids::{ApiKeyId, CommandId};
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::state::CommandSeen;

/// A tombstone outlives the session it closes by this much, because a session's end is judged by its node's clock.
const TOMBSTONE_MARGIN_MS: u64 = limits::TOMBSTONE_AGE_MS - limits::MCP_SESSION_MS_MAX;

/// Whether retrying the command under its id must be recognised. A node's own messages are safe to repeat as they are.
pub(super) fn remembers(entry: &Entry) -> Option<CommandId> {
    match entry.command {
        Command::Activity(_) | Command::Tick { .. } => None,
        _ => entry.command_id,
    }
}

/// What to answer to a command that was seen before; `None` when it was not. INVARIANT: P8
pub(super) fn recall(change: &Change<'_>, id: CommandId) -> Option<Result<Outcome, Rejection>> {
    let seen = change.state.commands_seen.get(&id)?;
    if seen.request_digest != change.entry.request_digest {
        return Some(Err(Rejection::CommandIdConflict {}));
    }
    Some(seen.outcome.clone())
}

/// Remembers the answer that a repetition will get: the same, unless that held a secret, which is not kept.
pub(super) fn remember(change: &mut Change<'_>, id: CommandId, outcome: &Result<Outcome, Rejection>) {
    let outcome = match (outcome, secret_of(&change.entry.command)) {
        (Ok(_), Some(secret)) => Err(Rejection::SecretNotRecoverable { id: secret.as_str().to_owned() }),
        _ => outcome.clone(),
    };
    let seen = CommandSeen {
        request_digest: change.entry.request_digest,
        log_time: change.now(),
        log_index: change.log_index,
        outcome,
    };
    change.put_command(id, seen);
}

/// The key or token that the command's first answer shows.
fn secret_of(command: &Command) -> Option<&ApiKeyId> {
    match command {
        Command::FormCluster(form) => Some(&form.administrator_key.id),
        Command::CreateJoinToken(token) => Some(&token.id),
        Command::CreateApiKey(key) | Command::RecoverAdmin { key } => Some(&key.id),
        Command::RotateApiKey { new, .. } => Some(&new.id),
        _ => None,
    }
}

/// Forgets what is old enough, a bounded number at a time.
pub(super) fn forget(change: &mut Change<'_>) {
    let now = change.now();
    for _ in 0..limits::FORGET_PER_ENTRY_MAX {
        let state = &*change.state;
        let spare = state.commands_seen.len() > limits::COMMAND_IDS_MIN;
        let Some((_, id)) = state.commands_by_index.get_min().copied().filter(|_| spare) else { break };
        let age_ms = state.commands_seen.get(&id).map_or(u64::MAX, |seen| now.since_ms(seen.log_time));
        if age_ms <= limits::COMMAND_ID_AGE_MS {
            break;
        }
        change.remove_command(id);
    }
    for _ in 0..limits::FORGET_PER_ENTRY_MAX {
        let Some((at, id)) = change.state.closed_by_expiry.get_min().copied() else { break };
        if at.plus_ms(TOMBSTONE_MARGIN_MS) >= now {
            break;
        }
        change.remove_closed_session(id);
    }
}

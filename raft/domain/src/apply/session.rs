//! MCP sessions that were closed before their tokens expire.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::validate::at_most;
use crate::ids::McpSessionId;
use crate::limits;
use crate::outcome::{Effect, Rejection};
use crate::time::TimestampMs;

/// Closing twice is closing once. Nothing is remembered for longer than a session can live.
pub(super) fn close(
    change: &mut Change<'_>,
    session: McpSessionId,
    expires_at: TimestampMs,
) -> Result<Report, Rejection> {
    let known = change.state.closed_sessions.get(&session).copied();
    if known.is_none() {
        let count = change.state.closed_sessions.len() + 1;
        at_most(count, limits::CLOSED_SESSIONS_MAX, "remembered sessions that were closed")?;
    }
    let expires_at =
        expires_at.min(change.now().plus_ms(limits::TOMBSTONE_AGE_MS)).max(known.unwrap_or_default());
    change.put_closed_session(session, expires_at);
    change.effect(Effect::SessionClosed { session });
    Ok(Report::changed(None, None).detail("expires_at_ms", expires_at.0.to_string()))
}

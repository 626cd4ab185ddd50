//! What a webhook is told of one audit event: everything from the event itself, so that a repetition says the same.

use bytes::Bytes;
use only1mcp_domain::audit::{AuditEvent, CanonicalError, Expired, SealedEvent, decode};
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::ledger::Level;
use only1mcp_domain::model::{Measure, Webhook, WebhookEvent};
use only1mcp_domain::money::PicoUsd;
use serde_json::{Value, json};

/// One request's content.
pub(crate) struct Message {
    pub(crate) index: AuditIndex,
    /// The same in every repetition.
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

/// `None` where the event is none of the webhook's business.
pub(crate) fn message(webhook: &Webhook, sealed: &SealedEvent) -> Result<Option<Message>, CanonicalError> {
    // Past its days: there is nothing left to tell.
    if Expired::parse(&sealed.bytes).is_some() {
        return Ok(None);
    }
    let event = decode(&sealed.bytes)?;
    let Some((kind, level)) = kind(&event) else { return Ok(None) };
    if event.tenant != webhook.tenant || !webhook.events.contains(&kind) {
        return Ok(None);
    }
    let id = sealed.index.to_string();
    let body = body(&id, sealed, &event, kind, level).to_string();
    Ok(Some(Message { index: sealed.index, id, body: body.into() }))
}

fn kind(event: &AuditEvent) -> Option<(WebhookEvent, Option<Level>)> {
    let what = event.action.strip_prefix("budget.").filter(|_| event.resource.kind == "account")?;
    if what == "overrun" {
        return Some((WebhookEvent::Overrun, None));
    }
    let level = Level::ALL.into_iter().find(|level| level.text() == what)?;
    Some((WebhookEvent::BudgetLevel, Some(level)))
}

fn body(
    id: &str,
    sealed: &SealedEvent,
    event: &AuditEvent,
    kind: WebhookEvent,
    level: Option<Level>,
) -> Value {
    let detail =
        |name: &str| event.details.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let number = |name: &str| detail(name).and_then(|text| text.parse::<u64>().ok());
    let measure = detail("measure");
    let amount = |name: &str| detail(name).map(|text| amount(measure, text));
    json!({
        "id": id,
        "type": event.action,
        "at": time(event.log_time.0),
        "tenant": event.tenant.as_str(),
        "kind": kind.text(),
        "level": level.map(Level::text),
        "percent": level.map(Level::percent),
        "limit": detail("account_limit"),
        "subject": detail("account_subject"),
        "measure": measure,
        "posted": amount("posted"),
        "amount": amount("limit"),
        "overrun": amount("beyond_the_hold"),
        "period_start": number("period_start_ms").and_then(time),
        "period_end": number("period_end_ms").and_then(time),
        "call": event.call.map(|call| call.to_string()),
        "audit_index": sealed.index.0,
        "event_hash": sealed.hash.to_string(),
    })
}

/// Exact decimal text: USD for money, a whole number for everything else.
fn amount(measure: Option<&str>, text: &str) -> String {
    match text.parse() {
        Ok(pico) if measure == Some(Measure::Cost.text()) => PicoUsd(pico).to_string(),
        _ => text.to_owned(),
    }
}

/// `None` past the years that have a name: a period that never ends has no end.
fn time(ms: u64) -> Option<String> {
    let ms = i64::try_from(ms).ok()?;
    jiff::Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_the_unit_of_their_measure() {
        assert_eq!(amount(Some("cost"), "12500000000001"), "12.500000000001");
        assert_eq!(amount(Some("calls"), "12500000000001"), "12500000000001");
        assert_eq!(amount(None, "7"), "7");
    }

    #[test]
    fn a_time_without_end_is_none() {
        assert_eq!(time(1_800_000_000_000).as_deref(), Some("2027-01-15T08:00:00Z"));
        assert_eq!(time(u64::MAX), None);
    }
}

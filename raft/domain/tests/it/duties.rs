//! Webhooks, and the duties that come with them: who may bring one forward, and how far.

use only1mcp_domain::audit::EventKind;
use only1mcp_domain::command::{Command, DutyProgress, Secret32};
use only1mcp_domain::ids::*;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection};

use crate::apply_world::*;
use crate::limits::{both_sides, letters};

fn webhook(id: &str) -> Webhook {
    Webhook {
        tenant: tenant_id("acme"),
        id: WebhookId::new(id).unwrap(),
        url: "https://hooks.example.com/?token=hidden".to_owned(),
        key: Secret32([7; 32]),
        events: WebhookEvent::ALL.to_vec(),
        enabled: true,
        description: String::new(),
        created_at: TimestampMs(START_MS),
        created_by: "root".to_owned(),
    }
}

fn put(webhook: Webhook) -> Command {
    Command::PutWebhook { webhook: Box::new(webhook), keep_key: false, if_revision: None }
}

fn delete(id: &str) -> Command {
    Command::DeleteWebhook { tenant: tenant_id("acme"), webhook: WebhookId::new(id).unwrap() }
}

fn duty(id: &str) -> DutyId {
    DutyId::Webhook { tenant: tenant_id("acme"), webhook: WebhookId::new(id).unwrap() }
}

fn held(world: &World, id: &str) -> Duty {
    world.state.duties.get(&duty(id)).cloned().unwrap()
}

fn assign(world: &mut World, id: &str, to: u64) -> u64 {
    let command =
        Command::AssignDuty { duty: duty(id), node: NodeId(to), after: held(world, id).assigned_at };
    world.submit(&node(1), command).outcome.unwrap();
    world.assert_mirrored();
    held(world, id).assigned_at
}

fn progress(id: &str, fence: u64, cursor: u64) -> DutyProgress {
    DutyProgress { duty: duty(id), fence, cursor: AuditIndex(cursor), attempts: 0, last_error: String::new() }
}

fn advance(world: &mut World, by: u64, progress: DutyProgress) -> Result<Outcome, Rejection> {
    let applied = world.submit(&node(by), Command::AdvanceDuty(progress));
    assert!(applied.audit.is_empty(), "to tell of each delivery would give the next something to read");
    world.assert_mirrored();
    applied.outcome
}

/// With nodes 1 and 2 and the webhook `w`.
fn world() -> World {
    let mut world = World::with_acme();
    world.join("two");
    world.must(put(webhook("w")));
    world
}

#[test]
fn a_webhook_is_told_what_happens_after_it_was_made() {
    let mut world = World::with_acme();
    let head = world.state.chain.index;
    world.must(put(webhook("w")));
    assert_eq!((held(&world, "w").cursor, held(&world, "w").node), (head, None));
    let event = world.last_event();
    assert_eq!((event.kind, event.action.as_str()), (EventKind::ConfigurationChange, "webhook.put"));
    assert!(!format!("{event:?}").contains("hidden"), "an address's query may hold a token");
    world.assert_mirrored();
}

#[test]
fn the_key_stays_where_it_is_to_stay() {
    let mut world = world();
    let keep = |keep_key| Command::PutWebhook {
        webhook: Box::new(Webhook { key: Secret32([8; 32]), enabled: false, ..webhook("w") }),
        keep_key,
        if_revision: None,
    };
    let key = |world: &World| world.state.webhooks.values().next().unwrap().value.key.clone();
    world.must(keep(true));
    assert_eq!(key(&world), Secret32([7; 32]));
    world.must(keep(false));
    assert_eq!(key(&world), Secret32([8; 32]));
    world.must(delete("w"));
    assert!(matches!(world.refused(keep(true)), Rejection::NotFound { .. }), "there is none to keep");
}

#[test]
fn of_two_leaders_one_alone_assigns() {
    let mut world = world();
    let after = held(&world, "w").assigned_at;
    let to = |node, after| Command::AssignDuty { duty: duty("w"), node: NodeId(node), after };
    world.submit(&node(1), to(1, after)).outcome.unwrap();
    let assigned_at = held(&world, "w").assigned_at;
    assert_eq!(world.submit(&node(2), to(2, after)).outcome, Err(Rejection::DutyFenced { assigned_at }));
    assert_eq!(held(&world, "w").node, Some(NodeId(1)));
    assert!(matches!(world.submit(&node(1), to(9, assigned_at)).outcome, Err(Rejection::NotFound { .. })));
    assert!(matches!(world.refused(to(1, assigned_at)), Rejection::Forbidden { .. }), "no person's business");
}

#[test]
fn an_advance_under_an_old_assignment_is_fenced() {
    let mut world = world();
    let first = assign(&mut world, "w", 1);
    let cursor = held(&world, "w").cursor.0;
    advance(&mut world, 1, progress("w", first, cursor + 1)).unwrap();
    let second = assign(&mut world, "w", 2);
    let fenced = Err(Rejection::DutyFenced { assigned_at: second });
    assert_eq!(advance(&mut world, 1, progress("w", first, cursor + 2)), fenced);
    assert_eq!(advance(&mut world, 1, progress("w", second, cursor + 2)), fenced, "nor with another's fence");
    assert_eq!(held(&world, "w").cursor.0, cursor + 1, "what was done stays done");
    advance(&mut world, 2, progress("w", second, cursor + 2)).unwrap();
    // Given back to the first: its old fence is no better for that.
    let third = assign(&mut world, "w", 1);
    let fenced = Err(Rejection::DutyFenced { assigned_at: third });
    assert_eq!(advance(&mut world, 1, progress("w", first, cursor + 3)), fenced);
}

#[test]
fn a_cursor_goes_forward_and_no_further_than_the_trail() {
    let mut world = world();
    let fence = assign(&mut world, "w", 1);
    let (start, head) = (held(&world, "w").cursor.0, world.state.chain.index.0);
    advance(&mut world, 1, progress("w", fence, head)).unwrap();
    for wrong in [start, head - 1, head + 1, u64::MAX] {
        let refused = advance(&mut world, 1, progress("w", fence, wrong));
        assert!(matches!(refused, Err(Rejection::Invalid { .. })), "{wrong}: {refused:?}");
    }
    let failing = DutyProgress {
        attempts: 3,
        last_error: "answered HTTP 500".to_owned(),
        ..progress("w", fence, head)
    };
    advance(&mut world, 1, failing).unwrap();
    let told = held(&world, "w");
    assert_eq!((told.cursor.0, told.attempts, told.last_error.as_str()), (head, 3, "answered HTTP 500"));
}

#[test]
fn what_a_removed_node_had_is_nobodys() {
    let mut world = world();
    world.must(put(webhook("x")));
    let (old, other) = (assign(&mut world, "w", 2), assign(&mut world, "x", 1));
    let cursor = held(&world, "w").cursor;
    world.must(Command::RemoveNode { node: NodeId(2), lose_journal: true });
    world.assert_mirrored();
    let free = held(&world, "w");
    assert_eq!((free.node, free.cursor), (None, cursor));
    assert!(free.assigned_at > old, "whatever it still sends is fenced");
    assert_eq!(held(&world, "x").assigned_at, other);
    let barred =
        world.submit(&node(2), Command::AdvanceDuty(progress("w", free.assigned_at, cursor.0))).outcome;
    assert!(matches!(barred, Err(Rejection::Forbidden { .. })));
    assign(&mut world, "w", 1);
}

#[test]
fn a_duty_ends_with_its_webhook_and_one_of_the_same_name_is_another() {
    let mut world = world();
    let fence = assign(&mut world, "w", 1);
    world.must(delete("w"));
    world.assert_mirrored();
    assert!(world.state.duties.is_empty() && world.state.webhooks.is_empty());
    let head = world.state.chain.index.0;
    assert!(matches!(advance(&mut world, 1, progress("w", fence, head)), Err(Rejection::NotFound { .. })));
    world.must(put(webhook("w")));
    assert!(held(&world, "w").assigned_at > fence && held(&world, "w").cursor.0 >= head);
}

#[test]
fn addresses_are_under_tls_or_on_the_own_host() {
    let mut world = world();
    for url in ["https://example.com", "http://localhost:80/x", "http://127.0.0.1:9/?a=b", "http://[::1]/"] {
        world.must(put(Webhook { url: url.to_owned(), ..webhook("w") }));
    }
    for url in
        ["http://example.com", "http://localhost.example.com", "http://10.0.0.1", "ftp://localhost", ""]
    {
        let refused = world.refused(put(Webhook { url: url.to_owned(), ..webhook("w") }));
        assert!(matches!(refused, Rejection::Invalid { .. }), "{url}");
    }
    for events in [vec![], vec![WebhookEvent::Overrun; 2]] {
        assert!(matches!(world.refused(put(Webhook { events, ..webhook("w") })), Rejection::Invalid { .. }));
    }
}

#[test]
fn url_bytes_max_of_a_webhook() {
    let world = world();
    let url = |len: usize| format!("https://h/{}", letters(len - 10));
    both_sides(&world, URL_BYTES_MAX, |n| put(Webhook { url: url(n), ..webhook("w") }));
    both_sides(&world, DESCRIPTION_BYTES_MAX, |n| put(Webhook { description: letters(n), ..webhook("w") }));
}

#[test]
fn webhooks_per_tenant_max() {
    let mut world = World::with_acme();
    for n in 0..WEBHOOKS_PER_TENANT_MAX {
        world.must(put(webhook(&format!("w{n}"))));
    }
    let full = Rejection::LimitReached {
        what: "webhooks in one tenant".to_owned(),
        max: WEBHOOKS_PER_TENANT_MAX as u64,
    };
    assert_eq!(world.refused(put(webhook("more"))), full);
    world.must(put(webhook("w0")));
    world.must(delete("w0"));
    world.must(put(webhook("more")));
}

#[test]
fn duty_error_bytes_max() {
    let mut world = world();
    let fence = assign(&mut world, "w", 1);
    let cursor = held(&world, "w").cursor.0;
    let of = |len| DutyProgress { last_error: letters(len), ..progress("w", fence, cursor) };
    advance(&mut world, 1, of(DUTY_ERROR_BYTES_MAX)).unwrap();
    assert!(matches!(advance(&mut world, 1, of(DUTY_ERROR_BYTES_MAX + 1)), Err(Rejection::Invalid { .. })));
}

//! `ctl webhook`: addresses that are told what happens to budgets.

use clap::{Args, Subcommand, ValueEnum};
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::parse::time_text;
use super::record::{Named, OfTenant, PAGE, Removal};
use super::session::Session;
use super::write::ConditionalArgs;

const SET_EXAMPLE: &str = "Each event is a POST of JSON with the headers webhook-id, webhook-timestamp and webhook-signature, as the \
Standard Webhooks specification has them; libraries in most languages check them with the secret that is shown here, once. It is sent \
again until the answer is a 2xx, after 1 second at first and 5 minutes at most, so it may arrive twice: always under the same \
webhook-id, by which the receiver knows it. Redirects are not followed.

Examples:
  Everything that happens to budgets:
    only1mcp ctl webhook set alerts --url https://hooks.example.com/budgets
  Calls that used more than was held for them, and nothing else:
    only1mcp ctl webhook set overruns --url https://hooks.example.com/overruns --event overrun
  Another secret, because the old one was lost or told:
    only1mcp ctl webhook set alerts --url https://hooks.example.com/budgets --new-secret";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl webhook list";
const SHOW_EXAMPLE: &str =
    "`delivery.node` sends, `delivery.cursor` is the audit index up to which everything is delivered, and
`delivery.last_error` says why what comes next was not taken. A webhook with nothing to deliver lets its
cursor lag: `delivery.attempts` above 0 is the sign of one that is stuck.

Example:
  only1mcp ctl webhook show alerts";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl webhook delete alerts";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a webhook, whose secret is shown once, or replaces what is set of one.
    #[command(after_help = SET_EXAMPLE)]
    Set(Box<SetArgs>),
    /// Webhooks of the tenant, and how their delivery stands.
    #[command(after_help = LIST_EXAMPLE)]
    List(OfTenant),
    /// One webhook, without its secret.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(Named),
    /// Ends a webhook; what was not delivered yet is not delivered any more.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete(Removal),
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Event {
    /// A budget passed 75, 90 or 100 % of its amount.
    #[value(name = "budget_level")]
    BudgetLevel,
    /// A call used more than was held for it.
    Overrun,
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    id: String,
    /// https, or http to the node's own host.
    #[arg(long)]
    url: String,
    /// What it is told of; everything where it is left out. May be repeated.
    #[arg(long, value_enum)]
    event: Vec<Event>,
    /// Delivers nothing, but keeps its place: what happens meanwhile follows once it is set without this.
    #[arg(long)]
    disabled: bool,
    /// Replaces the secret of a webhook that exists; the old one is of no use from then on.
    #[arg(long)]
    new_secret: bool,
    #[arg(long, default_value = "")]
    description: String,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(session, *args).await,
        Command::List(OfTenant { tenant }) => list(session, tenant).await,
        Command::Show(Named { id, tenant }) => {
            let request = pb::GetWebhookRequest { consistency: session.consistency(), tenant, webhook: id };
            let answer = session.webhooks().get_webhook(request).await?.into_inner();
            session.printer.record(&shown(&answer.record.unwrap_or_default()))
        }
        Command::Delete(Removal { of: Named { id, tenant }, write }) => {
            let request = pb::DeleteWebhookRequest { options: write.options(), tenant, webhook: id.clone() };
            let send = || async { session.webhooks().delete_webhook(request.clone()).await };
            session.write_record(("webhook", &id), "deleted", send).await
        }
    }
}

async fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let event = |event: &Event| match event {
        Event::BudgetLevel => m::WebhookEvent::BudgetLevel.into(),
        Event::Overrun => m::WebhookEvent::Overrun.into(),
    };
    let (id, new_secret) = (args.id.clone(), args.new_secret);
    let request = pb::PutWebhookRequest {
        options: args.write.options(),
        webhook: Some(pb::Webhook {
            tenant: args.tenant,
            id: args.id,
            url: args.url,
            events: args.event.iter().map(event).collect(),
            disabled: args.disabled,
            description: args.description,
            ..pb::Webhook::default()
        }),
        new_secret: args.new_secret,
    };
    let send = || async { session.webhooks().put_webhook(request.clone()).await };
    let answer = session.send(send).await?;
    let sentence = match answer.secret.as_str() {
        "" if new_secret => {
            format!("webhook {id} was set before; its secret is not kept to be shown: --new-secret again")
        }
        "" => format!("webhook {id} is set; its secret is not shown again"),
        secret => format!("webhook {id} is set; its secret is shown this once\n{secret}"),
    };
    let secret = Some(answer.secret).filter(|secret| !secret.is_empty());
    session.written(&sentence, answer.result, json!({"webhook": id, "secret": secret}))
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request =
            pb::ListWebhooksRequest { consistency, tenant: tenant.clone(), page_size: PAGE, page_token };
        session.webhooks().list_webhooks(request).await
    });
    let records: Vec<Value> = records.await?.iter().map(row).collect();
    let columns = [
        ("ID", "id"),
        ("URL", "url"),
        ("EVENTS", "events"),
        ("ENABLED", "enabled"),
        ("NODE", "node"),
        ("FAILED ATTEMPTS", "attempts"),
        ("LAST ERROR", "last_error"),
        ("DESCRIPTION", "description"),
    ];
    session.printer.list(&columns, records)
}

/// As [`shown`], with what a table shows of the delivery one level up.
fn row(record: &pb::WebhookRecord) -> Value {
    let mut row = shown(record);
    if let Some(fields) = row.as_object_mut() {
        for name in ["node", "attempts", "last_error"] {
            let value = fields.get("delivery").and_then(|delivery| delivery.get(name)).cloned();
            fields.insert(name.to_owned(), value.unwrap_or_default());
        }
    }
    row
}

fn shown(record: &pb::WebhookRecord) -> Value {
    let Some(webhook) = &record.webhook else { return Value::Null };
    let delivery = record.delivery.as_ref().map(|delivery| {
        json!({
            "node": delivery.node,
            "assigned_at": delivery.assigned_at,
            "cursor": delivery.cursor,
            "lag": delivery.lag,
            "attempts": delivery.attempts,
            "last_error": delivery.last_error,
            "told_at": time_text(delivery.told_at_ms),
        })
    });
    json!({
        "tenant": webhook.tenant,
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events().map(event_name).collect::<Vec<_>>(),
        "enabled": !webhook.disabled,
        "description": webhook.description,
        "created_at": time_text(webhook.created_at_ms),
        "created_by": webhook.created_by,
        "revision": record.revision,
        "delivery": delivery,
    })
}

fn event_name(event: m::WebhookEvent) -> &'static str {
    match event {
        m::WebhookEvent::Unspecified => "unspecified",
        m::WebhookEvent::BudgetLevel => "budget_level",
        m::WebhookEvent::Overrun => "overrun",
    }
}

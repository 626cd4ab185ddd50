//! `ctl restriction`.

use clap::Subcommand;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use serde_json::{Value, json};

use super::session::Session;
use super::write::{ConditionalArgs, WriteArgs};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Leaves tools to members of certain roles; makes the rule or replaces it.
    Put {
        id: String,
        /// Tool pattern, as github__* or demo__echo.
        #[arg(long)]
        tools: String,
        /// Role that may use them; nobody where none is named. May be repeated.
        #[arg(long)]
        role: Vec<String>,
        /// At most so many calls of all callers together, as 10/hour.
        #[arg(long, value_parser = rate)]
        rate: Option<m::RateLimit>,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: ConditionalArgs,
    },
    List {
        #[arg(long, default_value = "")]
        tenant: String,
    },
    Delete {
        id: String,
        #[arg(long, default_value = "")]
        tenant: String,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Put { id, tools, role, rate, description, tenant, write } => {
            let rule = m::ToolRestriction {
                tenant,
                id: id.clone(),
                tools,
                allowed_roles: role,
                rate_limit: rate,
                description,
            };
            let request = pb::PutRestrictionRequest { options: write.options(), restriction: Some(rule) };
            let send = || async { session.roles().put_restriction(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written(&format!("restriction {id} is set"), result, json!({"rule": id}))
        }
        Command::List { tenant } => list(session, tenant).await,
        Command::Delete { id, tenant, write } => {
            let request = pb::DeleteRestrictionRequest { options: write.options(), tenant, rule: id.clone() };
            let send = || async { session.roles().delete_restriction(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written(&format!("restriction {id} is deleted"), result, json!({"rule": id}))
        }
    }
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let mut records = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = session.consistency();
        let request =
            pb::ListRestrictionsRequest { consistency, tenant: tenant.clone(), page_size: 500, page_token };
        let page = session.roles().list_restrictions(request).await?.into_inner();
        records.extend(page.records.iter().map(shown));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let columns = [
        ("ID", "id"),
        ("TOOLS", "tools"),
        ("ROLES", "allowed_roles"),
        ("RATE", "rate_limit"),
        ("DESCRIPTION", "description"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::RestrictionRecord) -> Value {
    let Some(rule) = &record.restriction else { return Value::Null };
    json!({
        "tenant": rule.tenant,
        "id": rule.id,
        "tools": rule.tools,
        "allowed_roles": rule.allowed_roles,
        "rate_limit": rule.rate_limit.as_ref().map(rate_text),
        "description": rule.description,
        "revision": record.revision,
    })
}

fn rate(text: &str) -> Result<m::RateLimit, String> {
    let wrong = || format!("{text:?} is no rate; write 10/minute, 10/hour or 10/day");
    let (count, per) = text.split_once('/').ok_or_else(wrong)?;
    let per = match per {
        "minute" => m::RatePeriod::Minute,
        "hour" => m::RatePeriod::Hour,
        "day" => m::RatePeriod::Day,
        _ => return Err(wrong()),
    };
    Ok(m::RateLimit { count: count.parse().map_err(|_| wrong())?, per: per.into() })
}

fn rate_text(limit: &m::RateLimit) -> String {
    let per = match limit.per() {
        m::RatePeriod::Unspecified => "unspecified",
        m::RatePeriod::Minute => "minute",
        m::RatePeriod::Hour => "hour",
        m::RatePeriod::Day => "day",
    };
    format!("{}/{per}", limit.count)
}

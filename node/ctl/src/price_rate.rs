//! `ctl price rate`: what other currencies are worth.

use anyhow::bail;
use clap::Subcommand;
use only1mcp_proto::admin as pb;
use serde_json::{Value, json};

use super::parse;
use super::price_text::decimal;
use super::record::PAGE;
use super::session::Session;
use super::write::WriteArgs;

const SET_EXAMPLE: &str = "Examples:
  What a euro is worth from now on:
    only1mcp ctl price rate set EUR 1.0837
  And from a moment on:
    only1mcp ctl price rate set EUR 1.09 --valid-from 2027-01-01T00:00:00Z";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl price rate list";
const SHOW_EXAMPLE: &str = "Example:
  only1mcp ctl price rate show EUR";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl price rate delete EUR --valid-from 2027-01-01T00:00:00Z";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Sets what one unit of a currency is worth in USD, for all tenants.
    #[command(after_help = SET_EXAMPLE)]
    Set {
        /// As EUR.
        currency: String,
        /// As 1.0837.
        #[arg(value_parser = decimal)]
        usd: String,
        /// From this moment on; now where it is left out.
        #[arg(long, value_parser = parse::time_ms)]
        valid_from: Option<u64>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// All rates, past and future ones too.
    #[command(after_help = LIST_EXAMPLE)]
    List,
    /// The rates of one currency.
    #[command(after_help = SHOW_EXAMPLE)]
    Show { currency: String },
    /// Takes one rate away.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        currency: String,
        /// The moment that it is valid from, as `rate list` shows it.
        #[arg(long, value_parser = parse::time_ms)]
        valid_from: u64,
        #[command(flatten)]
        write: WriteArgs,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set { currency, usd, valid_from, write } => {
            let rate = pb::ExchangeRate {
                currency: currency.clone(),
                usd_per_unit: usd,
                valid_from_ms: valid_from,
                version: 0,
            };
            let request = pb::PutExchangeRateRequest { options: write.options(), rate: Some(rate) };
            let send = || async { session.prices().put_exchange_rate(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written(&format!("rate of {currency} is set"), result, json!({"currency": currency}))
        }
        Command::List => list(session, String::new()).await,
        Command::Show { currency } => list(session, currency).await,
        Command::Delete { currency, valid_from, write } => {
            let options = write.options();
            let request = pb::DeleteExchangeRateRequest {
                options,
                currency: currency.clone(),
                valid_from_ms: valid_from,
            };
            let send = || async { session.prices().delete_exchange_rate(request.clone()).await };
            let result = session.send(send).await?.result;
            session.written(&format!("rate of {currency} is deleted"), result, json!({"currency": currency}))
        }
    }
}

async fn list(session: &Session, currency: String) -> anyhow::Result<()> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request = pb::ListExchangeRatesRequest {
            consistency,
            currency: currency.clone(),
            page_size: PAGE,
            page_token,
        };
        session.prices().list_exchange_rates(request).await
    });
    let records: Vec<Value> = records.await?.iter().map(shown).collect();
    if records.is_empty() && !currency.is_empty() {
        bail!("there is no rate of {currency}; `ctl price rate set {currency} USD` sets one");
    }
    let columns = [
        ("CURRENCY", "currency"),
        ("IN USD", "usd_per_unit"),
        ("VALID FROM", "valid_from"),
        ("VERSION", "version"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::ExchangeRateRecord) -> Value {
    let Some(rate) = &record.rate else { return Value::Null };
    json!({
        "currency": rate.currency,
        "usd_per_unit": rate.usd_per_unit,
        "valid_from": rate.valid_from_ms.map(parse::time_text),
        "valid_from_ms": rate.valid_from_ms,
        "version": rate.version,
        "revision": record.revision,
    })
}

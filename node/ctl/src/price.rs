//! `ctl price`: what calls cost. Prices themselves; metering, discounts, rates and the import have files of their own.

use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use pb::price::Subject;
use serde_json::{Value, json};
use tonic::Code;

use super::parse;
use super::price_import::ImportArgs;
use super::price_text::{Line, count, line, line_text, meter, unit_of_price, units};
use super::record::{Named, OfTenant, PAGE, Removal};
use super::session::Session;
use super::write::ConditionalArgs;
use super::{price_discount, price_import, price_metering, price_rate};

const EXAMPLE: &str = "From a price to a charge:
  1. A price says what the units of a meter cost, for a model or for the tools of a pattern:
       only1mcp ctl price set big --model maker/big-1 --line uncached_input=2.50/1M --line output=10/1M
  2. A metering says which model stands behind tools, where in their answers the usage is, and the most it can be:
       only1mcp ctl price metering set big --tools 'maker__*' --model maker/big-1 \\
         --usage output=/structuredContent/usage/output_tokens --bound output=4000
  3. A budget in USD counts and refuses; `ctl cost report` tells what was spent.

Meters: uncached_input, cache_read, cache_write, output, reasoning (tokens); call; second (units are milliseconds);
byte. What tenant `system` sets holds for every tenant that has nothing of its own.";
const SET_EXAMPLE: &str = "Examples:
  A model's prices, each for a million tokens:
    only1mcp ctl price set big --model maker/big-1 --line uncached_input=2.50/1M --line output=10/1M
  The same, one line at a time; other lines stay as they are:
    only1mcp ctl price set big --model maker/big-1 --meter output --price 10 --unit 1M
  Cheaper after a million calls of the month, in euros (needs `ctl price rate set EUR …`):
    only1mcp ctl price set search --tools 'search__*' --currency EUR --line call=0.02 --line call=0.015@1M
  From the new year on, and free of charge for bytes:
    only1mcp ctl price set search-2027 --tools 'search__*' --line call=0.03 --free byte \\
      --valid-from 2027-01-01T00:00:00Z";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl price list --tenant system --output json";
const SHOW_EXAMPLE: &str = "Example:
  only1mcp ctl price show big";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl price delete big";

#[derive(Subcommand, Debug)]
#[command(after_help = EXAMPLE)]
pub(super) enum Command {
    /// Makes a price, replaces its lines, or sets one of them. Calls under way keep the price they began with.
    #[command(after_help = SET_EXAMPLE)]
    Set(Box<SetArgs>),
    /// Prices of the tenant.
    #[command(after_help = LIST_EXAMPLE)]
    List(OfTenant),
    /// One price with all its lines.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(Named),
    /// Takes a price out of the book; what was charged by it stays.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete(Removal),
    /// Takes in the prices of a file in LiteLLM's format.
    #[command(after_help = price_import::EXAMPLE)]
    Import(ImportArgs),
    /// How the usage of tools is measured.
    #[command(subcommand)]
    Metering(Box<price_metering::Command>),
    /// Discounts: for cached input, for volume, for a commitment.
    #[command(subcommand)]
    Discount(price_discount::Command),
    /// Exchange rates, for all tenants.
    #[command(subcommand)]
    Rate(price_rate::Command),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["lines", "free", "meter"]))]
pub(super) struct SetArgs {
    id: String,
    /// For this model, as PROVIDER/MODEL, as a metering names it.
    #[arg(long, value_name = "PROVIDER/MODEL", value_parser = parse_model, conflicts_with = "tools")]
    model: Option<pb::ModelName>,
    /// For these tools, as github__*.
    #[arg(long, value_name = "GLOB")]
    tools: Option<String>,
    /// A line, as METER=PRICE, METER=PRICE/UNIT or METER=PRICE/UNIT@TIER; all lines there were before are replaced.
    #[arg(long = "line", value_name = "LINE", value_parser = line)]
    lines: Vec<Line>,
    /// This meter costs nothing.
    #[arg(long, value_name = "METER", value_parser = meter)]
    free: Vec<String>,
    /// One line alone, with --price; the other lines of the price stay.
    #[arg(long, value_parser = meter, requires = "price", conflicts_with_all = ["lines", "free"])]
    meter: Option<String>,
    /// What so many units of --meter cost, as 2.50.
    #[arg(long, requires = "meter")]
    price: Option<String>,
    /// How many units that price is for, as 1000000 or 1M.
    #[arg(long, value_parser = unit_of_price, requires = "meter", default_value = "1")]
    unit: u64,
    /// The tier: units of the meter used this month before, as 1000000 or 1M.
    #[arg(long, value_parser = units, requires = "meter", default_value = "0", value_name = "TIER")]
    from: u64,
    /// As EUR; USD where it is left out.
    #[arg(long)]
    currency: Option<String>,
    /// From this moment on, as 2027-01-01T00:00:00Z; now where it is left out.
    #[arg(long, value_parser = parse::time_ms)]
    valid_from: Option<u64>,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

/// `PROVIDER/MODEL`; a model's own name may hold a slash.
pub(super) fn parse_model(text: &str) -> Result<pb::ModelName, String> {
    let named = text.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty());
    let (provider, model) = named.ok_or_else(|| format!("{text:?} is not PROVIDER/MODEL"))?;
    Ok(pb::ModelName { provider: provider.to_owned(), model: model.to_owned() })
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(session, *args).await,
        Command::List(OfTenant { tenant }) => list(session, tenant).await,
        Command::Show(Named { id, tenant }) => {
            let record = get(session, &tenant, &id).await?;
            session.printer.record(&shown(&record))
        }
        Command::Delete(Removal { of: Named { id, tenant }, write }) => {
            let request = pb::DeletePriceRequest { options: write.options(), tenant, price: id.clone() };
            let send = || async { session.prices().delete_price(request.clone()).await };
            session.write_record(("price", &id), "deleted", send).await
        }
        Command::Import(args) => price_import::run(session, args).await,
        Command::Metering(command) => price_metering::run(session, *command).await,
        Command::Discount(command) => price_discount::run(session, command).await,
        Command::Rate(command) => price_rate::run(session, command).await,
    }
}

async fn get(session: &Session, tenant: &str, id: &str) -> Result<pb::PriceRecord, tonic::Status> {
    let consistency = session.consistency();
    let request = pb::GetPriceRequest { consistency, tenant: tenant.to_owned(), price: id.to_owned() };
    let record = session.prices().get_price(request).await?.into_inner().record;
    record.ok_or_else(|| tonic::Status::internal("the server's answer is incomplete"))
}

async fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let id = args.id.clone();
    let before = match get(session, &args.tenant, &id).await {
        Ok(record) => Some(record),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(status.into()),
    };
    let options = if args.meter.is_some() {
        // What was read is what is changed, or nothing is.
        args.write.options_or(before.as_ref().map_or(0, |record| record.revision))
    } else {
        args.write.options()
    };
    let price = asked(args, before.and_then(|record| record.price))?;
    let request = pb::PutPriceRequest { options, price: Some(price) };
    let send = || async { session.prices().put_price(request.clone()).await };
    session.write_record(("price", &id), "set", send).await
}

/// Errors: nothing says what it is a price for.
fn asked(args: SetArgs, before: Option<pb::Price>) -> anyhow::Result<pb::Price> {
    let before = before.unwrap_or_default();
    let subject = match (args.model, args.tools) {
        (Some(model), _) => Some(Subject::Model(model)),
        (None, Some(tools)) => Some(Subject::Tools(tools)),
        (None, None) => before.subject,
    };
    let (mut lines, mut free) = (args.lines, args.free);
    if let (Some(meter), Some(price)) = (args.meter, args.price) {
        (lines, free) = (before.lines, before.free);
        free.retain(|other| *other != meter);
        lines.retain(|line| (&line.meter, line.tier_from) != (&meter, args.from));
        let line = Line { meter, tier_from: args.from, unit: args.unit, price };
        let place =
            lines.iter().rposition(|other| other.meter == line.meter && other.tier_from < line.tier_from);
        let first = lines.iter().position(|other| other.meter == line.meter).unwrap_or(lines.len());
        lines.insert(place.map_or(first, |place| place + 1), line);
    }
    if subject.is_none() {
        anyhow::bail!("a new price needs --model PROVIDER/MODEL or --tools GLOB");
    }
    Ok(pb::Price {
        tenant: args.tenant,
        id: args.id,
        subject,
        currency: args.currency.unwrap_or(before.currency),
        valid_from_ms: args.valid_from,
        lines,
        free,
        version: 0,
    })
}

/// All prices of a tenant.
pub(super) async fn all(session: &Session, tenant: &str) -> anyhow::Result<Vec<pb::PriceRecord>> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request =
            pb::ListPricesRequest { consistency, tenant: tenant.to_owned(), page_size: PAGE, page_token };
        session.prices().list_prices(request).await
    });
    Ok(records.await?)
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let records = all(session, &tenant).await?.iter().map(shown).collect();
    let columns = [
        ("ID", "id"),
        ("FOR", "for"),
        ("PRICE", "price"),
        ("FREE", "free"),
        ("CURRENCY", "currency"),
        ("VALID FROM", "valid_from"),
        ("VERSION", "version"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::PriceRecord) -> Value {
    let Some(price) = &record.price else { return Value::Null };
    let (subject, model) = match &price.subject {
        Some(Subject::Model(name)) => (format!("model {}/{}", name.provider, name.model), Some(name)),
        Some(Subject::Tools(glob)) => (format!("tools {glob}"), None),
        None => (String::new(), None),
    };
    let tools = if let Some(Subject::Tools(glob)) = &price.subject { Some(glob) } else { None };
    let lines = price.lines.iter().map(|line| {
        json!({"meter": line.meter, "tier_from": line.tier_from, "unit": line.unit, "price": line.price})
    });
    json!({
        "tenant": price.tenant,
        "id": price.id,
        "for": subject,
        "provider": model.map(|name| &name.provider),
        "model": model.map(|name| &name.model),
        "tools": tools,
        "price": price.lines.iter().map(line_text).collect::<Vec<_>>().join("\n"),
        "lines": lines.collect::<Vec<_>>(),
        "free": price.free,
        "currency": price.currency,
        "valid_from": price.valid_from_ms.map(parse::time_text),
        "valid_from_ms": price.valid_from_ms,
        "version": price.version,
        "revision": record.revision,
    })
}

/// `1 price`, `2 prices`.
pub(super) fn prices_text(number: usize) -> String {
    format!("{} {}", count(number as u64), if number == 1 { "price" } else { "prices" })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Typed {
        #[command(subcommand)]
        command: Command,
    }

    fn typed(args: &[&str]) -> Result<SetArgs, String> {
        let typed = Typed::try_parse_from([&["price", "set", "p"], args].concat());
        match typed.map_err(|error| error.to_string())?.command {
            Command::Set(args) => Ok(*args),
            other => Err(format!("{other:?}")),
        }
    }

    fn texts(price: &pb::Price) -> Vec<String> {
        price.lines.iter().map(line_text).collect()
    }

    #[test]
    fn lines_are_taken_as_they_are_typed() {
        let args =
            ["--model", "maker/big/1", "--line", "uncached_input=2.50/1M", "--line", "output=10/1M@5M"];
        let price = asked(typed(&args).unwrap(), None).unwrap();
        assert_eq!(
            texts(&price),
            ["uncached_input 2.50 per 1,000,000", "output 10 per 1,000,000 from 5,000,000"]
        );
        let model = pb::ModelName { provider: "maker".to_owned(), model: "big/1".to_owned() };
        assert_eq!(price.subject, Some(Subject::Model(model)));
        for bad in [
            &["--tools", "a__*"][..],
            &["--model", "nomaker", "--line", "call=1"],
            &["--tools", "a", "--model", "m/b", "--line", "call=1"],
            &["--tools", "a", "--meter", "call"],
            &["--tools", "a", "--price", "1"],
            &["--tools", "a", "--meter", "call", "--price", "1", "--line", "call=1"],
            &["--tools", "a", "--line", "calls=1"],
            &["--tools", "a", "--line", "call"],
        ] {
            assert!(typed(bad).is_err(), "{bad:?}");
        }
        assert!(asked(typed(&["--line", "call=1"]).unwrap(), None).is_err(), "for what?");
    }

    #[test]
    fn one_line_leaves_the_others() {
        let set = |args: &[&str], before: &pb::Price| {
            asked(typed(&[&["--meter", "call"], args].concat()).unwrap(), Some(before.clone())).unwrap()
        };
        let args = ["--tools", "a__*", "--line", "call=1", "--line", "output=3", "--free", "byte"];
        let before = asked(typed(&args).unwrap(), None).unwrap();
        let tier = set(&["--price", "0.5", "--from", "1k"], &before);
        assert_eq!(texts(&tier), ["call 1", "call 0.5 from 1,000", "output 3"]);
        let cheaper = set(&["--price", "0.9"], &tier);
        assert_eq!(texts(&cheaper), ["call 0.9", "call 0.5 from 1,000", "output 3"]);
        assert_eq!((cheaper.free, cheaper.subject), (vec!["byte".to_owned()], before.subject.clone()));
        let args = typed(&["--meter", "byte", "--price", "1"]).unwrap();
        assert!(asked(args, Some(before)).unwrap().free.is_empty());
    }
}

//! `ctl price discount`: factors on the cost of tokens and compute.

use clap::{ArgGroup, Args, Subcommand};
use only1mcp_proto::admin as pb;
use pb::discount::Kind;
use serde_json::{Value, json};

use super::parse;
use super::price_text::{count, decimal, units};
use super::record::{Named, OfTenant, PAGE, Removal};
use super::session::Session;
use super::write::ConditionalArgs;

const SET_EXAMPLE: &str = "Examples:
  A tenth off calls whose input came from a cache by more than half:
    only1mcp ctl price discount set cached --cache 0.5=0.9
  After a million tokens of the month a tenth off, after ten million a fifth:
    only1mcp ctl price discount set volume --volume 1M=0.9 --volume 10M=0.8
  What was agreed on for all calls:
    only1mcp ctl price discount set agreed --commitment 0.85

At most one discount of each kind holds, the newest; they multiply. A factor of 1 ends one.";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl price discount list";
const SHOW_EXAMPLE: &str = "Example:
  only1mcp ctl price discount show volume";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl price discount delete volume";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes a discount or replaces it.
    #[command(after_help = SET_EXAMPLE)]
    Set(SetArgs),
    /// Discounts of the tenant.
    #[command(after_help = LIST_EXAMPLE)]
    List(OfTenant),
    /// One discount.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(Named),
    /// Takes a discount away; calls under way still get it.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete(Removal),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("kind").required(true).args(["cache", "volume", "commitment"]))]
pub(super) struct SetArgs {
    id: String,
    /// For calls whose cached share of input is above this, as 0.5=0.9.
    #[arg(long, value_name = "SHARE=FACTOR", value_parser = cache)]
    cache: Option<pb::CacheDiscount>,
    /// After so many tokens of the month, as 1M=0.9; give more for more tiers.
    #[arg(long, value_name = "TOKENS=FACTOR", value_parser = tier)]
    volume: Vec<pb::VolumeTier>,
    /// For all calls, as 0.85.
    #[arg(long, value_name = "FACTOR", value_parser = decimal)]
    commitment: Option<String>,
    /// From this moment on, as 2027-01-01T00:00:00Z; now where it is left out.
    #[arg(long, value_parser = parse::time_ms)]
    valid_from: Option<u64>,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

fn cache(text: &str) -> Result<pb::CacheDiscount, String> {
    let (share, factor) = text.split_once('=').ok_or_else(|| format!("{text:?} is not SHARE=FACTOR"))?;
    Ok(pb::CacheDiscount { share_above: decimal(share)?, factor: decimal(factor)? })
}

fn tier(text: &str) -> Result<pb::VolumeTier, String> {
    let (from, factor) = text.split_once('=').ok_or_else(|| format!("{text:?} is not TOKENS=FACTOR"))?;
    Ok(pb::VolumeTier { from: units(from)?, factor: decimal(factor)? })
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(session, args).await,
        Command::List(OfTenant { tenant }) => list(session, tenant).await,
        Command::Show(Named { id, tenant }) => {
            let consistency = session.consistency();
            let request = pb::GetDiscountRequest { consistency, tenant, discount: id };
            let answer = session.prices().get_discount(request).await?.into_inner();
            session.printer.record(&shown(&answer.record.unwrap_or_default()))
        }
        Command::Delete(Removal { of: Named { id, tenant }, write }) => {
            let request =
                pb::DeleteDiscountRequest { options: write.options(), tenant, discount: id.clone() };
            let send = || async { session.prices().delete_discount(request.clone()).await };
            session.write_record(("discount", &id), "deleted", send).await
        }
    }
}

async fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let id = args.id.clone();
    let kind = match (args.cache, args.commitment) {
        (Some(cache), _) => Kind::Cache(cache),
        (None, Some(factor)) => Kind::Commitment(pb::CommitmentDiscount { factor }),
        (None, None) => Kind::Volume(pb::VolumeDiscount { tiers: args.volume }),
    };
    let discount = pb::Discount {
        tenant: args.tenant,
        id: args.id,
        kind: Some(kind),
        valid_from_ms: args.valid_from,
        version: 0,
    };
    let request = pb::PutDiscountRequest { options: args.write.options(), discount: Some(discount) };
    let send = || async { session.prices().put_discount(request.clone()).await };
    session.write_record(("discount", &id), "set", send).await
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request =
            pb::ListDiscountsRequest { consistency, tenant: tenant.clone(), page_size: PAGE, page_token };
        session.prices().list_discounts(request).await
    });
    let records: Vec<Value> = records.await?.iter().map(shown).collect();
    let columns = [
        ("ID", "id"),
        ("KIND", "kind"),
        ("TERMS", "text"),
        ("VALID FROM", "valid_from"),
        ("VERSION", "version"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::DiscountRecord) -> Value {
    let Some(discount) = &record.discount else { return Value::Null };
    let (kind, text, terms) = match &discount.kind {
        Some(Kind::Cache(cache)) => (
            "cache",
            format!("x{} where more than {} of the input is cached", cache.factor, cache.share_above),
            json!({"share_above": cache.share_above, "factor": cache.factor}),
        ),
        Some(Kind::Volume(volume)) => {
            let text = volume.tiers.iter();
            let text = text.map(|tier| format!("x{} after {} tokens", tier.factor, count(tier.from)));
            let tiers = volume.tiers.iter().map(|tier| json!({"from": tier.from, "factor": tier.factor}));
            let tiers = json!({"tiers": tiers.collect::<Vec<_>>()});
            ("volume", text.collect::<Vec<_>>().join("\n"), tiers)
        }
        Some(Kind::Commitment(commitment)) => {
            ("commitment", format!("x{}", commitment.factor), json!({"factor": commitment.factor}))
        }
        None => ("", String::new(), Value::Null),
    };
    json!({
        "tenant": discount.tenant,
        "id": discount.id,
        "kind": kind,
        "text": text,
        "terms": terms,
        "valid_from": discount.valid_from_ms.map(parse::time_text),
        "valid_from_ms": discount.valid_from_ms,
        "version": discount.version,
        "revision": record.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_exactly() {
        let read = cache("0.5=0.9").map(|cache| (cache.share_above, cache.factor));
        assert_eq!(read, Ok(("0.5".to_owned(), "0.9".to_owned())));
        assert_eq!(tier("10M=0.8"), Ok(pb::VolumeTier { from: 10_000_000, factor: "0.8".to_owned() }));
        for bad in ["0.5", "x=0.9", "0.5=NaN", "-1=0.9", "0.5="] {
            assert!(cache(bad).is_err() && tier(bad).is_err(), "{bad}");
        }
    }
}

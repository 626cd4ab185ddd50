//! `ctl price metering`: where the usage of tools is found, and the most it can be.

use clap::{Args, Subcommand};
use only1mcp_proto::admin as pb;
use pb::meter_source::Source;
use serde_json::{Value, json};

use super::parse::pair;
use super::price::parse_model;
use super::price_text::{count, meter, units};
use super::record::{Named, OfTenant, PAGE, Removal};
use super::session::Session;
use super::write::ConditionalArgs;

const SET_EXAMPLE: &str = "Examples:
  Tools whose answers report their usage. The provider counts cached input as input, so it is taken off:
    only1mcp ctl price metering set big --tools 'maker__*' --model maker/big-1 \\
      --usage uncached_input=/structuredContent/usage/input-/structuredContent/usage/cached \\
      --usage cache_read=/structuredContent/usage/cached --usage output=/structuredContent/usage/output \\
      --total /structuredContent/usage/total \\
      --bound uncached_input=200k --bound cache_read=200k --bound output=4000
  Tools that are paid for by the call and by the second; the gateway counts both:
    only1mcp ctl price metering set search --tools 'search__*' --model search/v1 \\
      --usage call --usage second --bound call=1 --bound second=30k

An answer without usage, or with one that does not add up, costs the bound.";
const LIST_EXAMPLE: &str = "Example:
  only1mcp ctl price metering list";
const SHOW_EXAMPLE: &str = "Example:
  only1mcp ctl price metering show big";
const DELETE_EXAMPLE: &str = "Example:
  only1mcp ctl price metering delete big";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Says how the usage of tools is measured; replaces what was said before.
    #[command(after_help = SET_EXAMPLE)]
    Set(Box<SetArgs>),
    /// Meterings of the tenant.
    #[command(after_help = LIST_EXAMPLE)]
    List(OfTenant),
    /// One metering.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(Named),
    /// The tools are measured no longer.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete(Removal),
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    id: String,
    /// The tools it measures, as maker__*.
    #[arg(long, value_name = "GLOB")]
    tools: String,
    /// The model whose prices hold.
    #[arg(long, value_name = "PROVIDER/MODEL", value_parser = parse_model)]
    model: pb::ModelName,
    /// Where units are found, as METER=POINTER or METER=POINTER-POINTER (one number less another); METER alone for what
    /// the gateway counts: call, second, byte. Pointers go into the answer's result.
    #[arg(long, value_parser = usage, required = true)]
    usage: Vec<pb::MeterSource>,
    /// The most units that one call can use, as output=4000.
    #[arg(long, value_name = "METER=UNITS", value_parser = bound)]
    bound: Vec<pb::MeterUnits>,
    /// A number that all tokens together must make.
    #[arg(long, value_name = "POINTER")]
    total: Option<String>,
    /// Where the answer names the model that served it.
    #[arg(long, value_name = "POINTER")]
    model_pointer: Option<String>,
    /// KEY=VALUE in the cost records of these calls. May be repeated.
    #[arg(long, value_parser = pair)]
    tag: Vec<(String, String)>,
    #[arg(long, default_value = "")]
    tenant: String,
    #[command(flatten)]
    write: ConditionalArgs,
}

/// A pointer starts with `/`, so that `-/` is where another one is taken off.
fn usage(text: &str) -> Result<pb::MeterSource, String> {
    let Some((name, place)) = text.split_once('=') else {
        return Ok(pb::MeterSource { meter: meter(text)?, source: Some(Source::Counted(true)) });
    };
    let mut pointers = place.split("-/");
    let of = pointers.next().unwrap_or_default().to_owned();
    let minus: Vec<String> = pointers.map(|rest| format!("/{rest}")).collect();
    if !of.starts_with('/') {
        return Err(format!("{of:?} is no JSON pointer such as /structuredContent/usage/output"));
    }
    let source = if minus.is_empty() {
        Source::Pointer(of)
    } else {
        Source::Difference(pb::PointerDifference { of, minus })
    };
    Ok(pb::MeterSource { meter: meter(name)?, source: Some(source) })
}

fn bound(text: &str) -> Result<pb::MeterUnits, String> {
    let (name, number) = text.split_once('=').ok_or_else(|| format!("{text:?} is not METER=UNITS"))?;
    Ok(pb::MeterUnits { meter: meter(name)?, units: units(number)? })
}

pub(super) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(session, *args).await,
        Command::List(OfTenant { tenant }) => list(session, tenant).await,
        Command::Show(Named { id, tenant }) => {
            let consistency = session.consistency();
            let request = pb::GetMeteringRequest { consistency, tenant, metering: id };
            let answer = session.prices().get_metering(request).await?.into_inner();
            session.printer.record(&shown(&answer.record.unwrap_or_default()))
        }
        Command::Delete(Removal { of: Named { id, tenant }, write }) => {
            let request =
                pb::DeleteMeteringRequest { options: write.options(), tenant, metering: id.clone() };
            let send = || async { session.prices().delete_metering(request.clone()).await };
            session.write_record(("metering", &id), "deleted", send).await
        }
    }
}

async fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let id = args.id.clone();
    let metering = pb::Metering {
        tenant: args.tenant,
        id: args.id,
        tools: args.tools,
        provider: args.model.provider,
        model: args.model.model,
        model_pointer: args.model_pointer,
        total_pointer: args.total,
        usage: args.usage,
        bounds: args.bound,
        tags: args.tag.into_iter().collect(),
    };
    let request = pb::PutMeteringRequest { options: args.write.options(), metering: Some(metering) };
    let send = || async { session.prices().put_metering(request.clone()).await };
    session.write_record(("metering", &id), "set", send).await
}

async fn list(session: &Session, tenant: String) -> anyhow::Result<()> {
    let records = session.pages(|page_token| async {
        let consistency = session.consistency();
        let request =
            pb::ListMeteringsRequest { consistency, tenant: tenant.clone(), page_size: PAGE, page_token };
        session.prices().list_meterings(request).await
    });
    let records: Vec<Value> = records.await?.iter().map(shown).collect();
    let columns = [
        ("ID", "id"),
        ("TOOLS", "tools"),
        ("PRICED AS", "priced_as"),
        ("USAGE", "usage_text"),
        ("BOUNDS", "bounds_text"),
    ];
    session.printer.list(&columns, records)
}

fn shown(record: &pb::MeteringRecord) -> Value {
    let Some(metering) = &record.metering else { return Value::Null };
    let usage = metering.usage.iter().map(|usage| {
        let (pointer, minus) = match &usage.source {
            Some(Source::Pointer(pointer)) => (Some(pointer), None),
            Some(Source::Difference(difference)) => (Some(&difference.of), Some(&difference.minus)),
            Some(Source::Counted(_)) | None => (None, None),
        };
        json!({"meter": usage.meter, "pointer": pointer, "minus": minus, "counted": pointer.is_none()})
    });
    let bounds = metering.bounds.iter();
    let bounds: serde_json::Map<String, Value> =
        bounds.map(|bound| (bound.meter.clone(), json!(bound.units))).collect();
    let bounds_text = metering.bounds.iter().map(|bound| format!("{} {}", bound.meter, count(bound.units)));
    json!({
        "tenant": metering.tenant,
        "id": metering.id,
        "tools": metering.tools,
        "priced_as": format!("{}/{}", metering.provider, metering.model),
        "provider": metering.provider,
        "model": metering.model,
        "model_pointer": metering.model_pointer,
        "total_pointer": metering.total_pointer,
        "usage_text": metering.usage.iter().map(usage_text).collect::<Vec<_>>().join("\n"),
        "usage": usage.collect::<Vec<_>>(),
        "bounds_text": bounds_text.collect::<Vec<_>>().join("\n"),
        "bounds": bounds,
        "tags": metering.tags,
        "revision": record.revision,
    })
}

fn usage_text(usage: &pb::MeterSource) -> String {
    match &usage.source {
        Some(Source::Pointer(pointer)) => format!("{}={pointer}", usage.meter),
        Some(Source::Difference(pb::PointerDifference { of, minus })) => {
            format!("{}={of}-{}", usage.meter, minus.join("-"))
        }
        Some(Source::Counted(_)) | None => usage.meter.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_as_they_are_shown() {
        for text in
            ["output=/usage/output", "uncached_input=/u/in-/u/cached", "output=/a-b/c-/d/e-/f", "call"]
        {
            assert_eq!(usage_text(&usage(text).unwrap()), text);
        }
        let dashes = usage("output=/usage/output-tokens").unwrap().source;
        assert_eq!(dashes, Some(Source::Pointer("/usage/output-tokens".to_owned())));
        for bad in ["output=", "output=usage", "tokens=/a", "=/a", "", "output=-/a"] {
            assert!(usage(bad).is_err(), "{bad}");
        }
        assert_eq!(bound("output=4k"), Ok(pb::MeterUnits { meter: "output".into(), units: 4_000 }));
        assert!(bound("output").is_err() && bound("output=-1").is_err());
    }
}

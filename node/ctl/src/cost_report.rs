//! `ctl cost report`: sums of a period, rounded for the eye, exact for programs.

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use only1mcp_domain::money::PicoUsd;
use only1mcp_proto::admin as pb;
use pb::CostDimension as Wire;
use serde_json::{Value, json};

use super::cost_money::{bar, column, share_text, shares};
use super::cost_period::{Range, range, zone};
use super::output::line;
use super::price_text::{count, grouped};
use super::session::Session;
use super::{audit, parse};

pub(super) const EXAMPLE: &str = "Examples:
  Who spent what this month:
    only1mcp ctl cost report --by principal
  Last month by cost center, by Berlin's calendar, for a spreadsheet:
    only1mcp ctl cost report --by cost-center --period last-month --zone Europe/Berlin --output csv
  By a tag (`ctl tenant update --cost-tag`, `--tag-from-attribute` and `--tag-from-call` say where tags come from):
    only1mcp ctl cost report --by tag:team
  What a budget counted:
    only1mcp ctl cost report --by principal --charged-to budget/monthly
  Day by day:
    only1mcp ctl cost report --by day --period 2026-11-01..2026-11-15

Tables round half to even, and their columns add up; JSON and CSV are exact. A record belongs to the moment it was
posted, when its call ended. A period that is not over, or in which a node may still have an open call, is provisional.";

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Principal,
    Project,
    Tool,
    Upstream,
    Model,
    Provider,
    CostCenter,
    Kind,
    Day,
    Month,
    RequestType,
    /// Typed as `tag:KEY`.
    #[value(skip)]
    Tag,
}

/// A dimension as it is typed.
#[derive(Clone, Debug)]
struct Dim {
    by: By,
    /// Empty but for tags.
    tag: String,
}

fn dimension(text: &str) -> Result<Dim, String> {
    if let Some(tag) = text.strip_prefix("tag:") {
        return Ok(Dim { by: By::Tag, tag: tag.to_owned() });
    }
    let by = By::from_str(text, false).map_err(|_| {
        let known = By::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
        format!("{text:?} is none of {}, tag:KEY", known.join(", "))
    })?;
    Ok(Dim { by, tag: String::new() })
}

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// What is summed up apart: principal, project, tool, upstream, model, provider, cost-center, kind, day, month,
    /// request-type, or tag:KEY.
    #[arg(long, default_value = "principal", value_name = "DIM", value_parser = dimension)]
    by: Dim,
    /// this-month, last-month, today, yesterday, this-year, 2026, 2026-11, 2026-11-03, or FROM..TO.
    #[arg(long, default_value = "this-month")]
    period: String,
    /// Whose calendar periods, days and months follow, as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// Only what was posted on the accounts of this limit, as budget/ID.
    #[arg(long, value_name = "LIMIT", default_value = "")]
    charged_to: String,
    /// Groups told one by one; all others are summed up.
    #[arg(long, default_value_t = 100)]
    groups: u32,
    /// Decimals of amounts in a table.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=12))]
    places: u8,
    #[arg(long, default_value = "")]
    tenant: String,
}

impl By {
    fn wire(self) -> Wire {
        match self {
            Self::Principal => Wire::Principal,
            Self::Project => Wire::Project,
            Self::Tool => Wire::Tool,
            Self::Upstream => Wire::Upstream,
            Self::Model => Wire::Model,
            Self::Provider => Wire::Provider,
            Self::CostCenter => Wire::CostCenter,
            Self::Kind => Wire::Kind,
            Self::Day => Wire::Day,
            Self::Month => Wire::Month,
            Self::RequestType => Wire::RequestType,
            Self::Tag => Wire::Tag,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Principal => "PRINCIPAL",
            Self::Project => "PROJECT",
            Self::Tool => "TOOL",
            Self::Upstream => "UPSTREAM",
            Self::Model => "MODEL",
            Self::Provider => "PROVIDER",
            Self::CostCenter => "COST CENTER",
            Self::Kind => "KIND",
            Self::Day => "DAY",
            Self::Month => "MONTH",
            Self::RequestType => "REQUEST TYPE",
            Self::Tag => "TAG",
        }
    }

    /// A group's name: days and months come as the moment each begins.
    fn name(self, key: &str, zone: &TimeZone) -> String {
        let format = match self {
            Self::Day => "%Y-%m-%d",
            Self::Month => "%Y-%m",
            _ => return key.to_owned(),
        };
        let at = key.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or_else(
            || key.to_owned(),
            |at| at.to_zoned_datetime(zone.clone()).strftime(format).to_string(),
        )
    }
}

impl Dim {
    fn text(&self) -> String {
        let plain = || self.by.to_possible_value().map(|value| value.get_name().to_owned());
        plain().unwrap_or_else(|| format!("tag:{}", self.tag))
    }

    fn heading(&self) -> String {
        match self.by {
            By::Tag => format!("TAG {}", self.tag.to_uppercase()),
            by => by.heading().to_owned(),
        }
    }
}

/// One row, with its exact amount.
struct Row {
    name: String,
    cost: PicoUsd,
    value: Value,
}

pub(super) async fn run(session: &Session, args: ReportArgs) -> anyhow::Result<()> {
    let zone = zone(&args.zone).map_err(|problem| anyhow!(problem))?;
    let now_ms = only1mcp_tls::host::HostClock.now_ms();
    let Range { from_ms, to_ms } = range(&args.period, &zone, now_ms).map_err(|problem| anyhow!(problem))?;
    let mut request = tonic::Request::new(pb::ReportCostsRequest {
        consistency: session.consistency(),
        tenant: args.tenant.clone(),
        from_ms,
        to_ms,
        by: args.by.by.wire().into(),
        tag: args.by.tag.clone(),
        zone: args.zone.clone(),
        groups_max: args.groups,
        limit: args.charged_to.clone(),
    });
    // A year's records take longer than one of them.
    request.set_timeout(session.timeout.max(audit::WALK));
    let report = session.costs().report_costs(request).await?.into_inner();
    let mut rows = Vec::new();
    for group in &report.groups {
        rows.push(row(args.by.by.name(&group.key, &zone), group)?);
    }
    if let Some(rest) = &report.rest {
        rows.push(row(format!("{} others", count(report.rest_groups)), rest)?);
    }
    let total = row("total".to_owned(), report.total.as_ref().context("the server's answer is incomplete")?)?;
    if session.printer.is_table() {
        table(session, &args, &report, rows, total)
    } else if session.printer.is_csv() {
        csv(session, &args.by, rows)
    } else {
        let record = json!({
            "tenant": args.tenant,
            "by": args.by.text(),
            "from": parse::time_text(from_ms),
            "to": parse::time_text(to_ms),
            "zone": args.zone,
            "provisional": report.provisional,
            "groups": rows.into_iter().map(|row| row.value).collect::<Vec<_>>(),
            "rest_groups": report.rest_groups,
            "too_many_groups": report.too_many_groups,
            "total": total.value,
            "log_index": report.read.map(|read| read.log_index),
        });
        session.printer.record(&record)
    }
}

fn row(name: String, group: &pb::CostGroup) -> anyhow::Result<Row> {
    let cost = PicoUsd::parse(&group.cost).with_context(|| format!("{:?} is no amount", group.cost))?;
    let units: serde_json::Map<String, Value> =
        group.units.iter().map(|units| (units.meter.clone(), json!(units.units))).collect();
    let text = group.units.iter().map(|units| format!("{} {}", units.meter, count(units.units)));
    let value = json!({
        "name": name,
        "key": group.key,
        "records": group.records,
        "cost_usd": group.cost,
        "corrected_usd": group.corrected,
        "units": units,
        "units_text": text.collect::<Vec<_>>().join(", "),
    });
    Ok(Row { name, cost, value })
}

fn table(
    session: &Session,
    args: &ReportArgs,
    report: &pb::ReportCostsResponse,
    rows: Vec<Row>,
    total: Row,
) -> anyhow::Result<()> {
    let costs: Vec<PicoUsd> = rows.iter().map(|row| row.cost).collect();
    let texts = column(&costs, total.cost, args.places);
    let shares = shares(&costs);
    let drawn = std::io::stdout().is_terminal();
    let records = rows.into_iter().chain([total]).enumerate().map(|(place, row)| {
        let Row { name, cost, mut value } = row;
        let share = shares.as_ref().and_then(|shares| shares.get(place)).copied();
        let text = texts.get(place).cloned().unwrap_or_else(|| cost.rounded(args.places));
        if let Some(fields) = value.as_object_mut() {
            fields.insert("name".to_owned(), json!(name));
            fields.insert("cost".to_owned(), json!(grouped(&text)));
            fields.insert("share".to_owned(), json!(share.map(|share| share_shown(share, drawn))));
        }
        value
    });
    let records = records.collect();
    let heading = args.by.heading();
    let columns = [
        (heading.as_str(), "name"),
        ("COST USD", "cost"),
        ("SHARE", "share"),
        ("RECORDS", "records"),
        ("UNITS", "units_text"),
    ];
    session.printer.list(&columns, records)?;
    let until = if report.provisional { "; provisional: sums may change" } else { "" };
    line(&format!(
        "from {} to {} ({}){until}",
        parse::time_text(report.from_ms),
        parse::time_text(report.to_ms),
        args.zone
    ))?;
    if report.too_many_groups {
        line("there are more groups than a report keeps apart: a costly one may be among the others")?;
    }
    Ok(())
}

fn share_shown(share: u16, drawn: bool) -> String {
    if drawn { format!("{} {}", bar(share), share_text(share)) } else { share_text(share) }
}

/// Exact amounts, a column for each group's sums; the total is left to the spreadsheet.
fn csv(session: &Session, by: &Dim, rows: Vec<Row>) -> anyhow::Result<()> {
    let heading = by.heading();
    let columns = [
        (heading.as_str(), "name"),
        ("COST", "cost_usd"),
        ("CORRECTED", "corrected_usd"),
        ("RECORDS", "records"),
        ("UNITS", "units_text"),
    ];
    session.printer.list(&columns, rows.into_iter().map(|row| row.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_read_as_they_are_told() {
        for text in ["principal", "cost-center", "request-type", "tag:team"] {
            assert_eq!(dimension(text).unwrap().text(), text);
        }
        assert_eq!(dimension("tag:team").unwrap().heading(), "TAG TEAM");
        assert_eq!(dimension("cost-center").unwrap().heading(), "COST CENTER");
        assert!(dimension("tag").is_err() && dimension("salary").unwrap_err().ends_with("tag:KEY"));
    }

    #[test]
    fn days_and_months_are_named_by_their_zone() {
        let berlin = zone("Europe/Berlin").unwrap();
        let start = "1774738800000";
        assert_eq!(By::Day.name(start, &berlin), "2026-03-29");
        assert_eq!(By::Month.name(start, &berlin), "2026-03");
        assert_eq!(By::Day.name(start, &zone("UTC").unwrap()), "2026-03-28");
        assert_eq!(By::Tool.name("demo__echo", &berlin), "demo__echo");
        assert_eq!(By::Day.name("soon", &berlin), "soon");
    }
}

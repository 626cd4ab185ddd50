//! How results are shown: as a table for people, as JSON or YAML for programs, as CSV for spreadsheets. Each record is
//! JSON first; a table and CSV show some of its fields.

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Output {
    #[default]
    Table,
    Json,
    Yaml,
    Csv,
}

pub(super) struct Printer {
    output: Output,
}

/// A column: its heading, and the field it shows.
pub(super) type Column<'a> = (&'a str, &'static str);

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(super) fn is_table(&self) -> bool {
        self.output == Output::Table
    }

    pub(super) fn is_csv(&self) -> bool {
        self.output == Output::Csv
    }

    /// Many records: a line each, or an array.
    pub(super) fn list(&self, columns: &[Column<'_>], records: Vec<Value>) -> anyhow::Result<()> {
        if self.is_csv() {
            let rows = records.iter().map(|record| csv_row(columns, record));
            return line(&std::iter::once(csv_head(columns)).chain(rows).collect::<Vec<_>>().join("\n"));
        }
        if self.output != Output::Table {
            return self.structured(&Value::Array(records));
        }
        if records.is_empty() {
            return line("none");
        }
        let mut table = new_table();
        table.set_header(columns.iter().map(|(heading, _)| *heading));
        for record in &records {
            table.add_row(columns.iter().map(|(_, field)| cell(record.get(*field).unwrap_or(&Value::Null))));
        }
        line(&table.to_string())
    }

    /// One record: a line each field, or an object.
    pub(super) fn record(&self, record: &Value) -> anyhow::Result<()> {
        if !matches!(self.output, Output::Table | Output::Csv) {
            return self.structured(record);
        }
        let mut table = new_table();
        let mut rows = Vec::new();
        flatten("", record, &mut rows);
        if self.is_csv() {
            let rows = rows.iter().map(|(name, value)| format!("{},{}", csv_text(name), csv_text(value)));
            return line(&rows.collect::<Vec<_>>().join("\n"));
        }
        for (name, value) in rows {
            table.add_row([name, value]);
        }
        line(&table.to_string())
    }

    /// One event of a stream: a line of text or of JSON, a document of YAML.
    pub(super) fn event(&self, text: impl FnOnce() -> String, record: &Value) -> anyhow::Result<()> {
        match self.output {
            Output::Table => line(&text()),
            Output::Json | Output::Csv => line(&record.to_string()),
            Output::Yaml => line(&format!("---\n{}", serde_norway::to_string(record)?.trim_end())),
        }
    }

    /// What a write came to: a sentence, or the record.
    pub(super) fn done(&self, sentence: &str, record: &Value) -> anyhow::Result<()> {
        if self.output == Output::Table { line(sentence) } else { self.structured(record) }
    }

    fn structured(&self, value: &Value) -> anyhow::Result<()> {
        match self.output {
            Output::Yaml => line(serde_norway::to_string(value)?.trim_end()),
            Output::Csv => self.record(value),
            Output::Json | Output::Table => line(&serde_json::to_string_pretty(value)?),
        }
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    if std::io::stdout().is_terminal() {
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
    }
    table
}

/// Prints one line. A reader that went away is no failure of ours.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    let trimmed = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    match writeln!(std::io::stdout(), "{trimmed}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Source: RFC 4180, but for line ends, which are those of every other output.
pub(super) fn csv_head(columns: &[Column<'_>]) -> String {
    columns.iter().map(|(_, field)| csv_text(field)).collect::<Vec<_>>().join(",")
}

pub(super) fn csv_row(columns: &[Column<'_>], record: &Value) -> String {
    let cell = |(_, field): &Column<'_>| match record.get(*field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => csv_text(text),
        Some(Value::Array(items)) if items.is_empty() => String::new(),
        Some(other) => csv_text(&cell(other)),
    };
    columns.iter().map(cell).collect::<Vec<_>>().join(",")
}

/// A text that a spreadsheet would take for a formula gets an apostrophe before it; a number is left as it is.
fn csv_text(text: &str) -> String {
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let formula = !number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Text that came from elsewhere must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, rows);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{number}]"), item, rows);
            }
        }
        other => rows.push((prefix.to_owned(), cell(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_flatten_to_named_lines() {
        let mut rows = Vec::new();
        flatten("", &json!({"a": {"b": 1, "c": ["x", "y"]}, "d": [{"e": true}], "f": null}), &mut rows);
        let rows: Vec<String> = rows.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(rows, ["a.b=1", "a.c=x, y", "d[0].e=yes", "f=-"]);
    }

    #[test]
    fn csv_is_quoted_and_starts_no_formula() {
        let columns = [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d")];
        assert_eq!(csv_head(&columns), "a,b,c,d");
        let row = csv_row(&columns, &json!({"a": "x, \"y\"", "b": "-0.5", "c": null, "d": 7}));
        assert_eq!(row, r#""x, ""y""",-0.5,,7"#);
        let row = csv_row(&columns, &json!({"a": "=1+1", "b": "@x", "c": "-x", "d": true}));
        assert_eq!(row, "'=1+1,'@x,'-x,yes");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb")), "a\u{fffd}[2Jb");
    }
}

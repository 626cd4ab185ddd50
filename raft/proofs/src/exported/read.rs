//! Reads the file line by line; a damaged line is named by its number.

use std::io::{BufRead, Read as _, Seek, SeekFrom};

use only1mcp_domain::ids::Digest;

use super::format::{FORMAT, Header, Line, Trailer};
use crate::text::unhex;

/// A line longer than this is no event: bounds what a made-up file costs.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Why a file cannot be read as one of ours.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the file has no header line")]
    NoHeader,
    #[error("the header is of format {found:?}; this program reads {FORMAT:?}")]
    Format { found: String },
    #[error("something stands behind the line that ends the file")]
    AfterTheEnd,
    #[error("line {line}: {problem}")]
    Line { line: u64, problem: String },
}

/// One record of the file, its hexadecimal text decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    pub line: u64,
    pub index: u64,
    pub digest: Digest,
    pub hash: Digest,
    /// `None` where only the place is told.
    pub bytes: Option<Vec<u8>>,
    pub event: Option<serde_json::Value>,
    /// The event that records that the payload was dropped.
    pub expired: Option<u64>,
}

/// A line after the header.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    Record(Record),
    /// The last one.
    Trailer(Trailer),
}

/// The last line of the file, where it is not longer than a line may be; the input stands at its beginning again.
pub fn last_line(input: &mut (impl BufRead + Seek)) -> Result<Option<String>, FileFault> {
    let end = input.seek(SeekFrom::End(0))?;
    input.seek(SeekFrom::Start(end.saturating_sub(LINE_BYTES_MAX)))?;
    let mut tail = Vec::new();
    input.by_ref().take(LINE_BYTES_MAX).read_to_end(&mut tail)?;
    input.seek(SeekFrom::Start(0))?;
    let text = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8(line.to_vec()).ok())
}

/// The file after its header.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: u64,
    pub header: Header,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn open(mut input: R) -> Result<Self, FileFault> {
        let text = next_line(&mut input, 1)?.ok_or(FileFault::NoHeader)?;
        let named: serde_json::Value = serde_json::from_str(&text).map_err(|_| FileFault::NoHeader)?;
        let found = named.get("format").and_then(|format| format.as_str()).ok_or(FileFault::NoHeader)?;
        if found != FORMAT {
            return Err(FileFault::Format { found: found.to_owned() });
        }
        let header = serde_json::from_value(named);
        let header = header.map_err(|error| FileFault::Line { line: 1, problem: error.to_string() })?;
        Ok(Self { input, line: 1, header })
    }

    /// The next line; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, FileFault> {
        let line = self.line + 1;
        let Some(text) = next_line(&mut self.input, line)? else { return Ok(None) };
        self.line = line;
        let fault = |problem: String| FileFault::Line { line, problem };
        let record: Line = match serde_json::from_str(&text) {
            Ok(record) => record,
            Err(error) => {
                let trailer = serde_json::from_str(&text).map_err(|_| fault(error.to_string()))?;
                return Ok(Some(Item::Trailer(trailer)));
            }
        };
        let digest = |name: &str, text: &str| {
            Digest::parse_hex(text).ok_or_else(|| fault(format!("{name} is not 64 hexadecimal characters")))
        };
        let bytes = record
            .bytes
            .as_deref()
            .map(|text| unhex(text).ok_or_else(|| fault("bytes are not hexadecimal".to_owned())));
        Ok(Some(Item::Record(Record {
            line,
            index: record.index,
            digest: digest("digest", &record.digest)?,
            hash: digest("hash", &record.hash)?,
            bytes: bytes.transpose()?,
            event: record.event,
            expired: record.expired.map(|expired| expired.record),
        })))
    }
}

fn next_line(input: &mut impl BufRead, line: u64) -> Result<Option<String>, FileFault> {
    let mut text = String::new();
    let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut text)?;
    if read == 0 {
        return Ok(None);
    }
    if !text.ends_with('\n') {
        let problem = if u64::try_from(read).unwrap_or(u64::MAX) < LINE_BYTES_MAX {
            "the file was cut in the middle of this line".to_owned()
        } else {
            format!("is longer than {LINE_BYTES_MAX} bytes")
        };
        return Err(FileFault::Line { line, problem });
    }
    Ok(Some(text))
}

//! Reads `text/event-stream`, bounded.

use bytes::{Buf, Bytes, BytesMut};

/// One event as dispatched: its data lines joined.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SseEvent {
    pub(crate) data: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) retry_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SseError {
    TooLarge,
    NotText,
}

/// Source: HTML Living Standard, "Server-sent events", parsing.
pub(crate) struct SseParser {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no line end.
    scanned: usize,
    /// A CR ended the last line: an LF that follows belongs to it.
    after_cr: bool,
    first_line: bool,
    current: SseEvent,
    event_bytes: usize,
    event_bytes_max: usize,
}

impl SseParser {
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            after_cr: false,
            first_line: true,
            current: SseEvent::default(),
            event_bytes: 0,
            event_bytes_max,
        }
    }

    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event in what was pushed. What stands after the last blank line is never an event.
    pub(crate) fn next(&mut self) -> Result<Option<SseEvent>, SseError> {
        while let Some(line) = self.line()? {
            if line.is_empty() {
                self.event_bytes = 0;
                let event = std::mem::take(&mut self.current);
                if event != SseEvent::default() {
                    return Ok(Some(event));
                }
                continue;
            }
            self.event_bytes += line.len();
            if self.event_bytes > self.event_bytes_max {
                return Err(SseError::TooLarge);
            }
            let line = std::str::from_utf8(&line).map_err(|_| SseError::NotText)?;
            self.field(line);
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<BytesMut>, SseError> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
            }
        }
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(at) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
            self.scanned = self.buffer.len();
            if self.event_bytes + self.scanned > self.event_bytes_max {
                return Err(SseError::TooLarge);
            }
            return Ok(None);
        };
        let mut line = self.buffer.split_to(self.scanned + at);
        self.after_cr = self.buffer.first() == Some(&b'\r');
        self.buffer.advance(1);
        self.scanned = 0;
        if std::mem::take(&mut self.first_line) && line.starts_with(b"\xef\xbb\xbf") {
            line.advance(3);
        }
        Ok(Some(line))
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.current.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.current.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.current.id = Some(value.to_owned()),
            "retry" => self.current.retry_ms = value.parse().ok(),
            // Comments, event names and unknown fields carry nothing for MCP.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&str], max: usize) -> Result<Vec<SseEvent>, SseError> {
        let mut parser = SseParser::new(max);
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(&Bytes::copy_from_slice(chunk.as_bytes()));
            while let Some(event) = parser.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn data(text: &str) -> SseEvent {
        SseEvent { data: Some(text.to_owned()), ..SseEvent::default() }
    }

    #[test]
    fn every_line_end_and_every_cut() {
        let text = "\u{feff}: hi\r\nevent: message\r\ndata: a\r\ndata:b\r\n\r\nid: 7\ndata\n\nretry: 30\r\rdata: left over";
        let expected = vec![
            data("a\nb"),
            SseEvent { data: Some(String::new()), id: Some("7".into()), retry_ms: None },
            SseEvent { retry_ms: Some(30), ..SseEvent::default() },
        ];
        assert_eq!(all(&[text], 64).unwrap(), expected);
        for cut in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (head, tail) = text.split_at(cut);
            assert_eq!(all(&[head, tail], 64).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_event_past_the_bound_is_refused_before_it_ends() {
        assert_eq!(all(&["data: 1234"], 10).unwrap(), vec![]);
        assert_eq!(all(&["data: 12345"], 10), Err(SseError::TooLarge));
        assert_eq!(all(&["data: 1\ndata: 2\n"], 10), Err(SseError::TooLarge));
    }
}

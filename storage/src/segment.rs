//! Making, reading and checking one sealed segment, over whichever [`Segments`] holds its bytes.
//!
//! Nothing here holds more of a segment than its table and a few records. Checking goes in steps, so that whoever
//! shares the thread gets it in between.

use only1mcp_domain::audit::{ChainHead, Expired, SealedEvent, Verifier, event_digest};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::limits::SEGMENT_EVENTS_MAX;
use sha3::{Digest as _, Sha3_256};

use crate::error::StorageError;
use crate::segment_format::{
    FIRST_RECORD, HEADER_BYTES, Header, INNER_HEAD_BYTES, RECORD_HEAD_BYTES, SegmentName, TABLE_ENTRY_BYTES,
    body_bytes, corrupt, decode_record, encode_record, encode_table, inner_head, parse_inner_head,
};
use crate::segments::{SegmentCopy, Segments};

/// Bytes read or written at one time, roughly.
const STEP_BYTES: usize = 256 << 10;

fn len64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The first pass over the events of a segment: finds its name. The second, [`SegmentWriter`], writes them.
pub struct SegmentDraft {
    first: AuditIndex,
    events: u32,
    before: Digest,
    verifier: Verifier,
    hasher: Sha3_256,
    offsets: Vec<u64>,
    end: u64,
    /// Whether marks may stand in place of events, and whether one does.
    marks: Option<bool>,
}

impl SegmentDraft {
    /// A segment of the `events` events after `head`.
    /// Errors: `TooLarge`.
    pub fn after(head: ChainHead, events: usize) -> Result<Self, StorageError> {
        let too_large = StorageError::TooLarge { what: "segment", max: SEGMENT_EVENTS_MAX };
        if events == 0 || events > SEGMENT_EVENTS_MAX {
            return Err(too_large);
        }
        let Ok(count) = u32::try_from(events) else { return Err(too_large) };
        let first = AuditIndex(head.index.0.saturating_add(1));
        let mut hasher = Sha3_256::new();
        hasher.update(inner_head(first.0, count, head.hash));
        Ok(Self {
            first,
            events: count,
            before: head.hash,
            verifier: Verifier::after(head),
            hasher,
            offsets: Vec::with_capacity(events),
            end: FIRST_RECORD,
            marks: None,
        })
    }

    /// The same events without some payloads: marks may stand in place of them.
    pub fn rewritten(self) -> Self {
        Self { marks: Some(false), ..self }
    }

    /// Errors: `Refused` when the event is not the next of the chain.
    pub fn add(&mut self, event: &SealedEvent) -> Result<(), StorageError> {
        let mark = push(&mut self.verifier, event, self.marks.is_some())
            .map_err(|detail| StorageError::Refused { operation: "seal segment", detail })?;
        self.marks = self.marks.map(|found| found || mark);
        let record = encode_record(event)?;
        self.hasher.update(&record);
        self.offsets.push(self.end);
        self.end = self.end.saturating_add(len64(&record));
        Ok(())
    }

    /// Errors: `Refused` when not all events were added, or more.
    pub fn finish(self) -> Result<SegmentPlan, StorageError> {
        let added = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
        if added != self.events {
            let detail = format!("{added} events instead of {}", self.events);
            return Err(StorageError::Refused { operation: "seal segment", detail });
        }
        let header = Header {
            first: self.first.0,
            events: self.events,
            inner_bytes: self.end.saturating_sub(HEADER_BYTES as u64),
            address: Digest(self.hasher.finalize().into()),
            expired: self.marks == Some(true),
        };
        let head = self.verifier.head();
        let name = SegmentName {
            first: self.first,
            last: head.index,
            address: header.address,
            bytes: header.file_bytes(),
            hash: head.hash,
        };
        Ok(SegmentPlan { name, before: self.before, header, offsets: self.offsets })
    }
}

/// The event must follow, and its digest be that of its bytes; of one whose payload is gone nothing but its place can be
/// held against the chain. Whether it is such a one.
fn push(verifier: &mut Verifier, event: &SealedEvent, marks: bool) -> Result<bool, String> {
    let mark = marks && Expired::parse(&event.bytes).is_some();
    if !mark && event_digest(&event.bytes) != event.digest {
        return Err(format!("event {} does not match its digest", event.index));
    }
    verifier.push_place(event.index, event.digest, event.hash).map_err(|fault| fault.to_string())?;
    Ok(mark)
}

/// What a segment will be.
pub struct SegmentPlan {
    pub name: SegmentName,
    before: Digest,
    header: Header,
    offsets: Vec<u64>,
}

/// The second pass: writes the same events again, as a part.
pub struct SegmentWriter<'a> {
    files: &'a dyn Segments,
    plan: SegmentPlan,
    buffer: Vec<u8>,
    written: u64,
}

impl<'a> SegmentWriter<'a> {
    /// Begins anew: a part that is there is removed.
    pub fn begin(files: &'a dyn Segments, plan: SegmentPlan) -> Result<Self, StorageError> {
        files.remove(&plan.name.address, SegmentCopy::Part)?;
        let mut buffer = plan.header.encode();
        buffer.extend_from_slice(&inner_head(plan.header.first, plan.header.events, plan.before));
        Ok(Self { files, plan, buffer, written: 0 })
    }

    pub fn add(&mut self, event: &SealedEvent) -> Result<(), StorageError> {
        self.buffer.extend_from_slice(&encode_record(event)?);
        if self.buffer.len() >= STEP_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let bytes = std::mem::take(&mut self.buffer);
        self.files.append(&self.plan.name.address, self.written, &bytes)?;
        self.written = self.written.saturating_add(len64(&bytes));
        Ok(())
    }

    /// Makes it whole, durably. It is not trusted yet: read it back with [`SegmentCheck`].
    pub fn finish(mut self) -> Result<SegmentName, StorageError> {
        self.buffer.extend_from_slice(&encode_table(&self.plan.offsets));
        self.flush()?;
        self.files.finish(&self.plan.name.address)?;
        Ok(self.plan.name)
    }
}

/// Reads records one after the other.
struct Records {
    address: Digest,
    copy: SegmentCopy,
    /// Of the next byte to be read, and of the end.
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl Records {
    fn new(address: Digest, copy: SegmentCopy, from: u64, end: u64) -> Self {
        Self { address, copy, offset: from, end, buffer: Vec::new(), taken: 0 }
    }

    /// Where the next record begins.
    fn position(&self) -> u64 {
        let unread = self.buffer.len().saturating_sub(self.taken);
        self.offset.saturating_sub(u64::try_from(unread).unwrap_or(u64::MAX))
    }

    /// Makes sure that `wanted` bytes are in the buffer.
    fn fill(&mut self, files: &dyn Segments, wanted: usize) -> Result<(), StorageError> {
        while self.buffer.len().saturating_sub(self.taken) < wanted {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let length = left.min(STEP_BYTES.max(wanted));
            let read = files.read(&self.address, self.copy, self.offset, length)?;
            if read.is_empty() {
                return Err(corrupt(&self.address, "a record is cut off"));
            }
            self.offset = self.offset.saturating_add(len64(&read));
            self.buffer.extend_from_slice(&read);
        }
        Ok(())
    }

    fn ahead(&self, length: usize) -> &[u8] {
        self.buffer.get(self.taken..self.taken.saturating_add(length)).unwrap_or_default()
    }

    /// The next record, as it lies.
    fn next(&mut self, files: &dyn Segments) -> Result<Option<(SealedEvent, Vec<u8>)>, StorageError> {
        let at = self.position();
        if at >= self.end {
            return Ok(None);
        }
        let damaged = || corrupt(&self.address, format!("the record at {at} does not match its checksum"));
        let error = damaged();
        self.fill(files, RECORD_HEAD_BYTES)?;
        let Some(body) = body_bytes(self.ahead(RECORD_HEAD_BYTES)) else { return Err(error) };
        let length = RECORD_HEAD_BYTES.saturating_add(body);
        self.fill(files, length)?;
        let record = self.ahead(length).to_vec();
        let Some(event) = decode_record(&record) else { return Err(error) };
        self.taken = self.taken.saturating_add(length);
        Ok(Some((event, record)))
    }
}

fn read_header(files: &dyn Segments, address: &Digest, copy: SegmentCopy) -> Result<Header, StorageError> {
    let header = Header::decode(address, &files.read(address, copy, 0, HEADER_BYTES)?)?;
    if header.address != *address {
        return Err(corrupt(address, "its header names another"));
    }
    let size = files.size(address, copy)?;
    if size != Some(header.file_bytes()) {
        return Err(corrupt(address, format!("its file has {} bytes", size.unwrap_or(0))));
    }
    Ok(header)
}

fn fits(header: &Header, name: &SegmentName) -> Result<(), StorageError> {
    if AuditIndex(header.first) == name.first
        && header.last() == name.last
        && header.file_bytes() == name.bytes
    {
        return Ok(());
    }
    Err(corrupt(&name.address, "its header does not fit its name"))
}

/// Whether the whole copy is here, judged by its header and its size alone.
pub fn segment_is_here(files: &dyn Segments, name: &SegmentName) -> bool {
    let found = read_header(files, &name.address, SegmentCopy::Whole);
    found.and_then(|header| fits(&header, name)).is_ok()
}

/// First and last event of the whole copy, as its header tells them; `None` where there is none that is sound.
pub fn segment_range(files: &dyn Segments, address: &Digest) -> Option<(AuditIndex, AuditIndex)> {
    let header = read_header(files, address, SegmentCopy::Whole).ok()?;
    Some((AuditIndex(header.first), header.last()))
}

/// At most `limit` events from `from` on, each checked against its checksum and its place.
/// Errors: `Corrupt`, `Version`, `Io`; `Refused` when the segment is not here or does not hold `from`.
pub fn read_segment(
    files: &dyn Segments,
    name: &SegmentName,
    from: AuditIndex,
    limit: usize,
) -> Result<Vec<SealedEvent>, StorageError> {
    if !name.holds(from) {
        let detail = format!("event {from} is not in {} to {}", name.first, name.last);
        return Err(StorageError::Refused { operation: "read segment", detail });
    }
    let header = read_header(files, &name.address, SegmentCopy::Whole)?;
    fits(&header, name)?;
    let skipped = from.0.saturating_sub(name.first.0);
    let left = usize::try_from(name.last.0.saturating_sub(from.0).saturating_add(1)).unwrap_or(usize::MAX);
    let count = left.min(limit);
    // One entry more than events, for where they end; the last one's end is the records' own.
    let entries = count.saturating_add(1).min(left);
    let at = header.records_end().saturating_add(skipped.saturating_mul(TABLE_ENTRY_BYTES));
    let table = files.read(&name.address, SegmentCopy::Whole, at, entries.saturating_mul(8))?;
    let (entries_read, _) = table.as_chunks::<8>();
    let begin = entries_read.first().map(|entry| u64::from_le_bytes(*entry));
    let begin = begin.ok_or_else(|| corrupt(&name.address, "its table is cut off"))?;
    let end = entries_read.get(count).map_or(header.records_end(), |entry| u64::from_le_bytes(*entry));
    if begin < FIRST_RECORD || begin >= end || end > header.records_end() {
        return Err(corrupt(&name.address, "its table points elsewhere"));
    }
    let mut records = Records::new(name.address, SegmentCopy::Whole, begin, end);
    let mut out = Vec::with_capacity(count.min(1_024));
    while out.len() < count {
        let Some((event, _)) = records.next(files)? else { break };
        if event.index.0 != from.0.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX)) {
            return Err(corrupt(&name.address, format!("event {} stands where another should", event.index)));
        }
        out.push(event);
    }
    if out.len() < count {
        return Err(corrupt(&name.address, "its table points elsewhere"));
    }
    Ok(out)
}

/// Checks a whole file, byte for byte, against its name and the chain before it.
pub struct SegmentCheck {
    address: Digest,
    copy: SegmentCopy,
    expected: Option<(SegmentName, Digest)>,
    reading: Option<Reading>,
}

struct Reading {
    header: Header,
    records: Records,
    hasher: Sha3_256,
    verifier: Verifier,
    offsets: Vec<u64>,
    mark: bool,
}

impl SegmentCheck {
    /// `before`: the chain's hash before the segment's first event.
    pub fn of(name: SegmentName, before: Digest, copy: SegmentCopy) -> Self {
        Self { address: name.address, copy, expected: Some((name, before)), reading: None }
    }

    /// Of a file of which only its name is known.
    pub fn of_file(address: Digest) -> Self {
        Self { address, copy: SegmentCopy::Whole, expected: None, reading: None }
    }

    /// Goes on for a while; the name of what was checked once all of it is sound.
    /// Errors: `Corrupt`, `Version`; `Io`, and `Refused` when it is not here.
    pub fn step(&mut self, files: &dyn Segments) -> Result<Option<SegmentName>, StorageError> {
        match self.reading.take() {
            None => {
                self.reading = Some(self.begin(files)?);
                Ok(None)
            }
            Some(mut reading) => {
                let until = reading.records.position().saturating_add(STEP_BYTES as u64);
                while reading.records.position() < until {
                    let at = reading.records.position();
                    let Some((event, record)) = reading.records.next(files)? else {
                        return self.end(files, reading).map(Some);
                    };
                    reading.mark |= push(&mut reading.verifier, &event, reading.header.expired)
                        .map_err(|detail| corrupt(&self.address, detail))?;
                    reading.hasher.update(&record);
                    reading.offsets.push(at);
                    if reading.offsets.len() > SEGMENT_EVENTS_MAX {
                        return Err(corrupt(&self.address, "it holds more events than it says"));
                    }
                }
                self.reading = Some(reading);
                Ok(None)
            }
        }
    }

    /// All of it at once.
    pub fn run(mut self, files: &dyn Segments) -> Result<SegmentName, StorageError> {
        loop {
            if let Some(name) = self.step(files)? {
                return Ok(name);
            }
        }
    }

    fn begin(&self, files: &dyn Segments) -> Result<Reading, StorageError> {
        let header = read_header(files, &self.address, self.copy)?;
        let head = files.read(&self.address, self.copy, HEADER_BYTES as u64, INNER_HEAD_BYTES)?;
        let inner = parse_inner_head(&head);
        let (first, events, before) = inner.ok_or_else(|| corrupt(&self.address, "it is cut off"))?;
        if (first, events) != (header.first, header.events) {
            return Err(corrupt(&self.address, "its header does not fit its content"));
        }
        if let Some((name, expected)) = &self.expected {
            fits(&header, name)?;
            if *expected != before {
                return Err(corrupt(&self.address, "it does not follow the chain before it"));
            }
        }
        let mut hasher = Sha3_256::new();
        hasher.update(&head);
        let head = ChainHead { index: AuditIndex(first.saturating_sub(1)), hash: before };
        Ok(Reading {
            records: Records::new(self.address, self.copy, FIRST_RECORD, header.records_end()),
            header,
            hasher,
            verifier: Verifier::after(head),
            offsets: Vec::new(),
            mark: false,
        })
    }

    fn end(&self, files: &dyn Segments, reading: Reading) -> Result<SegmentName, StorageError> {
        let Reading { header, hasher, verifier, offsets, mark, .. } = reading;
        let failed = |detail: &str| Err(corrupt(&self.address, detail));
        let head = verifier.head();
        if head.index != header.last() {
            return failed("it holds fewer events than it says");
        }
        if mark != header.expired {
            return failed("its version does not fit its content");
        }
        if Digest(hasher.finalize().into()) != self.address {
            return failed("its content does not hash to its name");
        }
        let table = encode_table(&offsets);
        if files.read(&self.address, self.copy, header.records_end(), table.len())? != table {
            return failed("its table is not that of its records");
        }
        let found = SegmentName {
            first: AuditIndex(header.first),
            last: head.index,
            address: self.address,
            bytes: header.file_bytes(),
            hash: head.hash,
        };
        match &self.expected {
            Some((name, _)) if *name != found => failed("its content does not fit its name"),
            _ => Ok(found),
        }
    }
}

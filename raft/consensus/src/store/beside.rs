//! Tables that are no part of the state and stand in the row store alone: apply only ever adds to them.
//!
//! A snapshot carries their rows. It may hold rows that entries behind its index wrote: whoever installs it applies
//! those entries too, and writes the same rows again. The audit events alone end where the state says.

use std::sync::Arc;

use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::row::{RowKey, RowValue, Table};
use only1mcp_proto::codec;
use only1mcp_storage::Row;

use super::rows::LoadError;
use crate::trail::{Trail, TrailError};

/// Ascending.
pub const BESIDE: &[Table] = Table::BESIDE;

/// Rows read at one time.
const STEP: usize = 1_024;

/// From and to (excluded) which keys the rows of the state stand.
pub fn state_ranges() -> Vec<(u8, u8)> {
    let mut from = Table::Meta.number();
    let mut out = Vec::new();
    for table in BESIDE {
        out.push((from, table.number()));
        from = table.number().saturating_add(1);
    }
    out.push((from, u8::MAX));
    out
}

/// The rows of those tables, as a snapshot carries them, table by table.
pub struct BesideRows {
    trail: Arc<Trail>,
    tables: std::slice::Iter<'static, Table>,
    table: Option<Table>,
    /// The next one, and the last one there is.
    events: (AuditIndex, AuditIndex),
    from: Vec<u8>,
    page: std::vec::IntoIter<Row>,
}

impl BesideRows {
    /// Of the audit events those after `sealed`, up to `head`.
    pub fn new(trail: Arc<Trail>, tables: &'static [Table], sealed: AuditIndex, head: AuditIndex) -> Self {
        let mut rows = Self {
            trail,
            tables: tables.iter(),
            table: None,
            events: (AuditIndex(sealed.0.saturating_add(1)), head),
            from: Vec::new(),
            page: Vec::new().into_iter(),
        };
        rows.turn();
        rows
    }

    fn turn(&mut self) {
        self.table = self.tables.next().copied();
        self.from = self.table.map(|table| vec![table.number()]).unwrap_or_default();
    }

    /// The next row, if its table stands before `table`; without one, whichever it is.
    pub fn next_before(&mut self, table: Option<u8>) -> Result<Option<Row>, TrailError> {
        loop {
            let Some(own) = self.table.filter(|own| table.is_none_or(|table| own.number() < table)) else {
                return Ok(None);
            };
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            let page = if own == Table::Audit { self.events()? } else { self.rows(own)? };
            if page.is_empty() {
                self.turn();
            }
            self.page = page.into_iter();
        }
    }

    fn rows(&mut self, table: Table) -> Result<Vec<Row>, TrailError> {
        let end = [table.number().saturating_add(1)];
        let page = self.trail.engine().scan(&self.from, &end, STEP)?;
        if let Some((last, _)) = page.last() {
            // The smallest key after it.
            self.from = [last.as_slice(), &[0]].concat();
        }
        Ok(page)
    }

    fn events(&mut self) -> Result<Vec<Row>, TrailError> {
        let (next, head) = self.events;
        let left = head.0.saturating_add(1).saturating_sub(next.0);
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(STEP);
        let events = self.trail.events(next, limit)?;
        match events.last() {
            Some(last) => self.events.0 = AuditIndex(last.index.0.saturating_add(1)),
            None if left > 0 => {
                let problem = format!("audit events from {next} on are missing");
                return Err(LoadError::State { problem }.into());
            }
            None => {}
        }
        let row = |event: only1mcp_domain::audit::SealedEvent| {
            (RowKey::audit(event.index).0, codec::encode_row(&RowValue::Audit(event)))
        };
        Ok(events.into_iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::audit::ChainHead;
    use only1mcp_storage::{Engine as _, MemDisk, MemOptions, Rows};

    use super::*;

    /// Two tables, one of them larger than a page, with the state's own before, between and behind.
    #[test]
    fn rows_beside_the_state_come_in_the_order_of_their_tables() {
        let disk = MemDisk::new(MemOptions::default());
        let engine = Arc::new(disk.engine());
        let mut head = ChainHead::default();
        let event =
            |event| (RowKey::audit(AuditIndex(1)).0, Some(codec::encode_row(&RowValue::Audit(event))));
        let mut rows: Rows = vec![event(head.append(vec![1]))];
        let many = u16::try_from(STEP).unwrap() + 7;
        let waiters = Table::Waiters.number();
        rows.extend((0..many).map(|n| ([&[waiters], n.to_be_bytes().as_slice()].concat(), Some(vec![7]))));
        engine.write(rows, true).unwrap();
        let trail = Arc::new(Trail::new(engine, Arc::new(disk.segments()), 100, Vec::new()));
        let tables: &[Table] = &[Table::Audit, Table::Waiters];
        let mut beside = BesideRows::new(trail, tables, AuditIndex(0), head.index);
        assert_eq!(beside.next_before(Some(Table::Audit.number())).unwrap(), None);
        let first = beside.next_before(Some(Table::Budgets.number())).unwrap().unwrap();
        assert_eq!(first.0, RowKey::audit(AuditIndex(1)).0);
        assert_eq!(beside.next_before(Some(waiters)).unwrap(), None);
        let mut found: Vec<Vec<u8>> = Vec::new();
        while let Some((key, _)) = beside.next_before(Some(u8::MAX)).unwrap() {
            found.push(key);
        }
        assert_eq!(found.len(), usize::from(many));
        assert!(found.is_sorted() && found.iter().all(|key| key[0] == waiters));
        assert_eq!(beside.next_before(None).unwrap(), None);
    }

    #[test]
    fn the_state_stands_on_both_sides() {
        let audit = Table::Audit.number();
        assert!(BESIDE.is_sorted());
        assert_eq!(state_ranges().first(), Some(&(Table::Meta.number(), audit)));
        assert_eq!(state_ranges().last().unwrap().1, u8::MAX);
    }
}

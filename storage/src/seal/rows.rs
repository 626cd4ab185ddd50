//! [`SealedEngine`]: rows whose values are sealed, and whose keys too where they name persons.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use only1mcp_domain::limits::{ROW_BYTES_MAX, ROW_KEY_BYTES_MAX};
use only1mcp_domain::row::Table;

use super::sealer::{Kind, SealedHead, Sealer, named_by};
use crate::engine::{Engine, Resealed, Row, Rows, SealedUnder};
use crate::error::StorageError;

/// Tables whose keys hold ids of principals, which may be mail addresses. Within them rows come in no order that means
/// anything: see [`SealedEngine::scan`].
const HIDDEN: &[Table] = &[Table::Principals, Table::Accounts, Table::Subjects];

/// Behind every stored key: no table has this number.
const END_OF_ROWS: &[u8] = &[0xff];

/// Rows are scanned as those of any engine. In a hidden table a scan may begin at the table's start or right behind a
/// key that a scan gave (that key and one zero byte), and gives rows in the order of their pseudonyms.
pub struct SealedEngine<E> {
    inner: E,
    sealer: Arc<Sealer>,
    closed: AtomicBool,
}

fn is_hidden(key: &[u8]) -> bool {
    key.len() > 1 && key.first().is_some_and(|table| HIDDEN.iter().any(|hidden| hidden.number() == *table))
}

/// What may be written, sealed or not.
pub(crate) fn check_plain_row(key: &[u8], value: &[u8]) -> Result<(), StorageError> {
    if key.len() > ROW_KEY_BYTES_MAX {
        return Err(StorageError::TooLarge { what: "row key", max: ROW_KEY_BYTES_MAX });
    }
    if value.len() > ROW_BYTES_MAX {
        return Err(StorageError::TooLarge { what: "row", max: ROW_BYTES_MAX });
    }
    Ok(())
}

impl<E: Engine> SealedEngine<E> {
    pub fn new(inner: E, sealer: Arc<Sealer>) -> Self {
        Self { inner, sealer, closed: AtomicBool::new(false) }
    }

    fn stored_key(&self, key: &[u8]) -> Vec<u8> {
        match key.first() {
            Some(table) if is_hidden(key) => {
                let mut out = vec![*table];
                out.extend(self.sealer.pseudonym(key));
                out
            }
            _ => key.to_vec(),
        }
    }

    /// Where a scan begins or ends.
    fn stored_bound(&self, key: &[u8]) -> Result<Vec<u8>, StorageError> {
        if !is_hidden(key) {
            return Ok(key.to_vec());
        }
        match key.split_last() {
            Some((0, given)) => Ok([self.stored_key(given).as_slice(), &[0]].concat()),
            _ => {
                let detail = "keys of this table are in no order".to_owned();
                Err(StorageError::Refused { operation: "scan", detail })
            }
        }
    }

    fn seal(&self, key: &[u8], value: &[u8]) -> Result<Row, StorageError> {
        check_plain_row(key, value)?;
        if !is_hidden(key) {
            return Ok((key.to_vec(), self.sealer.seal(Kind::Row, key, value)?));
        }
        let stored = self.stored_key(key);
        let too_large = |_| StorageError::TooLarge { what: "row key", max: ROW_KEY_BYTES_MAX };
        let length = u16::try_from(key.len()).map_err(too_large)?.to_le_bytes();
        let plain = [length.as_slice(), key, value].concat();
        let sealed = self.sealer.seal(Kind::Row, &stored, &plain)?;
        Ok((stored, sealed))
    }

    fn open(&self, (stored, sealed): Row) -> Result<Row, StorageError> {
        let plain = self.sealer.open(Kind::Row, &stored, &sealed)?;
        if !is_hidden(&stored) {
            return Ok((stored, plain));
        }
        let (key, value) = split(&plain).ok_or_else(|| StorageError::Corrupt {
            what: "sealed row".into(),
            detail: "it does not hold its key".into(),
        })?;
        Ok((key.to_vec(), value.to_vec()))
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) { Err(StorageError::Closed) } else { Ok(()) }
    }

    /// A row that does not open closes the engine.
    fn seen<T>(&self, opened: Result<T, StorageError>) -> Result<T, StorageError> {
        if opened.as_ref().is_err_and(StorageError::closes) {
            self.closed.store(true, Ordering::Release);
        }
        opened
    }
}

fn split(plain: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = plain.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

impl<E: Engine> Engine for SealedEngine<E> {
    fn write(&self, rows: Rows, durable: bool) -> Result<(), StorageError> {
        self.check()?;
        let seal = |(key, value): (Vec<u8>, Option<Vec<u8>>)| match value {
            Some(value) => self.seal(&key, &value).map(|(key, value)| (key, Some(value))),
            None => {
                check_plain_row(&key, &[])?;
                Ok((self.stored_key(&key), None))
            }
        };
        let _hold = self.sealer.hold();
        let sealed = rows.into_iter().map(seal).collect::<Result<Rows, StorageError>>()?;
        self.inner.write(sealed, durable)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.inner.sync()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.check()?;
        let stored = self.stored_key(key);
        let Some(sealed) = self.inner.get(&stored)? else { return Ok(None) };
        self.seen(self.open((stored, sealed))).map(|(_, value)| Some(value))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.check()?;
        let found = self.inner.scan(&self.stored_bound(from)?, &self.stored_bound(to)?, limit)?;
        self.seen(found.into_iter().map(|row| self.open(row)).collect())
    }

    fn scan_back(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StorageError> {
        self.check()?;
        let found = self.inner.scan_back(&self.stored_bound(from)?, &self.stored_bound(to)?, limit)?;
        self.seen(found.into_iter().map(|row| self.open(row)).collect())
    }

    fn replace_with(
        &self,
        rows: Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + '_>,
    ) -> Result<(), StorageError> {
        let _hold = self.sealer.hold();
        // Closed or not: what does not open goes with all the rest.
        self.inner.replace_with(Box::new(rows.map(|row| {
            let (key, value) = row?;
            self.seal(&key, &value)
        })))?;
        self.closed.store(false, Ordering::Release);
        Ok(())
    }

    fn is_complete(&self) -> Result<bool, StorageError> {
        self.inner.is_complete()
    }

    /// By one writer, as all writing is: see [`crate::WriteBehind`].
    fn reseal(&self, after: &[u8], limit: usize) -> Result<Resealed, StorageError> {
        self.check()?;
        let from = [after, &[0]].concat();
        let found = self.inner.scan(if after.is_empty() { &[] } else { &from }, END_OF_ROWS, limit)?;
        let mut out = Resealed { rows: found.len(), ..Resealed::default() };
        if found.len() == limit {
            out.next = found.last().map(|(key, _)| key.clone());
        }
        let _hold = self.sealer.hold();
        let current = self.sealer.current();
        let mut anew = Vec::new();
        for (stored, sealed) in found {
            if SealedHead::of(&sealed).is_some_and(|head| head.data_key == current) {
                continue;
            }
            let plain = self.seen(self.sealer.open(Kind::Row, &stored, &sealed))?;
            let sealed = self.sealer.seal_again(Kind::Row, &stored, &plain)?;
            out.bytes = out.bytes.saturating_add(sealed.len());
            anew.push((stored, Some(sealed)));
        }
        if !anew.is_empty() {
            self.inner.write(anew, false)?;
        }
        Ok(out)
    }

    fn sealed_under(&self, after: &[u8], limit: usize) -> Result<SealedUnder, StorageError> {
        self.check()?;
        let from = [after, &[0]].concat();
        let found = self.inner.scan(if after.is_empty() { &[] } else { &from }, END_OF_ROWS, limit)?;
        let mut out = SealedUnder { rows: found.len(), ..SealedUnder::default() };
        if found.len() == limit {
            out.next = found.last().map(|(key, _)| key.clone());
        } else if let Some(tally) = self.inner.stored_tally()? {
            out.keys.insert(named_by(&tally, "tally of rows")?);
        }
        for (_, sealed) in &found {
            out.keys.insert(named_by(sealed, "row")?);
        }
        Ok(out)
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}

//! Domain values to bytes and back: the log's entries, the store's rows, outcomes, batches, and the model's records.
//!
//! Encoding cannot fail, and equal values give equal bytes on every node. Decoding is total: any input gives a value or
//! a [`DecodeError`], never a panic, and never more memory than its length warrants. It refuses exactly what no domain
//! value encodes to (and what is over the size bounds of `limits`, which a proposer checks before it proposes): a rule
//! checked here too would make an entry that was accepted once unreadable for ever.

mod activity;
mod audit_read;
mod command;
mod cost;
mod duty;
mod entry;
mod epoch;
mod error;
mod form;
mod ledger;
mod model;
mod outcome;
mod parts;
mod rejection;
mod retention;
mod row;
mod subject;

pub use activity::{decode_records, encode_records};
pub use entry::{decode_entry, encode_command, encode_entry};
pub use error::{DecodeError, Problem};
pub use outcome::{decode_outcome, encode_outcome};
pub use row::{decode_row, encode_row};
pub use subject::{read_erased, write_erased};

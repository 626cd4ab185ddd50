//! Persons' data: what is known of it, its end, and the key table that a backup needs besides itself.

mod open;
mod port;
mod reads;
mod service;
mod table;

pub(crate) use open::{opened_event, opened_principal};
pub use port::{GenerationCopy, Opened, PersonalPort};
pub(crate) use service::SubjectsService;

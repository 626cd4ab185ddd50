//! The Backups service: an image of the state, and the segments it names.

mod image;
mod port;
mod segment;
mod service;

pub use port::{BackupImage, BackupPort};
pub(crate) use service::BackupsService;

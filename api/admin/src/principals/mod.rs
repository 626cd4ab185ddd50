//! The Principals service: persons, service accounts, and their API keys.

mod keys;
mod service;
mod who_am_i;

pub(crate) use service::PrincipalsService;

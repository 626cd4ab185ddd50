//! The Prices service: what calls cost. One file for each kind of record; numbers are exact texts on the wire.

mod discounts;
mod entries;
mod meterings;
mod rates;
mod service;
mod values;

pub(crate) use service::PricesService;

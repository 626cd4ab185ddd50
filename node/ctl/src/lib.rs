//! `only1mcp ctl`: everything the administrative interface offers, on the command line.
//!
//! `args.rs` is what can be typed, one file for each service what happens then, `output.rs` how it is shown,
//! `session.rs` the way to the server.

mod accounts;
mod args;
mod audit;
mod audit_prove;
mod audit_retention;
pub mod audit_verify;
pub mod backup;
mod budget;
mod cluster;
mod cluster_replace;
mod conditions;
mod cost;
mod cost_export;
mod cost_money;
mod cost_period;
mod cost_report;
mod decide;
mod deny;
mod error;
mod grant;
mod key;
mod output;
mod parse;
mod price;
mod price_discount;
mod price_import;
pub mod price_map;
mod price_metering;
mod price_rate;
mod price_text;
mod principal;
mod quotas;
mod recall;
mod record;
mod restriction;
mod role;
mod session;
mod subject;
mod tenant;
mod upstream;
mod webhook;
mod whoami;
mod write;

pub use args::{CtlArgs, run};
pub use session::{Api, Connection, Session};

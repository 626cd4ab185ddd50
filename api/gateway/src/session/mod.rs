//! MCP sessions: the token that carries one to any node, and what its home node holds of it.

mod flight;
mod log;
mod registry;
mod state;
mod token;

pub(crate) use flight::{Ended, Flight, Flights, InUse};
pub(crate) use log::{Bounds, Event, EventLog, Reader};
pub(crate) use registry::Sessions;
pub(crate) use state::{Asked, CLIENT_REQUESTS_MAX, Session};
pub(crate) use token::{TokenKey, TokenText};

//! JSON as it came: parsed just as deep as policy needs, everything else carried as the bytes it was.

mod depth;
mod error;
mod message;
mod object;

pub(crate) use depth::too_deep;
pub(crate) use error::{RpcError, code};
pub(crate) use message::{BadMessage, CANCELLED, Kind, Message, RequestId, notification, request, response};
pub(crate) use object::{RawObject, number, raw, string, string_of};

//! The small pieces every record is read from: identifiers, digests, addresses, enums, money.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use only1mcp_domain::ids::{
    ApiKeyId, BudgetId, CallId, CommandId, DecisionId, Digest, DiscountId, GrantId, McpSessionId, MeteringId,
    PriceId, PrincipalId, ProjectId, PublicKey, RoleId, RuleId, SubjectKeyId, TenantId, UpstreamId,
    WebhookId,
};
use only1mcp_domain::model::Glob;
use prost::Message;

use super::error::{DecodeError, Problem};

pub(crate) type Decoded<T> = Result<T, DecodeError>;

/// Reads one message of at most `bytes_max` bytes.
pub(crate) fn message<M: Message + Default>(
    what: &'static str,
    bytes: &[u8],
    bytes_max: usize,
) -> Decoded<M> {
    if bytes.len() > bytes_max {
        let (found, max) = (bytes.len() as u64, bytes_max as u64);
        return Err(DecodeError::new(what, Problem::TooLarge { found, max }));
    }
    M::decode(bytes).map_err(|error| DecodeError::invalid(what, error))
}

pub(crate) fn required<T>(what: &'static str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| DecodeError::missing(what))
}

/// A message field that must be there, converted.
pub(crate) fn record<W, D>(what: &'static str, value: Option<W>) -> Decoded<D>
where
    D: TryFrom<W, Error = DecodeError>,
{
    required(what, value)?.try_into()
}

/// Text that is one of the domain's checked types.
pub(crate) trait Text: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn written(&self) -> String;
}

macro_rules! texts {
    ($($ty:ty),*) => {
        $(impl Text for $ty {
            fn read(text: &str) -> Result<Self, String> {
                Self::new(text).map_err(|error| error.to_string())
            }

            fn written(&self) -> String {
                self.as_str().to_owned()
            }
        })*
    };
}

texts!(
    TenantId,
    PrincipalId,
    RoleId,
    GrantId,
    ApiKeyId,
    RuleId,
    UpstreamId,
    ProjectId,
    BudgetId,
    PriceId,
    MeteringId,
    DiscountId,
    WebhookId,
    Glob
);

pub(crate) fn text<T: Text>(what: &'static str, text: &str) -> Decoded<T> {
    T::read(text).map_err(|detail| DecodeError::invalid(what, detail))
}

pub(crate) fn optional_text<T: Text>(what: &'static str, value: Option<&str>) -> Decoded<Option<T>> {
    value.map(|v| text(what, v)).transpose()
}

pub(crate) fn text_list<T: Text>(what: &'static str, items: &[String]) -> Decoded<Vec<T>> {
    items.iter().map(|item| text(what, item)).collect()
}

pub(crate) fn write_text<T: Text>(value: Option<&T>) -> Option<String> {
    value.map(Text::written)
}

pub(crate) fn write_list<T: Text>(items: &[T]) -> Vec<String> {
    items.iter().map(Text::written).collect()
}

/// IP addresses and networks.
pub(crate) fn parsed<T>(what: &'static str, text: &str) -> Decoded<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| DecodeError::invalid(what, error))
}

pub(crate) fn parsed_list<T>(what: &'static str, items: &[String]) -> Decoded<Vec<T>>
where
    T: FromStr,
    T::Err: Display,
{
    items.iter().map(|item| parsed(what, item)).collect()
}

pub(crate) fn display_list<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(what: &'static str, bytes: &[u8]) -> Decoded<[u8; N]> {
    let wrong = |_| DecodeError::new(what, Problem::Length { expected: N, found: bytes.len() });
    bytes.try_into().map_err(wrong)
}

/// Identifiers of a fixed number of bytes.
pub(crate) trait Raw: Sized {
    fn read(what: &'static str, bytes: &[u8]) -> Decoded<Self>;
    fn written(&self) -> Bytes;
}

macro_rules! raws {
    ($($ty:ident),*) => {
        $(impl Raw for $ty {
            fn read(what: &'static str, bytes: &[u8]) -> Decoded<Self> {
                fixed(what, bytes).map($ty)
            }

            fn written(&self) -> Bytes {
                Bytes::copy_from_slice(&self.0)
            }
        })*
    };
}

raws!(CallId, CommandId, DecisionId, Digest, PublicKey, McpSessionId, SubjectKeyId);

pub(crate) fn raw<T: Raw>(what: &'static str, bytes: &[u8]) -> Decoded<T> {
    T::read(what, bytes)
}

pub(crate) fn optional_raw<T: Raw>(what: &'static str, bytes: Option<&[u8]>) -> Decoded<Option<T>> {
    bytes.map(|b| raw(what, b)).transpose()
}

/// Pico-USD: 16 bytes, big-endian, two's complement.
pub(crate) fn money(what: &'static str, bytes: &[u8]) -> Decoded<i128> {
    fixed(what, bytes).map(i128::from_be_bytes)
}

pub(crate) fn write_money(amount: i128) -> Bytes {
    Bytes::copy_from_slice(&amount.to_be_bytes())
}

/// The number of an enum field, as the domain's enum.
pub(crate) fn enumeration<W, D>(what: &'static str, number: i32) -> Decoded<D>
where
    W: TryFrom<i32>,
    D: FromWire<W>,
{
    let unknown = || DecodeError::new(what, Problem::UnknownNumber { number: number.into() });
    W::try_from(number).ok().and_then(D::from_wire).ok_or_else(unknown)
}

/// A domain enum that has a generated twin; `None` for "unspecified".
pub(crate) trait FromWire<W>: Sized {
    fn from_wire(wire: W) -> Option<Self>;
}

/// Ties a domain enum to its generated twin, variant by variant: both matches are exhaustive.
macro_rules! wire_enum {
    ($domain:ty, $wire:ty, $what:literal, [$($variant:ident),* $(,)?]) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                type Domain = $domain;
                match value {
                    $(Domain::$variant => Self::$variant,)*
                }
            }
        }

        impl $crate::codec::parts::FromWire<$wire> for $domain {
            fn from_wire(wire: $wire) -> Option<Self> {
                type Wire = $wire;
                match wire {
                    Wire::Unspecified => None,
                    $(Wire::$variant => Some(Self::$variant),)*
                }
            }
        }

        impl TryFrom<$wire> for $domain {
            type Error = $crate::codec::DecodeError;

            fn try_from(wire: $wire) -> Result<Self, Self::Error> {
                let unknown = $crate::codec::Problem::UnknownNumber { number: i64::from(wire as i32) };
                $crate::codec::parts::FromWire::from_wire(wire)
                    .ok_or($crate::codec::DecodeError::new($what, unknown))
            }
        }
    };
}

pub(crate) use wire_enum;

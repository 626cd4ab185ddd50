//! What can go wrong between the gateway and an upstream.

/// Texts are for callers and operators: they name what failed, never a header, a body or an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("cannot be reached ({why})")]
    Connect { why: &'static str },
    #[error("failed before; tried again in {retry_ms} ms")]
    BackingOff { retry_ms: u64 },
    #[error("answered HTTP {status}")]
    Status { status: u16 },
    #[error("broke the protocol ({why})")]
    Protocol { why: &'static str },
    #[error("sent more than {bytes_max} bytes in one message")]
    TooLarge { bytes_max: usize },
    #[error("closed the connection")]
    Closed,
    #[error("ended its session")]
    SessionLost,
    #[error("did not answer in time")]
    TimedOut,
    #[error("speaks protocol version {version:?} only")]
    Version { version: String },
    #[error("refused ({code}): {message}")]
    Refused { code: i64, message: String },
}

impl UpstreamError {
    /// The connection is of no more use.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Closed | Self::SessionLost)
    }
}

//! Why bytes or a message are no domain value.

/// What could not be read, and what is wrong with it. Never quotes a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct DecodeError {
    /// Record and field, as the `.proto` files name them.
    pub what: &'static str,
    pub problem: Problem,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    #[error("is missing")]
    Missing,
    #[error("is unspecified, or newer than this version of only1mcp: number {number}")]
    UnknownNumber { number: i64 },
    #[error("is {found} bytes long instead of {expected}")]
    Length { expected: usize, found: usize },
    #[error("is too large: {found}; at most {max} are allowed")]
    TooLarge { found: u64, max: u64 },
    #[error("stands in another table's row")]
    OtherTable,
    #[error("{detail}")]
    Invalid { detail: String },
}

impl DecodeError {
    pub(crate) fn new(what: &'static str, problem: Problem) -> Self {
        Self { what, problem }
    }

    pub(crate) fn missing(what: &'static str) -> Self {
        Self::new(what, Problem::Missing)
    }

    pub(crate) fn invalid(what: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::new(what, Problem::Invalid { detail: detail.to_string() })
    }
}

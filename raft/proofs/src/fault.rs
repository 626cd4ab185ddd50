//! What a verifier may find. The code is stable: the verifier in Python says the same.

/// Why something is not proven.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail} ({code})")]
pub struct Fault {
    pub code: &'static str,
    pub detail: String,
}

impl Fault {
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// It is no file of ours, or a field is not of its form.
pub(crate) fn malformed(detail: impl Into<String>) -> Fault {
    Fault::new("MALFORMED", detail)
}

//! The evaluator.

use crate::decide::{CompiledPolicy, Decision, Request};

impl CompiledPolicy {
    /// Decides one request. No I/O, no lock; P5: whatever is missing or broken is a deny.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let _ = request;
        unimplemented!()
    }
}

//! Other ways to the same allow: what a caller may fall back on where the deciding path's own limit is used up.

use crate::decide::guard::Facts;
use crate::decide::permissions::Wanted;
use crate::decide::{CompiledPolicy, Evidence, Request};

impl CompiledPolicy {
    /// The paths besides that of `first` by which the request is allowed too, in the order of grant and role ids;
    /// those that rest on a waived second factor come last. `first`: what [`CompiledPolicy::decide`] said; everything
    /// that is not the path's holds for them as it did for it.
    pub fn alternatives(&self, request: &Request<'_>, first: &Evidence) -> Vec<Evidence> {
        let facts = Facts::new(&request.context);
        let Ok(caller) = self.identify(request, &facts) else { return Vec::new() };
        let others = caller.paths(Wanted::new(request.action), &facts);
        let others = others.filter(|other| other.failures.is_empty() && **other.proof != *first.path);
        let mut others: Vec<_> = others
            .filter_map(|other| {
                let evidence = Evidence {
                    path: other.proof.clone(),
                    permission: other.permission?,
                    mfa_waived: first.mfa_waived || other.waived,
                    ..first.clone()
                };
                Some((other.waived, evidence))
            })
            .collect();
        others.sort_by_key(|(waived, _)| *waived);
        others.into_iter().map(|(_, evidence)| evidence).collect()
    }
}

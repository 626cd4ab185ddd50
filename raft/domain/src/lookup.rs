//! Derived lookups: what the records say, found from the other end. Never stored: rebuilt from the records, and kept
//! in step by the only code that writes them (`apply/store.rs`).

use std::ops::Bound;

use imbl::{OrdMap, OrdSet};

use crate::ids::{ApiKeyId, GrantId, PrincipalId, RoleId, RuleId, SubjectKeyId, TenantId};
use crate::state::Versioned;

/// Part of [`crate::State`]; equal records make equal lookups.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lookup {
    pub(crate) grants_of: OrdSet<(TenantId, PrincipalId, GrantId)>,
    pub(crate) grants_to: OrdSet<(TenantId, RoleId, GrantId)>,
    pub(crate) keys_of: OrdSet<(TenantId, PrincipalId, ApiKeyId)>,
    /// (tenant, parent, child): `child` inherits from `parent`.
    pub(crate) heirs: OrdSet<(TenantId, RoleId, RoleId)>,
    /// Tenants by custom domain.
    pub(crate) domains: OrdMap<String, TenantId>,
    pub(crate) principals_in: OrdMap<TenantId, usize>,
    pub(crate) roles_in: OrdMap<TenantId, usize>,
    pub(crate) restrictions_in: OrdMap<TenantId, usize>,
    pub(crate) denies_in: OrdMap<TenantId, usize>,
    pub(crate) upstreams_in: OrdMap<TenantId, usize>,
    pub(crate) budgets_in: OrdMap<TenantId, usize>,
    pub(crate) prices_in: OrdMap<TenantId, usize>,
    pub(crate) meterings_in: OrdMap<TenantId, usize>,
    /// What the records of a tenant take; `apply/storage.rs`.
    pub(crate) bytes_in: OrdMap<TenantId, u64>,
    /// Whose a key is, of those that are not erased.
    pub(crate) subject_of: OrdMap<SubjectKeyId, (TenantId, PrincipalId)>,
    /// Persons something is remembered of.
    pub(crate) subjects_in: OrdMap<TenantId, usize>,
    /// Tool restrictions that limit a rate.
    pub(crate) rated: OrdSet<(TenantId, RuleId)>,
}

impl Lookup {
    /// Ids of the grants that a principal holds, ascending.
    pub fn grants_of<'a>(
        &'a self,
        tenant: &'a TenantId,
        principal: &'a PrincipalId,
    ) -> impl Iterator<Item = &'a GrantId> {
        of(&self.grants_of, tenant, principal)
    }

    /// Ids of the grants that give a role, ascending.
    pub fn grants_to<'a>(
        &'a self,
        tenant: &'a TenantId,
        role: &'a RoleId,
    ) -> impl Iterator<Item = &'a GrantId> {
        of(&self.grants_to, tenant, role)
    }

    /// Ids of a principal's keys, ascending.
    pub fn keys_of<'a>(
        &'a self,
        tenant: &'a TenantId,
        principal: &'a PrincipalId,
    ) -> impl Iterator<Item = &'a ApiKeyId> {
        of(&self.keys_of, tenant, principal)
    }

    /// The roles of a tenant that inherit from a role directly, ascending.
    pub fn heirs<'a>(&'a self, tenant: &'a TenantId, role: &'a RoleId) -> impl Iterator<Item = &'a RoleId> {
        of(&self.heirs, tenant, role)
    }

    /// Ids of a tenant's tool restrictions that limit a rate, ascending.
    pub fn rated<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = &'a RuleId> {
        self.rated
            .range((Bound::Included(First(tenant.as_str(), "")), Bound::Unbounded))
            .take_while(move |(owner, _)| owner == tenant)
            .map(|(_, id)| id)
    }

    /// Whose key this is; `None` of one that is erased.
    pub fn subject_of(&self, key: SubjectKeyId) -> Option<&(TenantId, PrincipalId)> {
        self.subject_of.get(&key)
    }

    /// The tenant whose custom domain this is.
    pub fn domain(&self, domain: &str) -> Option<&TenantId> {
        self.domains.get(domain)
    }
}

/// The third parts of the members that begin with `tenant` and `middle`.
fn of<'a, M, I>(
    set: &'a OrdSet<(TenantId, M, I)>,
    tenant: &'a TenantId,
    middle: &'a M,
) -> impl Iterator<Item = &'a I>
where
    M: Ord + AsRef<str>,
    I: Ord + AsRef<str>,
{
    set.range((Bound::Included(First(tenant.as_str(), middle.as_ref())), Bound::Unbounded))
        .take_while(move |(t, m, _)| t == tenant && m == middle)
        .map(|(_, _, id)| id)
}

/// One tenant's records, in the order of their ids.
pub(crate) fn of_tenant<'m, I, V>(
    map: &'m OrdMap<(TenantId, I), Versioned<V>>,
    tenant: &'m TenantId,
) -> impl Iterator<Item = &'m V>
where
    I: Ord + AsRef<str>,
{
    map.range((Bound::Included(First(tenant.as_str(), "")), Bound::Unbounded))
        .take_while(move |((owner, _), _)| owner == tenant)
        .map(|(_, record)| &record.value)
}

/// Sorts before every member that begins with these two.
struct First<'a>(&'a str, &'a str);

impl<M: AsRef<str>, I> equivalent::Equivalent<(TenantId, M, I)> for First<'_> {
    /// Never: ids are not empty.
    fn equivalent(&self, _: &(TenantId, M, I)) -> bool {
        false
    }
}

impl<M: AsRef<str>, I> equivalent::Comparable<(TenantId, M, I)> for First<'_> {
    fn compare(&self, (tenant, middle, _): &(TenantId, M, I)) -> std::cmp::Ordering {
        let order = self.0.cmp(tenant.as_str()).then_with(|| self.1.cmp(middle.as_ref()));
        order.then(std::cmp::Ordering::Less)
    }
}

impl<I: AsRef<str>> equivalent::Equivalent<(TenantId, I)> for First<'_> {
    /// Never, as above.
    fn equivalent(&self, _: &(TenantId, I)) -> bool {
        false
    }
}

impl<I: AsRef<str>> equivalent::Comparable<(TenantId, I)> for First<'_> {
    fn compare(&self, (tenant, id): &(TenantId, I)) -> std::cmp::Ordering {
        let order = self.0.cmp(tenant.as_str()).then_with(|| self.1.cmp(id.as_ref()));
        order.then(std::cmp::Ordering::Less)
    }
}

/// Moves a count by one; a count of nothing is no entry.
pub(crate) fn count(counts: &mut OrdMap<TenantId, usize>, tenant: &TenantId, more: bool) {
    let before = counts.get(tenant).copied().unwrap_or(0);
    let after = if more { before.saturating_add(1) } else { before.saturating_sub(1) };
    if after == 0 {
        counts.remove(tenant);
    } else {
        counts.insert(tenant.clone(), after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_first_two_parts() {
        let tenant = |text: &str| TenantId::new(text).unwrap();
        let role = |text: &str| RoleId::new(text).unwrap();
        let mut lookup = Lookup::default();
        for (t, parent, child) in
            [("a", "p", "x"), ("a", "p", "y"), ("a", "p0", "z"), ("a-b", "p", "x"), ("b", "p", "w")]
        {
            lookup.heirs.insert((tenant(t), role(parent), role(child)));
        }
        let found = |t: &str, parent: &str| -> Vec<String> {
            lookup.heirs(&tenant(t), &role(parent)).map(|c| c.as_str().to_owned()).collect()
        };
        assert_eq!(found("a", "p"), ["x", "y"]);
        assert_eq!(found("a", "p0"), ["z"]);
        assert_eq!(found("b", "p"), ["w"]);
        assert!(found("c", "p").is_empty() && found("a", "q").is_empty());
    }

    #[test]
    fn a_count_of_nothing_leaves_no_entry() {
        let (mut counts, tenant) = (OrdMap::new(), TenantId::system());
        count(&mut counts, &tenant, true);
        count(&mut counts, &tenant, true);
        assert_eq!(counts.get(&tenant), Some(&2));
        count(&mut counts, &tenant, false);
        count(&mut counts, &tenant, false);
        count(&mut counts, &tenant, false);
        assert!(counts.is_empty());
    }
}

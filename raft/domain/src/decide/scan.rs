//! Looking into maps keyed by (tenant, id) without making such a key.

use std::cmp::Ordering;
use std::ops::Bound;

use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;

use crate::ids::TenantId;
use crate::state::Versioned;

/// A borrowed (tenant, id); an empty id sorts before all.
struct Key<'a>(&'a str, &'a str);

impl<I: AsRef<str>> Equivalent<(TenantId, I)> for Key<'_> {
    fn equivalent(&self, (tenant, id): &(TenantId, I)) -> bool {
        self.1 == id.as_ref() && self.0 == tenant.as_str()
    }
}

impl<I: AsRef<str>> Comparable<(TenantId, I)> for Key<'_> {
    fn compare(&self, (tenant, id): &(TenantId, I)) -> Ordering {
        self.0.cmp(tenant.as_str()).then_with(|| self.1.cmp(id.as_ref()))
    }
}

/// The records of one tenant, in the order of their ids.
pub(super) fn of_tenant<'m, I, V>(
    map: &'m OrdMap<(TenantId, I), Versioned<V>>,
    tenant: &'m TenantId,
) -> impl Iterator<Item = (&'m I, &'m V)>
where
    I: AsRef<str> + Ord + Clone,
    V: Clone,
{
    map.range((Bound::Included(Key(tenant.as_str(), "")), Bound::Unbounded))
        .take_while(move |((owner, _), _)| owner == tenant)
        .map(|((_, id), record)| (id, &record.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RoleId;

    #[test]
    fn a_tenants_records_are_exactly_its_own() {
        let tenant = |text: &str| TenantId::new(text).unwrap();
        let mut map = OrdMap::new();
        for (owner, role) in [("a", "z"), ("b", "0"), ("b", "x"), ("b-b", "x"), ("c", "0")] {
            let key = (tenant(owner), RoleId::new(role).unwrap());
            map.insert(key, Versioned { revision: 1, value: () });
        }
        let found = |owner: &str| -> Vec<String> {
            let owner = tenant(owner);
            of_tenant(&map, &owner).map(|(id, ())| id.as_str().to_owned()).collect()
        };
        assert_eq!(found("b"), ["0", "x"]);
        assert_eq!(found("a"), ["z"]);
        assert!(found("d").is_empty());
    }
}

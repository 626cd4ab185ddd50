//! Sums by group, bounded: a report keeps apart so many groups, and tells so many of them one by one.

use std::collections::BTreeMap;

use only1mcp_domain::limits::REPORT_GROUPS_HELD_MAX as HELD_MAX;
use only1mcp_domain::money::{Overflow, PicoUsd};
use only1mcp_domain::price::Meter;
use only1mcp_proto::admin as pb;

/// What a report adds up of one record.
pub(super) struct Item {
    pub(super) cost: PicoUsd,
    pub(super) is_correction: bool,
    pub(super) units: Vec<(Meter, u64)>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Sums {
    records: u64,
    cost: PicoUsd,
    corrected: PicoUsd,
    units: BTreeMap<Meter, u64>,
}

impl Sums {
    fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.records = self.records.checked_add(other.records).ok_or(Overflow)?;
        self.cost = self.cost.checked_add(other.cost)?;
        self.corrected = self.corrected.checked_add(other.corrected)?;
        for (meter, units) in &other.units {
            let sum = self.units.entry(*meter).or_default();
            *sum = sum.checked_add(*units).ok_or(Overflow)?;
        }
        Ok(())
    }

    fn of(item: Item) -> Result<Self, Overflow> {
        let mut sums = Self { records: 1, cost: item.cost, ..Self::default() };
        if item.is_correction {
            sums.corrected = item.cost;
        }
        for (meter, units) in item.units {
            let sum = sums.units.entry(meter).or_default();
            *sum = sum.checked_add(units).ok_or(Overflow)?;
        }
        Ok(sums)
    }

    pub(super) fn shown(&self, key: String) -> pb::CostGroup {
        let units = self.units.iter();
        let units =
            units.map(|(meter, units)| pb::CostUnits { meter: meter.code().to_owned(), units: *units });
        pb::CostGroup {
            key,
            records: self.records,
            cost: self.cost.to_string(),
            corrected: self.corrected.to_string(),
            units: units.collect(),
        }
    }
}

/// All groups of one report.
#[derive(Default)]
pub(super) struct Groups {
    held: BTreeMap<String, Sums>,
    beyond: Sums,
    total: Sums,
}

/// As a report tells them.
pub(super) struct Told {
    pub(super) groups: Vec<pb::CostGroup>,
    pub(super) rest: Option<pb::CostGroup>,
    pub(super) rest_groups: u64,
    pub(super) too_many: bool,
    pub(super) total: pb::CostGroup,
}

impl Groups {
    pub(super) fn add(&mut self, key: &str, item: Item) -> Result<(), Overflow> {
        let sums = Sums::of(item)?;
        self.total.add(&sums)?;
        if let Some(group) = self.held.get_mut(key) {
            return group.add(&sums);
        }
        if self.held.len() >= HELD_MAX {
            return self.beyond.add(&sums);
        }
        self.held.insert(key.to_owned(), sums);
        Ok(())
    }

    /// The first `max` groups, the costliest first unless they have an order of their own; all others in one.
    pub(super) fn told(self, max: usize, in_key_order: bool) -> Result<Told, Overflow> {
        let Self { held, beyond, total } = self;
        let too_many = beyond.records > 0;
        let mut all: Vec<(String, Sums)> = held.into_iter().collect();
        if !in_key_order {
            all.sort_by(|(a_key, a), (b_key, b)| b.cost.cmp(&a.cost).then_with(|| a_key.cmp(b_key)));
        }
        let others = all.split_off(max.min(all.len()));
        let mut rest = beyond;
        for (_, sums) in &others {
            rest.add(sums)?;
        }
        // How many groups are beyond those held nobody knows: at least one.
        let rest_groups = others.len() as u64 + u64::from(too_many);
        Ok(Told {
            groups: all.into_iter().map(|(key, sums)| sums.shown(key)).collect(),
            rest: (rest.records > 0).then(|| rest.shown(String::new())),
            rest_groups,
            too_many,
            total: total.shown(String::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(groups: &mut Groups, key: &str, pico: i128) {
        let units = vec![(Meter::Call, 1), (Meter::Byte, 2)];
        let item = Item { cost: PicoUsd(pico), is_correction: pico < 0, units };
        groups.add(key, item).unwrap();
    }

    fn costs(told: &Told) -> Vec<(&str, &str)> {
        told.groups.iter().map(|group| (group.key.as_str(), group.cost.as_str())).collect()
    }

    #[test]
    fn the_costliest_come_first_and_the_rest_is_told_as_such() {
        let mut groups = Groups::default();
        for (key, pico) in [("a", 1), ("b", 5), ("c", 5), ("d", 2), ("a", 3), ("d", -1)] {
            add(&mut groups, key, pico);
        }
        let told = groups.told(2, false).unwrap();
        assert_eq!(costs(&told), [("b", "0.000000000005"), ("c", "0.000000000005")]);
        let rest = told.rest.unwrap();
        assert_eq!((told.rest_groups, rest.records, rest.cost.as_str()), (2, 4, "0.000000000005"));
        assert_eq!(rest.corrected, "-0.000000000001");
        assert_eq!((told.total.records, told.total.cost.as_str()), (6, "0.000000000015"));
        let units: Vec<_> = told.total.units.iter().map(|u| (u.meter.as_str(), u.units)).collect();
        assert_eq!(units, [("call", 6), ("byte", 12)]);
        assert!(!told.too_many);
    }

    #[test]
    fn an_order_of_their_own_is_kept_and_nothing_is_nothing() {
        let mut groups = Groups::default();
        for (key, pico) in [("2", 9), ("1", 1), ("3", 5)] {
            add(&mut groups, key, pico);
        }
        let told = groups.told(100, true).unwrap();
        assert_eq!(told.groups.iter().map(|group| group.key.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
        assert!(told.rest.is_none() && told.rest_groups == 0);
        let nothing = Groups::default().told(100, false).unwrap();
        assert!(nothing.groups.is_empty() && nothing.rest.is_none());
        assert_eq!((nothing.total.cost.as_str(), nothing.total.corrected.as_str()), ("0", "0"));
    }

    #[test]
    fn groups_that_are_kept_apart_are_bounded() {
        let mut groups = Groups::default();
        for key in 0..HELD_MAX {
            add(&mut groups, &format!("k{key:06}"), 1);
        }
        let all = Groups { held: groups.held.clone(), ..Groups::default() };
        assert!(!all.told(1, false).unwrap().too_many, "as many as are kept apart");
        add(&mut groups, "one-more", 1);
        add(&mut groups, "k000000", 1);
        assert_eq!(groups.held.len(), HELD_MAX);
        let told = groups.told(1, false).unwrap();
        assert_eq!(costs(&told), [("k000000", "0.000000000002")]);
        assert!(told.too_many);
        assert_eq!((told.rest_groups, told.rest.unwrap().records), (HELD_MAX as u64, HELD_MAX as u64));
        assert_eq!(told.total.records, HELD_MAX as u64 + 2);
    }

    #[test]
    fn a_sum_beyond_counting_is_an_error_and_no_wrong_number() {
        let mut groups = Groups::default();
        add(&mut groups, "a", i128::MAX);
        let item = Item { cost: PicoUsd(1), is_correction: false, units: Vec::new() };
        assert_eq!(groups.add("b", item), Err(Overflow));
    }
}

//! What cost records are told apart by besides the fixed dimensions: a few names with values, from the configuration and,
//! where a tenant allows the name, from the call itself.
//! Source: specification, "Cost Attribution Engine", `CostRecord::tags`.

use std::collections::BTreeMap;

use crate::limits::{TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX};

/// By key, in its order.
pub type Tags = BTreeMap<String, String>;

/// Where the tags of a tenant's calls come from. By default from nowhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CostTags {
    /// Of every call in the tenant.
    pub fixed: Tags,
    /// Attributes of the calling principal that are tags, too, by name. Those of another tenant's principal never are.
    pub attributes: Vec<String>,
    /// What a call may say of itself. What it says under other keys is not recorded.
    pub call_keys: Vec<String>,
}

impl CostTags {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The tags of one call: the tenant's, then those of its metering, of its principal and of the call itself. The later,
    /// more particular one counts. At most `COST_TAGS_MAX`, because each source has its bound.
    pub fn of_call(&self, metering: &Tags, attributes: &Tags, said: &Tags) -> Tags {
        let mut tags = self.fixed.clone();
        tags.extend(metering.iter().map(|(key, value)| (key.clone(), value.clone())));
        for (names, values) in [(&self.attributes, attributes), (&self.call_keys, said)] {
            let named = names.iter().filter_map(|name| Some((name.clone(), fitting(values.get(name)?)?)));
            tags.extend(named);
        }
        tags
    }
}

/// Attributes may be longer than tags.
fn fitting(value: &str) -> Option<String> {
    is_tag_value(value).then(|| value.to_owned())
}

/// Letters, digits and `_ . - /`, so that it can be typed, and be the head of a column.
pub fn is_tag_key(key: &str) -> bool {
    (1..=TAG_KEY_BYTES_MAX).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
}

pub fn is_tag_value(value: &str) -> bool {
    (1..=TAG_VALUE_BYTES_MAX).contains(&value.len()) && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_more_particular_source_counts_and_a_call_says_only_what_it_may() {
        let config = CostTags {
            fixed: tags(&[("env", "prod"), ("team", "core"), ("a", "tenant")]),
            attributes: vec!["team".into(), "none".into()],
            call_keys: vec!["ticket".into(), "a".into()],
        };
        let metering = tags(&[("a", "metering"), ("kind", "llm")]);
        let attributes = tags(&[("team", "search"), ("salary", "5")]);
        let said = tags(&[("ticket", "T-1"), ("env", "test"), ("a", "call")]);
        let all = config.of_call(&metering, &attributes, &said);
        let expected =
            tags(&[("a", "call"), ("env", "prod"), ("kind", "llm"), ("team", "search"), ("ticket", "T-1")]);
        assert_eq!(all, expected);
        let nothing = CostTags::default().of_call(&Tags::new(), &attributes, &said);
        assert!(nothing.is_empty(), "{nothing:?}");
    }

    #[test]
    fn what_does_not_fit_is_no_tag() {
        let config = CostTags { call_keys: vec!["k".into()], ..CostTags::default() };
        let of = |value: &str| config.of_call(&Tags::new(), &Tags::new(), &tags(&[("k", value)]));
        let longest = "v".repeat(TAG_VALUE_BYTES_MAX);
        assert_eq!(of(&longest), tags(&[("k", &longest)]));
        for bad in ["", "a\nb", &format!("{longest}v")] {
            assert!(of(bad).is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn tag_key_bytes_max() {
        assert!(is_tag_key(&"k".repeat(TAG_KEY_BYTES_MAX)) && is_tag_key("a.b/c-d_1"));
        for bad in ["", "a b", "a=b", "a:b", "\u{e4}", &"k".repeat(TAG_KEY_BYTES_MAX + 1)] {
            assert!(!is_tag_key(bad), "{bad:?}");
        }
    }
}

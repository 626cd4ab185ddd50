//! How the usage of a tool's calls is measured: which model, which numbers of the answer, and the most there can be.

use crate::ids::{MeteringId, TenantId};
use crate::limits::{
    NAME_BYTES_MAX, POINTER_BYTES_MAX, POINTERS_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX,
    UNITS_MAX,
};
use crate::model::{Glob, Tags, is_tag_key};
use crate::price::fault::{check_text, ensure};
use crate::price::{Amounts, Fault, Meter, Problem};

/// Where the units of one meter are found. Pointers go into the `result` of the answer and find whole numbers.
/// Source: RFC 6901.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UsageSource {
    Pointer(String),
    /// One number less others: providers report input with what was cached in it, the meters are disjoint.
    Difference {
        of: String,
        minus: Vec<String>,
    },
    /// By the gateway: the call, its duration, the bytes of its result.
    Counted,
}

impl UsageSource {
    /// Every pointer in it, with its place.
    fn pointers(&self) -> Vec<(String, &str)> {
        match self {
            Self::Counted => Vec::new(),
            Self::Pointer(pointer) => vec![("pointer".to_owned(), pointer)],
            Self::Difference { of, minus } => {
                let minus = minus.iter().enumerate().map(|(n, at)| (format!("minus[{n}]"), at.as_str()));
                std::iter::once(("of".to_owned(), of.as_str())).chain(minus).collect()
            }
        }
    }
}

/// The most exact pattern that matches a tool measures it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metering {
    pub id: MeteringId,
    /// Whose calls it measures; those of `system` measure the calls of tenants that have none of their own.
    pub tenant: TenantId,
    /// By exposed name.
    pub tools: Glob,
    /// The model whose prices hold.
    pub provider: String,
    pub model: String,
    /// Where the answer names the model that served it: told in cost records, never priced by.
    pub model_pointer: Option<String>,
    /// A number that all tokens together must make; where they do not, the usage counts as not known.
    pub total_pointer: Option<String>,
    /// Every meter that a call uses, once.
    pub usage: Vec<(Meter, UsageSource)>,
    /// The most that one call can use, declared before it is sent.
    pub bounds: Amounts,
    /// Of the cost records of these calls.
    pub tags: Tags,
}

impl Metering {
    /// Errors: the first fault, by field.
    pub fn validate(&self) -> Result<(), Fault> {
        check_text("provider", &self.provider, NAME_BYTES_MAX)?;
        check_text("model", &self.model, NAME_BYTES_MAX)?;
        for (field, pointer) in
            [("model_pointer", &self.model_pointer), ("total_pointer", &self.total_pointer)]
        {
            if let Some(pointer) = pointer {
                check_pointer(field, pointer)?;
            }
        }
        ensure(!self.usage.is_empty(), || "usage".to_owned(), Problem::Empty)?;
        for (position, (meter, source)) in self.usage.iter().enumerate() {
            let path = |field: &str| format!("usage[{position}].{field}");
            let again = self.usage.iter().take(position).any(|(other, _)| other == meter);
            ensure(!again, || path("meter"), Problem::Twice { meter: *meter })?;
            let countable = *source != UsageSource::Counted || meter.is_counted();
            ensure(countable, || path("source"), Problem::NotCounted)?;
            if let UsageSource::Difference { minus, .. } = source {
                let count = minus.len();
                ensure(count > 0, || path("minus"), Problem::Empty)?;
                let many = Problem::TooMany { count, max: POINTERS_MAX };
                ensure(count <= POINTERS_MAX, || path("minus"), many)?;
            }
            for (field, pointer) in source.pointers() {
                check_pointer(&path(&field), pointer)?;
            }
        }
        for (meter, units) in self.bounds.iter() {
            ensure(units <= UNITS_MAX, || format!("bounds.{meter}"), Problem::TooLarge { max: UNITS_MAX })?;
        }
        let many = Problem::TooMany { count: self.tags.len(), max: TAGS_MAX };
        ensure(self.tags.len() <= TAGS_MAX, || "tags".to_owned(), many)?;
        for (key, value) in &self.tags {
            let no_key = Problem::NotATagKey { max: TAG_KEY_BYTES_MAX };
            ensure(is_tag_key(key), || "tags".to_owned(), no_key)?;
            check_text(&format!("tags.{key}"), value, TAG_VALUE_BYTES_MAX)?;
        }
        Ok(())
    }

    pub fn source(&self, meter: Meter) -> Option<&UsageSource> {
        self.usage.iter().find(|(of, _)| *of == meter).map(|(_, source)| source)
    }
}

fn check_pointer(field: &str, pointer: &str) -> Result<(), Fault> {
    check_text(field, pointer, POINTER_BYTES_MAX)?;
    let escapes = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    ensure(pointer.starts_with('/') && escapes, || field.to_owned(), Problem::NotAPointer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::price::samples::acme;

    pub(crate) fn metering(usage: &[(Meter, UsageSource)], bounds: Amounts) -> Metering {
        Metering {
            id: MeteringId::new("m").unwrap(),
            tenant: acme(),
            tools: Glob::new("*").unwrap(),
            provider: "maker".to_owned(),
            model: "m1".to_owned(),
            model_pointer: None,
            total_pointer: None,
            usage: usage.to_vec(),
            bounds,
            tags: Tags::new(),
        }
    }

    pub(crate) fn at(pointer: &str) -> UsageSource {
        UsageSource::Pointer(pointer.to_owned())
    }

    #[track_caller]
    fn refused(metering: Metering, field: &str, problem: Problem) {
        assert_eq!(metering.validate(), Err(Fault::new(field, problem)));
    }

    fn one(source: UsageSource) -> Metering {
        metering(&[(Meter::Output, source)], Amounts::default())
    }

    #[test]
    fn pointers_are_rfc_6901() {
        for good in ["/", "/a/b", "/_meta/usage~1x/~0", "/0", "/ä b"] {
            assert_eq!(one(at(good)).validate(), Ok(()), "{good}");
        }
        for bad in ["a", "#/a", "/~", "/~2", "/a~/b", "$.a"] {
            refused(one(at(bad)), "usage[0].pointer", Problem::NotAPointer);
        }
        refused(one(at("")), "usage[0].pointer", Problem::Empty);
        refused(
            Metering { model_pointer: Some("x".into()), ..one(at("/a")) },
            "model_pointer",
            Problem::NotAPointer,
        );
        refused(
            Metering { total_pointer: Some("x".into()), ..one(at("/a")) },
            "total_pointer",
            Problem::NotAPointer,
        );
        let difference = UsageSource::Difference { of: "/a".into(), minus: vec!["/b".into(), "c".into()] };
        refused(one(difference), "usage[0].minus[1]", Problem::NotAPointer);
    }

    #[test]
    fn each_meter_has_one_source_that_suits_it() {
        refused(metering(&[], Amounts::default()), "usage", Problem::Empty);
        let twice = [(Meter::Output, at("/a")), (Meter::Output, at("/b"))];
        let problem = Problem::Twice { meter: Meter::Output };
        refused(metering(&twice, Amounts::default()), "usage[1].meter", problem);
        refused(one(UsageSource::Counted), "usage[0].source", Problem::NotCounted);
        let counted = [Meter::Call, Meter::Second, Meter::Byte].map(|meter| (meter, UsageSource::Counted));
        assert_eq!(metering(&counted, Amounts::default()).validate(), Ok(()));
        refused(Metering { model: String::new(), ..one(at("/a")) }, "model", Problem::Empty);
    }

    #[test]
    fn pointer_bytes_max() {
        let max = POINTER_BYTES_MAX;
        let long = |len: usize| one(at(&format!("/{}", "x".repeat(len - 1))));
        assert_eq!(long(max).validate(), Ok(()));
        refused(long(max + 1), "usage[0].pointer", Problem::TooLong { len: max + 1, max });
    }

    #[test]
    fn pointers_max() {
        let max = POINTERS_MAX;
        let less = |count| one(UsageSource::Difference { of: "/a".into(), minus: vec!["/b".into(); count] });
        assert_eq!(less(max).validate(), Ok(()));
        refused(less(max + 1), "usage[0].minus", Problem::TooMany { count: max + 1, max });
        refused(less(0), "usage[0].minus", Problem::Empty);
    }

    #[test]
    fn tags_max_and_what_a_tag_is() {
        let tagged =
            |tags: Tags| Metering { tags, ..metering(&[(Meter::Output, at("/a"))], Amounts::default()) };
        let many = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect::<Tags>();
        let one = |key: &str, value: String| Tags::from([(key.to_owned(), value)]);
        assert_eq!(tagged(many(TAGS_MAX)).validate(), Ok(()));
        let count = TAGS_MAX + 1;
        refused(tagged(many(count)), "tags", Problem::TooMany { count, max: TAGS_MAX });
        refused(tagged(one("a b", "v".into())), "tags", Problem::NotATagKey { max: TAG_KEY_BYTES_MAX });
        refused(tagged(one("k", String::new())), "tags.k", Problem::Empty);
        let max = TAG_VALUE_BYTES_MAX;
        assert_eq!(tagged(one("k", "v".repeat(max))).validate(), Ok(()));
        refused(tagged(one("k", "v".repeat(max + 1))), "tags.k", Problem::TooLong { len: max + 1, max });
    }

    #[test]
    fn units_max() {
        let bounded =
            |units| metering(&[(Meter::Output, at("/a"))], Amounts::default().with(Meter::Output, units));
        assert_eq!(bounded(UNITS_MAX).validate(), Ok(()));
        refused(bounded(UNITS_MAX + 1), "bounds.output", Problem::TooLarge { max: UNITS_MAX });
    }
}

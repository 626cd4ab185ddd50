//! What a call used: read from its answer as the item's metering says, or counted here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use only1mcp_domain::limits::NAME_BYTES_MAX;
use only1mcp_domain::price::{Amounts, Counted, Meter, Metering, UsageSource, read_usage};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::ports::Used;

/// Of a call that certainly never reached its upstream.
pub(super) fn nothing() -> Used {
    let amounts = Meter::ALL.into_iter().fold(Amounts::default(), |all, meter| all.with(meter, 0));
    Used { amounts, model: None }
}

/// Of an answer. `result` is absent where the upstream answered with an error. What the metering should find and does
/// not stays unknown, whatever the gateway could count instead: an answer is no way to pay less than its bound.
/// INVARIANT: P1
pub(super) fn of_answer(
    metering: Option<&Metering>,
    result: Option<&RawValue>,
    took: Duration,
    bytes: u64,
) -> Used {
    let counted = Counted { duration: took, result_bytes: bytes };
    let wanted = metering.map(Wanted::by).unwrap_or_default();
    let found = match result {
        Some(result) if !wanted.is_empty() => wanted.find(result),
        _ => Values::default(),
    };
    let number_at = |pointer: &str| match found.get(pointer) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    let amounts = read_usage(metering, counted, number_at).unwrap_or_else(|why| {
        tracing::warn!(metering = metering.map(|metering| metering.id.as_str()), "usage is not known: {why}");
        known(metering, counted)
    });
    let model = metering.and_then(|metering| metering.model_pointer.as_deref()).and_then(|at| found.get(at));
    let model = match model {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    Used { amounts, model }
}

/// What is counted here because nothing else says it.
fn known(metering: Option<&Metering>, counted: Counted) -> Amounts {
    let elsewhere = |meter: Meter| {
        let source = metering.and_then(|metering| metering.source(meter));
        source.is_some_and(|source| *source != UsageSource::Counted)
    };
    let here = counted.amounts();
    let here = here.iter().filter(|(meter, _)| !elsewhere(*meter));
    here.fold(Amounts::default(), |all, (meter, units)| all.with(meter, units))
}

/// The value at a pointer, as far as it is of use.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Number(u64),
    Text(String),
}

type Values = BTreeMap<String, Value>;

/// Pointers as a tree, so that one pass over the answer finds all and keeps nothing else of it.
/// Source: RFC 6901.
#[derive(Default)]
struct Wanted {
    /// The pointer that ends here.
    pointer: Option<String>,
    below: BTreeMap<String, Wanted>,
}

impl Wanted {
    fn by(metering: &Metering) -> Self {
        let mut all = Self::default();
        for (_, source) in &metering.usage {
            match source {
                UsageSource::Counted => {}
                UsageSource::Pointer(pointer) => all.add(pointer),
                UsageSource::Difference { of, minus } => {
                    all.add(of);
                    minus.iter().for_each(|pointer| all.add(pointer));
                }
            }
        }
        let others = [&metering.model_pointer, &metering.total_pointer];
        others.into_iter().flatten().for_each(|pointer| all.add(pointer));
        all
    }

    fn add(&mut self, pointer: &str) {
        let mut at = self;
        for token in pointer.split('/').skip(1) {
            at = at.below.entry(token.replace("~1", "/").replace("~0", "~")).or_default();
        }
        at.pointer = Some(pointer.to_owned());
    }

    fn is_empty(&self) -> bool {
        self.below.is_empty()
    }

    /// Nothing where the answer names a member twice on the way: which one is meant nobody can say.
    fn find(&self, result: &RawValue) -> Values {
        let mut values = Values::new();
        let mut text = serde_json::Deserializer::from_str(result.get());
        match (Finder { wanted: self, values: &mut values }).deserialize(&mut text) {
            Ok(()) => values,
            Err(_) => Values::default(),
        }
    }
}

struct Finder<'a> {
    wanted: &'a Wanted,
    values: &'a mut Values,
}

impl Finder<'_> {
    fn found(&mut self, value: Value) {
        if let Some(pointer) = &self.wanted.pointer {
            self.values.insert(pointer.clone(), value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(wanted) = self.wanted.below.get(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&name) {
                return Err(A::Error::custom("a member is named twice"));
            }
            seen.push(name);
            map.next_value_seed(Finder { wanted, values: &mut *self.values })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let nothing = Wanted::default();
        for at in 0_usize.. {
            let wanted = self.wanted.below.get(&at.to_string()).unwrap_or(&nothing);
            if seq.next_element_seed(Finder { wanted, values: &mut *self.values })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.found(Value::Number(number));
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        // For records and people: no more of it than a model's name may have.
        if !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control) {
            self.found(Value::Text(text.to_owned()));
        }
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{MeteringId, TenantId};
    use only1mcp_domain::model::Glob;

    use super::*;

    const TOOK: Duration = Duration::from_millis(7);

    fn metering(usage: Vec<(Meter, UsageSource)>) -> Metering {
        Metering {
            id: MeteringId::new("m").unwrap(),
            tenant: TenantId::new("acme").unwrap(),
            tools: Glob::new("*").unwrap(),
            provider: "maker".to_owned(),
            model: "m1".to_owned(),
            model_pointer: Some("/_meta/model".to_owned()),
            tags: Default::default(),
            total_pointer: None,
            usage,
            bounds: Amounts::default(),
        }
    }

    fn at(pointer: &str) -> UsageSource {
        UsageSource::Pointer(pointer.to_owned())
    }

    fn read(metering: &Metering, result: &str) -> Used {
        let result: Box<RawValue> = serde_json::from_str(result).unwrap();
        of_answer(Some(metering), Some(&result), TOOK, 100)
    }

    #[test]
    fn numbers_are_found_where_the_metering_says() {
        let less = UsageSource::Difference { of: "/u/in".into(), minus: vec!["/u/a~1b/1/~0".into()] };
        let metering = metering(vec![(Meter::UncachedInput, less), (Meter::Output, at("/u/out"))]);
        let used = read(
            &metering,
            r#"{"_meta":{"model":"m1-2"},"u":{"x":[{}],"in":50,"a/b":[7,{"~":20}],"out":3},"content":[[1,[2]]]}"#,
        );
        assert_eq!(used.amounts.get(Meter::UncachedInput), Some(30));
        assert_eq!(used.amounts.get(Meter::Output), Some(3));
        assert_eq!((used.amounts.get(Meter::Call), used.amounts.get(Meter::Byte)), (Some(1), Some(100)));
        assert_eq!(used.model.as_deref(), Some("m1-2"));
    }

    #[test]
    fn what_is_no_whole_number_is_not_known() {
        let metering = metering(vec![(Meter::Output, at("/n"))]);
        for bad in ["-1", "1.0", "1e2", "\"1\"", "null", "[1]", "{\"n\":1}", "true", "18446744073709551616"] {
            let used = read(&metering, &format!(r#"{{"n":{bad}}}"#));
            assert_eq!(used.amounts.get(Meter::Output), None, "{bad}");
            assert_eq!(used.amounts.get(Meter::Call), Some(1), "{bad}");
        }
        assert_eq!(read(&metering, r#"{"n":1,"n":2}"#).amounts.get(Meter::Output), None, "named twice");
        assert_eq!(read(&metering, "[]").amounts.get(Meter::Output), None);
        assert_eq!(of_answer(Some(&metering), None, TOOK, 9).amounts.get(Meter::Output), None, "an error");
    }

    /// An upstream that says how long it took, or how many calls it was, does not save by saying nothing.
    #[test]
    fn a_count_of_ours_does_not_stand_in_for_what_the_answer_should_say() {
        let own = metering(vec![(Meter::Second, at("/ms")), (Meter::Byte, UsageSource::Counted)]);
        let used = read(&own, "{}");
        assert_eq!((used.amounts.get(Meter::Second), used.amounts.get(Meter::Byte)), (None, Some(100)));
        assert_eq!(read(&own, r#"{"ms":5000}"#).amounts.get(Meter::Second), Some(5000));
    }

    #[test]
    fn without_a_metering_calls_time_and_bytes_are_counted() {
        let used = of_answer(None, None, TOOK, 5).amounts;
        let all: Vec<_> = used.iter().collect();
        assert_eq!(all, [(Meter::Call, 1), (Meter::Second, 7), (Meter::Byte, 5)]);
    }

    #[test]
    fn a_models_name_is_a_name_or_nothing() {
        let metering = metering(vec![(Meter::Call, UsageSource::Counted)]);
        let model = |text: &str| {
            let result = serde_json::json!({"_meta": {"model": text}}).to_string();
            read(&metering, &result).model
        };
        let longest = "m".repeat(NAME_BYTES_MAX);
        assert_eq!(model(&longest), Some(longest.clone()));
        for bad in ["", "a\nb", &format!("{longest}m")] {
            assert_eq!(model(bad), None);
        }
        assert_eq!(nothing().amounts.iter().filter(|(_, units)| *units == 0).count(), Meter::ALL.len());
    }
}

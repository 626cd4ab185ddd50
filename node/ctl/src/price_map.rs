//! Prices of models from a price map in LiteLLM's format, each taken by the text it is written in: no number passes
//! through a float.
//!
//! A pure function. Whatever is not understood is told, never guessed: a model with a price that is left out may cost
//! more than its entry says, so the caller shows what was skipped.

use std::fmt;

use only1mcp_domain::ids::{PriceId, TenantId};
use only1mcp_domain::money::{Exact, ExactError};
use only1mcp_domain::price::{Currency, Fault, Meter, PriceEntry, PriceLine, PriceSubject};
use only1mcp_domain::time::TimestampMs;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Prices per unit of a meter, in USD.
const PRICES: [(&str, Meter); 6] = [
    ("input_cost_per_token", Meter::UncachedInput),
    ("cache_read_input_token_cost", Meter::CacheRead),
    ("cache_creation_input_token_cost", Meter::CacheWrite),
    ("output_cost_per_token", Meter::Output),
    ("output_cost_per_reasoning_token", Meter::Reasoning),
    ("input_cost_per_request", Meter::Call),
];

/// Modes of models whose tokens are paid for; a model without a mode counts as one.
const TOKEN_MODES: [&str; 4] = ["chat", "completion", "responses", "embedding"];

/// The file is no price map.
#[derive(Debug, thiserror::Error)]
#[error("the file is no JSON object of models: {0}")]
pub struct PriceMapError(#[from] serde_json::Error);

/// What a price map gives.
#[derive(Debug, Default)]
pub struct PriceMap {
    /// Valid, in the order of the file.
    pub entries: Vec<PriceEntry>,
    pub skipped: Vec<Skipped>,
}

/// A model that is left out, or one price of a model that is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    pub model: String,
    pub field: Option<String>,
    pub reason: SkipReason,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}, {field}: {}", self.model, self.reason),
            None => write!(f, "{}: {}", self.model, self.reason),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SkipReason {
    #[error("is no JSON object")]
    NotAnObject,
    #[error("stands in the file before with the same provider")]
    Again,
    #[error("stands twice in the model")]
    TwiceInModel,
    #[error("is not paid for by tokens (mode {mode:?})")]
    Mode { mode: String },
    #[error("names no provider")]
    NoProvider,
    #[error("has no price that is understood")]
    NoPrice,
    #[error("is no number")]
    NotANumber,
    #[error("{0}")]
    BadNumber(ExactError),
    #[error("is zero: declare the meter free by hand if it is")]
    ZeroPrice,
    #[error("is a price by the size of the context, which is no tier of monthly volume: not taken")]
    ContextSize,
    #[error("is a price of a kind that is not counted: not taken")]
    UnknownPrice,
    #[error("cannot be an entry: {0}")]
    Invalid(Fault),
    #[error("cannot be an id: {0}")]
    BadName(only1mcp_domain::ids::IdError),
}

/// Reads the whole map, as prices of `tenant` in USD that hold from `valid_from` on, each for one unit. An entry's id is
/// its provider and model; the model is named as in the file.
/// Errors: `PriceMapError` where the text is no JSON object; what is wrong with single models is in `skipped`.
pub fn parse(text: &str, tenant: &TenantId, valid_from: TimestampMs) -> Result<PriceMap, PriceMapError> {
    let models: Members<'_> = serde_json::from_str(text)?;
    let mut map = PriceMap::default();
    let mut seen = std::collections::BTreeSet::new();
    for (model, raw) in models.0 {
        let mut fields = Vec::new();
        let read = read_model(raw, &mut fields).and_then(|(provider, lines)| {
            let entry = entry(tenant, valid_from, &provider, &model, lines)?;
            // Nothing keeps a file from naming a model twice.
            if seen.insert(entry.id.clone()) { Ok(entry) } else { Err((None, SkipReason::Again)) }
        });
        let told = |(field, reason)| Skipped { model: model.clone(), field, reason };
        map.skipped.extend(fields.into_iter().map(told));
        match read {
            Ok(entry) => map.entries.push(entry),
            Err(skipped) => map.skipped.push(told(skipped)),
        }
    }
    Ok(map)
}

/// A field, or the model itself, and why it is left out.
type Skip = (Option<String>, SkipReason);

/// Provider and lines of one model. Single prices that are left out go to `skipped`; a price that cannot be read leaves
/// out the whole model, because the others alone would make it too cheap.
fn read_model(raw: &RawValue, skipped: &mut Vec<Skip>) -> Result<(String, Vec<PriceLine>), Skip> {
    let fields: Members<'_> = serde_json::from_str(raw.get()).map_err(|_| (None, SkipReason::NotAnObject))?;
    let text = |name: &str| {
        let raw = fields.0.iter().find(|(field, _)| field == name)?.1;
        serde_json::from_str::<String>(raw.get()).ok()
    };
    if let Some(mode) = text("mode").filter(|mode| !TOKEN_MODES.contains(&mode.as_str())) {
        return Err((None, SkipReason::Mode { mode }));
    }
    let provider = text("litellm_provider").filter(|provider| !provider.is_empty());
    let provider = provider.ok_or((None, SkipReason::NoProvider))?;
    let mut lines: Vec<PriceLine> = Vec::new();
    for (field, raw) in fields.0.iter().filter(|(field, raw)| field.contains("cost") && raw.get() != "null") {
        let skip = |reason| (Some(field.clone()), reason);
        let Some((_, meter)) = PRICES.iter().find(|(name, _)| name == field) else {
            let by_context = field.contains("_above_");
            skipped.push(skip(if by_context { SkipReason::ContextSize } else { SkipReason::UnknownPrice }));
            continue;
        };
        let number = raw.get();
        if !number.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            return Err(skip(SkipReason::NotANumber));
        }
        let price = Exact::parse(number).map_err(|error| skip(SkipReason::BadNumber(error)))?;
        if lines.iter().any(|line| line.meter == *meter) {
            return Err(skip(SkipReason::TwiceInModel));
        }
        if price.is_zero() {
            skipped.push(skip(SkipReason::ZeroPrice));
            continue;
        }
        lines.push(PriceLine { meter: *meter, tier_from: 0, unit: 1, price });
    }
    if lines.is_empty() { Err((None, SkipReason::NoPrice)) } else { Ok((provider, lines)) }
}

fn entry(
    tenant: &TenantId,
    valid_from: TimestampMs,
    provider: &str,
    model: &str,
    lines: Vec<PriceLine>,
) -> Result<PriceEntry, Skip> {
    let id =
        PriceId::new(format!("{provider}/{model}")).map_err(|error| (None, SkipReason::BadName(error)))?;
    let entry = PriceEntry {
        id,
        tenant: tenant.clone(),
        subject: PriceSubject::Model { provider: provider.to_owned(), model: model.to_owned() },
        currency: Currency::USD,
        valid_from,
        version: 0,
        lines,
        free: Vec::new(),
    };
    entry.validate(|_| false).map_err(|fault| (None, SkipReason::Invalid(fault)))?;
    Ok(entry)
}

/// The members of a JSON object in their order, a repeated name kept.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'t> Visitor<'t> for Reader {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{
        "notes": { "mode": "one of those below", "litellm_provider": "any", "input_cost_per_token": 0 },
        "big-1": {
            "mode": "chat", "litellm_provider": "maker", "max_tokens": 4096, "supports_vision": true,
            "input_cost_per_token": 2.50e-06,
            "input_cost_per_token_above_200k_tokens": 5e-06,
            "cache_read_input_token_cost": 0.00000012345678901234567,
            "cache_creation_input_token_cost": 3.125e-6,
            "output_cost_per_token": 1e-05,
            "output_cost_per_reasoning_token": null,
            "input_cost_per_image": 0.001
        },
        "thinker": { "litellm_provider": "maker", "output_cost_per_reasoning_token": 6e-5, "input_cost_per_request": 0.005 },
        "vector": { "mode": "embedding", "litellm_provider": "maker", "input_cost_per_token": 2e-8, "output_cost_per_token": 0.0 },
        "local": { "mode": "chat", "litellm_provider": "own", "input_cost_per_token": 0.0, "output_cost_per_token": 0 },
        "painter": { "mode": "image_generation", "litellm_provider": "maker", "input_cost_per_pixel": 1e-8 },
        "nobody": { "mode": "chat", "input_cost_per_token": 1e-6 },
        "texted": { "mode": "chat", "litellm_provider": "maker", "input_cost_per_token": "1e-6" },
        "paying": { "mode": "chat", "litellm_provider": "maker", "input_cost_per_token": -1e-6 },
        "finest": { "mode": "chat", "litellm_provider": "maker", "input_cost_per_token": 1e-31 },
        "absurd": { "mode": "chat", "litellm_provider": "maker", "input_cost_per_token": 1e10 },
        "twice": { "litellm_provider": "maker", "input_cost_per_token": 1e-6, "input_cost_per_token": 1e-9 },
        "a b": { "litellm_provider": "maker", "input_cost_per_token": 1e-6 },
        "list": [1, 2],
        "big-1": { "mode": "chat", "litellm_provider": "maker", "input_cost_per_token": 1e-12 }
    }"#;

    fn sample() -> PriceMap {
        parse(SAMPLE, &TenantId::new("acme").unwrap(), TimestampMs(7)).unwrap()
    }

    #[test]
    fn prices_are_those_of_the_text() {
        let map = sample();
        let ids: Vec<_> = map.entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["maker/big-1", "maker/thinker", "maker/vector"]);
        let lines = |n: usize| -> Vec<_> {
            map.entries[n].lines.iter().map(|line| (line.meter.code(), line.price.to_string())).collect()
        };
        let expected = [
            ("uncached_input", "0.0000025"),
            ("cache_read", "0.00000012345678901234567"),
            ("cache_write", "0.000003125"),
            ("output", "0.00001"),
        ];
        assert_eq!(lines(0), expected.map(|(meter, price)| (meter, price.to_owned())));
        let expected = [("reasoning", "0.00006"), ("call", "0.005")];
        assert_eq!(lines(1), expected.map(|(meter, price)| (meter, price.to_owned())));
        for entry in &map.entries {
            assert!(entry.lines.iter().all(|line| (line.unit, line.tier_from) == (1, 0)));
            assert_eq!((entry.currency, entry.valid_from), (Currency::USD, TimestampMs(7)));
        }
        let subject = PriceSubject::Model { provider: "maker".to_owned(), model: "vector".to_owned() };
        assert_eq!(map.entries[2].subject, subject);
    }

    #[test]
    fn whatever_is_left_out_is_told() {
        let told: Vec<String> = sample().skipped.iter().map(Skipped::to_string).collect();
        let expected = [
            r#"notes: is not paid for by tokens (mode "one of those below")"#,
            "big-1, input_cost_per_token_above_200k_tokens: is a price by the size of the context, which is no tier \
             of monthly volume: not taken",
            "big-1, input_cost_per_image: is a price of a kind that is not counted: not taken",
            "vector, output_cost_per_token: is zero: declare the meter free by hand if it is",
            "local, input_cost_per_token: is zero: declare the meter free by hand if it is",
            "local, output_cost_per_token: is zero: declare the meter free by hand if it is",
            "local: has no price that is understood",
            r#"painter: is not paid for by tokens (mode "image_generation")"#,
            "nobody: names no provider",
            "texted, input_cost_per_token: is no number",
            "paying, input_cost_per_token: is negative",
            "finest, input_cost_per_token: has more than 30 digits after the decimal point",
            "absurd: cannot be an entry: lines[0].price: is more than 1000000000",
            "twice, input_cost_per_token: stands twice in the model",
            "a b: cannot be an id: price id contains ' '; allowed are letters, digits and, not first, any of -_.@:+/",
            "list: is no JSON object",
            "big-1: stands in the file before with the same provider",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_map_is_an_error() {
        for text in ["", "[]", "{", "7", r#"{"a": NaN}"#, r#"{"a": {"input_cost_per_token": .5}}"#] {
            assert!(parse(text, &TenantId::system(), TimestampMs(0)).is_err(), "{text}");
        }
        assert!(parse("{}", &TenantId::system(), TimestampMs(0)).unwrap().entries.is_empty());
    }
}

//! The small values of prices between the wire and the domain, each refused by the name of its field.

use only1mcp_domain::money::Exact;
use only1mcp_domain::price::{Currency, Meter};
use only1mcp_domain::time::TimestampMs;

use crate::call::Call;
use crate::error::AdminError;
use crate::write::Draft;

pub(super) fn exact(field: &str, text: &str) -> Result<Exact, AdminError> {
    Exact::parse(text).map_err(|error| AdminError::invalid(field, error))
}

/// What a meter's code may be is public, so it is told.
pub(super) fn meter(field: &str, code: &str) -> Result<Meter, AdminError> {
    Meter::parse(code).ok_or_else(|| {
        let known = Meter::ALL.map(Meter::code).join(", ");
        AdminError::invalid(field, format!("{code:?} is none of {known}"))
    })
}

/// USD where it is empty.
pub(super) fn currency(field: &str, text: &str) -> Result<Currency, AdminError> {
    if text.is_empty() {
        return Ok(Currency::USD);
    }
    Currency::parse(text).map_err(|error| AdminError::invalid(field, error))
}

/// The tenant of a record: the caller's own where it is empty.
pub(super) fn tenant(call: &Call, named: String) -> String {
    if named.is_empty() { call.identity.tenant.to_string() } else { named }
}

/// The moment that was asked for, or that of the write.
pub(super) fn valid_from(asked: Option<u64>, draft: &Draft) -> TimestampMs {
    asked.map_or(draft.now, TimestampMs)
}

/// A list that is read before anything of it is kept: refused where it is longer than what the domain would take.
pub(super) fn bounded<T>(field: &str, items: &[T], max: usize) -> Result<(), AdminError> {
    let count = items.len();
    if count <= max {
        return Ok(());
    }
    Err(AdminError::invalid(field, format!("has {count} entries; at most {max} are allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_refused_by_its_field() {
        for bad in
            ["", "-1", "NaN", "inf", "1,5", "0x10", "1e999", " 1", "٣", "1.0000000000000000000000000000001"]
        {
            let error = exact("price.lines[0].price", bad).unwrap_err();
            assert_eq!(error.code(), "INVALID", "{bad}");
            assert!(error.to_string().starts_with("price.lines[0].price: "), "{error}");
        }
        assert_eq!(exact("p", "2.5e-6").unwrap().to_string(), "0.0000025");
        let error = meter("price.free[0]", "tokens").unwrap_err().to_string();
        assert!(error.contains("uncached_input") && error.contains("byte"), "{error}");
        assert_eq!(currency("c", ""), Ok(Currency::USD));
        for bad in ["usd", "EURO", "E1R", "€"] {
            assert!(currency("c", bad).is_err(), "{bad}");
        }
        assert!(bounded("l", &[0; 3], 3).is_ok());
        assert!(bounded("l", &[0; 4], 3).is_err());
    }
}

//! The name of a cost record: its place among those of its tenant, `TIME-INDEX`, with `-PART` where one event made
//! several.

use only1mcp_domain::cost::{CostPlace, CostRecord};
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::time::TimestampMs;

pub(super) fn text(record: &CostRecord) -> String {
    place(CostPlace::of(record))
}

/// As a correction names a record.
pub(super) fn place(CostPlace { at, index, part }: CostPlace) -> String {
    let part = if part == 0 { String::new() } else { format!("-{part}") };
    format!("{}-{index}{part}", at.0)
}

/// Reads what `text` writes, in that form alone.
pub(super) fn parse(text: &str) -> Option<CostPlace> {
    let mut numbers = text.split('-').map(|digits| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|number| plain && number.to_string() == digits)
    });
    let at = TimestampMs(numbers.next()??);
    let index = AuditIndex(numbers.next()??);
    let part = match numbers.next() {
        None => 0,
        Some(part) => u32::try_from(part?).ok().filter(|part| *part > 0)?,
    };
    numbers.next().is_none().then_some(CostPlace { at, index, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_name() {
        let at = |at, index, part| Some(CostPlace { at: TimestampMs(at), index: AuditIndex(index), part });
        assert_eq!(parse("1800000000000-41"), at(1_800_000_000_000, 41, 0));
        assert_eq!(parse("5-6-7"), at(5, 6, 7));
        for bad in [
            "",
            "-",
            "5",
            "5-",
            "-6",
            "5-6-0",
            "5-6-7-8",
            "05-6",
            "+5-6",
            "5-x",
            " 5-6",
            "5-6-",
            "99999999999999999999-1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for name in ["5-6", "5-6-7"] {
            assert_eq!(parse(name).map(place).as_deref(), Some(name));
        }
    }
}

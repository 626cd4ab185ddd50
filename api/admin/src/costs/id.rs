//! The name of a cost record: its place among those of its tenant, `TIME-INDEX`, with `-PART` where one event made
//! several.

use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::time::TimestampMs;

use crate::ports::CostPlace;

pub(super) fn text(record: &CostRecord) -> String {
    match record.part {
        0 => pair((record.log_time, record.audit_index)),
        part => format!("{}-{part}", pair((record.log_time, record.audit_index))),
    }
}

/// As a correction names a record.
pub(super) fn pair((at, index): (TimestampMs, AuditIndex)) -> String {
    format!("{}-{index}", at.0)
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
        let place = |at, index, part| Some(CostPlace { at: TimestampMs(at), index: AuditIndex(index), part });
        assert_eq!(parse("1800000000000-41"), place(1_800_000_000_000, 41, 0));
        assert_eq!(parse("5-6-7"), place(5, 6, 7));
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
        assert_eq!(pair((TimestampMs(5), AuditIndex(6))), "5-6");
    }
}

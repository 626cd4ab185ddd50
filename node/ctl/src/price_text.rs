//! Meters, numbers of units and lines of prices, as they are typed and shown.

use only1mcp_domain::money::Exact;
use only1mcp_domain::price::Meter;
use only1mcp_proto::admin as pb;

/// As the interface has it.
pub(super) type Line = pb::PriceLine;

pub(super) fn meter(text: &str) -> Result<String, String> {
    let known = || Meter::ALL.map(Meter::code).join(", ");
    let meter = Meter::parse(text).ok_or_else(|| format!("{text:?} is none of {}", known()))?;
    Ok(meter.code().to_owned())
}

/// `1000`, `10k`, `1M`, `2G`.
pub(super) fn units(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (text.strip_suffix('k'), 1_000),
        Some(b'M') => (text.strip_suffix('M'), 1_000_000),
        Some(b'G') => (text.strip_suffix('G'), 1_000_000_000),
        _ => (Some(text), 1_u64),
    };
    let plain = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number = plain.and_then(|digits| digits.parse::<u64>().ok()).and_then(|n| n.checked_mul(factor));
    number.ok_or_else(|| format!("{text:?} is no number of units; write 1000000 or 1M"))
}

/// How many units a price is for. On the wire 0 stands for 1, so that one who typed 0 would get what he did not mean.
pub(super) fn unit_of_price(text: &str) -> Result<u64, String> {
    match units(text)? {
        0 => Err("a price is for 1 unit or more".to_owned()),
        number => Ok(number),
    }
}

/// An exact number, left as it was typed.
pub(super) fn decimal(text: &str) -> Result<String, String> {
    Exact::parse(text).map(|_| text.to_owned()).map_err(|error| format!("{text:?} {error}"))
}

/// `METER=PRICE`, `METER=PRICE/UNIT`, `METER=PRICE@TIER`, `METER=PRICE/UNIT@TIER`.
pub(super) fn line(text: &str) -> Result<Line, String> {
    let (name, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} is not METER=PRICE"))?;
    let (rest, tier_from) = match rest.split_once('@') {
        Some((rest, tier)) => (rest, units(tier)?),
        None => (rest, 0),
    };
    let (price, unit) = match rest.split_once('/') {
        Some((price, unit)) => (price, unit_of_price(unit)?),
        None => (rest, 1),
    };
    Ok(Line { meter: meter(name)?, tier_from, unit, price: decimal(price)? })
}

pub(super) fn line_text(line: &Line) -> String {
    let mut text = format!("{} {}", line.meter, line.price);
    if line.unit != 1 {
        text.push_str(&format!(" per {}", count(line.unit)));
    }
    if line.tier_from != 0 {
        text.push_str(&format!(" from {}", count(line.tier_from)));
    }
    text
}

/// Digits in groups of three.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// The whole part of a decimal text in groups of three.
pub(super) fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_lines_read_and_write() {
        for (text, number) in
            [("0", 0), ("1000", 1_000), ("10k", 10_000), ("1M", 1_000_000), ("2G", 2_000_000_000)]
        {
            assert_eq!(units(text), Ok(number), "{text}");
        }
        for bad in ["", "k", "-1", "+1", "1.5M", "1m", "99999999999G", "1 M"] {
            assert!(units(bad).is_err(), "{bad}");
        }
        let read = line("output=10/1M@5M").unwrap();
        assert_eq!(line_text(&read), "output 10 per 1,000,000 from 5,000,000");
        assert_eq!(line_text(&line("call=2.5e-3").unwrap()), "call 2.5e-3");
        for bad in [
            "output",
            "output=",
            "output=-1",
            "output=NaN",
            "output=1/x",
            "output=1@x",
            "tokens=1",
            "=1",
            "call=1/0",
        ] {
            assert!(line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digits_stand_in_groups() {
        for (text, shown) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.8901", "-1,234,567.8901"),
            ("123456", "123,456"),
        ] {
            assert_eq!(grouped(text), shown);
        }
    }
}

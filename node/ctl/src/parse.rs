//! Values as they are typed: durations, points in time, amounts, names with values.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

const PICO_DIGITS: u32 = 12;

/// `500ms`, `10s`, `5m`, `2h`, `90d`; a plain number is seconds.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 =
        digits.parse().map_err(|_| format!("{text:?} is no duration; write 500ms, 10s, 5m, 2h or 90d"))?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{unit:?} is no unit of time; write ms, s, m, h or d")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too long"))
}

/// `2026-01-31T12:00:00Z`, or milliseconds since the Unix epoch.
pub(super) fn time_ms(text: &str) -> Result<u64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let at: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?} is no time: {error}"))?;
    u64::try_from(at.as_millisecond()).map_err(|_| format!("{text:?} is before 1970"))
}

/// As [`time_ms`] reads it, in UTC; the number itself for a time no calendar has.
pub(super) fn time_text(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| ms.to_string(), |at| format!("{at:.3}"))
}

/// A duration for reading, to two units.
pub(super) fn duration_text(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    for (position, (name, size)) in units.iter().enumerate() {
        if ms >= *size {
            let rest =
                units.get(position + 1).map(|(name, size)| (name, (ms % units_of(&units, position)) / size));
            return match rest {
                Some((smaller, count)) if count > 0 => format!("{}{name}{count}{smaller}", ms / size),
                _ => format!("{}{name}", ms / size),
            };
        }
    }
    format!("{ms}ms")
}

fn units_of(units: &[(&str, u64)], position: usize) -> u64 {
    units.get(position).map_or(1, |(_, size)| *size)
}

/// Exact decimal USD as pico-USD. Errors: no number, negative, or finer than a pico-USD.
pub(super) fn usd(text: &str) -> Result<i128, String> {
    let amount = Decimal::from_str_exact(text).map_err(|error| format!("{text:?} is no amount: {error}"))?;
    let amount = amount.normalize();
    if amount.is_sign_negative() {
        return Err(format!("{text:?} is negative"));
    }
    let missing =
        PICO_DIGITS.checked_sub(amount.scale()).ok_or_else(|| format!("{text:?} is finer than 1e-12 USD"))?;
    let pico = 10_i128.checked_pow(missing).and_then(|factor| amount.mantissa().checked_mul(factor));
    pico.ok_or_else(|| format!("{text:?} is too large"))
}

/// Exact decimal USD of an amount in pico-USD.
pub(super) fn usd_text(pico: i128) -> String {
    match Decimal::try_from_i128_with_scale(pico, PICO_DIGITS) {
        Ok(amount) => amount.normalize().to_string(),
        // Beyond what a decimal holds, the exact number in its own unit.
        Err(_) => format!("{pico}e-12"),
    }
}

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    if name.is_empty() {
        Err(format!("{text:?} has no name"))
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// Sets `NAME=VALUE`, or takes `NAME=` away.
pub(super) fn set_pairs(all: &mut BTreeMap<String, String>, pairs: Vec<(String, String)>) {
    for (name, value) in pairs {
        if value.is_empty() {
            all.remove(&name);
        } else {
            all.insert(name, value);
        }
    }
}

/// As they are typed, side by side.
pub(super) fn tags_text(tags: &BTreeMap<String, String>) -> String {
    tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// 16 bytes as 32 hexadecimal characters.
pub(super) fn command_id(text: &str) -> Result<[u8; 16], String> {
    let id = only1mcp_domain::ids::CommandId::parse_hex(text);
    id.map(|id| id.0).ok_or_else(|| "a command id is 32 hexadecimal characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("10", 10_000), ("2h", 7_200_000), ("90d", 7_776_000_000)]
        {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5h", "1y", "99999999999999999d"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
        assert_eq!(duration_text(90_000), "1m30s");
        assert_eq!(duration_text(7_200_000), "2h");
        assert_eq!(duration_text(12), "12ms");
    }

    #[test]
    fn money_is_exact_both_ways() {
        for (text, pico) in
            [("0", 0), ("100", 100_000_000_000_000), ("0.000000000001", 1), ("1.50", 1_500_000_000_000)]
        {
            assert_eq!(usd(text), Ok(pico), "{text}");
        }
        assert_eq!(usd_text(1_500_000_000_000), "1.5");
        for bad in ["", "-1", "NaN", "1e3", "0.0000000000001", "79228162514264337593543950335"] {
            assert!(usd(bad).is_err(), "{bad}");
        }
        assert_eq!(usd_text(i128::MAX), format!("{}e-12", i128::MAX));
    }

    #[test]
    fn times_read_and_write() {
        assert_eq!(time_ms("2026-01-31T12:00:00Z"), Ok(1_769_860_800_000));
        assert_eq!(time_ms("5"), Ok(5));
        assert_eq!(time_text(1_769_860_800_000), "2026-01-31T12:00:00.000Z");
        assert!(time_ms("yesterday").is_err());
    }
}

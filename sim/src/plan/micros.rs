//! Lengths of time as people write them (`1.6s`, `250ms`, `13us`), exact to the microsecond.
//!
//! Whole numbers only: no float comes near a plan.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// What [`parse`] takes, for error messages.
pub const ALLOWED: &str = "a length of time such as \"1.6s\", \"250ms\" or \"13us\"";

/// The shortest exact way to write so many microseconds.
#[must_use]
pub fn format(us: u64) -> String {
    let (unit, name) = match us {
        0 => (1_000_000, "s"),
        1..1_000 => (1, "us"),
        1_000..1_000_000 => (1_000, "ms"),
        _ => (1_000_000, "s"),
    };
    let fraction = us % unit;
    if fraction == 0 {
        return format!("{}{name}", us / unit);
    }
    let digits = if unit == 1_000 { 3 } else { 6 };
    let fraction = format!("{fraction:0digits$}");
    format!("{}.{}{name}", us / unit, fraction.trim_end_matches('0'))
}

/// Reads a length of time.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (number, unit, digits) =
        [("us", 1, 0), ("µs", 1, 0), ("ms", 1_000, 3), ("s", 1_000_000, 6)]
            .into_iter()
            .find_map(|(name, unit, digits)| Some((text.strip_suffix(name)?, unit, digits)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction_is_odd = number.contains('.') && fraction.is_empty();
    if whole.is_empty() || fraction_is_odd || fraction.len() > digits {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = if digits == 0 { 0 } else { format!("{fraction:0<digits$}").parse().ok()? };
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(fraction)
}

/// [`format`] with a sign.
#[must_use]
pub fn format_signed(us: i64) -> String {
    format!("{}{}", if us < 0 { "-" } else { "" }, format(us.unsigned_abs()))
}

/// [`parse`] with an optional sign.
#[must_use]
pub fn parse_signed(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(rest) => 0_i64.checked_sub_unsigned(parse(rest)?),
        None => i64::try_from(parse(text)?).ok(),
    }
}

/// For `#[serde(with)]`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn serialize<S: Serializer>(us: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*us))
}

/// For `#[serde(with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(from)?).ok_or_else(|| D::Error::custom(ALLOWED))
}

/// The same with a sign, for `#[serde(with)]`.
pub(super) mod signed {
    use super::{ALLOWED, Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in super::super) fn serialize<S: Serializer>(us: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format_signed(*us))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<i64, D::Error> {
        super::parse_signed(&String::deserialize(from)?).ok_or_else(|| D::Error::custom(ALLOWED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_written_and_read_again_are_equal() {
        for us in [0, 1, 999, 1_000, 1_001, 250_000, 999_999, 1_000_000, 1_600_013, 59_000_000] {
            assert_eq!(parse(&format(us)), Some(us), "{}", format(us));
            let minus = -i64::try_from(us).unwrap();
            assert_eq!(parse_signed(&format_signed(minus)), Some(minus));
        }
        assert_eq!(parse(&format(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn micros_written_are_what_a_person_would_write() {
        let written = [1_600_000, 250_000, 13, 1_500, 1_600_013].map(format);
        assert_eq!(written, ["1.6s", "250ms", "13us", "1.5ms", "1.600013s"]);
    }

    #[test]
    fn micros_malformed_are_refused() {
        for text in ["", "s", "1", "1.s", ".5s", "1.5us", "1.0000001s", "-1s", "1 s", "1e3s", "+1s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("99999999999999999999s"), None);
        assert_eq!(parse("18446744073710s"), None);
    }
}

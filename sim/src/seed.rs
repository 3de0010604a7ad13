//! Seeds as people type them.

use std::fmt;
use std::str::FromStr;

/// A seed: a decimal number, `0x…`, or a commit (its first 16 hex digits), so that CI tries
/// another seed with each commit and everyone can repeat it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seed(pub u64);

/// Seeds as a range, or only how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeedRange {
    /// So many from wherever the sweep begins.
    Count(u64),
    /// Half-open.
    Range(u64, u64),
}

/// What is wrong with a seed: one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadSeed(String);

impl fmt::Display for BadSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSeed {}

const ALLOWED: &str = "a number up to 2^64 - 1, 0x with up to 16 hex digits, or a commit of 40";

impl FromStr for Seed {
    type Err = BadSeed;

    fn from_str(text: &str) -> Result<Self, BadSeed> {
        let hex = |digits: &str| {
            let all_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            all_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let decimal = |digits: &str| {
            let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten()
        };
        let is_commit = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let seed = match text.strip_prefix("0x") {
            Some(digits) => hex(digits),
            None if is_commit => hex(&text[..16]),
            None => decimal(text),
        };
        seed.map(Seed).ok_or_else(|| BadSeed(format!("`{text}` is no seed; allowed: {ALLOWED}")))
    }
}

impl FromStr for SeedRange {
    type Err = BadSeed;

    fn from_str(text: &str) -> Result<Self, BadSeed> {
        let Some((from, to)) = text.split_once("..") else {
            return match text.parse::<Seed>()?.0 {
                0 => Err(BadSeed("0 seeds are none; allowed: a count from 1, or A..B".to_owned())),
                count => Ok(Self::Count(count)),
            };
        };
        let (from, to) = (from.parse::<Seed>()?.0, to.parse::<Seed>()?.0);
        if from >= to {
            let reason = "is empty; allowed: A..B with A below B (B is not run)";
            return Err(BadSeed(format!("the range `{text}` {reason}")));
        }
        Ok(Self::Range(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_decimal_hex_and_commit_are_taken() {
        let seed = |text: &str| text.parse::<Seed>().map(|seed| seed.0);
        assert_eq!(seed("4711"), Ok(4711));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seed("0xFf"), Ok(255));
        assert_eq!(seed("7e7518c4aa00000000000000000000000000beef"), Ok(0x7e75_18c4_aa00_0000));
        assert_eq!(seed("1111111111111111222222222222222222222222"), Ok(0x1111_1111_1111_1111));
    }

    #[test]
    fn seed_anything_else_is_refused_with_what_is_allowed() {
        for text in ["", "x", "-1", "+1", "1.5", "0x", "0xg", "18446744073709551616", "7e7518c"] {
            let error = text.parse::<Seed>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no seed; allowed: ")), "{error}");
        }
    }

    #[test]
    fn seed_range_is_half_open_and_never_empty() {
        assert_eq!("5".parse(), Ok(SeedRange::Count(5)));
        assert_eq!("5..0x10".parse(), Ok(SeedRange::Range(5, 16)));
        for text in ["0", "5..5", "6..5", "..5", "5..", "5...7"] {
            assert!(text.parse::<SeedRange>().is_err(), "{text}");
        }
    }
}

//! `metadata`: one line of JSON with the query's id, written once (`StreamMetadata`).

use alloc::format;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FormatError, Lines, Problem};

/// The id of a query: it lives as long as the checkpoint does. Each start has a run id besides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryId(pub u128);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl QueryId {
    /// A random UUID (version 4) from 128 random bits.
    #[must_use]
    pub const fn random(bits: u128) -> Self {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        Self(bits & !VERSION & !VARIANT | 0x4 << 76 | 0b10 << 62)
    }

    fn parse(text: &str) -> Option<Self> {
        let lengths = text.split('-').map(str::len);
        if !lengths.eq([8, 4, 4, 4, 12]) {
            return None;
        }
        u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self)
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
}

/// Reads it; other members are ignored, as Spark does.
pub fn parse_query_metadata(file: &str, bytes: &[u8]) -> Result<QueryId, FormatError> {
    let mut lines = Lines::new(file, bytes)?;
    let text = lines.next().unwrap_or_default();
    let parsed = serde_json::from_str::<Line>(text);
    let line = parsed.map_err(|why| lines.json_error("{\"id\":\"<UUID>\"}", &why))?;
    QueryId::parse(&line.id).ok_or_else(|| lines.error(Problem::NoUuid { found: line.id }))
}

/// Writes it; there is no newline at its end.
#[must_use]
pub fn write_query_metadata(id: QueryId) -> Bytes {
    Bytes::from(format!("{{\"id\":\"{id}\"}}"))
}

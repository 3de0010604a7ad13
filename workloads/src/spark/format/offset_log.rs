//! `offsets/N`: a version line, the batch's metadata, and where each source's range ends
//! (`OffsetSeqLog`).
//!
//! Version 1 lists the sources by their place in the query, version 2
//! (`spark.sql.streaming.offsetLog.formatVersion`) names each. The offsets themselves are JSON of
//! the source's own, and stay text here.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ordered::Members;
use super::{FormatError, Lines, OFFSET_LOG_VERSION_MAX, Problem};

/// Stands for a source that has no offset yet (`SERIALIZED_VOID_OFFSET`).
const NO_OFFSET: &str = "-";

/// One entry of the offset log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OffsetEntry {
    /// The batch's metadata; very old logs leave it out.
    pub metadata: Option<OffsetMetadata>,
    /// The end of each source's range.
    pub offsets: SourceOffsets,
}

/// The end of each source's range; `None` is a source without an offset.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SourceOffsets {
    /// Version 1: by the source's place in the query.
    ByPlace(Vec<Option<String>>),
    /// Version 2: by the source's id.
    ById(Vec<(String, Option<String>)>),
}

/// What a batch sees of the time and of the settings it was planned with, at each of its runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct OffsetMetadata {
    /// The watermark.
    pub batch_watermark_ms: i64,
    /// What `current_timestamp()` is in this batch.
    pub batch_timestamp_ms: i64,
    /// Settings that must not change while the query lives, in the order of the file.
    pub conf: Members<String>,
    /// Version 2 only: by source id. It is empty unless a query's sources changed; the members of
    /// a source are sorted when they are written, which Spark does not promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_metadata_info: Option<Members<serde_json::Value>>,
}

impl OffsetEntry {
    /// Reads it.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut lines = Lines::new(file, bytes)?;
        let version = lines.version(false, OFFSET_LOG_VERSION_MAX)?;
        let json = match lines.next() {
            Some(line) => line.trim(),
            None => return Err(lines.error(Problem::LineMissing)),
        };
        let metadata = if json.is_empty() {
            None
        } else {
            let expected = "{\"batchWatermarkMs\":…,\"batchTimestampMs\":…,\"conf\":{…}}";
            let parsed = serde_json::from_str(json);
            Some(parsed.map_err(|why| lines.json_error(expected, &why))?)
        };
        let offset = |text: &str| (text != NO_OFFSET).then(|| String::from(text));
        let offsets = if version == 2 {
            let mut by_id = Vec::new();
            while let Some(line) = lines.next() {
                let Some((source, text)) = line.split_once(':') else {
                    return Err(lines.error(Problem::NoSource { found: line.into() }));
                };
                by_id.push((source.into(), offset(text)));
            }
            SourceOffsets::ById(by_id)
        } else {
            let mut by_place = Vec::new();
            while let Some(line) = lines.next() {
                by_place.push(offset(line));
            }
            SourceOffsets::ByPlace(by_place)
        };
        Ok(Self { metadata, offsets })
    }

    /// Writes it; there is no newline at its end.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut text = String::from(match self.offsets {
            SourceOffsets::ByPlace(_) => "v1\n",
            SourceOffsets::ById(_) => "v2\n",
        });
        if let Some(metadata) = &self.metadata {
            text += &serde_json::to_string(metadata).expect("numbers and strings only");
        }
        match &self.offsets {
            SourceOffsets::ByPlace(offsets) => {
                for offset in offsets {
                    text.push('\n');
                    text += offset.as_deref().unwrap_or(NO_OFFSET);
                }
            }
            SourceOffsets::ById(offsets) => {
                for (source, offset) in offsets {
                    text.push('\n');
                    text += source;
                    text.push(':');
                    text += offset.as_deref().unwrap_or(NO_OFFSET);
                }
            }
        }
        Bytes::from(text)
    }
}

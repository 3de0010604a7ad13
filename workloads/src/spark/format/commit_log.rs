//! `commits/N`: a version line and the metadata of the batch that is done (`CommitLog`).
//!
//! Version 2 belongs to stateful queries with `stateStore.checkpointFormatVersion` 2; its ids of
//! state files are kept as they stand.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ordered::Members;
use super::{COMMIT_LOG_VERSION_MAX, FormatError, Lines};

/// One entry of the commit log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CommitEntry {
    /// The watermark of the next batch.
    pub next_batch_watermark_ms: i64,
    /// Version 2 only: by operator, by partition, the ids of its state stores' files. Outside: the
    /// version; inside: whether the member is there.
    pub state_unique_ids: Option<Option<StateIds>>,
}

type StateIds = Members<Vec<Vec<String>>>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    next_batch_watermark_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_unique_ids: Option<StateIds>,
}

impl CommitEntry {
    /// The entry of a query without state.
    #[must_use]
    pub const fn stateless(next_batch_watermark_ms: i64) -> Self {
        Self { next_batch_watermark_ms, state_unique_ids: None }
    }

    /// Reads it. A file without a second line counts as `{}`, as in Spark.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut lines = Lines::new(file, bytes)?;
        let version = lines.version(true, COMMIT_LOG_VERSION_MAX)?;
        let json = lines.next().unwrap_or("{}");
        let line: Line = serde_json::from_str(json)
            .map_err(|why| lines.json_error("{\"nextBatchWatermarkMs\":<number>}", &why))?;
        Ok(Self {
            next_batch_watermark_ms: line.next_batch_watermark_ms,
            state_unique_ids: (version == 2).then_some(line.state_unique_ids),
        })
    }

    /// Writes it; there is no newline at its end.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let version = if self.state_unique_ids.is_some() { 2 } else { 1 };
        let line = Line {
            next_batch_watermark_ms: self.next_batch_watermark_ms,
            state_unique_ids: self.state_unique_ids.clone().flatten(),
        };
        let json = serde_json::to_string(&line).expect("numbers and strings only");
        Bytes::from(format!("v{version}\n{json}"))
    }
}

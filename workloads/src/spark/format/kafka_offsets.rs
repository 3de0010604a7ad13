//! The Kafka source's offsets as JSON, and `sources/0/0`, where it keeps the first ones
//! (`JsonUtils`, `KafkaSourceInitialOffsetWriter`).
//!
//! An offset is the next one to read. Partitions are written in ascending order; Spark's own order
//! is that of a hash map, so that its files are not written back byte for byte from this type (the
//! offset log keeps the text and does).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use broker_core::ids::{Offset, PartitionIndex};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FormatError, INITIAL_OFFSETS_VERSION_MAX, Lines, Problem, error};

const EXPECTED: &str = "{\"<topic>\":{\"<partition>\":<offset>}}";

/// By topic and partition, the next offset to read.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct KafkaOffsets(pub BTreeMap<String, BTreeMap<PartitionIndex, Offset>>);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Json(BTreeMap<String, BTreeMap<u32, i64>>);

impl KafkaOffsets {
    /// Of one topic.
    #[must_use]
    pub fn of(topic: &str, partitions: BTreeMap<PartitionIndex, Offset>) -> Self {
        Self(BTreeMap::from([(topic.into(), partitions)]))
    }

    /// Those of a topic.
    #[must_use]
    pub fn topic(&self, topic: &str) -> BTreeMap<PartitionIndex, Offset> {
        self.0.get(topic).cloned().unwrap_or_default()
    }

    /// Reads them; `file` and `line` say where `json` stands.
    pub fn parse(file: &str, line: u32, json: &str) -> Result<Self, FormatError> {
        let wrong = |why: String| error(file, line, Problem::Json { expected: EXPECTED, why });
        let Json(topics) = serde_json::from_str(json).map_err(|why| wrong(why.to_string()))?;
        let mut offsets = Self::default();
        for (topic, partitions) in topics {
            let found = offsets.0.entry(topic).or_default();
            for (partition, offset) in partitions {
                let unsigned =
                    u64::try_from(offset).map_err(|_| wrong(format!("the offset {offset}")))?;
                found.insert(PartitionIndex(partition), Offset(unsigned));
            }
        }
        Ok(offsets)
    }

    /// Writes them.
    #[must_use]
    pub fn write(&self) -> String {
        let topics = self.0.iter().map(|(topic, partitions)| {
            let plain = |(partition, offset): (&PartitionIndex, &Offset)| {
                (partition.0, i64::try_from(offset.0).unwrap_or(i64::MAX))
            };
            (topic.clone(), partitions.iter().map(plain).collect())
        });
        serde_json::to_string(&Json(topics.collect())).expect("numbers and strings only")
    }
}

/// Reads `sources/0/0`: a zero byte (so that Spark 2.1.0 refuses the file, SPARK-19517), a version
/// line, the offsets. Without a version, as Spark 2.1.0 wrote it, the JSON follows at once.
pub fn parse_initial_offsets(file: &str, bytes: &[u8]) -> Result<KafkaOffsets, FormatError> {
    let rest = match bytes.split_first() {
        None => return Err(error(file, 1, Problem::Empty)),
        Some((0, rest)) => rest,
        Some(_) => return Err(error(file, 1, Problem::NoZeroByte)),
    };
    let mut lines = Lines::new(file, rest)?;
    if !rest.starts_with(b"v") {
        return KafkaOffsets::parse(file, 1, lines.next().unwrap_or_default());
    }
    lines.version(false, INITIAL_OFFSETS_VERSION_MAX)?;
    match lines.next() {
        Some(json) => KafkaOffsets::parse(file, 2, json),
        None => Err(lines.error(Problem::LineMissing)),
    }
}

/// Writes `sources/0/0`.
#[must_use]
pub fn write_initial_offsets(offsets: &KafkaOffsets) -> Bytes {
    Bytes::from(format!("\0v{INITIAL_OFFSETS_VERSION_MAX}\n{}", offsets.write()))
}

//! Which batches of clients may be appended, and what the broker changes in them first.
//!
//! The format's own rules are in [`crate::batch`]. Source: `UnifiedLog.analyzeAndValidateRecords`
//! (size before checksum), `LogValidator.java`, KIP-32, KIP-937.

use alloc::collections::BTreeMap;
use alloc::string::String;

use bytes::Bytes;

use crate::batch::{self, Header, TimestampMs};
use crate::mutants::Mutant;
use crate::protocol::ErrorCode;
use crate::step::Cx;

/// A producer's timestamp may be ahead of the broker's clock by one hour
/// (`message.timestamp.after.max.ms` as of Kafka 4.0).
const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// The configs of a topic that decide about its batches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AppendRules {
    /// `max.message.bytes`.
    pub batch_bytes_max: u32,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
}

impl AppendRules {
    /// The rules of a topic with these configs.
    #[must_use]
    pub fn new(configs: &BTreeMap<String, String>, batch_bytes_default: u32) -> Self {
        let bytes = configs.get("max.message.bytes").and_then(|value| value.parse().ok());
        let time = configs.get("message.timestamp.type");
        Self {
            batch_bytes_max: bytes.unwrap_or(batch_bytes_default),
            log_append_time: time.is_some_and(|value| value == "LogAppendTime"),
        }
    }

    /// Checks a client's batch and sets its timestamps; its offsets come later. Also returns how
    /// many offsets it takes.
    ///
    /// # Errors
    /// Kafka's code for the first rule that does not hold. The batch is definitely not appended.
    pub fn admit(self, cx: &Cx, produced: Bytes) -> Result<(Bytes, u64), ErrorCode> {
        if produced.len() as u64 > u64::from(self.batch_bytes_max) {
            return Err(ErrorCode::MessageTooLarge);
        }
        let checked = if cx.mutants.on(Mutant::PartitionCrcUnchecked) {
            Header::parse(&produced)
        } else {
            batch::verify_produced(&produced)
        };
        let header = checked.map_err(batch::BatchError::code)?;
        let now = TimestampMs::floor(cx.wall);
        let stamped = header.attributes.log_append_time();
        if cx.mutants.on(Mutant::PartitionTimeOverwritten) {
            return Ok((batch::stamp_log_append_time(produced, now), header.offsets()));
        }
        if self.log_append_time {
            // Only a broker says so (LogValidator.validateTimestamp).
            if stamped {
                return Err(ErrorCode::InvalidTimestamp);
            }
            return Ok((batch::stamp_log_append_time(produced, now), header.offsets()));
        }
        if cx.mutants.on(Mutant::PartitionCrcUnchecked) {
            return Ok((produced, header.offsets()));
        }
        // The records count, not what the header says of them.
        let created = batch::stamp_create_time(produced).map_err(batch::BatchError::code)?;
        let (batch, latest) = created;
        let ahead = latest.0.saturating_sub(now.0) > TIMESTAMP_AFTER_MAX_MS;
        if ahead || (stamped && latest == TimestampMs::NONE) {
            return Err(ErrorCode::InvalidTimestamp);
        }
        Ok((batch, header.offsets()))
    }
}

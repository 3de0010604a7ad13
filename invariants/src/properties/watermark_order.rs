//! L5 WatermarkOrder: log start ≤ high watermark ≤ log end; the high watermark covers only what is
//! confirmed, readers see only what is below it, and a broker commits only what it has confirmed.
//! (A recoverer commits what it finds in a dead broker's WAL, confirmed or not.) Source: Kafka's
//! LogOffsetMetadata, AutoMQ's confirmOffset, Redpanda #11840.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};
use broker_core::metadata::record::CommittedRange;

use crate::{Check, require};

/// A leader's offsets. `confirmed`: end of what its WALs confirmed, or of what it found committed.
pub(crate) fn moved(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    (log_start, high_watermark, log_end): (Offset, Offset, Offset),
    confirmed: Offset,
) -> Check {
    require!(
        log_start <= high_watermark && high_watermark <= log_end,
        L5,
        partition,
        "epoch {epoch}: log start {log_start}, high watermark {high_watermark}, end {log_end}"
    );
    require!(
        high_watermark <= confirmed,
        L5,
        partition,
        "epoch {epoch}: high watermark {high_watermark}, but only {confirmed} is confirmed"
    );
    Ok(())
}

/// A record was read.
pub(crate) fn read(partition: TopicPartition, offset: Offset, high_watermark: Offset) -> Check {
    require!(
        offset < high_watermark,
        L5,
        partition,
        "offset {offset} was read under a high watermark of {high_watermark}"
    );
    Ok(())
}

/// An answer showed both bounds.
pub(crate) fn shown(partition: TopicPartition, log_start: Offset, end: Offset) -> Check {
    require!(log_start <= end, L5, partition, "log start {log_start}, high watermark {end}");
    Ok(())
}

/// The owner of a WAL committed a range; `confirmed` is the end of what is confirmed of the stream.
pub(crate) fn committed(range: &CommittedRange, confirmed: Option<Offset>) -> Check {
    let CommittedRange { stream, end, .. } = *range;
    require!(
        confirmed.is_some_and(|confirmed| end <= confirmed),
        L5,
        "upload",
        "stream {stream} is committed up to {end}, confirmed up to {confirmed:?}"
    );
    Ok(())
}

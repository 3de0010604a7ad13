//! L5 WatermarkOrder: log start ≤ last stable offset ≤ high watermark ≤ log end; the high watermark
//! covers only what is confirmed, readers see only what is below it, and a broker commits only what
//! it has confirmed. (A recoverer commits what it finds in a dead broker's WAL, confirmed or not.)
//! Source: Kafka's LogOffsetMetadata, AutoMQ's confirmOffset, Redpanda #11840.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};
use broker_core::metadata::record::CommittedRange;

use crate::{Check, require};

/// A leader's offsets. `confirmed`: end of what its WALs confirmed, or of what it found committed.
pub(crate) fn moved(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    (log_start, (last_stable, high_watermark, log_end)): (Offset, (Offset, Offset, Offset)),
    confirmed: Offset,
) -> Check {
    require!(
        log_start <= last_stable && last_stable <= high_watermark && high_watermark <= log_end,
        L5,
        partition,
        "epoch {epoch}: log start {log_start}, last stable offset {last_stable}, high watermark \
         {high_watermark}, end {log_end}"
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

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, B, B_EPOCH, Case, P, S};

    fn offsets(case: &mut Case, high_watermark: u64, log_end: u64) {
        case.probe(
            A,
            &Probe::PartitionOffsets {
                partition: P,
                epoch: LeaderEpoch(0),
                log_start: Offset(0),
                last_stable: Offset(0),
                high_watermark: Offset(high_watermark),
                log_end: Offset(log_end),
            },
        );
    }

    fn opened() -> Case {
        let mut case = Case::cluster("L5");
        let (partition, epoch, next) = (P, LeaderEpoch(0), Offset(0));
        case.probe(A, &Probe::PartitionOpened { partition, stream: S, epoch, next });
        case
    }

    #[test]
    fn high_watermark_above_what_is_confirmed_breaks() {
        let mut case = opened();
        case.wal_write(0, &[(0, 2, 100)]);
        offsets(&mut case, 3, 4);
        assert!(case.breaks("L5"));
    }

    #[test]
    fn high_watermark_at_what_is_confirmed_holds() {
        let mut case = opened();
        case.wal_write(0, &[(0, 2, 100)]);
        offsets(&mut case, 2, 4);
        assert!(case.holds());
    }

    #[test]
    fn high_watermark_above_the_end_breaks() {
        let mut case = opened();
        case.wal_write(0, &[(0, 2, 100)]);
        offsets(&mut case, 2, 1);
        assert!(case.breaks("L5"));
    }

    #[test]
    fn record_read_at_the_high_watermark_breaks() {
        let mut case = Case::cluster("L5");
        case.produced(100, 2, 0).reads(0, 0, 1, &[(0, 100, 0), (1, 101, 0)]);
        assert!(case.breaks("L5"));
    }

    #[test]
    fn commit_of_what_is_not_confirmed_breaks() {
        let mut case = Case::cluster("L5");
        case.wal_write(0, &[(0, 2, 100)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]);
        assert!(case.breaks("L5"));
    }

    #[test]
    fn commit_by_a_recoverer_of_what_is_not_confirmed_holds() {
        let mut case = Case::cluster("L5");
        case.wal_write(0, &[(0, 2, 100)]).fail_over();
        case.commit(0, (B, B_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]);
        assert!(case.holds());
    }
}

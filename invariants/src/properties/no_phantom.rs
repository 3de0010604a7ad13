//! L9 NoPhantom: every record read was sent before, to that partition, undamaged, and comes back
//! with checksum, key, value and headers intact, and with its timestamp, unless the topic has the
//! broker set that; a batch that was sent damaged is never accepted. Source: KAFKA-18723; Jepsen's
//! kafka workload; kgo-verifier.

use broker_core::ids::{Offset, TopicPartition};
use broker_core::time::Wall;

use crate::facts::clients::Send;
use crate::{Check, require};

/// A record was found at `offset`: in a read, or in the final log. `send` is the produce of its
/// value, `here` the partition's place.
pub(crate) fn found(
    partition: TopicPartition,
    here: u32,
    offset: Offset,
    (value, intact): (Option<u64>, bool),
    send: Option<&Send>,
) -> Check {
    let place = || (partition, offset);
    require!(intact, L9, place(), "the record at offset {offset} (value {value:?}) is damaged");
    let Some(send) = send else {
        require!(false, L9, place(), "value {value:?} at offset {offset} was never sent");
        return Ok(());
    };
    require!(
        send.partition == here,
        L9,
        place(),
        "value {value:?} at offset {offset} was sent to another partition"
    );
    require!(
        !send.damaged,
        L9,
        place(),
        "value {value:?} at offset {offset} was sent in a damaged batch"
    );
    Ok(())
}

/// A record was read in a topic whose timestamps are the producers'.
pub(crate) fn timestamp(
    partition: TopicPartition,
    offset: Offset,
    created: Wall,
    found: Wall,
) -> Check {
    require!(
        created == found,
        L9,
        partition,
        "the record at offset {offset} was sent with the timestamp {} µs and has {} µs",
        created.0,
        found.0
    );
    Ok(())
}

/// A produce was acknowledged.
pub(crate) fn accepted(partition: TopicPartition, first_value: u64, send: &Send) -> Check {
    require!(
        !send.damaged,
        L9,
        partition,
        "the damaged batch of value {first_value} was accepted"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Offset;
    use broker_core::metadata::record::Record;
    use broker_core::protocol::{Acks, ErrorCode};

    use crate::history::{Call, ReadRecord};
    use crate::testing::{Case, Opened, P, fetched, read, time_of};

    #[test]
    fn value_never_sent_breaks() {
        let mut case = Case::cluster("L9");
        case.produced(100, 2, 0).reads(0, 0, 3, &[(0, 100, 0), (1, 101, 0), (2, 102, 0)]);
        assert!(case.breaks("L9"));
    }

    #[test]
    fn values_sent_hold() {
        let mut case = Case::cluster("L9");
        case.produced(100, 2, 0).reads(0, 0, 2, &[(0, 100, 0), (1, 101, 0)]);
        assert!(case.holds());
    }

    #[test]
    fn value_read_before_it_is_sent_breaks() {
        let mut case = Case::cluster("L9");
        case.reads(0, 0, 1, &[(0, 100, 0)]);
        case.produce(100, 1);
        assert!(case.breaks("L9"));
    }

    fn damaged(case: &mut Case) -> Opened {
        let (acks, first_value, count, damaged, created) = (Acks::All, 100, 1, true, None);
        let (partition, idempotent) = (P, false);
        case.invoke(1, Call::Produce {
            partition,
            acks,
            first_value,
            count,
            damaged,
            created,
            idempotent,
            retried: false,
            transactional: false,
            id: None,
        })
    }

    #[test]
    fn damaged_batch_accepted_breaks() {
        let mut case = Case::cluster("L9");
        let sent = damaged(&mut case);
        case.placed(sent, 0);
        assert!(case.breaks("L9"));
    }

    #[test]
    fn damaged_batch_refused_holds() {
        let mut case = Case::cluster("L9");
        let sent = damaged(&mut case);
        case.fail(sent, ErrorCode::CorruptMessage).finish();
        assert!(case.holds());
    }

    #[test]
    fn damaged_record_breaks() {
        let mut case = Case::cluster("L9");
        case.produced(100, 1, 0);
        let fetch = case.fetch(2, 0, 0);
        let records = alloc::vec![ReadRecord { intact: false, ..read(0, 100, 0) }];
        let (high_watermark, log_start) = (Offset(1), Offset(0));
        case.ok(fetch, fetched(high_watermark, log_start, records));
        assert!(case.breaks("L9"));
    }

    #[test]
    fn timestamp_other_than_sent_breaks_unless_the_broker_sets_it() {
        let reads = |sent: u64, stamped: bool| {
            let mut case = Case::cluster("L9");
            if stamped {
                let (topic, key) = (P.topic, "message.timestamp.type".into());
                let value = Some("LogAppendTime".into());
                case.meta(alloc::vec![Record::Config { topic, key, value }]);
            }
            let (acks, first_value, count, damaged) = (Acks::All, 100, 1, false);
            let created = Some(time_of(sent));
            let (partition, idempotent) = (P, false);
            let produce = Call::Produce {
                partition,
                acks,
                first_value,
                count,
                damaged,
                created,
                idempotent,
                retried: false,
                transactional: false,
                id: None,
            };
            case.invoke(1, produce);
            case.reads(0, 0, 1, &[(0, 100, 0)]);
            case
        };
        assert!(reads(100, false).holds());
        assert!(reads(99, false).breaks("L9"));
        assert!(reads(99, true).holds());
    }
}

//! L3 AckedDurable: a record acknowledged with acks=all is in the final log at its offset, unless a
//! client had its topic deleted; one that definitely failed is never seen. Unknown outcomes are
//! resolved by the final log: there once, or never. Source: Kafka's producer contract; Jepsen's
//! kafka workload (lost-write, G1a).

use broker_core::ids::{Offset, TopicId, TopicPartition};
use broker_core::protocol::Acks;

use crate::facts::clients::{Outcome, Send};
use crate::{Check, require};

/// A record of `send` is seen at `offset`.
pub(crate) fn visible(
    partition: TopicPartition,
    offset: Offset,
    value: u64,
    send: &Send,
) -> Check {
    require!(
        send.outcome != Outcome::Failed,
        L3,
        (partition, offset),
        "value {value} is at offset {offset}, but its produce was refused"
    );
    Ok(())
}

/// A produce was refused.
pub(crate) fn refused(partition: TopicPartition, first_value: u64, send: &Send) -> Check {
    require!(
        !send.read,
        L3,
        partition,
        "the produce of value {first_value} was refused, but it had been read already"
    );
    Ok(())
}

/// The log forgets a topic.
pub(crate) fn removed(topic: TopicId, asked: bool) -> Check {
    require!(asked, L3, "metadata", "topic {topic} is removed, and nobody asked for that");
    Ok(())
}

/// A reader passed over the offset at which `value` was acknowledged: no record is there.
pub(crate) fn passed_over(partition: TopicPartition, offset: Offset, value: u64) -> Check {
    require!(
        false,
        L3,
        (partition, offset),
        "value {value} was acknowledged at offset {offset}, and a reader found nothing there"
    );
    Ok(())
}

/// A settled cluster showed this end of the log; everything below `owed` had been acknowledged.
pub(crate) fn settled(partition: TopicPartition, end: Offset, owed: Offset) -> Check {
    require!(
        end >= owed,
        L3,
        partition,
        "all faults are over and the log ends at {end}; everything below {owed} was acknowledged"
    );
    Ok(())
}

/// The final log holds `found` at `offset`, where `send` put `value`.
pub(crate) fn kept(
    partition: TopicPartition,
    (offset, value): (Offset, u64),
    send: &Send,
    found: Option<u64>,
) -> Check {
    if send.acks != Acks::All || send.outcome != Outcome::Ok || found == Some(value) {
        return Ok(());
    }
    require!(
        false,
        L3,
        (partition, offset),
        "value {value} was acknowledged at offset {offset}; the final log has {found:?} there"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::metadata::record::Record;
    use broker_core::protocol::ErrorCode;

    use crate::testing::{A, A_EPOCH, Case, P};

    #[test]
    fn acknowledged_and_not_in_the_final_log_breaks() {
        let mut case = Case::cluster("L3");
        case.produced(100, 2, 0).commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 1, 100)]).finish();
        assert!(case.breaks("L3"));
    }

    #[test]
    fn acknowledged_and_committed_holds() {
        let mut case = Case::cluster("L3");
        case.produced(100, 2, 0).commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn acknowledged_and_only_in_the_wal_holds() {
        let mut case = Case::cluster("L3");
        case.produced(100, 2, 0).wal_write(0, &[(0, 2, 100)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn acknowledged_with_another_value_in_the_final_log_breaks() {
        let mut case = Case::cluster("L3");
        case.produced(100, 2, 0).commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 101)]).finish();
        assert!(case.breaks("L3"));
    }

    #[test]
    fn acknowledged_in_a_deleted_topic_holds() {
        let mut case = Case::cluster("L3");
        case.produced(100, 2, 0).delete_topic().finish();
        assert!(case.holds());
    }

    #[test]
    fn topic_removed_that_nobody_had_deleted_breaks() {
        let mut case = Case::cluster("L3");
        case.meta(alloc::vec![Record::RemoveTopic { topic: P.topic }]);
        assert!(case.breaks("L3"));
    }

    #[test]
    fn refused_and_read_breaks() {
        let mut case = Case::cluster("L3");
        let refused = case.produce(100, 1);
        case.fail(refused, ErrorCode::NotLeaderOrFollower).reads(0, 0, 1, &[(0, 100, 0)]);
        assert!(case.breaks("L3"));
    }

    #[test]
    fn unknown_and_read_holds() {
        let mut case = Case::cluster("L3");
        let lost = case.produce(100, 1);
        case.unknown(lost).reads(0, 0, 1, &[(0, 100, 0)]);
        assert!(case.holds());
    }
}

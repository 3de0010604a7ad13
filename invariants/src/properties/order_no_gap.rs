//! P2 OrderNoGap: what a producer of one epoch has in a partition counts from 0 without a gap, in
//! the order of the log. A producer numbers its batches in the order in which it sends them, so
//! this is the order of sending, too. And no producer is made to raise its epoch, which it does
//! when the broker does not go on where it left off, unless it gave a batch up before: in
//! particular by a leader that was replaced already when it found a batch out of order. (Where a
//! broker has forgotten a producer it may begin elsewhere; no run is long enough for that.) Source:
//! KIP-98, KIP-360, `ProducerAppendInfo.checkSequence`, KAFKA-15591.

use broker_core::ids::{ProducerEpoch, Sequence, TopicPartition};

use crate::bytes::Numbered;
use crate::{Check, require};

/// A batch of a producer is in the log, the first of its epoch or behind another.
pub(crate) fn follows(
    partition: TopicPartition,
    before: Option<&Numbered>,
    batch: &Numbered,
) -> Check {
    let Numbered { id, epoch, first, base, .. } = *batch;
    // Kafka: 2^31 − 1 is followed by 0.
    let next = |before: &Numbered| Sequence((before.first.0 + before.count) & (u32::MAX >> 1));
    let expected = before.map_or(Sequence(0), next);
    require!(
        first == expected,
        P2,
        partition,
        "the batch at offset {base} has sequence number {} of producer {id}, epoch {epoch}, where \
         {} was next",
        first.0,
        expected.0
    );
    Ok(())
}

/// A batch is in the log under this epoch; `given_up`: some producer gave a batch up.
pub(crate) fn raised(partition: TopicPartition, batch: &Numbered, given_up: bool) -> Check {
    let Numbered { id, epoch, base, .. } = *batch;
    require!(
        given_up || epoch == ProducerEpoch(0),
        P2,
        partition,
        "the batch at offset {base} is of producer {id}, epoch {epoch}: it had to begin anew, \
         though none of its batches was given up"
    );
    Ok(())
}

/// A batch was refused as out of order; `replaced`: by what a leader knew that had a successor.
pub(crate) fn refused(partition: TopicPartition, replaced: bool) -> Check {
    require!(
        !replaced,
        P2,
        partition,
        "a batch was refused as out of order by a leader that had been replaced: it can not know"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset, ProducerId};
    use broker_core::probe::Probe;

    use super::*;
    use crate::testing::{A, B, Case, P, S};

    #[test]
    fn gap_in_the_sequence_numbers_breaks() {
        let mut case = Case::cluster("P2");
        case.commit_numbered(&[(0, 2, 100, 0), (2, 3, 102, 3)]).finish();
        assert!(case.breaks("P2"));
    }

    #[test]
    fn sequence_numbers_out_of_order_break() {
        let mut case = Case::cluster("P2");
        case.commit_numbered(&[(0, 2, 100, 0), (2, 4, 102, 4), (4, 6, 104, 2)]).finish();
        assert!(case.breaks("P2"));
    }

    #[test]
    fn sequence_numbers_that_do_not_begin_at_zero_break() {
        let mut case = Case::cluster("P2");
        case.commit_numbered(&[(0, 2, 100, 2)]).finish();
        assert!(case.breaks("P2"));
    }

    #[test]
    fn sequence_numbers_that_count_on_hold() {
        let mut case = Case::cluster("P2");
        case.commit_numbered(&[(0, 2, 100, 0), (2, 3, 102, 2), (3, 5, 103, 3)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn epoch_raised_breaks_unless_a_batch_was_given_up() {
        let batch = |epoch| Numbered {
            id: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            first: Sequence(0),
            count: 1,
            base: Offset(0),
            transactional: false,
        };
        assert!(raised(P, &batch(1), false).is_err());
        assert!(raised(P, &batch(0), false).is_ok());
        assert!(raised(P, &batch(1), true).is_ok());
    }

    #[test]
    fn sequence_number_behind_the_largest_is_zero() {
        let numbered = |first, base| Numbered {
            id: ProducerId(7),
            epoch: ProducerEpoch(0),
            first: Sequence(first),
            count: 2,
            base: Offset(base),
            transactional: false,
        };
        let last = numbered((1 << 31) - 2, 0);
        assert!(follows(P, Some(&last), &numbered(0, 2)).is_ok());
        assert!(follows(P, Some(&last), &numbered(1, 2)).is_err());
    }

    /// A is asked for what it finds out of order, B opens before or after that, and A refuses it.
    fn refused_by(replaced: bool) -> Case {
        let mut case = Case::cluster("P2");
        let (partition, proof) = (P, 0);
        let opens = |case: &mut Case, node, epoch| {
            let (epoch, next) = (LeaderEpoch(epoch), Offset(0));
            case.probe(node, &Probe::PartitionOpened { partition, stream: S, epoch, next });
        };
        opens(&mut case, A, 0);
        if replaced {
            opens(&mut case, B, 1);
        }
        let epoch = LeaderEpoch(0);
        case.probe(A, &Probe::ProducerOutOfOrder { partition, epoch, proof });
        if !replaced {
            opens(&mut case, B, 1);
        }
        case.probe(A, &Probe::ProducerRefused { partition, proof });
        case
    }

    #[test]
    fn refusal_by_a_leader_replaced_before_breaks() {
        assert!(refused_by(true).breaks("P2"));
    }

    #[test]
    fn refusal_told_after_the_successor_opened_holds() {
        assert!(refused_by(false).holds());
    }
}

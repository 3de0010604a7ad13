//! Q2 EpochEnd: OffsetForLeaderEpoch gives the largest epoch that is at most the one asked for, and
//! where it ended: the start of the next epoch or, for the leader's own, no less than what had been
//! seen. An epoch without records may be skipped. Source: KIP-101, KIP-279, KIP-320; KAFKA-7415,
//! Redpanda #5435.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::horizon::Floor;
use crate::facts::ledger::Stream;
use crate::{Check, require};

/// A question and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// The epoch asked for.
    pub(crate) asked: LeaderEpoch,
    /// The leader's own.
    pub(crate) leader: LeaderEpoch,
    /// The epoch found and its end.
    pub(crate) found: Option<(LeaderEpoch, Offset)>,
}

/// What can be said without knowing the stream.
pub(crate) fn answered(partition: TopicPartition, answer: Answered, owed: Floor) -> Check {
    let Answered { asked, leader, found } = answer;
    require!(
        found.is_none_or(|(epoch, _)| epoch <= asked),
        Q2,
        partition,
        "asked for epoch {asked}, got {found:?}"
    );
    if asked == leader {
        // KAFKA-7415: the leader's own epoch is there from its first moment, records or not.
        let least = owed.end;
        require!(
            found.is_some_and(|(epoch, end)| epoch == leader && end >= least),
            Q2,
            partition,
            "asked the leader of epoch {leader} for its own, got {found:?}; everything below \
             {least} had been seen"
        );
    }
    Ok(())
}

/// An answer about an epoch before the leader's, against the stream's ranges.
pub(crate) fn past(partition: TopicPartition, answer: Answered, stream: &Stream) -> Check {
    let Answered { asked, leader, found } = answer;
    let next = stream.ranges.partition_point(|range| range.epoch <= asked);
    let Some(after) = stream.ranges.get(next).filter(|range| range.epoch <= leader) else {
        return Ok(());
    };
    let end = after.start;
    let right = match found {
        None => stream.ranges[..next].iter().all(|range| range.start == end),
        Some((epoch, at)) => {
            let first = stream.ranges[..next].partition_point(|range| range.epoch < epoch);
            let known = stream.ranges[..next].get(first).is_some_and(|range| range.epoch == epoch);
            let skipped = stream.ranges[..next].get(first + 1..).unwrap_or(&[]);
            // Kafka's answer for an epoch older than every one that is left in the cache.
            let before = &stream.ranges[..next];
            let nothing_left = epoch == asked && before.iter().all(|range| range.start == end);
            let ended = known && skipped.iter().all(|range| range.start == end);
            at == end && (ended || nothing_left)
        }
    };
    require!(
        right,
        Q2,
        partition,
        "asked the leader of epoch {leader} for epoch {asked}, got {found:?}; it ended at {end}"
    );
    Ok(())
}

/// An answer against the final log: `before` and `at` are the epochs of the records on both sides
/// of the end it gave; `at`: if the leader's own epoch was later.
pub(crate) fn final_log(
    partition: TopicPartition,
    asked: LeaderEpoch,
    end: Offset,
    before: Option<LeaderEpoch>,
    at: Option<LeaderEpoch>,
) -> Check {
    require!(
        before.is_none_or(|before| before <= asked)
            && at.is_none_or(|at| at > asked),
        Q2,
        partition,
        "epoch {asked} was said to end at {end}; the records around it are of epochs {before:?} \
         and {at:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::metadata::record::Record;

    use crate::history::{Answer, Call};
    use crate::testing::{A, A_EPOCH, B, B_EPOCH, Case, P, S, change, open_stream};

    /// [0, 2) under epoch 0, nothing under epoch 1, [2, 4) under epoch 2 so far.
    fn three_epochs() -> Case {
        let mut case = Case::cluster("Q2");
        case.produce(100, 4);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).fail_over().seal(0);
        case.lead(B, B_EPOCH, 1, 3);
        let (stream, epoch) = (S, LeaderEpoch(1));
        case.meta(alloc::vec![
            Record::CloseStream { stream, epoch },
            change(Some(B), None, 2, 4),
            open_stream(B, B_EPOCH, 2),
        ]);
        case.commit(1, (B, B_EPOCH), (B, B_EPOCH), 2, &[(2, 4, 102)]);
        case
    }

    fn asks(case: &mut Case, asked: u32, leader: u32, found: Option<(u32, u64)>) {
        let (epoch, leader_epoch) = (LeaderEpoch(asked), Some(LeaderEpoch(leader)));
        let call = case.invoke(3, Call::EpochEnd { partition: P, epoch, leader_epoch });
        let found = found.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
        case.ok(call, Answer::EpochEnd(found));
    }

    #[test]
    fn past_epoch_answered_with_the_logs_end_breaks() {
        let mut case = three_epochs();
        asks(&mut case, 0, 2, Some((0, 4)));
        assert!(case.breaks("Q2"));
    }

    #[test]
    fn past_epoch_answered_with_its_end_holds() {
        let mut case = three_epochs();
        asks(&mut case, 0, 2, Some((0, 2)));
        asks(&mut case, 1, 2, Some((1, 2)));
        asks(&mut case, 1, 2, Some((0, 2)));
        case.finish();
        assert!(case.holds());
    }

    #[test]
    fn own_epoch_unknown_to_its_leader_breaks() {
        let mut case = three_epochs();
        asks(&mut case, 2, 2, Some((0, 2)));
        assert!(case.breaks("Q2"));
    }

    #[test]
    fn own_epoch_answered_with_what_is_visible_holds() {
        let mut case = three_epochs();
        asks(&mut case, 2, 2, Some((2, 3)));
        assert!(case.holds());
    }

    #[test]
    fn larger_epoch_than_asked_breaks() {
        let mut case = three_epochs();
        asks(&mut case, 1, 2, Some((2, 4)));
        assert!(case.breaks("Q2"));
    }

    #[test]
    fn history_alone_shows_a_wrong_end() {
        let mut case = Case::new("Q2");
        case.produce(100, 4);
        case.reads(0, 2, 4, &[(0, 100, 0), (1, 101, 0), (2, 102, 2), (3, 103, 2)]);
        asks(&mut case, 0, 2, Some((0, 3)));
        assert!(case.judge.finish_history().is_err());
    }
}

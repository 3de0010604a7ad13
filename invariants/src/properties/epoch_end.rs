//! Q2 EpochEnd: OffsetForLeaderEpoch gives the largest epoch that is at most the one asked for, and
//! where it ended: the start of the next epoch or, for the leader's own, no less than what had been
//! seen. An epoch without records may be skipped. Source: KIP-101, KIP-279, KIP-320; KAFKA-7415,
//! Redpanda #5435.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::clients::Floor;
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
            known && at == end && skipped.iter().all(|range| range.start == end)
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
/// of the end it gave.
pub(crate) fn final_log(
    partition: TopicPartition,
    (asked, past): (LeaderEpoch, bool),
    end: Offset,
    before: Option<LeaderEpoch>,
    at: Option<LeaderEpoch>,
) -> Check {
    require!(
        before.is_none_or(|before| before <= asked)
            && (!past || at.is_none_or(|at| at > asked)),
        Q2,
        partition,
        "epoch {asked} was said to end at {end}; the records around it are of epochs {before:?} \
         and {at:?}"
    );
    Ok(())
}

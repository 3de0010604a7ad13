//! Q1 ListOffsets: the latest offset covers everything acknowledged or read, under epochs up to the
//! answering leader's, before the question was asked; a timestamp lookup finds the first record
//! that is late enough, or nothing only if there is none. Source: KIP-79, KIP-207, KIP-734; Jepsen
//! on Bufstream 0.1.0 (spurious zero offsets).

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::clients::{Asked, Floor, Lookup};
use crate::{Check, require};

/// An answer under `epoch` gave this end of the log.
pub(crate) fn latest(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    end: Option<Offset>,
    owed: Floor,
) -> Check {
    let (least, seen_in) = (owed.end, owed.end_epoch);
    require!(
        end.is_some_and(|end| end >= least),
        Q1,
        partition,
        "under leader epoch {epoch} the log ends at {end:?}; before that, everything below {least} \
         was seen under epoch {seen_in}"
    );
    Ok(())
}

/// A lookup of records at or after `asked_us` found one with the timestamp `found_us`.
pub(crate) fn found(
    partition: TopicPartition,
    asked_us: i64,
    offset: Offset,
    found_us: i64,
) -> Check {
    require!(
        found_us >= asked_us,
        Q1,
        partition,
        "asked for records from {asked_us} µs on, got offset {offset} with {found_us} µs"
    );
    Ok(())
}

/// The end of the final log against the largest offset that was shown as visible.
pub(crate) fn shown(partition: TopicPartition, shown: Offset, end: Offset) -> Check {
    require!(
        shown <= end,
        Q1,
        partition,
        "clients were shown offsets up to {shown}, the final log ends at {end}"
    );
    Ok(())
}

/// A timestamp lookup against the final log. `at` gives a record's timestamp; `largest` the largest
/// one before an offset.
pub(crate) fn lookup(
    partition: TopicPartition,
    lookup: &Lookup,
    at: impl Fn(Offset) -> Option<i64>,
    largest: impl Fn(Offset) -> Option<i64>,
) -> Check {
    let floor = lookup.floor;
    match (lookup.asked, lookup.answer) {
        (Asked::At(from), Some((offset, time))) => {
            let held = at(offset);
            require!(
                held.is_none_or(|held| held == time),
                Q1,
                partition,
                "offset {offset} was listed with {time} µs, it has {held:?}"
            );
            let before = largest(offset);
            require!(
                before.is_none_or(|before| before < from),
                Q1,
                partition,
                "offset {offset} was listed as the first from {from} µs on, but {before:?} is before"
            );
        }
        (Asked::At(from), None) => {
            let visible = largest(floor);
            require!(
                visible.is_none_or(|visible| visible < from),
                Q1,
                partition,
                "nothing was listed from {from} µs on, but {visible:?} lies below {floor}"
            );
        }
        (Asked::Max, Some((offset, time))) => {
            let (held, visible) = (at(offset), largest(floor));
            require!(
                held.is_none_or(|held| held == time)
                    && visible.is_none_or(|visible| visible <= time),
                Q1,
                partition,
                "offset {offset} was listed with the largest timestamp {time} µs; it has {held:?}, \
                 and {visible:?} lies below {floor}"
            );
        }
        (Asked::Max, None) => {
            require!(
                floor == Offset(0),
                Q1,
                partition,
                "no largest timestamp was listed, but everything below {floor} was visible"
            );
        }
        (Asked::EpochEnd { .. }, _) => {}
    }
    Ok(())
}

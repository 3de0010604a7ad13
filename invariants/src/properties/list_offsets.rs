//! Q1 ListOffsets: the latest offset covers everything acknowledged or read before the question was
//! asked; a timestamp lookup finds the first record that is late enough, with its leader epoch, or
//! nothing only if there is none. Of this broker that is demanded whatever leader answers (ADR
//! 0009); of a history, as of Kafka, under epochs up to the answering leader's. Source: KIP-79,
//! KIP-207, KIP-320, KIP-734; Jepsen on Bufstream 0.1.0 (spurious zero offsets).

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::clients::{Asked, Listed, Lookup};
use crate::facts::horizon::Floor;
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

/// A timestamp lookup against the final log, or what readers saw of it. `at` gives a record's
/// timestamp and leader epoch, if they are known; `largest` the largest timestamp before an offset.
pub(crate) fn lookup(
    partition: TopicPartition,
    lookup: &Lookup,
    at: impl Fn(Offset) -> Option<(Option<i64>, Option<LeaderEpoch>)>,
    largest: impl Fn(Offset) -> Option<i64>,
) -> Check {
    let floor = lookup.floor;
    if let Some(listed) = lookup.answer
        && let Some((held_us, held_epoch)) = at(listed.offset)
    {
        let Listed { offset, time_us, epoch } = listed;
        let same_epoch = epoch.zip(held_epoch).is_none_or(|(epoch, held)| held == epoch);
        require!(
            held_us.is_none_or(|held| held == time_us) && same_epoch,
            Q1,
            partition,
            "offset {offset} was listed with {time_us} µs and leader epoch {epoch:?}; the log \
             holds it with {held_us:?} µs and leader epoch {held_epoch:?}"
        );
    }
    match (lookup.asked, lookup.answer) {
        (Asked::At(from), Some(Listed { offset, .. })) => {
            let before = largest(offset);
            require!(
                before.is_none_or(|before| before < from),
                Q1,
                partition,
                "offset {offset} was listed as the first from {from} µs on, but {before:?} is \
                before"
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
        (Asked::Max, Some(Listed { offset, time_us, .. })) => {
            let visible = largest(floor);
            require!(
                visible.is_none_or(|visible| visible <= time_us),
                Q1,
                partition,
                "offset {offset} was listed with the largest timestamp {time_us} µs, but \
                 {visible:?} lies below {floor}"
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

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::{Acks, Isolation, OffsetSpec};

    use crate::history::{Answer, Call};
    use crate::testing::{A, A_EPOCH, Case, P, time_of};

    fn listed(case: &mut Case, spec: OffsetSpec, epoch: u32, found: Option<(u64, u64)>) {
        let leader_epoch = Some(LeaderEpoch(epoch));
        let call = case.invoke(3, Call::ListOffsets {
            partition: P,
            spec,
            leader_epoch,
            isolation: Isolation::ReadUncommitted,
        });
        let found = found.map(|(offset, ms)| {
            (Offset(offset), Some(time_of(ms)), Some(LeaderEpoch(epoch)))
        });
        case.ok(call, Answer::Listed(found));
    }

    fn acked_under(case: &mut Case, epoch: u32) {
        let (partition, epoch, base, end) = (P, LeaderEpoch(epoch), Offset(0), Offset(3));
        let sent = case.produce(100, 3);
        let acks = Acks::All;
        case.probe(A, &Probe::PartitionAcked { partition, epoch, base, end, acks }).placed(sent, 0);
    }

    #[test]
    fn latest_below_what_was_acknowledged_breaks() {
        let mut case = Case::cluster("Q1");
        acked_under(&mut case, 0);
        listed(&mut case, OffsetSpec::Latest, 0, Some((2, 0)));
        assert!(case.breaks("Q1"));
    }

    #[test]
    fn latest_at_what_was_acknowledged_holds() {
        let mut case = Case::cluster("Q1");
        acked_under(&mut case, 0);
        listed(&mut case, OffsetSpec::Latest, 0, Some((3, 0)));
        assert!(case.holds());
    }

    #[test]
    fn latest_of_a_zombie_below_what_its_successor_acknowledged_breaks() {
        for epoch in [0, 1] {
            let mut case = Case::cluster("Q1");
            acked_under(&mut case, 1);
            listed(&mut case, OffsetSpec::Latest, epoch, Some((0, 0)));
            assert!(case.breaks("Q1"), "under epoch {epoch}");
        }
    }

    /// Values 100 to 102 at offsets 0 to 2, with their numbers as timestamps, are the final log.
    fn committed(spec: OffsetSpec, found: Option<(u64, u64)>) -> Case {
        let mut case = Case::cluster("Q1");
        acked_under(&mut case, 0);
        listed(&mut case, spec, 0, found);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]).finish();
        case
    }

    #[test]
    fn timestamp_found_too_late_in_the_log_breaks() {
        assert!(committed(OffsetSpec::At(time_of(101)), Some((2, 102))).breaks("Q1"));
    }

    #[test]
    fn timestamp_found_first_holds() {
        assert!(committed(OffsetSpec::At(time_of(101)), Some((1, 101))).holds());
    }

    #[test]
    fn timestamp_found_under_another_leader_epoch_breaks() {
        let found = |epoch| {
            let mut case = Case::cluster("Q1");
            acked_under(&mut case, 0);
            listed(&mut case, OffsetSpec::At(time_of(101)), epoch, Some((1, 101)));
            case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]).finish();
            case
        };
        assert!(found(0).holds());
        assert!(found(1).breaks("Q1"));
    }

    #[test]
    fn timestamp_answered_with_a_spurious_zero_breaks() {
        assert!(committed(OffsetSpec::At(time_of(200)), Some((0, 200))).breaks("Q1"));
        assert!(committed(OffsetSpec::At(time_of(200)), Some((0, 100))).breaks("Q1"));
    }

    #[test]
    fn timestamp_not_found_breaks_if_it_is_there() {
        assert!(committed(OffsetSpec::At(time_of(102)), None).breaks("Q1"));
        assert!(committed(OffsetSpec::At(time_of(103)), None).holds());
    }

    #[test]
    fn largest_timestamp_breaks_unless_it_is_the_largest() {
        assert!(committed(OffsetSpec::MaxTimestamp, Some((1, 101))).breaks("Q1"));
        assert!(committed(OffsetSpec::MaxTimestamp, Some((2, 102))).holds());
    }

    #[test]
    fn end_shown_beyond_the_final_log_breaks() {
        assert!(committed(OffsetSpec::Latest, Some((4, 0))).breaks("Q1"));
    }
}

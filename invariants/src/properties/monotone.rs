//! L6 Monotone: high watermark and log start never go back. Each leader's grow; a new leader starts
//! with all that its predecessors had shown; a client never sees them fall. The one exception is a
//! leader that does not know that it was replaced: it answers for its own epoch, so an answer under
//! epoch e owes only what had been seen under epochs up to e before the call began. Source:
//! KIP-207, Inkless 707a85ae96.

use broker_core::ids::{LeaderEpoch, Offset, TopicPartition};

use crate::facts::horizon::Floor;
use crate::facts::served::Term;
use crate::{Check, require};

/// An answer under `epoch` showed these offsets; `owed` had been shown to the same client.
pub(crate) fn answered(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    end: Option<Offset>,
    log_start: Option<Offset>,
    owed: Floor,
) -> Check {
    let (least, seen_in) = (owed.end, owed.end_epoch);
    require!(
        end.is_none_or(|end| end >= least),
        L6,
        partition,
        "under leader epoch {epoch} a client sees the high watermark {end:?}, \
         after {least} under epoch {seen_in}"
    );
    let least = owed.log_start;
    require!(
        log_start.is_none_or(|start| start >= least),
        L6,
        partition,
        "under leader epoch {epoch} a client sees the log start {log_start:?}, after {least}"
    );
    Ok(())
}

/// A leader's offsets moved; `terms` are all leaders' so far, `term` its own.
pub(crate) fn moved(
    partition: TopicPartition,
    terms: &[Term],
    term: &Term,
    log_start: Offset,
    high_watermark: Offset,
) -> Check {
    let epoch = term.epoch;
    let (start_before, before) = (term.log_start, term.high_watermark.map(|marks| marks.1));
    require!(
        before.is_none_or(|before| high_watermark >= before) && log_start >= start_before,
        L6,
        partition,
        "epoch {epoch}: high watermark {before:?} → {high_watermark}, log start {start_before} → \
         {log_start}"
    );
    for other in terms {
        let Some((first, last)) = other.high_watermark else { continue };
        let (earlier, later) = match other.epoch.cmp(&epoch) {
            core::cmp::Ordering::Less if before.is_none() => (last, high_watermark),
            core::cmp::Ordering::Greater => (high_watermark, first),
            core::cmp::Ordering::Less | core::cmp::Ordering::Equal => continue,
        };
        let other = other.epoch;
        require!(
            earlier <= later,
            L6,
            partition,
            "high watermark {high_watermark} under epoch {epoch}, but {first}..{last} under {other}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, NodeId, Offset};
    use broker_core::probe::Probe;

    use crate::testing::{A, B, Case, P, S};

    fn leader(case: &mut Case, node: NodeId, epoch: u32, next: u64) {
        let (epoch, next) = (LeaderEpoch(epoch), Offset(next));
        case.probe(node, &Probe::PartitionOpened { partition: P, stream: S, epoch, next });
    }

    fn offsets(case: &mut Case, node: NodeId, epoch: u32, high_watermark: u64) {
        case.probe(
            node,
            &Probe::PartitionOffsets {
                partition: P,
                epoch: LeaderEpoch(epoch),
                log_start: Offset(0),
                last_stable: Offset(0),
                high_watermark: Offset(high_watermark),
                log_end: Offset(100),
            },
        );
    }

    #[test]
    fn client_sees_the_high_watermark_fall_breaks() {
        let mut case = Case::cluster("L6");
        case.produce(100, 5);
        case.reads(0, 1, 5, &[]).reads(0, 2, 4, &[]);
        assert!(case.breaks("L6"));
    }

    #[test]
    fn client_asks_a_zombie_after_its_successor_holds() {
        let mut case = Case::cluster("L6");
        case.produce(100, 5);
        case.reads(0, 2, 5, &[]).reads(0, 1, 4, &[]).reads(0, 2, 5, &[]);
        assert!(case.holds());
    }

    #[test]
    fn answer_of_a_fetch_begun_earlier_holds() {
        let mut case = Case::cluster("L6");
        let early = case.fetch(2, 0, 1);
        case.reads(0, 1, 5, &[]).fetched(early, 4, &[]);
        assert!(case.holds());
    }

    #[test]
    fn new_leader_below_the_old_one_breaks() {
        let mut case = Case::cluster("L6");
        leader(&mut case, A, 0, 0);
        offsets(&mut case, A, 0, 7);
        leader(&mut case, B, 1, 6);
        offsets(&mut case, B, 1, 6);
        assert!(case.breaks("L6"));
    }

    #[test]
    fn zombie_that_hears_late_holds_within_what_was_recovered() {
        let mut case = Case::cluster("L6");
        leader(&mut case, A, 0, 0);
        offsets(&mut case, A, 0, 5);
        leader(&mut case, B, 1, 7);
        offsets(&mut case, B, 1, 7);
        offsets(&mut case, A, 0, 7);
        assert!(case.holds());
        offsets(&mut case, A, 0, 8);
        assert!(case.breaks("L6"));
    }
}

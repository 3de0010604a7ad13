//! G3 ExactlyOnce: what a group reads and processes in transactions is processed once. Partition by
//! partition the stretches that its committed transactions read follow one another, without an
//! overlap (an input is processed twice) and without a gap (an input is lost), and what is
//! committed at the end is where the last one ends. A transaction's offsets are committed exactly
//! when its outputs are and its producer heard so, and there is one output for each record it read.
//! Source: KIP-129, KIP-447, KAFKA-17507, Redpanda #9571.
//!
//! Commits without a transaction promise less: what is read twice is allowed, what is left out is
//! not. A client that went on after a commit that failed or may have failed has read that part,
//! too.
//!
//! Left out: a partition that was committed in both ways, or whose offset was forgotten. Of a
//! history alone a transaction whose outcome nobody knows may have been committed or not.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::group_calls::{Part, Range};
use crate::{Check, require};

/// The stretches of a partition that a group read in transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    /// Where the group began.
    pub(crate) start: Offset,
    /// Those that were committed, ascending: from, up to, and in which transaction.
    pub(crate) sure: Vec<(Offset, Offset, u32)>,
    /// Those of which nobody knows.
    pub(crate) maybe: BTreeSet<(Offset, Offset)>,
}

impl From<Offset> for Chain {
    fn from(start: Offset) -> Self {
        Self { start, sure: Vec::new(), maybe: BTreeSet::new() }
    }
}

impl Chain {
    /// Whether stretches of which nobody knows lead from one offset to another.
    fn bridges(&self, from: Offset, to: Offset) -> bool {
        let mut reached = BTreeSet::from([from]);
        for (begin, end) in self.maybe.range((from, from)..(to, to)) {
            if reached.contains(begin) {
                reached.insert(*end);
            }
        }
        reached.contains(&to)
    }
}

/// What is known of a transaction that holds offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handed {
    /// Its producer heard that it is committed.
    pub(crate) told: bool,
    /// Whether its outputs are, if they are decided.
    pub(crate) outputs: Option<bool>,
    /// Some decision is still to be carried out: whether it ever is, is for LV4 to say.
    pub(crate) pending: bool,
}

/// The committed stretches follow one another.
pub(crate) fn chained(group: &str, partition: TopicPartition, chain: &Chain) -> Check {
    let mut at = chain.start;
    for &(from, upto, txn) in &chain.sure {
        require!(
            from >= at,
            G3,
            partition,
            "{group:?} has processed it up to {at}, and transaction {txn} processed {from} to \
             {upto} again"
        );
        require!(
            from == at || chain.bridges(at, from),
            G3,
            partition,
            "{group:?} has processed it up to {at}, and transaction {txn} goes on at {from}: what \
             is between is lost"
        );
        at = upto;
    }
    Ok(())
}

/// What is committed is the end of them.
pub(crate) fn ends(
    group: &str,
    partition: TopicPartition,
    chain: &Chain,
    committed: Option<Offset>,
) -> Check {
    let end = chain.sure.last().map(|last| last.1);
    require!(
        committed == end,
        G3,
        partition,
        "{group:?} has processed it up to {end:?}, but {committed:?} is committed"
    );
    Ok(())
}

/// The coordinator's log commits offsets of a transaction.
pub(crate) fn asked_for(txn: u32, group: &str, partition: TopicPartition, may: bool) -> Check {
    require!(
        may,
        G3,
        partition,
        "the offset of {group:?} that transaction {txn} holds is committed, but its commit was not \
         asked for, or was refused"
    );
    Ok(())
}

/// Offsets share the fate of the outputs.
pub(crate) fn together(range: &Range, handed: Handed) -> Check {
    let Handed { told, outputs, pending } = handed;
    let Range { group, partition, txn, committed, .. } = range;
    let awaited = committed.is_none() && (pending || !range.told);
    require!(
        !told || awaited || !range.told || *committed == Some(true),
        G3,
        *partition,
        "that transaction {txn} is committed was confirmed, but for its offset of {group:?} that \
         is {committed:?}"
    );
    let fits = match outputs {
        Some(true) => *committed == Some(true) || awaited,
        Some(false) => *committed != Some(true),
        None => true,
    };
    require!(
        fits,
        G3,
        *partition,
        "that the outputs of transaction {txn} are committed is {outputs:?}, for its offset of \
         {group:?} it is {committed:?}"
    );
    Ok(())
}

/// One output for each input.
pub(crate) fn one_for_each(txn: u32, inputs: u64, outputs: u64) -> Check {
    require!(
        inputs == outputs,
        G3,
        "transaction",
        "transaction {txn} read {inputs} records and wrote {outputs}"
    );
    Ok(())
}

/// A commit without a transaction took effect.
pub(crate) fn began(group: &str, part: &Part) -> Check {
    if let Some((from, covered)) = part.gap {
        require!(
            false,
            G3,
            part.partition,
            "{group:?} commits what it read from {from} on, but nobody had come further than \
             {covered}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::history::{Answer, EventKind};
    use crate::testing::groups::{PRODUCER, Read};
    use crate::testing::{Case, P, Q, Txn};

    /// Transactions that read these stretches of P and are committed, or not.
    fn processed(stretches: &[(u64, u64, bool)]) -> Case {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0);
        for (txn, &(from, upto, commit)) in (1..).zip(stretches) {
            let at = u64::from(txn) * 2;
            case.stages(txn, at, (P, from, upto)).ends_at(txn, at + 1, commit);
        }
        case.finish();
        case
    }

    #[test]
    fn input_that_is_processed_twice_breaks() {
        // `group-require-stable-ignored`, `group-txn-commit-unfenced`.
        assert!(processed(&[(0, 10, true), (0, 10, true)]).breaks("G3"));
        assert!(processed(&[(0, 10, true), (9, 20, true)]).breaks("G3"));
    }

    #[test]
    fn input_that_is_left_out_breaks() {
        assert!(processed(&[(0, 10, true), (11, 20, true)]).breaks("G3"));
        // `group-txn-offset-at-once`: an abort does not take the offset back.
        assert!(processed(&[(0, 10, false), (10, 20, true)]).breaks("G3"));
    }

    #[test]
    fn stretches_that_follow_one_another_hold() {
        assert!(processed(&[(0, 10, true), (10, 12, false), (10, 20, true)]).holds());
        assert!(processed(&[(0, 10, false), (0, 10, true)]).holds());
    }

    #[test]
    fn offset_that_goes_back_behind_what_was_processed_breaks() {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0).stages(1, 0, (P, 0, 10)).ends_at(1, 1, true);
        case.stages(2, 2, (P, 10, 20)).ends_at(2, 3, true);
        // A record that nobody's open call explains, such as one that came late.
        case.stored((0, 4), P, Some(10), None).log_confirmed(0, 5).finish();
        assert!(case.breaks("G3"));
    }

    #[test]
    fn transaction_that_was_committed_without_its_offsets_breaks() {
        let ended = |marker: Option<bool>| {
            let mut case = Case::cluster("G3");
            case.log_read(0, 0).stages(1, 0, (P, 0, 10));
            if let Some(commit) = marker {
                case.over((0, 1), commit).log_confirmed(0, 2);
            }
            case.ends(1, true);
            case
        };
        // KAFKA-17507: it was told before.
        assert!(ended(None).finish().breaks("G3"));
        assert!(ended(Some(false)).finish().breaks("G3"));
        assert!(ended(None).over((0, 1), true).log_confirmed(0, 2).finish().holds());
    }

    #[test]
    fn offsets_of_a_transaction_that_was_not_to_be_committed_break() {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0).stages(1, 0, (P, 0, 10));
        let opened = case.asks_end(1, false);
        assert!(case.over((0, 1), true).log_confirmed(0, 2).breaks("G3"));
        let _ = opened;
    }

    #[test]
    fn stretch_that_one_transaction_asks_for_again_counts_once() {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0).stages(1, 0, (P, 0, 10)).stages(1, 1, (P, 0, 10));
        case.stages(1, 2, (P, 10, 20)).ends_at(1, 3, true).finish();
        assert!(case.holds());
    }

    #[test]
    fn partition_whose_offset_was_forgotten_may_be_read_again() {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0).stages(1, 0, (P, 0, 10)).ends_at(1, 1, true);
        case.stored((0, 2), P, None, None).log_confirmed(0, 3);
        case.stages(2, 3, (P, 0, 10)).ends_at(2, 4, true).finish();
        assert!(case.holds());
    }

    /// Transaction 1 reads `read` of P, which holds three records, and writes two to Q.
    fn handed_over(read: Read, offsets: Option<bool>, outputs: bool) -> Case {
        handed_over_from(&[100, 101, 102].map(Txn::Plain), read, offsets, outputs)
    }

    fn handed_over_from(
        input: &[Txn],
        read: Read,
        offsets: Option<bool>,
        outputs: bool,
    ) -> Case {
        let mut case = Case::cluster("G3");
        case.begins();
        case.op(2);
        case.produced(100, 3, 0).log(P, input);
        case.log_read(0, 0).stages(1, 0, read).writes(1, Q, 200, 1, 0).writes(1, Q, 201, 1, 1);
        let opened = case.asks_end(1, true);
        if let Some(commit) = offsets {
            case.over((0, 1), commit).log_confirmed(0, 2);
        }
        case.unknown(opened);
        case.log(Q, &[Txn::Data(0, 200), Txn::Data(1, 201), Txn::End(outputs)]).finish();
        case
    }

    #[test]
    fn offsets_without_their_outputs_break() {
        assert!(handed_over((P, 0, 2), Some(true), false).breaks("G3"));
        assert!(handed_over((P, 0, 2), Some(false), true).breaks("G3"));
        assert!(handed_over((P, 0, 2), None, true).breaks("G3"));
    }

    #[test]
    fn offsets_with_their_outputs_hold() {
        assert!(handed_over((P, 0, 2), Some(true), true).holds());
        assert!(handed_over((P, 0, 2), Some(false), false).holds());
    }

    #[test]
    fn output_that_is_missing_or_too_many_breaks() {
        assert!(handed_over((P, 0, 3), Some(true), true).breaks("G3"));
        assert!(handed_over((P, 0, 1), Some(true), true).breaks("G3"));
    }

    #[test]
    fn input_that_was_aborted_has_no_output() {
        let input = [Txn::Plain(100), Txn::Data(0, 101), Txn::End(false), Txn::Plain(102)];
        assert!(handed_over_from(&input, (P, 0, 4), Some(true), true).holds());
        assert!(handed_over_from(&input, (P, 0, 3), Some(true), true).breaks("G3"));
    }

    /// Commits without a transaction: by whom, what was read, and whether it takes effect.
    fn committed(commits: &[(&str, u64, u64, bool)]) -> Case {
        let mut case = Case::cluster("G3");
        case.log_read(0, 0);
        for (at, &(member, from, upto, done)) in (0..).zip(commits) {
            let opened = case.asks_commit(1, (member, 1), &[(P, from, upto)], None);
            if done {
                case.stored((0, at), P, Some(upto), None).log_confirmed(0, at + 1);
                case.ok(opened, Answer::Done);
            } else {
                case.unknown(opened);
            }
        }
        case
    }

    #[test]
    fn input_that_plain_commits_leave_out_breaks() {
        assert!(committed(&[("a", 0, 10, true), ("b", 11, 20, true)]).breaks("G3"));
        assert!(committed(&[("a", 0, 10, true), ("a", 11, 20, true)]).breaks("G3"));
        // The commit of `a` took no effect, so `b` can not know of it.
        let lost = [("a", 0, 5, true), ("a", 5, 10, false), ("b", 10, 20, true)];
        assert!(committed(&lost).breaks("G3"));
    }

    #[test]
    fn input_that_plain_commits_read_again_holds() {
        assert!(committed(&[("a", 0, 10, true), ("b", 5, 20, true)]).holds());
        let on = [("a", 0, 10, true), ("a", 10, 15, false), ("a", 15, 20, true)];
        assert!(committed(&on).holds(), "it has read what it could not commit");
    }

    /// As [`processed`], of a history alone; the last number says what the producer heard.
    fn alone(stretches: &[(u64, u64, Option<bool>)]) -> Result<crate::Summary, crate::Violation> {
        use crate::history::{Call, HistoryEvent, SimTime};
        use broker_core::ids::{Offset, ProducerEpoch};
        use broker_core::protocol::Generation;
        let mut events = Vec::new();
        for (op, &(from, upto, commit)) in (1..).zip(stretches) {
            let mut add = |call, kind| {
                events.push(HistoryEvent { at: SimTime(0), client: 1, call, op, kind });
            };
            let offsets = alloc::vec![(P, Offset(from), Offset(upto))];
            let (group, member) = ("g".into(), "".into());
            let (generation, transactional) = (Generation::NONE, true);
            let call = Call::CommitOffsets { group, member, generation, offsets, transactional };
            add(0, EventKind::Invoke(call));
            add(0, EventKind::Ok(Answer::Done));
            let producer = Some((PRODUCER, ProducerEpoch(0)));
            let end = Call::EndTxn { commit: commit != Some(false), producer, id: None };
            add(1, EventKind::Invoke(end));
            let heard = commit.map_or(EventKind::Unknown(None), |_| EventKind::Ok(Answer::Done));
            add(1, heard);
        }
        crate::judge_history(&events)
    }

    #[test]
    fn history_alone_shows_what_is_processed_twice_or_left_out() {
        let breaks = |stretches: &[_]| alone(stretches).is_err_and(|found| found.property == "G3");
        let (sure, none, open) = (Some(true), Some(false), None);
        assert!(breaks(&[(0, 10, sure), (9, 20, sure)]));
        assert!(breaks(&[(0, 10, sure), (11, 20, sure)]));
        assert!(breaks(&[(0, 10, none), (10, 20, sure)]));
        assert!(breaks(&[(10, 20, none), (0, 10, none), (10, 20, sure)]));
        assert!(breaks(&[(0, 10, sure), (10, 15, open), (16, 20, sure)]));
        // Nobody knows whether the second was committed: both fit.
        assert!(alone(&[(0, 10, sure), (10, 15, open), (15, 20, sure)]).is_ok());
        assert!(alone(&[(0, 10, sure), (10, 15, open), (10, 20, sure)]).is_ok());
        let summary = alone(&[(0, 10, sure)]).expect("it holds");
        assert!(summary.evaluated().any(|(code, times)| code == "G3" && times == 1));
    }
}

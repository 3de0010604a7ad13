//! G3 ExactlyOnce: what a group reads and processes in transactions is processed once. Partition by
//! partition the stretches that its committed transactions read follow one another, without an
//! overlap (an input is processed twice) and without a gap (an input is lost), and what is
//! committed at the end is where the last one ends. A transaction's offsets are committed exactly
//! when its outputs are and its producer heard so, and there is one output for each record it read.
//! Source: KIP-129, KIP-447, KAFKA-17507, Redpanda #9571.
//!
//! Commits without a transaction promise less: what is read twice is allowed, what is left out is
//! not. A client that went on after a commit that failed or may have failed has read that part,
//! too, and may commit it again.
//!
//! Left out: a partition that was committed in both ways, or whose offset was forgotten. Of a
//! history alone a transaction has the outcome that its producer heard, or that readers of
//! committed data saw; one whose outcome nobody knows may have been committed or not.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::group_calls::Range;
use crate::{Check, require};

/// The stretches of a partition that a group read in transactions.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    /// Where the group began, if that is told; else at the smallest offset from which it read.
    pub(crate) start: Offset,
    pub(crate) told: bool,
    /// All, of whatever fate.
    pub(crate) links: usize,
    /// Those that were committed, ascending.
    pub(crate) sure: Vec<Stretch>,
    /// Those of which nobody knows.
    pub(crate) maybe: BTreeSet<(Offset, Offset)>,
    /// How many these are.
    pub(crate) unknown: u64,
}

/// What a committed transaction processed, and where its group was to read on by it: the last
/// offset counts, be it smaller than one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stretch {
    from: Offset,
    upto: Offset,
    on: Offset,
    txn: u32,
}

/// What one transaction read of a partition without a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    from: Offset,
    upto: Offset,
    /// Where its group is to read on by it, in the order in which that was asked for, and whether
    /// that is sure.
    ends: Vec<(Offset, bool)>,
}

impl Link {
    /// The transaction asks for the next offset to be committed; `committed` is what is known of
    /// it. A later one takes the place of those before, and the inputs of all are the
    /// transaction's. Behind a gap a new link begins.
    pub(crate) fn add(links: &mut Vec<Self>, range: &Range, committed: Option<bool>) {
        let (from, upto) = (range.from, range.upto);
        match links.last_mut() {
            Some(last) if from <= last.upto => {
                (last.from, last.upto) = (last.from.min(from), last.upto.max(upto));
            }
            Some(_) | None => links.push(Self { from, upto, ends: Vec::new() }),
        }
        let last = links.last_mut().expect("one was there, or was just made");
        if committed != Some(false) {
            last.ends.push((upto, committed == Some(true)));
        }
    }

    /// Whether its group is sure to read on here: some of those that were asked for last is done,
    /// and what may be done yet says the same.
    fn is_sure(&self, on: Offset) -> bool {
        let mut last = self.ends.iter().rev().take_while(|(end, _)| *end == on);
        last.any(|(_, sure)| *sure) && self.ends.iter().all(|(end, sure)| *sure || *end == on)
    }
}

impl Chain {
    /// A transaction's link.
    pub(crate) fn take(&mut self, link: &Link, txn: u32) {
        if !self.told && (self.links == 0 || link.from < self.start) {
            self.start = link.from;
        }
        self.links += 1;
        let mut ends = link.ends.iter().map(|(end, _)| *end);
        let Some((upto, on)) = ends.clone().max().zip(ends.next_back()) else { return };
        if link.is_sure(on) {
            self.sure.push(Stretch { from: link.from, upto, on, txn });
        } else {
            self.maybe.extend(link.ends.iter().map(|(end, _)| (link.from, *end)));
            self.unknown += 1;
        }
    }

    /// Whether there is something to be judged: something was processed, and a single link must
    /// begin somewhere.
    pub(crate) fn is_judged(&self) -> bool {
        let processed = self.sure.iter().any(|stretch| stretch.from < stretch.upto);
        processed && (self.told || self.links > 1)
    }

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
    let (mut at, mut next) = (chain.start, chain.start);
    for &Stretch { from, upto, on, txn } in &chain.sure {
        require!(
            from >= at,
            G3,
            partition,
            "{group:?} has processed it up to {at}, and transaction {txn} processed {from} to \
             {upto} again"
        );
        require!(
            from == next || chain.bridges(next, from),
            G3,
            partition,
            "{group:?} has processed it up to {next}, and transaction {txn} goes on at {from}: \
             what is between is lost"
        );
        (at, next) = (upto, on);
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
    let end = chain.sure.last().map(|last| last.on);
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

/// A commit without a transaction took effect. `gap`: where its client's reading began, and how far
/// anybody had come, if there is something between them.
pub(crate) fn began(
    group: &str,
    partition: TopicPartition,
    gap: Option<(Offset, Offset)>,
) -> Check {
    if let Some((from, covered)) = gap {
        require!(
            false,
            G3,
            partition,
            "{group:?} commits what it read from {from} on, but nobody had come further than \
             {covered}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use broker_core::ids::{Offset, ProducerEpoch};
    use broker_core::metadata::record::Record;
    use broker_core::protocol::{Generation, Isolation};

    use crate::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord, SimTime};
    use crate::testing::groups::{PRODUCER, Read};
    use crate::testing::{Case, P, Q, Txn, produce_in_transaction};

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

    #[test]
    fn offsets_of_a_topic_that_was_deleted_before_the_end_of_their_transaction_hold() {
        for (deleted, forgotten) in [(true, true), (true, false), (false, true)] {
            let mut case = Case::cluster("G3");
            case.log_read(0, 0).stages(1, 0, (P, 0, 10));
            if deleted {
                case.meta(vec![Record::RemoveTopic { topic: P.topic }]);
            }
            if forgotten {
                case.stored((0, 1), P, None, None).log_confirmed(0, 2);
            }
            case.ends(1, true).finish();
            assert_eq!(case.breaks("G3"), !(deleted && forgotten), "{deleted} {forgotten}");
        }
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

    /// What clients saw of one group, and nothing else. Of each call the outcome is told: it was
    /// done, it failed, or nobody knows.
    #[derive(Default)]
    struct Alone(Vec<HistoryEvent>);

    impl Alone {
        fn call(&mut self, op: u32, call: Call, end: EventKind) -> &mut Self {
            let number = u32::try_from(self.0.len()).expect("a short history");
            for kind in [EventKind::Invoke(call), end] {
                self.0.push(HistoryEvent { at: SimTime(0), client: 1, call: number, op, kind });
            }
            self
        }

        /// The group is told to be here.
        fn at(&mut self, offset: Option<u64>) -> &mut Self {
            let partitions = alloc::vec![P];
            let call = Call::FetchOffsets { group: "g".into(), partitions, require_stable: true };
            let told = Answer::Offsets(alloc::vec![(P, offset.map(Offset))]);
            self.call(0, call, EventKind::Ok(told))
        }

        /// A member commits this, in a transaction if in one.
        fn commits(
            &mut self,
            (member, txn): (&str, Option<u32>),
            (from, upto): (u64, u64),
            done: Option<bool>,
        ) -> &mut Self {
            let call = Call::CommitOffsets {
                group: "g".into(),
                member: member.into(),
                generation: Generation::NONE,
                offsets: alloc::vec![(P, Offset(from), Offset(upto))],
                transactional: txn.is_some(),
                producer: None,
                id: None,
            };
            self.call(txn.unwrap_or_default(), call, end(done))
        }

        fn sends(&mut self, txn: u32, read: (u64, u64), done: Option<bool>) -> &mut Self {
            self.commits(("", Some(txn)), read, done)
        }

        fn ends(&mut self, txn: u32, commit: bool, done: Option<bool>) -> &mut Self {
            let producer = Some((PRODUCER, ProducerEpoch(0)));
            self.call(txn, Call::EndTxn { commit, producer, id: None }, end(done))
        }

        /// The transaction's output, a record that holds its number, is acknowledged here in Q.
        fn writes(&mut self, txn: u32, base: u64) -> &mut Self {
            let call = produce_in_transaction(Q, u64::from(txn), 1, None);
            let (base, log_append_time) = (Offset(base), None);
            self.call(txn, call, EventKind::Ok(Answer::Produced { base, log_append_time }))
        }

        /// A reader is given these offsets and values of Q, and steps over what is between.
        fn reads(&mut self, isolation: Isolation, records: &[(u64, u64)]) -> &mut Self {
            let (partition, offset, leader_epoch) = (Q, Offset(0), None);
            let call = Call::Fetch { partition, offset, reader: 1, leader_epoch, isolation };
            let records = records.iter().map(|&(offset, value)| ReadRecord {
                offset: Offset(offset),
                value: Some(value),
                timestamp: None,
                leader_epoch: None,
                intact: true,
            });
            let answer = Answer::Fetched {
                high_watermark: None,
                last_stable: None,
                log_start: None,
                records: records.collect(),
                skipped: None,
            };
            self.call(0, call, EventKind::Ok(answer))
        }

        fn judged(&self) -> Result<crate::Summary, crate::Violation> {
            crate::judge_history(&self.0)
        }

        fn breaks(&self) -> bool {
            self.judged().is_err_and(|found| found.property == "G3")
        }

        /// How often G3 was judged, and what it was not judged for.
        fn holds(&self) -> (u64, (u64, u64)) {
            let summary = self.judged().expect("it holds");
            let (_, times) = summary.evaluated().find(|(code, _)| *code == "G3").expect("a code");
            (times, (summary.unanchored, summary.undecided))
        }
    }

    fn end(done: Option<bool>) -> EventKind {
        match done {
            Some(true) => EventKind::Ok(Answer::Done),
            Some(false) => EventKind::Fail(None),
            None => EventKind::Unknown(None),
        }
    }

    const DONE: Option<bool> = Some(true);

    /// As [`processed`], of a history alone: whether each is known to be committed, or not to be.
    fn alone(stretches: &[(u64, u64, Option<bool>)]) -> Alone {
        let mut alone = Alone::default();
        for (txn, &(from, upto, commit)) in (1..).zip(stretches) {
            let heard = commit.map(|_| true);
            alone.sends(txn, (from, upto), DONE).ends(txn, commit != Some(false), heard);
        }
        alone
    }

    #[test]
    fn history_alone_shows_what_is_processed_twice_or_left_out() {
        let (sure, none, open) = (Some(true), Some(false), None);
        assert!(alone(&[(0, 10, sure), (9, 20, sure)]).breaks());
        assert!(alone(&[(0, 10, sure), (11, 20, sure)]).breaks());
        assert!(alone(&[(0, 10, none), (10, 20, sure)]).breaks());
        assert!(alone(&[(10, 20, none), (0, 10, none), (10, 20, sure)]).breaks());
        assert!(alone(&[(0, 10, sure), (10, 15, open), (16, 20, sure)]).breaks());
        // Nobody knows whether the second was committed: both fit, and that is said.
        assert_eq!(alone(&[(0, 10, sure), (10, 15, open), (15, 20, sure)]).holds(), (1, (1, 1)));
        assert_eq!(alone(&[(0, 10, sure), (10, 15, open), (10, 20, sure)]).holds(), (1, (1, 1)));
    }

    #[test]
    fn group_of_a_history_begins_where_it_was_told_to_be() {
        let first = |at: &[Option<u64>]| {
            let mut alone = Alone::default();
            for at in at {
                alone.at(*at);
            }
            alone.sends(1, (5, 10), DONE).ends(1, true, DONE);
            alone
        };
        assert!(first(&[None]).breaks(), "it begins at the start of the log");
        assert!(first(&[Some(4)]).breaks());
        assert!(first(&[Some(6)]).breaks());
        assert_eq!(first(&[Some(5)]).holds(), (1, (0, 0)));
        assert_eq!(first(&[]).holds(), (0, (1, 0)), "nobody says where it began");
        // What a client hears later says nothing of the beginning.
        let mut later = Alone::default();
        later.sends(1, (5, 10), DONE).at(None).ends(1, true, DONE).at(Some(10));
        assert_eq!(later.holds(), (0, (1, 0)));
    }

    #[test]
    fn group_of_a_history_that_commits_without_transactions_begins_there_too() {
        let first = |at: Option<Option<u64>>| {
            let mut alone = Alone::default();
            if let Some(at) = at {
                alone.at(at);
            }
            alone.commits(("a", None), (5, 10), DONE);
            alone
        };
        assert!(first(Some(None)).breaks());
        assert!(first(Some(Some(4))).breaks());
        assert_eq!(first(Some(Some(6))).holds(), (1, (0, 0)), "it may read again");
        assert_eq!(first(None).holds(), (0, (1, 0)));
    }

    #[test]
    fn offsets_that_one_transaction_of_a_history_sends_twice_are_one_stretch() {
        let sends = |sent: &[(u64, u64, Option<bool>)]| {
            let mut alone = Alone::default();
            alone.at(None);
            for &(from, upto, done) in sent {
                alone.sends(1, (from, upto), done);
            }
            alone.ends(1, true, DONE).sends(2, (20, 30), DONE).ends(2, true, DONE);
            alone
        };
        let (done, failed, unknown) = (Some(true), Some(false), None);
        assert_eq!(sends(&[(0, 20, done), (0, 20, done)]).holds(), (1, (0, 0)), "again");
        assert_eq!(sends(&[(0, 10, done), (10, 20, done)]).holds(), (1, (0, 0)), "and on");
        assert_eq!(sends(&[(0, 10, done), (5, 20, done)]).holds(), (1, (0, 0)));
        assert_eq!(sends(&[(0, 10, failed), (10, 20, done)]).holds(), (1, (0, 0)));
        assert!(sends(&[(0, 20, done), (0, 10, done)]).breaks(), "the last one counts");
        assert!(sends(&[(0, 10, done), (11, 20, done)]).breaks());
        assert!(sends(&[(0, 10, done), (10, 20, failed)]).breaks());
        assert_eq!(sends(&[(0, 10, done), (10, 20, unknown)]).holds(), (1, (0, 1)));
        assert!(sends(&[(0, 10, done), (10, 15, unknown)]).breaks(), "neither end fits");
        assert_eq!(sends(&[(0, 20, unknown), (0, 20, done)]).holds(), (1, (0, 0)), "a retry");
        assert_eq!(sends(&[(0, 20, done), (0, 20, unknown)]).holds(), (1, (0, 0)), "a retry");
        assert_eq!(sends(&[(0, 20, unknown), (0, 20, unknown)]).holds(), (1, (0, 1)));
        assert!(sends(&[(0, 21, unknown), (0, 21, done)]).breaks(), "and its end is judged");
        let late = [(0, 20, unknown), (0, 10, done), (10, 20, done)];
        assert_eq!(sends(&late).holds(), (1, (0, 0)), "whichever comes last");
        let late = [(0, 10, unknown), (0, 20, done)];
        assert_eq!(sends(&late).holds(), (1, (0, 1)), "the first may come last");
    }

    #[test]
    fn input_of_a_history_behind_an_offset_that_goes_back_within_its_transaction_is_read_twice() {
        let then = |sent: &[(u64, u64)], next: (u64, u64)| {
            let mut alone = Alone::default();
            alone.at(None);
            for read in sent {
                alone.sends(1, *read, DONE);
            }
            alone.ends(1, true, DONE).sends(2, next, DONE).ends(2, true, DONE);
            alone
        };
        assert!(then(&[(0, 10), (0, 5)], (5, 20)).breaks());
        assert!(then(&[(0, 10), (0, 0)], (0, 10)).breaks());
        assert!(then(&[(0, 10), (20, 30), (10, 20)], (20, 30)).breaks(), "a gap that was filled");
        assert_eq!(then(&[(0, 5), (5, 10)], (10, 20)).holds(), (1, (0, 0)));
        assert_eq!(then(&[(0, 10), (0, 5), (5, 10)], (10, 20)).holds(), (1, (0, 0)));
    }

    #[test]
    fn input_of_a_history_that_is_read_behind_a_commit_that_failed_is_left_out() {
        let goes_on = |member: &str, done: Option<bool>| {
            let mut alone = Alone::default();
            alone.at(None).commits(("a", None), (0, 5), DONE).commits(("a", None), (5, 10), done);
            alone.commits((member, None), (10, 20), DONE);
            alone
        };
        assert!(goes_on("b", Some(false)).breaks(), "nobody can have come to 10");
        assert_eq!(goes_on("b", Some(true)).holds(), (3, (0, 0)));
        assert_eq!(goes_on("b", None).holds(), (2, (0, 0)), "it may have been done");
        assert_eq!(goes_on("a", Some(false)).holds(), (2, (0, 0)), "it has read that itself");
        let in_transaction = |commit: bool| {
            let mut alone = Alone::default();
            alone.at(None).sends(1, (0, 10), DONE).ends(1, commit, DONE);
            alone.commits(("b", None), (10, 20), DONE);
            alone
        };
        assert!(in_transaction(false).breaks());
        assert_eq!(in_transaction(true).holds(), (2, (0, 1)));
    }

    #[test]
    fn input_of_a_history_whose_commit_failed_may_be_committed_again() {
        let commits = |tries: &[(u64, u64, bool)]| {
            let mut alone = Alone::default();
            alone.at(None);
            for &(from, upto, done) in tries {
                alone.commits(("a", None), (from, upto), Some(done));
            }
            alone
        };
        let (done, failed) = (true, false);
        let holds = |tries: &[(u64, u64, bool)]| commits(tries).holds().0 > 0;
        assert!(holds(&[(0, 5, failed), (5, 9, failed), (5, 9, done)]), "the last one again");
        assert!(holds(&[(0, 5, failed), (5, 9, failed), (0, 5, done), (5, 9, done)]), "both");
        assert!(holds(&[(0, 5, failed), (3, 9, failed), (9, 12, done)]));
        assert!(holds(&[(0, 9, failed), (0, 5, done), (9, 12, done)]), "it has read that far");
        assert!(holds(&[(5, 9, failed), (0, 5, failed), (9, 12, done)]), "in any order");
        assert!(commits(&[(0, 5, failed), (5, 9, failed), (10, 12, done)]).breaks());
        assert!(commits(&[(5, 9, failed), (0, 4, failed), (5, 9, done)]).breaks());
        let gap = [(0, 5, failed), (5, 9, failed), (12, 15, failed), (12, 15, done)];
        assert!(commits(&gap).breaks());
    }

    /// The end of transaction 1, which reads up to 10, is unknown; and this is read of its output
    /// at offset 0, and that of transaction 2 at offset 2.
    fn shown(isolation: Isolation, read: &[(u64, u64)], then: (Option<u32>, (u64, u64))) -> Alone {
        let mut alone = Alone::default();
        alone.at(None).writes(1, 0).sends(1, (0, 10), DONE).ends(1, true, None);
        alone.writes(2, 2).commits(("", then.0), then.1, DONE).ends(2, true, DONE);
        alone.reads(isolation, read);
        alone
    }

    #[test]
    fn stretch_of_a_history_has_the_fate_that_readers_of_committed_data_saw() {
        let (committed, any) = (Isolation::ReadCommitted, Isolation::ReadUncommitted);
        let (both, second): (&[_], &[_]) = (&[(0, 1), (2, 2)], &[(2, 2)]);
        let (again, on) = ((Some(2), (0, 10)), (Some(2), (10, 20)));
        assert!(shown(committed, both, again).breaks(), "it is processed twice");
        assert_eq!(shown(committed, both, on).holds(), (1, (0, 0)));
        assert!(shown(committed, second, on).breaks(), "what was aborted is lost");
        assert_eq!(shown(committed, second, again).holds(), (1, (0, 0)));
        for next in [again, on] {
            assert_eq!(shown(any, both, next).holds(), (1, (0, 1)), "it may be open yet");
            assert_eq!(shown(committed, &[], next).holds(), (1, (0, 1)), "nobody came by");
        }
    }

    #[test]
    fn commit_of_a_history_behind_a_transaction_that_was_shown_to_be_aborted_leaves_it_out() {
        let (committed, plain) = (Isolation::ReadCommitted, (None, (10, 20)));
        assert!(shown(committed, &[(2, 2)], plain).breaks());
        assert_eq!(shown(committed, &[(0, 1), (2, 2)], plain).holds().0, 2);
        assert_eq!(shown(committed, &[], plain).holds().0, 1, "it may be committed");
        assert_eq!(shown(committed, &[(2, 2)], (None, (0, 20))).holds().0, 1, "it reads it again");
    }

    #[test]
    fn input_of_a_history_that_an_aborted_transaction_read_is_left_out_by_a_commit_behind_it() {
        let behind = |commit: bool, heard: Option<bool>, next: (u64, u64)| {
            let mut alone = Alone::default();
            alone.at(None).commits(("", None), (0, 5), Some(false)).sends(1, (5, 10), DONE);
            alone.ends(1, commit, heard).commits(("", None), next, DONE);
            alone
        };
        for heard in [DONE, Some(false), None] {
            assert!(behind(false, heard, (10, 20)).breaks(), "{heard:?}");
            assert_eq!(behind(false, heard, (5, 20)).holds().0, 1, "it reads that again");
        }
        assert!(behind(true, Some(false), (10, 20)).breaks());
        assert_eq!(behind(true, DONE, (10, 20)).holds().0, 2, "what failed before is read");
        assert_eq!(behind(true, None, (10, 20)).holds().0, 1, "it may be committed");
        let within = |read: (u64, u64)| {
            let mut alone = Alone::default();
            alone.at(None).sends(1, (0, 10), DONE).ends(1, false, DONE);
            alone.sends(2, read, DONE).ends(2, true, DONE).commits(("", None), (20, 30), DONE);
            alone
        };
        assert!(within((10, 20)).breaks());
        assert_eq!(within((0, 20)).holds().0, 2);
    }

    #[test]
    fn commits_that_process_nothing_and_the_first_of_all_are_not_judged() {
        let mut alone = Alone::default();
        alone.at(None).sends(1, (0, 0), DONE).ends(1, true, DONE);
        assert_eq!(alone.holds(), (0, (0, 0)));
        alone.sends(2, (0, 10), DONE).ends(2, true, DONE);
        assert_eq!(alone.holds(), (1, (0, 0)));
        let mut alone = Alone::default();
        alone.commits(("", None), (5, 10), DONE).commits(("", None), (10, 20), DONE);
        assert_eq!(alone.holds(), (1, (1, 0)), "only the second could leave something out");
    }

    #[test]
    fn group_of_a_run_begins_where_it_was_told_to_be() {
        for (told, holds) in [(None, false), (Some(5), true)] {
            for txn in [None, Some(1)] {
                let mut case = Case::cluster("G3");
                case.log_read(0, 0);
                let asks = case.asks_offsets(1, &[P], true);
                case.told_offsets(asks, &[(P, told)]);
                match txn {
                    Some(txn) => {
                        case.stages(txn, 0, (P, 5, 10)).ends_at(txn, 1, true);
                    }
                    None => {
                        let opened = case.asks_commit(1, ("a", 1), &[(P, 5, 10)], None);
                        case.stored((0, 0), P, Some(10), None).log_confirmed(0, 1);
                        case.ok(opened, Answer::Done);
                    }
                }
                case.finish();
                assert_eq!(case.breaks("G3"), !holds, "{told:?} {txn:?}");
            }
        }
    }
}

//! G2 GenFence: a commit that names a member and a generation, and begins when the coordinator's
//! confirmed log has a newer generation, or that generation without the member, is refused; and of
//! a KIP-848 group, when the log says that the member is removed, or has come to a later epoch in
//! which it does not own the partition. In a transaction as without one. And no coordinator takes
//! such a commit, whether its client hears of it or not. Source: KIP-447, KIP-848,
//! KIP-1251, `ClassicGroup.validateOffsetCommit`, `ConsumerGroup.validateOffsetCommit`.
//!
//! Whoever confirms a commit has read that log, so no failover excuses it. With the member's newest
//! epoch Kafka takes any partition, so that is not judged.

use broker_core::protocol::Generation;

use crate::facts::group_calls::Commit;
use crate::facts::groups::Newer;
use crate::{Check, require};

pub(crate) fn answered(commit: &Commit, newer: Newer, told: bool) -> Check {
    require!(
        !told,
        G2,
        "coordinator",
        "member {:?} of {:?} committed with generation {}, although before there was {newer:?} \
         (in a transaction: {})",
        commit.member,
        commit.group,
        commit.generation.0,
        commit.transactional
    );
    Ok(())
}

/// Its coordinator took the commit, whatever its client heard of it.
pub(crate) fn taken(
    group: &str,
    (member, generation): (&str, Generation),
    newer: Option<Newer>,
) -> Check {
    require!(
        newer.is_none(),
        G2,
        "coordinator",
        "a commit of member {member:?} of {group:?} with generation {} is taken, although there is \
         {newer:?}",
        generation.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::protocol::ErrorCode;

    use crate::history::Answer;
    use crate::testing::groups::PRODUCER;
    use crate::testing::{Case, P, Q};

    /// A member commits in both ways, and is told that it did, or that it did not.
    fn commits(log: impl Fn(&mut Case), who: (&str, i32), told: bool) -> [Case; 2] {
        [false, true].map(|transactional| {
            let mut case = Case::cluster("G2");
            case.log_read(0, 0);
            log(&mut case);
            let txn = transactional.then_some(1);
            let opened = case.asks_commit(1, who, &[(P, 0, 7)], txn);
            case.stored((0, 9), P, Some(7), txn.map(|_| PRODUCER)).log_confirmed(0, 10);
            match told {
                true => case.ok(opened, Answer::Done),
                false => case.fail(opened, ErrorCode::IllegalGeneration),
            };
            case
        })
    }

    fn classic(case: &mut Case) {
        case.generation((0, 0), Some(1), &["a", "b"]);
        case.generation((0, 1), Some(2), &["a"]).log_confirmed(0, 2);
    }

    #[test]
    fn commit_of_a_generation_that_was_replaced_breaks() {
        // `group-generation-unchecked`, `group-txn-commit-unfenced`.
        for who in [("a", 1), ("b", 1), ("b", 2)] {
            assert!(commits(classic, who, true).iter().all(|case| case.breaks("G2")), "{who:?}");
            assert!(commits(classic, who, false).iter().all(Case::holds_now), "{who:?}");
        }
    }

    #[test]
    fn commit_that_is_taken_although_its_generation_was_replaced_breaks() {
        for (who, breaks) in [(("a", 1), true), (("b", 2), true), (("a", 2), false)] {
            let mut case = Case::cluster("G2");
            case.log_read(0, 0);
            case.generation((0, 0), Some(1), &["a", "b"]);
            // Nobody has confirmed it yet: its coordinator knows.
            case.generation((0, 1), Some(2), &["a"]);
            case.taken(0, who, &[P]);
            assert_eq!(case.breaks("G2"), breaks, "{who:?}");
        }
    }

    #[test]
    fn commit_of_the_newest_generation_or_of_nobody_holds() {
        for who in [("a", 2), ("", -1), ("c", 3)] {
            assert!(commits(classic, who, true).iter().all(Case::holds_now), "{who:?}");
        }
    }

    #[test]
    fn commit_that_began_before_the_newer_generation_was_confirmed_holds() {
        let unconfirmed = |case: &mut Case| {
            case.generation((0, 0), Some(1), &["a"]).log_confirmed(0, 1);
            case.generation((0, 1), Some(2), &["a"]);
        };
        assert!(commits(unconfirmed, ("a", 1), true).iter().all(Case::holds_now));
        // Its record is lost with its leader.
        let lost = |case: &mut Case| {
            unconfirmed(case);
            case.log_read(1, 1);
        };
        assert!(commits(lost, ("a", 1), true).iter().all(Case::holds_now));
    }

    #[test]
    fn commit_of_a_kip_848_member_that_was_removed_or_lost_the_partition_breaks() {
        // `group-member-epoch-unchecked`.
        let consumers = |case: &mut Case| {
            case.member((0, 0), "a", Some(1), &[P, Q]).member((0, 1), "a", Some(2), &[Q]);
            case.member((0, 2), "b", Some(2), &[P]).member((0, 3), "c", Some(2), &[]);
            case.member((0, 4), "c", None, &[]).log_confirmed(0, 5);
        };
        for who in [("a", 1), ("c", 2)] {
            assert!(commits(consumers, who, true).iter().all(|case| case.breaks("G2")), "{who:?}");
        }
        // What it has owned since, and whatever its newest epoch says.
        for who in [("b", 1), ("a", 2)] {
            assert!(commits(consumers, who, true).iter().all(Case::holds_now), "{who:?}");
        }
    }
}

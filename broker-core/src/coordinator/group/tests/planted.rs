//! What each planted bug changes, shown against the same steps without it.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::rig::*;
use crate::ids::TopicPartition;
use crate::mutants::{Mutant, Mutants};
use crate::protocol::{ErrorCode, MemberEpoch, TransactionResult};
use crate::time::Dur;

const COMMIT: TransactionResult = TransactionResult::Commit;

/// The same steps without the bug and with it.
fn both<T>(mutant: Mutant, steps: impl Fn(&mut Rig) -> T) -> [T; 2] {
    [Mutants::NONE, Mutants::NONE.with(mutant)].map(|mutants| steps(&mut Rig::with(mutants)))
}

#[test]
fn marker_offset_decides_brings_an_older_commit_back() {
    let seen = both(Mutant::GroupMarkerOffsetDecides, |rig| {
        rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
        rig.commit(&nobody(), -1, 9).expect("taken");
        rig.mark(1, COMMIT);
        rig.fetch(true)
    });
    assert_eq!(seen, [Ok(Some(9)), Ok(Some(7))]);
}

#[test]
fn require_stable_ignored_shows_what_a_transaction_is_about_to_replace() {
    let seen = both(Mutant::GroupRequireStableIgnored, |rig| {
        rig.commit(&nobody(), -1, 3).expect("taken");
        rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
        rig.fetch(true)
    });
    assert_eq!(seen, [Err(ErrorCode::UnstableOffsetCommit), Ok(Some(3))]);
}

#[test]
fn txn_commit_unfenced_takes_offsets_of_an_old_generation() {
    let seen = both(Mutant::GroupTxnCommitUnfenced, |rig| {
        let ids = stable(rig, 1);
        rig.txn_commit(1, &who(&ids[0]), 0, 7)
    });
    assert_eq!(seen, [Err(ErrorCode::IllegalGeneration), Ok(())]);
}

#[test]
fn nobody_refused_stops_older_producers() {
    let seen = both(Mutant::GroupNobodyRefused, |rig| rig.txn_commit(1, &nobody(), -1, 7));
    assert_eq!(seen, [Ok(()), Err(ErrorCode::UnknownMemberId)]);
}

#[test]
fn pending_expires_loses_what_a_transaction_commits() {
    let seen = both(Mutant::GroupPendingExpires, |rig| {
        rig.commit(&nobody(), -1, 3).expect("taken");
        rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
        rig.pass(Dur::secs(8 * 86_400));
        rig.mark(1, COMMIT);
        rig.fetch(true)
    });
    assert_eq!(seen, [Ok(Some(7)), Ok(None)]);
}

#[test]
fn generation_unchecked_takes_commits_of_an_old_one() {
    let seen = both(Mutant::GroupGenerationUnchecked, |rig| {
        let ids = stable(rig, 1);
        (rig.commit(&who(&ids[0]), 0, 7), rig.heartbeat(&ids[0], 0))
    });
    let illegal = Err(ErrorCode::IllegalGeneration);
    assert_eq!(seen, [(illegal, illegal), (Ok(()), Ok(()))]);
}

#[test]
fn member_epoch_unchecked_takes_commits_of_any() {
    let seen = both(Mutant::GroupMemberEpochUnchecked, |rig| {
        rig.beat(first_beat("m")).expect("in");
        rig.commit(&who("m"), 9, 7)
    });
    assert_eq!(seen, [Err(ErrorCode::StaleMemberEpoch), Ok(())]);
}

#[test]
fn given_before_revoked_gives_a_partition_to_two() {
    let seen = both(Mutant::GroupGivenBeforeRevoked, |rig| {
        let owned = |beat: crate::protocol::ConsumerGroupBeat| -> Vec<TopicPartition> {
            beat.assignment.expect("told")
        };
        let first = owned(rig.beat(first_beat("m1")).expect("in"));
        let second = rig.beat(first_beat("m2")).expect("in");
        assert_eq!(second.epoch, MemberEpoch(2));
        owned(second).iter().filter(|at| first.contains(at)).count()
    });
    assert_eq!(seen, [0, 2]);
}

#[test]
fn txn_offset_at_once_counts_though_it_is_aborted() {
    let seen = both(Mutant::GroupTxnOffsetAtOnce, |rig| {
        rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
        rig.mark(1, TransactionResult::Abort);
        rig.fetch(true)
    });
    assert_eq!(seen, [Ok(None), Ok(Some(7))]);
}

#[test]
fn sessions_unseeded_keeps_members_that_are_gone() {
    let seen = both(Mutant::GroupSessionsUnseeded, |rig| {
        stable(rig, 1);
        rig.fail_over();
        rig.pass(Dur::secs(60));
        rig.state()
    });
    assert_eq!(seen, [Some("Empty"), Some("Stable")]);
}

#[test]
fn assignment_not_stored_is_lost_with_the_coordinator() {
    let seen = both(Mutant::GroupAssignmentNotStored, |rig| {
        let ids = stable(rig, 1);
        rig.fail_over();
        rig.heartbeat(&ids[0], 1)
    });
    assert_eq!(seen, [Ok(()), Err(ErrorCode::UnknownMemberId)]);
}

#[test]
fn registry_of_group_bugs_is_shown_here_whole() {
    let text = include_str!("planted.rs");
    for row in crate::mutants::UNHOSTED {
        let name = alloc::format!("{:?}", row.mutant);
        assert!(text.contains(&("Mutant::".to_string() + &name)), "{} has no test", row.id);
    }
}

#[test]
fn offset_of_deleted_topic_comes_back_and_stays() {
    let seen = both(Mutant::GroupOffsetOfDeletedTopic, |rig| {
        rig.commit(&nobody(), -1, 3).expect("taken");
        rig.delete_topic("a");
        let kept = rig.fetch(true);
        let late = rig.commit(&nobody(), -1, 7);
        rig.fail_over();
        (kept, late, rig.fetch(true))
    });
    let refused = Err(ErrorCode::UnknownTopicId);
    assert_eq!(seen, [(Ok(None), refused, Ok(None)), (Ok(Some(3)), Ok(()), Ok(Some(7)))]);
}

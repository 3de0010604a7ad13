//! G5 Exclusive: in one generation of a classic group no partition is told to two members; what two
//! members of a KIP-848 group own never overlaps, at any place of the coordinator's log. Source:
//! KIP-848 ("Reconciliation"), `CurrentAssignmentBuilder.java`, KIP-429.

use alloc::string::String;
use alloc::sync::Arc;

use broker_core::ids::TopicPartition;

use crate::facts::group_calls::Sync;
use crate::{Check, require};

/// A member was told its part; somebody else has some of it, or nobody.
pub(crate) fn assigned(sync: &Sync, other: Option<(TopicPartition, String)>) -> Check {
    if let Some((partition, other)) = other {
        require!(
            false,
            G5,
            partition,
            "in generation {} of {:?} it is {other:?}'s and {:?}'s",
            sync.generation.0,
            sync.group,
            sync.member
        );
    }
    Ok(())
}

/// A member's ownership is written; somebody else owns some of it, or nobody.
pub(crate) fn owned(
    group: &str,
    member: &str,
    other: Option<(TopicPartition, &Arc<str>)>,
) -> Check {
    if let Some((partition, other)) = other {
        require!(false, G5, partition, "{member:?} of {group:?} owns it, and so does {other:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::TopicPartition;

    use crate::judge_history;
    use crate::testing::{Case, P, Q};

    /// Two members of a generation each are told their parts.
    fn told(parts: [(&str, i32, &[TopicPartition]); 2]) -> Case {
        let mut case = Case::cluster("G5");
        for (client, (member, generation, partitions)) in (1..).zip(parts) {
            let opened = case.asks_part(client, member, generation);
            case.told_part(opened, partitions);
        }
        case
    }

    #[test]
    fn partition_of_two_members_of_a_generation_breaks() {
        // `group-assignment-not-stored`: the successor assigns the generation anew.
        assert!(told([("a", 1, &[P, Q]), ("b", 1, &[Q])]).breaks("G5"));
    }

    #[test]
    fn partition_that_moves_with_the_generation_holds() {
        assert!(told([("a", 1, &[P]), ("b", 1, &[Q])]).holds());
        assert!(told([("a", 1, &[P]), ("b", 2, &[P])]).holds());
        assert!(told([("a", 1, &[P]), ("a", 1, &[P])]).holds());
    }

    #[test]
    fn generation_of_a_group_made_anew_is_another() {
        let anew = |forgotten: bool| {
            let mut case = Case::cluster("G5");
            case.log_read(0, 0).generation((0, 0), Some(1), &["a", "b", "c"]).log_confirmed(0, 1);
            let (first, late) = (case.asks_part(1, "a", 1), case.asks_part(2, "c", 1));
            case.told_part(first, &[P]);
            if forgotten {
                case.generation((0, 1), None, &[]).log_confirmed(0, 2).told_part(late, &[P]);
            }
            let second = case.asks_part(2, "b", 1);
            case.told_part(second, &[P]);
            case
        };
        assert!(anew(false).breaks("G5"));
        assert!(anew(true).holds());
    }

    #[test]
    fn static_member_under_a_new_id_has_the_part_of_the_old_one() {
        let mut case = Case::cluster("G5");
        case.log_read(0, 0).generation((0, 0), Some(1), &["a", "b"]).log_confirmed(0, 1);
        let (old, late) = (case.asks_part(1, "a", 1), case.asks_part(3, "a", 1));
        case.told_part(old, &[P]);
        case.generation((0, 1), Some(1), &["c", "b"]).log_confirmed(0, 2);
        let new = case.asks_part(1, "c", 1);
        case.told_part(new, &[P]).told_part(late, &[P]);
        assert!(case.holds_now());
        let other = case.asks_part(2, "b", 1);
        assert!(case.told_part(other, &[P]).breaks("G5"));
    }

    #[test]
    fn history_alone_shows_a_partition_of_two_members() {
        use crate::history::{Answer, Call, EventKind, HistoryEvent, SimTime};
        use broker_core::protocol::Generation;
        let event = |client, kind| HistoryEvent { at: SimTime(0), client, call: 0, op: 0, kind };
        let judge = |second: TopicPartition| {
            let mut events = alloc::vec::Vec::new();
            for (client, member, part) in [(1, "a", P), (2, "b", second)] {
                let (group, member) = ("g".into(), member.into());
                let (instance, generation) = (None, Generation(1));
                let call = Call::SyncGroup { group, member, instance, generation };
                events.push(event(client, EventKind::Invoke(call)));
                let answer = Answer::Assigned(alloc::vec![part]);
                events.push(event(client, EventKind::Ok(answer)));
            }
            judge_history(&events)
        };
        assert_eq!(judge(P).expect_err("both have it").property, "G5");
        let summary = judge(Q).expect("each has one");
        assert!(summary.evaluated().any(|(code, times)| code == "G5" && times == 1));
    }

    #[test]
    fn partition_that_is_given_before_it_is_given_up_breaks() {
        // `group-given-before-revoked`.
        let mut case = Case::cluster("G5");
        case.log_read(0, 0).member((0, 0), "a", Some(1), &[P, Q]);
        assert!(case.member((0, 1), "b", Some(2), &[Q]).breaks("G5"));
    }

    #[test]
    fn partition_that_is_given_up_first_holds() {
        let mut case = Case::cluster("G5");
        case.log_read(0, 0).member((0, 0), "a", Some(1), &[P, Q]).log_confirmed(0, 1);
        case.member((0, 1), "a", Some(2), &[P]).member((0, 2), "b", Some(2), &[Q]);
        case.member((0, 3), "a", None, &[]).member((0, 4), "b", Some(3), &[P, Q]);
        assert!(case.holds_now());
        // What the old leader had behind the end is gone with it.
        case.log_read(1, 1).member((1, 1), "a", Some(2), &[P, Q]);
        assert!(case.holds());
    }
}

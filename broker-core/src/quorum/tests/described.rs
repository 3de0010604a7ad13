//! What a leader tells of its quorum: KIP-836's times, observers, and what is lost with the office.

use alloc::vec;
use alloc::vec::Vec;

use super::rig::{Rig, at, cx, epoch};
use crate::ids::NodeId;
use crate::peer::{FetchBody, QuorumMsg};
use crate::protocol::{QuorumDescription, ReplicaDescription};
use crate::quorum::{OBSERVER_SESSION, Role};
use crate::step::{Cx, QuorumTimer};
use crate::time::Wall;

/// An observer.
const BROKER: u16 = 9;

fn described(rig: &Rig) -> Option<QuorumDescription> {
    rig.quorum.describe(&Cx { wall: rig.wall, ..cx() })
}

fn of(rig: &Rig, node: u16) -> Option<ReplicaDescription> {
    let QuorumDescription { voters, observers, .. } = described(rig).expect("it leads");
    voters.into_iter().chain(observers).find(|it| it.node == NodeId(node))
}

/// End, last fetch and last caught up.
fn told(rig: &Rig, node: u16) -> (Option<u64>, Option<i64>, Option<i64>) {
    let it = of(rig, node).expect("told of");
    (it.end.map(|it| it.0), it.last_fetch.map(|it| it.0), it.last_caught_up.map(|it| it.0))
}

#[test]
fn described_leader_is_now_and_who_never_fetched_is_unknown() {
    let mut rig = Rig::leader(7, &[3, 3]);
    rig.wall = Wall(-5);
    let it = described(&rig).unwrap();
    assert_eq!((it.leader, it.leader_epoch), (NodeId(1), epoch(7)));
    assert_eq!(it.voters.iter().map(|it| it.node.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(it.observers, []);
    assert_eq!(told(&rig, 1), (Some(3), Some(-5), Some(-5)));
    assert_eq!(told(&rig, 2), (None, None, None));
    rig.propose().unwrap();
    assert_eq!(told(&rig, 1).0, Some(4));
}

#[test]
fn described_high_watermark_is_unknown_until_it_is_of_the_own_epoch() {
    // Entries 0 and 1 are of an earlier leader, and a majority has them; 2 is the own first one.
    let mut rig = Rig::leader(7, &[3, 3]);
    rig.fetch(2, 2, 3);
    assert_eq!(described(&rig).unwrap().high_watermark, None);
    rig.fetch(2, 3, 7);
    assert_eq!(described(&rig).unwrap().high_watermark, Some(at(3)));
}

#[test]
fn described_follower_has_caught_up_when_it_has_all_or_all_of_its_fetch_before() {
    for node in [2, BROKER] {
        let mut rig = Rig::leader(7, &[]);
        let mut fetch = |wall, offset, last| {
            rig.wall = Wall(wall);
            rig.fetch(node, offset, last);
            let told = told(&rig, node);
            assert_eq!(told.0, Some(offset));
            // At each fetch the leader's log is one longer than at the one before.
            rig.propose().unwrap();
            (told.1.unwrap(), told.2)
        };
        // The leader's end: 1, 2, 3, ...
        assert_eq!(fetch(100, 0, 0), (100, None), "behind");
        assert_eq!(fetch(200, 0, 0), (200, None), "behind, and behind what it could have had");
        assert_eq!(fetch(300, 2, 7), (300, Some(200)), "has what there was at 200");
        assert_eq!(fetch(400, 2, 7), (400, Some(200)), "has not what there was at 300");
        assert_eq!(fetch(500, 5, 7), (500, Some(500)), "has all");
        // The wall clock steps back: neither time does.
        assert_eq!(fetch(50, 6, 7), (500, Some(500)));
        assert_eq!(fetch(600, 6, 7), (600, Some(500)));
    }
}

#[test]
fn described_follower_is_no_further_by_a_fetch_that_is_refused_or_diverges() {
    let mut rig = Rig::leader(7, &[3, 3, 5, 5]);
    rig.wall = Wall(100);
    let refused = rig.fetch_in(2, epoch(6), 4, 5);
    assert_eq!(refused, Some(FetchBody::Refused));
    assert!(matches!(rig.fetch(2, 4, 4), Some(FetchBody::Diverging { .. })));
    assert_eq!(told(&rig, 2), (None, None, None));
    assert!(matches!(rig.fetch(BROKER, 4, 4), Some(FetchBody::Diverging { .. })));
    assert_eq!(of(&rig, BROKER), None);
}

#[test]
fn described_observer_that_is_silent_for_five_minutes_is_left_out_and_a_voter_is_not() {
    let mut rig = Rig::leader(7, &[]);
    rig.wall = Wall(100);
    rig.fetch(BROKER, 1, 7);
    rig.fetch(2, 1, 7);
    let session = i64::try_from(OBSERVER_SESSION.0).unwrap();
    assert_eq!(session, 300_000_000);
    rig.wall = Wall(100 + session - 1);
    assert_eq!(told(&rig, BROKER), (Some(1), Some(100), Some(100)));
    rig.wall = Wall(100 + session);
    assert_eq!(of(&rig, BROKER), None);
    assert_eq!(told(&rig, 2), (Some(1), Some(100), Some(100)));
    // It comes back, with nothing, as a broker does that starts again.
    rig.fetch(BROKER, 0, 0);
    assert_eq!(told(&rig, BROKER), (Some(0), Some(100 + session), Some(100)));
}

#[test]
fn described_is_told_by_a_leader_only_and_forgotten_with_its_office() {
    let mut rig = Rig::follower(6, &[6], true);
    assert_eq!(described(&rig), None);
    rig = Rig::leader(7, &[]);
    rig.wall = Wall(100);
    for node in [2, 3, BROKER] {
        rig.fetch(node, 1, 7);
    }
    assert_eq!(told(&rig, 3), (Some(1), Some(100), Some(100)));
    // Another leads, and then this node again.
    rig.peer(2, QuorumMsg::BeginEpoch { epoch: epoch(8) });
    assert_eq!(described(&rig), None, "of a new epoch, not written down");
    rig.settle();
    assert_eq!((rig.quorum.role(), described(&rig)), (Role::Follower, None));
    rig.fire(QuorumTimer::FetchTimeout);
    for pre_vote in [true, false] {
        let asked = rig.quorum.epoch().0;
        rig.peer(2, super::rig::vote_reply(asked, asked, true, pre_vote));
        assert_eq!(described(&rig), None, "elected, not in office");
        rig.settle();
    }
    let it = described(&rig).unwrap();
    assert_eq!((it.leader_epoch, it.high_watermark), (epoch(9), None));
    assert_eq!(it.observers, vec![]);
    assert_eq!(told(&rig, 2), (None, None, None));
    assert_eq!(told(&rig, 3), (None, None, None));
}

#[test]
fn described_quorum_is_as_it_was() {
    let mut rig = Rig::leader(7, &[]);
    rig.fetch(BROKER, 1, 7);
    let before = rig.quorum.clone();
    rig.wall = Wall(i64::MAX);
    assert!(described(&rig).is_some());
    assert_eq!(rig.quorum, before);
}

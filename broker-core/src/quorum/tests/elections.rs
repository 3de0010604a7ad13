//! Rules of elections: restart, votes, pre-votes, begin and end of an epoch, check-quorum.

use alloc::format;
use alloc::vec::Vec;

use super::rig::{Rig, at, cx, entry, epoch, state, vote, vote_reply};
use crate::ids::NodeId;
use crate::peer::{FetchBody, QuorumMsg};
use crate::probe::Probe;
use crate::quorum::timing::{ELECTION_BACKOFF_MAX, lost_election_backoff, successor_backoff};
use crate::quorum::{QuorumEvent, Role};
use crate::step::{LogOp, QuorumTimer};
use crate::time::Dur;

#[test]
fn quorum_restart_takes_the_role_that_the_state_file_says() {
    let check = |leader, voted, log: &[u32], role, of| {
        let rig = Rig::boot(state(5, leader, voted), log);
        let is = (rig.quorum.role(), rig.quorum.epoch().0);
        assert_eq!(is, (role, of), "leader {leader:?}, voted {voted:?}, log {log:?}");
    };
    check(None, None, &[], Role::Unattached, 5);
    check(None, Some(3), &[4], Role::Unattached, 5);
    check(None, Some(1), &[4], Role::Candidate, 5);
    check(Some(1), Some(1), &[5], Role::Resigned, 5);
    check(Some(2), None, &[5], Role::Follower, 5);
    // KAFKA-17067: the leader that was found counts, not that this node stood before.
    check(Some(2), Some(1), &[5], Role::Follower, 5);
    check(Some(2), None, &[5, 6], Role::Unattached, 6);
    check(Some(1), Some(1), &[6], Role::Unattached, 6);
}

#[test]
fn quorum_vote_follows_role_and_log() {
    // The voter's log is of epochs 3, 3, 4: it ends at 3.
    const LOG: &[u32] = &[3, 3, 4];
    let unattached = || Rig::boot(state(5, None, None), LOG);
    let voted = |whom| Rig::boot(state(5, None, Some(whom)), LOG);
    let follower = |fetched| Rig::follower(5, LOG, fetched);
    let resigned = || Rig::boot(state(5, Some(1), Some(1)), LOG);
    let prospective = || Rig::prospective(5, None, LOG);
    let leader = || Rig::leader(5, LOG);
    let check = |name, mut rig: Rig, ask: (u32, u32, u64, bool), granted: Option<bool>| {
        rig.sent.clear();
        rig.peer(3, vote(ask.0, ask.1, ask.2, ask.3));
        rig.settle();
        let said = |(to, msg): &(NodeId, QuorumMsg)| match msg {
            QuorumMsg::VoteReply { granted, .. } if *to == NodeId(3) => Some(*granted),
            _ => None,
        };
        let replies: Vec<_> = rig.sent.iter().filter_map(said).collect();
        assert_eq!(replies, Vec::from_iter(granted), "{name} asked {ask:?}");
        let epoch = rig.quorum.epoch().0;
        assert_eq!(epoch, if granted.is_some() { ask.0.max(5) } else { 5 }, "{name} {ask:?}");
    };
    let (std, pre) = (false, true);
    let (yes, no, nothing) = (Some(true), Some(false), None);
    for (ask, answer) in [
        ((5, 4, 3, std), yes),
        ((5, 4, 2, std), no),
        ((5, 3, 9, std), no),
        ((4, 3, 9, std), no),
        ((6, 5, 0, std), yes),
        ((6, 4, 2, std), no),
        ((5, 5, 9, std), nothing),
        ((5, 4, 3, pre), yes),
        ((5, 5, 3, pre), yes),
        ((5, 6, 3, pre), nothing),
        ((4, 4, 3, pre), no),
        ((6, 4, 3, pre), yes),
        ((6, 4, 2, pre), no),
    ] {
        check("unattached", unattached(), ask, answer);
        check("prospective", prospective(), ask, answer);
    }
    check("voted for 3", voted(3), (5, 4, 3, std), yes);
    check("voted for 2", voted(2), (5, 4, 3, std), no);
    check("voted for 2", voted(2), (5, 4, 3, pre), yes);
    check("voted for 2", voted(2), (6, 4, 3, std), yes);
    check("candidate", voted(1), (5, 4, 3, std), no);
    check("candidate", voted(1), (5, 4, 3, pre), yes);
    check("candidate", voted(1), (6, 4, 3, std), yes);
    check("resigned", resigned(), (5, 4, 3, std), no);
    check("resigned", resigned(), (5, 4, 3, pre), yes);
    check("follower", follower(false), (5, 4, 3, std), no);
    check("follower", follower(false), (5, 4, 3, pre), yes);
    check("follower", follower(false), (5, 4, 2, pre), no);
    check("follower that fetched", follower(true), (5, 4, 3, pre), no);
    check("follower that fetched", follower(true), (6, 4, 3, std), yes);
    // A vote is kept when another one is found to lead, and given again to the same.
    let mut found = voted(3);
    found.peer(2, QuorumMsg::BeginEpoch { epoch: epoch(5) });
    found.settle();
    check("follower that voted for 3", found, (5, 4, 3, std), yes);
    check("leader", leader(), (5, 4, 9, std), no);
    check("leader", leader(), (5, 5, 9, pre), no);
    check("leader", leader(), (6, 5, 9, std), yes);
}

#[test]
fn quorum_vote_is_durable_before_it_is_given() {
    let mut rig = Rig::boot(state(5, None, None), &[4]);
    rig.sent.clear();
    rig.peer(3, vote(6, 4, 1, false));
    assert!(rig.sent.is_empty() && !rig.probes.iter().any(is_vote));
    assert!(matches!(rig.device.front(), Some((_, LogOp::WriteState { .. }))));
    rig.device_step();
    assert!(matches!(rig.sent[..], [(NodeId(3), QuorumMsg::VoteReply { granted: true, .. })]));
    assert_eq!(rig.probes.iter().filter(|probe| is_vote(probe)).count(), 1);
}

#[test]
fn quorum_candidate_is_durable_before_it_asks() {
    let mut rig = Rig::prospective(5, None, &[4]);
    rig.sent.clear();
    rig.peer(2, vote_reply(5, 5, true, true));
    assert_eq!((rig.quorum.role(), rig.sent.len()), (Role::Candidate, 0));
    rig.settle();
    let asked = vote(6, 4, 1, false);
    assert_eq!(rig.sent, [(NodeId(2), asked.clone()), (NodeId(3), asked)]);
}

#[test]
fn quorum_leader_is_durable_before_it_leads() {
    let mut rig = Rig::boot(state(5, None, Some(1)), &[4]);
    rig.sent.clear();
    rig.peer(3, vote_reply(5, 5, true, false));
    assert!(!rig.quorum.is_active() && rig.sent.is_empty() && rig.events.is_empty());
    assert_eq!((rig.quorum.end_offset(), rig.propose()), (at(1), None));
    rig.device_step();
    assert!(rig.quorum.is_active());
    assert_eq!(rig.events, [QuorumEvent::BecameLeader { epoch: epoch(5) }]);
    assert_eq!(rig.quorum.entry_epoch(at(1)), Some(epoch(5)));
    let begin = QuorumMsg::BeginEpoch { epoch: epoch(5) };
    assert_eq!(rig.sent, [(NodeId(2), begin.clone()), (NodeId(3), begin)]);
}

#[test]
fn quorum_candidate_reports_only_what_is_durable() {
    let mut rig = Rig::follower(5, &[4], true);
    let (id, epoch_now) = (rig.last_fetch_id(), rig.quorum.epoch());
    let body = FetchBody::Entries { entries: Vec::from([entry(5)]), high_watermark: at(0) };
    let leader = Some(NodeId(2));
    rig.peer(2, QuorumMsg::FetchReply { epoch: epoch_now, leader, id, body });
    rig.sent.clear();
    // The entry is not flushed yet when the fetch timeout comes.
    rig.act(|quorum, out, events| {
        quorum.timer(&cx(), QuorumTimer::FetchTimeout, out, events);
    });
    assert_eq!(rig.sent[0].1, vote(5, 4, 1, true));
}

#[test]
fn quorum_votes_of_others_or_of_other_elections_do_not_count() {
    let check = |name, from, reply, role| {
        let mut rig = Rig::boot(state(5, None, Some(1)), &[4]);
        rig.peer(from, reply);
        rig.settle();
        assert_eq!(rig.quorum.role(), role, "{name}");
    };
    check("granted", 2, vote_reply(5, 5, true, false), Role::Leader);
    check("of an earlier epoch", 2, vote_reply(5, 4, true, false), Role::Candidate);
    check("a pre-vote", 2, vote_reply(5, 5, true, true), Role::Candidate);
    check("not a voter", 9, vote_reply(5, 5, true, false), Role::Candidate);
    check("rejected", 2, vote_reply(5, 5, false, false), Role::Candidate);
    check("of a higher epoch", 2, vote_reply(6, 5, false, false), Role::Unattached);
}

#[test]
fn quorum_lost_election_backs_off_then_asks_for_pre_votes() {
    let mut rig = Rig::boot(state(5, None, Some(1)), &[4]);
    rig.peer(2, vote_reply(5, 5, false, false));
    rig.peer(3, vote_reply(5, 5, false, false));
    rig.peer(3, vote_reply(5, 5, true, false));
    assert_eq!(rig.quorum.role(), Role::Candidate);
    assert!(rig.timer(QuorumTimer::Election) <= Some(ELECTION_BACKOFF_MAX));
    rig.fire(QuorumTimer::Election);
    assert_eq!((rig.quorum.role(), rig.quorum.epoch()), (Role::Prospective, epoch(5)));
}

#[test]
fn quorum_lost_pre_vote_goes_back_to_the_last_leader() {
    let check = |leader, timed_out: bool, role| {
        let mut rig = Rig::prospective(5, leader, &[4]);
        if timed_out {
            rig.fire(QuorumTimer::Election);
        } else {
            rig.peer(2, vote_reply(5, 5, false, true));
            rig.peer(3, vote_reply(5, 5, false, true));
        }
        rig.settle();
        let is = (rig.quorum.role(), rig.quorum.epoch().0);
        assert_eq!(is, (role, 5), "leader {leader:?}, timed out {timed_out}");
        // Either way it will try again.
        let wakes = [QuorumTimer::Election, QuorumTimer::FetchTimeout];
        assert!(wakes.into_iter().any(|timer| rig.timer(timer).is_some()));
    };
    check(None, true, Role::Unattached);
    check(None, false, Role::Unattached);
    check(Some(2), true, Role::Follower);
    check(Some(2), false, Role::Follower);
}

#[test]
fn quorum_resigned_leaves_the_epoch_that_it_led() {
    let mut rig = Rig::boot(state(5, Some(1), Some(1)), &[5]);
    rig.fire(QuorumTimer::Election);
    assert_eq!((rig.quorum.role(), rig.quorum.epoch()), (Role::Unattached, epoch(6)));
}

#[test]
fn quorum_begin_epoch_makes_followers_of_older_epochs() {
    let check = |mut rig: Rig, of, role, answered| {
        rig.sent.clear();
        rig.peer(2, QuorumMsg::BeginEpoch { epoch: epoch(of) });
        rig.settle();
        assert_eq!(rig.quorum.role(), role, "begin {of}");
        let reply = (NodeId(2), QuorumMsg::BeginEpochReply { epoch: epoch(answered) });
        assert!(rig.sent.contains(&reply), "begin {of}: {:?}", rig.sent);
    };
    check(Rig::boot(state(5, None, None), &[]), 4, Role::Unattached, 5);
    check(Rig::boot(state(5, None, Some(3)), &[]), 5, Role::Follower, 5);
    check(Rig::boot(state(5, None, Some(1)), &[]), 5, Role::Follower, 5);
    check(Rig::boot(state(5, Some(3), None), &[]), 6, Role::Follower, 6);
    check(Rig::prospective(5, None, &[]), 5, Role::Follower, 5);
    check(Rig::boot(state(5, Some(1), Some(1)), &[]), 6, Role::Follower, 6);
    check(Rig::leader(5, &[]), 6, Role::Follower, 6);
    check(Rig::leader(5, &[]), 4, Role::Leader, 5);
}

#[test]
fn quorum_end_epoch_lets_the_successors_stand_one_after_the_other() {
    let check = |of, successors: &[u16], role, after| {
        let mut rig = Rig::follower(5, &[4], true);
        let preferred_successors = successors.iter().copied().map(NodeId).collect();
        rig.peer(2, QuorumMsg::EndEpoch { epoch: epoch(of), preferred_successors });
        rig.settle();
        let is = (rig.quorum.role(), rig.timer(QuorumTimer::FetchTimeout));
        assert_eq!(is, (role, after), "end of {of} for {successors:?}");
    };
    check(5, &[1, 3], Role::Prospective, None);
    check(5, &[3, 1], Role::Follower, Some(Dur::ms(500)));
    check(5, &[], Role::Prospective, None);
    check(4, &[1, 3], Role::Follower, Some(Dur::secs(2)));
}

#[test]
fn quorum_resign_names_the_best_replicas_first() {
    let mut rig = Rig::leader(5, &[4, 4]);
    rig.fetch(3, 2, 4);
    rig.fetch(2, 1, 4);
    rig.sent.clear();
    rig.act(|quorum, out, events| quorum.resign(&cx(), out, events));
    assert_eq!(rig.quorum.role(), Role::Resigned);
    assert_eq!(rig.events.last(), Some(&QuorumEvent::LostLeadership { epoch: epoch(5) }));
    let named = Vec::from([NodeId(3), NodeId(2)]);
    let end = QuorumMsg::EndEpoch { epoch: epoch(5), preferred_successors: named };
    assert!(rig.sent.contains(&(NodeId(2), end)), "{:?}", rig.sent);
}

#[test]
fn quorum_check_quorum_counts_only_valid_fetches_of_voters() {
    let check = |name, from, offset, last, satisfied| {
        let mut rig = Rig::leader(5, &[4, 4]);
        let timer = crate::step::TimerKey::Quorum(QuorumTimer::CheckQuorum);
        rig.timers.remove(&timer);
        rig.fetch(from, offset, last);
        assert_eq!(rig.timers.contains_key(&timer), satisfied, "{name}");
    };
    check("a voter", 2, 2, 4, true);
    check("an observer", 9, 2, 4, false);
    check("a voter whose log diverges", 2, 2, 3, false);
    let mut rig = Rig::leader(5, &[4]);
    rig.fire(QuorumTimer::CheckQuorum);
    assert_eq!(rig.quorum.role(), Role::Resigned);
    let resigned = Probe::QuorumResigned { epoch: epoch(5), check_quorum: true };
    assert!(rig.probes.contains(&resigned));
}

#[test]
#[should_panic(expected = "two leaders")]
fn quorum_second_leader_of_an_epoch_is_a_bug() {
    let mut rig = Rig::follower(5, &[4], true);
    rig.peer(3, QuorumMsg::BeginEpoch { epoch: epoch(5) });
}

#[test]
fn quorum_of_one_leads_at_once_in_a_new_epoch() {
    for (leader, voted, of) in [(None, None, 6), (Some(1), Some(1), 6), (None, Some(1), 5)] {
        let file = crate::quorum::format::encode_state(&state(5, leader, voted));
        let mut rig = Rig::on_device(&[1], Vec::new(), file);
        rig.settle();
        assert!(rig.quorum.is_active());
        assert_eq!(rig.quorum.epoch(), epoch(of), "{leader:?} {voted:?}");
        assert_eq!(rig.quorum.high_watermark(), at(1));
        assert!(rig.timer(QuorumTimer::CheckQuorum).is_none());
    }
}

#[test]
fn quorum_backoffs_follow_kafkas_formulas() {
    let check = |position, successors, ms| {
        let name = format!("{position} of {successors}");
        assert_eq!(successor_backoff(position, successors), Dur::ms(ms), "{name}");
    };
    check(0, 2, 0);
    check(1, 2, 500);
    check(1, 4, 125);
    check(2, 4, 250);
    check(3, 4, 500);
    for retries in 0..20 {
        for entropy in 0..50 {
            let backoff = lost_election_backoff(retries, entropy);
            assert!(Dur::ms(100) <= backoff && backoff <= ELECTION_BACKOFF_MAX);
        }
    }
    assert_eq!(lost_election_backoff(1, 99), Dur::ms(100));
    assert_eq!(lost_election_backoff(2, 2), Dur::ms(300));
}

fn is_vote(probe: &Probe) -> bool {
    matches!(probe, Probe::QuorumVoted { .. })
}

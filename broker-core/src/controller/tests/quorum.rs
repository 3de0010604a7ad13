//! The quorum described: by whom, over a change of leaders, and with nothing changed.

use super::rig::*;
use crate::controller::office::PARKED_MAX;
use crate::ids::*;
use crate::mutants::Mutants;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::protocol::{AdminRequest, AdminResponse, QuorumDescription};
use crate::time::{Dur, Wall};

/// What a controller answers at once.
fn ask(rig: &mut Rig, to: NodeId) -> Result<QuorumDescription, ControllerError> {
    let request = AdminRequest::DescribeQuorum;
    let id = rig.post_to(to, A, ControllerRequest::Admin { nonce: 1, request });
    match rig.answer(id).expect("an answer at once") {
        Ok(ControllerAnswer::Admin(AdminResponse::Quorum(quorum))) => Ok(quorum),
        Err(refused) => Err(refused),
        Ok(other) => panic!("{other:?}"),
    }
}

/// When each voter fetched and had caught up, by its number.
fn times(quorum: &QuorumDescription) -> alloc::vec::Vec<(u16, Option<Wall>, Option<Wall>)> {
    quorum.voters.iter().map(|it| (it.node.0, it.last_fetch, it.last_caught_up)).collect()
}

#[test]
fn quorum_is_described_by_its_leader_and_the_others_name_it() {
    let mut rig = Rig::of(3, Mutants::NONE);
    let old = rig.active();
    rig.pass(Dur::secs(2));
    let before = rig.controller(old).clone();
    let first = ask(&mut rig, old).expect("it leads");
    assert_eq!(*rig.controller(old), before);
    let end = Some(before.quorum().end_offset());
    assert_eq!((first.leader, first.high_watermark), (old, end));
    assert!(first.voters.iter().all(|it| it.end == end), "{first:?}");
    assert!(
        times(&first).iter().all(|(_, fetch, caught_up)| fetch.is_some() && fetch == caught_up)
    );
    let refused = Err(ControllerError::NotController { leader: Some(old) });
    for node in [1, 2, 3].map(NodeId).into_iter().filter(|&node| node != old) {
        assert_eq!(ask(&mut rig, node), refused);
    }

    // Cut off, it tells what it last saw; the next leader knows nothing of it.
    rig.cut.insert(old);
    rig.elect();
    let new = rig.active();
    let second = ask(&mut rig, new).expect("it leads");
    assert!(second.leader_epoch > first.leader_epoch && second.leader == new && new != old);
    assert!(second.high_watermark > first.high_watermark);
    let of_old = times(&second).into_iter().find(|it| it.0 == old.0);
    assert_eq!(of_old, Some((old.0, None, None)));

    // It comes back, and follows.
    rig.cut.clear();
    rig.pass(Dur::secs(5));
    assert_eq!(ask(&mut rig, old), Err(ControllerError::NotController { leader: Some(new) }));
    let third = ask(&mut rig, new).expect("it leads");
    assert!(
        times(&third).iter().all(|(_, fetch, caught_up)| fetch.is_some() && fetch == caught_up)
    );
    assert!(third.voters.iter().all(|it| it.end == third.high_watermark), "{third:?}");
}

#[test]
fn quorum_is_described_at_once_by_an_office_with_work_under_way_or_too_much_of_it() {
    let mut rig = Rig::one(Mutants::NONE);
    let epoch = rig.join(A, 1);
    for request in 0..PARKED_MAX as u64 {
        rig.post(A, ControllerRequest::PrepareObject { epoch, request });
        if request == 0 {
            let quorum = ask(&mut rig, NodeId(1)).expect("it leads");
            assert!(quorum.voters[0].end > quorum.high_watermark, "{quorum:?}");
        }
    }
    ask(&mut rig, NodeId(1)).expect("it leads");
}

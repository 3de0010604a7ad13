//! LV7 FailoverDone: in the healthy core every broker serves under its current registration, every
//! partition has a published leader that lives, and every WAL of a registration that is not served
//! is recovered and sealed. A broker outside the core that lives all the same may keep what it has;
//! a dead one's sessions end. Source: KAFKA-18138; AutoMQ 44047d63d8, 730aa9fb8c.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{BrokerEpoch, NodeId};

use crate::facts::Facts;
use crate::view::View;

/// Whether a registration is served: by a process that runs, holds it and is not fenced.
pub(crate) fn serves((node, epoch): (NodeId, BrokerEpoch), facts: &Facts, view: &dyn View) -> bool {
    let registered = facts.ledger.current(node, epoch).is_some_and(|broker| !broker.fenced);
    let known = facts.nodes.get(node);
    let lives = known.is_some_and(|known| known.epoch == Some(epoch) && !known.paused());
    registered && lives && view.is_up(node)
}

/// What is owed.
pub(crate) fn owed(facts: &Facts, view: &dyn View) -> Vec<String> {
    let mut owed = Vec::new();
    let ledger = &facts.ledger;
    for node in view.brokers().iter().filter(|node| view.in_core(**node)) {
        let epoch = ledger.brokers.get(node).map(|broker| broker.epoch);
        if !epoch.is_some_and(|epoch| serves((*node, epoch), facts, view)) {
            owed.push(alloc::format!("LV7: broker {node} does not serve, registration {epoch:?}"));
        }
    }
    if !view.brokers().iter().any(|node| view.in_core(*node)) {
        return owed;
    }
    for (id, partition) in &ledger.partitions {
        let leader = partition.leader.and_then(|leader| {
            let epoch = ledger.brokers.get(&leader)?.epoch;
            serves((leader, epoch), facts, view).then_some(leader)
        });
        if leader.is_none() {
            owed.push(alloc::format!(
                "LV7: partition {} of topic {:x} has no serving leader: replica {:?}, leader {:?}, \
                 epoch {}",
                id.index,
                id.topic.0,
                partition.replica,
                partition.leader,
                partition.leader_epoch
            ));
        }
    }
    for ((node, epoch), wal) in &ledger.wals {
        if wal.sealed.is_none() && !serves((*node, *epoch), facts, view) {
            owed.push(alloc::format!(
                "LV7: the WAL {epoch} of node {node} is not recovered, recoverer {:?}",
                wal.recoverer
            ));
        }
    }
    owed
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Incarnation;

    use crate::view::NodeEvent;
    use crate::testing::{A, B, B_EPOCH, Case};

    fn settled() -> Case {
        let mut case = Case::cluster("LV7");
        case.heal();
        case
    }

    #[test]
    fn cluster_that_serves_holds() {
        let mut case = settled();
        assert!(!case.owes("LV7"));
        assert!(case.finish().holds());
    }

    #[test]
    fn partition_of_a_dead_broker_breaks() {
        let mut case = settled();
        case.fake.outside.insert(A);
        case.fake.down.insert(A);
        assert!(case.owes("LV7"));
        assert!(case.finish().breaks("LV7"));
    }

    #[test]
    fn partition_of_a_frozen_broker_is_owed_until_it_goes_on() {
        let mut case = settled();
        case.fake.outside.insert(A);
        case.event(A, NodeEvent::Paused);
        assert!(case.owes("LV7"));
        case.event(A, NodeEvent::Resumed);
        assert!(!case.owes("LV7"));
    }

    #[test]
    fn partition_failed_over_holds_when_the_wal_is_sealed() {
        let mut case = settled();
        case.fake.outside.insert(A);
        case.fake.down.insert(A);
        case.fail_over();
        assert!(case.owes("LV7"));
        case.seal(0).lead(B, B_EPOCH, 1, 3);
        assert!(!case.owes("LV7"));
    }

    #[test]
    fn broker_that_restarted_and_did_not_register_is_owed() {
        let mut case = settled();
        case.event(A, NodeEvent::Booted(Incarnation(2)));
        assert!(case.owes("LV7"));
    }
}

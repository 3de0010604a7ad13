//! L7 SingleWriter: under one epoch of a stream records are confirmed by one broker only, and all
//! that is confirmed under an epoch lies before all that is confirmed under a later one. Judged by
//! offsets, not by time: a confirmation may reach a slow broker when its successor already writes.
//! Source: AutoMQ StreamControlManager.openStream.

use broker_core::ids::NodeId;

use crate::facts::wals::{Confirmed, StreamTerm};
use crate::{Check, require};

/// `node` confirmed `record`; `terms` are those of its stream before.
pub(crate) fn confirmed(node: NodeId, record: &Confirmed, terms: &[StreamTerm]) -> Check {
    let Confirmed { stream, epoch, base, end } = *record;
    for term in terms {
        let (other, theirs, first, last) = (term.node, term.epoch, term.first, term.end);
        require!(
            theirs != epoch || other == node,
            L7,
            "wal",
            "stream {stream}, epoch {epoch}: confirmed by node {other} and by node {node}"
        );
        require!(
            theirs >= epoch || last <= base,
            L7,
            "wal",
            "stream {stream}: [{base}, {end}) confirmed under epoch {epoch}, but epoch {theirs} \
            had \
             [{first}, {last})"
        );
        require!(
            theirs <= epoch || end <= first,
            L7,
            "wal",
            "stream {stream}: [{base}, {end}) confirmed under epoch {epoch}, but the later epoch \
             {theirs} has [{first}, {last})"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::probe::Probe;

    use crate::testing::{B, B_EPOCH, Case, confirmed};

    #[test]
    fn two_brokers_in_one_epoch_break() {
        let mut case = Case::cluster("L7");
        case.record_confirmed(0, 0, 2);
        case.probe(B, &Probe::BrokerRegistered { epoch: B_EPOCH }).probe(B, &confirmed(0, 0, 2, 3));
        assert!(case.breaks("L7"));
    }

    #[test]
    fn later_epoch_over_an_earlier_one_breaks() {
        let mut case = Case::cluster("L7");
        case.record_confirmed(0, 0, 2).probe(B, &confirmed(0, 1, 1, 3));
        assert!(case.breaks("L7"));
    }

    #[test]
    fn earlier_epoch_confirmed_late_holds_below_the_later_one() {
        let mut case = Case::cluster("L7");
        case.record_confirmed(0, 0, 2).probe(B, &confirmed(0, 1, 3, 4)).record_confirmed(1, 2, 3);
        assert!(case.holds());
        case.record_confirmed(2, 3, 4);
        assert!(case.breaks("L7"));
    }
}

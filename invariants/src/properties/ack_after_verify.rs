//! W1 AckAfterVerify: what a broker confirms lies in one run of WAL objects, each in the store and
//! known to be before the check of ownership was sent, and that check's list took effect behind
//! their puts at a moment when the broker's own claim was still its own and the newest. Only then
//! is every list of a successor, which begins after its claim, bound to show the objects. The
//! confirmation itself may reach the broker later. Source: AutoMQ ObjectWALService, #743.

use broker_core::ids::{BrokerEpoch, Incarnation, Lsn, NodeId, Offset, TopicPartition};

use crate::facts::wals::{Verify, WalFacts};
use crate::{Check, require};

/// A confirmation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmation {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Its claim on its own WAL.
    pub(crate) claim: Option<u64>,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) seq: u64,
    pub(crate) end: Lsn,
}

/// A broker confirms its WAL, which begins at `start`, up to `end`.
pub(crate) fn confirmed(
    what: Confirmation,
    verify: Option<&Verify>,
    start: Lsn,
    wal: &WalFacts,
) -> Check {
    let Confirmation { node, incarnation, claim, epoch, seq, end } = what;
    let Some((sent, listed)) = verify.and_then(|verify| Some((verify.sent, verify.listed?))) else {
        require!(
            false,
            W1,
            "wal",
            "node {node}, WAL {epoch}: confirmed up to {end} by check {seq}, which never reached \
             the store"
        );
        return Ok(());
    };
    let newest = listed.newest;
    require!(
        newest.is_some_and(|newest| claim == Some(newest.number)
            && newest.by == node
            && newest.incarnation == incarnation),
        W1,
        "wal",
        "node {node}, WAL {epoch}: confirmed up to {end} under claim {claim:?}, but the newest \
         claim at its check was {newest:?}"
    );
    let mut at = wal.confirmed_end.unwrap_or(start);
    while at < end {
        let Some((key, object)) = wal.object_at(at) else {
            require!(
                false,
                W1,
                "wal",
                "node {node}, WAL {epoch}: confirmed up to {end}, but no object holds {at}"
            );
            return Ok(());
        };
        require!(
            object.put_first.is_some_and(|put| put < listed.pos)
                && object.done.is_some_and(|done| done < sent),
            W1,
            "wal",
            "node {node}, WAL {epoch}: confirmed up to {end} by check {seq} sent at event {sent} \
             and listed at event {}, but {key:?} was {object:?}",
            listed.pos
        );
        at = key.1;
    }
    Ok(())
}

/// A produce with acks=all is answered; its stream is confirmed up to `confirmed`.
pub(crate) fn acked(partition: TopicPartition, end: Offset, confirmed: Option<Offset>) -> Check {
    require!(
        confirmed >= Some(end),
        W1,
        partition,
        "a batch up to {end} is acknowledged with acks=all; confirmed is what is before \
         {confirmed:?}"
    );
    Ok(())
}

/// A record is confirmed.
pub(crate) fn record(node: NodeId, lsn: Lsn, confirmed_end: Option<Lsn>) -> Check {
    require!(
        confirmed_end.is_some_and(|end| lsn < end),
        W1,
        "wal",
        "node {node}: record {lsn} is confirmed, the WAL up to {confirmed_end:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::Acks;

    use crate::testing::{A, B, Case, P, S};

    #[test]
    fn confirmed_by_a_check_behind_the_put_holds() {
        let mut case = Case::cluster("W1");
        case.wal_write(0, &[(0, 2, 100)]).wal_write(1, &[(2, 3, 102)]);
        assert!(case.holds());
    }

    #[test]
    fn confirmed_behind_a_first_object_that_never_landed_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_write(1, &[(2, 3, 102)]);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn acknowledged_before_it_is_confirmed_breaks() {
        let acked = |case: &mut Case, acks| {
            let (partition, stream, epoch) = (P, S, LeaderEpoch(0));
            let (base, end) = (Offset(0), Offset(2));
            case.probe(A, &Probe::PartitionOpened { partition, stream, epoch, next: base });
            case.probe(A, &Probe::PartitionAcked { partition, epoch, base, end, acks });
        };
        let mut case = Case::cluster("W1");
        acked(&mut case, Acks::Leader);
        assert!(case.holds());
        acked(&mut case, Acks::All);
        assert!(case.breaks("W1"));
        let mut case = Case::cluster("W1");
        case.wal_write(0, &[(0, 2, 100)]);
        acked(&mut case, Acks::All);
        assert!(case.holds());
    }

    #[test]
    fn confirmed_by_a_check_sent_before_the_put_was_known_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_put(0, &[(0, 2, 100)]);
        let seq = case.verify_sent();
        case.wal_done(0, 1).verify_listed(seq).wal_confirmed(seq, 1);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn confirmed_by_a_check_listed_before_the_put_landed_breaks() {
        let mut case = Case::cluster("W1");
        let seq = case.verify_sent();
        case.verify_listed(seq).wal_put(0, &[(0, 2, 100)]).wal_done(0, 1).wal_confirmed(seq, 1);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn confirmed_without_a_check_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_put(0, &[(0, 2, 100)]).wal_done(0, 1).wal_confirmed(0, 1);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn confirmed_over_a_hole_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_write(0, &[(0, 2, 100)]);
        case.wal_put(2, &[(3, 4, 103)]).wal_done(2, 3);
        let seq = case.verify_sent();
        case.verify_listed(seq).wal_confirmed(seq, 3);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn confirmed_by_a_check_before_the_successors_claim_holds() {
        let mut case = Case::cluster("W1");
        case.wal_put(0, &[(0, 2, 100)]).wal_done(0, 1);
        let seq = case.verify_sent();
        case.verify_listed(seq).claim(B, A, 2).wal_confirmed(seq, 1);
        assert!(case.holds());
    }

    #[test]
    fn confirmed_by_a_check_behind_the_successors_claim_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_put(0, &[(0, 2, 100)]).wal_done(0, 1);
        let seq = case.verify_sent();
        case.claim(B, A, 2).verify_listed(seq).wal_confirmed(seq, 1);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn confirmed_under_a_claim_that_was_overwritten_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_put(0, &[(0, 2, 100)]).wal_done(0, 1).claim(B, A, 1);
        let seq = case.verify_sent();
        case.verify_listed(seq).wal_confirmed(seq, 1);
        assert!(case.breaks("W1"));
    }

    #[test]
    fn record_beyond_what_is_confirmed_breaks() {
        let mut case = Case::cluster("W1");
        case.wal_write(0, &[(0, 2, 100)]).record_confirmed(1, 2, 3);
        assert!(case.breaks("W1"));
    }
}

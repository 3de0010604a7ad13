//! W4 SealedEpoch: a recoverer works from a list that began behind its claim, takes nothing from an
//! object that landed behind that list, and nothing that is not in the WAL of the epoch it
//! recovers: what a zombie put when its own epoch was sealed lies under other keys, and is not even
//! counted in where the run ends. Source: AutoMQ ObjectUtils.skipOverlapObjects, 8c333115a2.

use broker_core::ids::{BrokerEpoch, Lsn, NodeId, Offset, StreamId};

use crate::facts::ledger::Seal;
use crate::facts::wals::{Takeover, WalFacts};
use crate::{Check, require};

/// A record taken into an upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) of: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) lsn: Lsn,
    pub(crate) stream: StreamId,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

/// A recoverer has listed a WAL.
pub(crate) fn listed(of: NodeId, takeover: &Takeover) -> Check {
    let Takeover { claimed, listed, .. } = *takeover;
    require!(
        claimed.zip(listed).is_some_and(|((_, claimed), (first, _))| claimed < first),
        W4,
        "recovery",
        "the WAL of node {of} was listed at events {listed:?}, claimed (number, event) {claimed:?}"
    );
    Ok(())
}

/// The run that a recoverer found in its list ends at `end`; the WAL started at `start`.
pub(crate) fn ran(
    (of, epoch): (NodeId, BrokerEpoch),
    (start, end): (Lsn, Lsn),
    wal: Option<&WalFacts>,
    takeover: &Takeover,
) -> Check {
    let listed = takeover.listed.map_or(0, |(_, last)| last);
    let own = wal.is_some_and(|wal| {
        let mut objects = wal.objects.iter();
        end <= wal.trimmed
            || objects.any(|(key, it)| key.1 == end && it.put_first.is_some_and(|put| put < listed))
    });
    require!(
        own || end == start,
        W4,
        "recovery",
        "node {of}, WAL {epoch}, which starts at {start}: the run ends at {end}, where none of its \
         objects that landed before the list ends"
    );
    Ok(())
}

/// A recoverer takes a record.
pub(crate) fn took(
    taken: Taken,
    wal: Option<&WalFacts>,
    seal: Option<Seal>,
    takeover: &Takeover,
) -> Check {
    let Taken { of, epoch, lsn, stream, base, end } = taken;
    // A recoverer that does not know yet may go on; its commits are refused, which is O4's matter.
    if seal.is_some() {
        return Ok(());
    }
    let Some((wal, (key, object))) = wal.and_then(|wal| Some((wal, wal.object_at(lsn)?))) else {
        require!(false, W4, "recovery", "node {of}, WAL {epoch}: no object holds record {lsn}");
        return Ok(());
    };
    let put = object.put_first.unwrap_or(u64::MAX);
    let listed = takeover.listed;
    require!(
        listed.is_some_and(|(_, last)| put < last),
        W4,
        "recovery",
        "node {of}, WAL {epoch}: record {lsn} taken from {key:?}, put at event {put}, listed at \
         {listed:?}"
    );
    let known = wal.record(lsn);
    require!(
        known.is_none_or(|known| (known.stream, known.base, known.end) == (stream, base, end)),
        W4,
        "recovery",
        "node {of}, WAL {epoch}: record {lsn} was confirmed as {known:?}, taken as stream {stream} \
         [{base}, {end})"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{BrokerEpoch, Incarnation, Lsn, Offset};
    use broker_core::probe::Probe;
    use broker_core::step::{Cond, Etag, Flow, Key, ObjOp, ObjResult, Tok};
    use bytes::Bytes;

    use crate::testing::{A, A_EPOCH, B, Case, S, tok, wal_object};
    use crate::view::Evidence;

    fn ran(case: &mut Case, end: u64) {
        case.list(B, Flow::Recovery(A), 7, &alloc::format!("wal/{A}/"));
        let (of, epoch, objects, sealed, end) = (A, A_EPOCH, 1, 0, Lsn(end));
        let hole = false;
        case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
    }

    #[test]
    fn run_that_ends_with_another_epochs_object_breaks() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2).wal_put(0, &[(0, 2, 100)]);
        let (key, body) = wal_object(A, BrokerEpoch(99), 0, 0, &[(0, 2, 100), (2, 3, 102)]);
        case.put(A, Flow::Wal, &key, body);
        ran(&mut case, 2);
        assert!(case.breaks("W4"));
    }

    #[test]
    fn run_of_an_empty_wal_ends_where_it_starts() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2);
        ran(&mut case, 0);
        assert!(case.holds());
        ran(&mut case, 1);
        assert!(case.breaks("W4"));
    }

    fn listed(case: &mut Case) {
        case.list(B, Flow::Recovery(A), 7, &alloc::format!("wal/{A}/"));
        let (of, epoch, objects, sealed, end) = (A, A_EPOCH, 1, 0, Lsn(0));
        let hole = false;
        case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
    }

    fn took(case: &mut Case, lsn: u64, base: u64, end: u64) {
        let (of, epoch, lsn, stream) = (A, A_EPOCH, Lsn(lsn), S);
        let (base, end) = (Offset(base), Offset(end));
        case.probe(B, &Probe::RecoveryTook { of, epoch, lsn, stream, base, end });
    }

    #[test]
    fn object_put_behind_the_list_breaks() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2);
        listed(&mut case);
        case.wal_put(0, &[(0, 2, 100)]);
        took(&mut case, 0, 0, 2);
        assert!(case.breaks("W4"));
    }

    #[test]
    fn object_put_before_the_list_holds() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2).wal_put(0, &[(0, 2, 100)]);
        listed(&mut case);
        took(&mut case, 0, 0, 2);
        assert!(case.holds());
    }

    #[test]
    fn list_before_the_claim_breaks() {
        let mut case = Case::cluster("W4");
        case.list(B, Flow::Recovery(A), 6, &alloc::format!("wal/{A}/"));
        let (of, epoch, objects, sealed, end) = (A, A_EPOCH, 1, 0, Lsn(0));
        let hole = false;
        case.claim(B, A, 2);
        case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
        assert!(case.breaks("W4"));
    }

    /// B's put of claim `number` lands when nobody waits for its answer any more.
    fn claim_lands_late(case: &mut Case, number: u64) {
        claim_of_a_process_lands_late(case, tok(Flow::Recovery(A), 1), number);
    }

    fn claim_of_a_process_lands_late(case: &mut Case, tok: Tok, number: u64) {
        let key = Key(alloc::format!("claim/{A}/{number:020}").into());
        let op = ObjOp::Put { key, body: Bytes::new(), cond: Cond::IfAbsent };
        let result = ObjResult::Done { etag: Etag(1) };
        case.see(&Evidence::Store { node: B, tok, op: &op, result: &result, late: true });
    }

    #[test]
    fn claim_that_landed_behind_its_time_out_holds() {
        let mut case = Case::cluster("W4");
        claim_lands_late(&mut case, 2);
        listed(&mut case);
        assert!(case.holds());
    }

    #[test]
    fn claim_that_landed_late_behind_the_list_breaks() {
        let mut case = Case::cluster("W4");
        case.list(B, Flow::Recovery(A), 6, &alloc::format!("wal/{A}/"));
        claim_lands_late(&mut case, 2);
        let (of, epoch, objects, sealed, end) = (A, A_EPOCH, 1, 0, Lsn(0));
        let hole = false;
        case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
        assert!(case.breaks("W4"));
    }

    #[test]
    fn claim_that_lands_again_behind_the_list_holds() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2);
        case.list(B, Flow::Recovery(A), 7, &alloc::format!("wal/{A}/"));
        claim_lands_late(&mut case, 2);
        let (of, epoch, objects, sealed, end) = (A, A_EPOCH, 1, 0, Lsn(0));
        let hole = false;
        case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
        assert!(case.holds());
    }

    #[test]
    fn claim_of_the_process_before_that_lands_late_changes_nothing() {
        let dead = Tok { incarnation: Incarnation(0), ..tok(Flow::Recovery(A), 1) };
        let mut case = Case::cluster("W4");
        case.claim(B, A, 4);
        claim_of_a_process_lands_late(&mut case, dead, 2);
        listed(&mut case);
        assert!(case.holds());
        let mut case = Case::cluster("W4");
        claim_of_a_process_lands_late(&mut case, dead, 2);
        listed(&mut case);
        assert!(case.breaks("W4"));
    }

    #[test]
    fn claim_of_an_earlier_recovery_breaks() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2);
        case.probe(B, &Probe::RecoveryStarted { of: A, epoch: A_EPOCH });
        listed(&mut case);
        assert!(case.breaks("W4"));
    }

    #[test]
    fn record_from_another_epochs_wal_breaks() {
        let mut case = Case::cluster("W4");
        case.claim(B, A, 2);
        let (key, body) = wal_object(A, BrokerEpoch(99), 0, 0, &[(0, 2, 100)]);
        case.put(A, Flow::Wal, &key, body);
        listed(&mut case);
        took(&mut case, 0, 0, 2);
        assert!(case.breaks("W4"));
    }
}

//! O4 FencedCommit: each record in the metadata log was legal at its place. The log does not name
//! who asked, so the asker is derived: whoever prepared an object commits it, the owner of a WAL
//! works under its current registration until someone else is assigned, then only that one does.
//! Source: AutoMQ nodeEpochCheck, StreamControlManager; KIP-631.

use broker_core::ids::{BrokerEpoch, LeaderEpoch, NodeId, ObjectId, StreamId};
use broker_core::metadata::record::{CommittedRange, Record};

use crate::facts::ledger::{Ledger, Object};
use crate::{Check, require};

/// A record is about to be applied; `batch` is all of its entry.
pub(crate) fn applies(record: &Record, batch: &[Record], ledger: &Ledger) -> Check {
    match record {
        Record::BrokerChange { node, epoch, .. }
        | Record::PrepareObject { node, epoch, .. }
        | Record::ProducerIds { node, epoch, .. } => registered(*node, *epoch, ledger),
        Record::CommitObject { object, ranges, wal_node, wal_epoch, .. } => {
            committed(*object, ranges, (*wal_node, *wal_epoch), ledger)
        }
        Record::OpenStream { stream, epoch, node, broker_epoch } => {
            opened(*stream, *epoch, (*node, *broker_epoch), ledger)
        }
        Record::CloseStream { stream, epoch } => closed(*stream, *epoch, batch, ledger),
        Record::AssignRecovery { node, epoch, recoverer, recoverer_epoch } => {
            assigned((*node, *epoch), (*recoverer, *recoverer_epoch), ledger)
        }
        Record::SealWal { node, epoch, .. } => sealed((*node, *epoch), ledger),
        Record::RegisterBroker { .. }
        | Record::Topic { .. }
        | Record::RemoveTopic { .. }
        | Record::Config { .. }
        | Record::AdminDone { .. }
        | Record::Partition { .. }
        | Record::PartitionChange { .. }
        | Record::DestroyObject { .. } => Ok(()),
    }
}

fn registered(node: NodeId, epoch: BrokerEpoch, ledger: &Ledger) -> Check {
    require!(
        ledger.current(node, epoch).is_some(),
        O4,
        "metadata",
        "a record for node {node}, registration {epoch}; current is {:?}",
        ledger.brokers.get(&node)
    );
    Ok(())
}

fn committed(
    object: ObjectId,
    ranges: &[CommittedRange],
    (wal_node, wal_epoch): (NodeId, BrokerEpoch),
    ledger: &Ledger,
) -> Check {
    let wal = ledger.wals.get(&(wal_node, wal_epoch)).copied();
    require!(
        wal.is_some_and(|wal| wal.sealed.is_none()),
        O4,
        "metadata",
        "object {object} is committed for the WAL {wal_epoch} of node {wal_node}, which is {wal:?}"
    );
    let owner = wal.and_then(|wal| wal.recoverer).unwrap_or((wal_node, wal_epoch));
    if let Some(Object::Prepared { node, epoch }) = ledger.objects.get(&object) {
        require!(
            owner == (*node, *epoch) && ledger.current(*node, *epoch).is_some(),
            O4,
            "metadata",
            "object {object}, prepared by node {node}, registration {epoch}, is committed for the \
             WAL {wal_epoch} of node {wal_node}, which is {owner:?}'s"
        );
    }
    for range in ranges {
        let Some(stream) = ledger.streams.get(&range.stream) else { continue };
        let last = stream.ranges.last();
        require!(
            stream.open
                && stream.epoch == Some(range.epoch)
                && last.is_some_and(|last| (last.node, last.broker_epoch) == (wal_node, wal_epoch)),
            O4,
            "metadata",
            "object {object} from the WAL {wal_epoch} of node {wal_node} brings {range:?}; the \
             stream is open: {}, its last range {last:?}",
            stream.open
        );
    }
    Ok(())
}

fn opened(
    id: StreamId,
    epoch: LeaderEpoch,
    (node, broker_epoch): (NodeId, BrokerEpoch),
    ledger: &Ledger,
) -> Check {
    registered(node, broker_epoch, ledger)?;
    let Some(stream) = ledger.streams.get(&id) else {
        require!(false, O4, "metadata", "stream {id} is opened and does not exist");
        return Ok(());
    };
    require!(
        !stream.open,
        O4,
        "metadata",
        "stream {id} opens under epoch {epoch} while epoch {:?} is open",
        stream.epoch
    );
    let wal = ledger.wals.get(&(node, broker_epoch)).copied();
    require!(
        wal.is_some_and(|wal| wal.sealed.is_none() && wal.recoverer.is_none()),
        O4,
        "metadata",
        "stream {id} opens on the WAL {broker_epoch} of node {node}, which is {wal:?}"
    );
    let partition = ledger.partitions.get(&stream.partition);
    require!(
        partition.is_some_and(|is| is.replica == Some(node) && is.leader_epoch == epoch),
        O4,
        "metadata",
        "stream {id} opens for node {node} under epoch {epoch}; the partition is {partition:?}"
    );
    Ok(())
}

fn closed(id: StreamId, epoch: LeaderEpoch, batch: &[Record], ledger: &Ledger) -> Check {
    let Some(stream) = ledger.streams.get(&id) else { return Ok(()) };
    require!(
        stream.open && stream.epoch == Some(epoch),
        O4,
        "metadata",
        "stream {id} is closed under epoch {epoch}; it is at {:?}, open: {}",
        stream.epoch,
        stream.open
    );
    let Some(owner) = stream.ranges.last() else { return Ok(()) };
    let wal = ledger.wals.get(&(owner.node, owner.broker_epoch)).copied().unwrap_or_default();
    let sealing = batch.iter().any(|record| {
        matches!(record, Record::SealWal { node, epoch, .. }
            if (*node, *epoch) == (owner.node, owner.broker_epoch))
    });
    require!(
        sealing || wal.recoverer.is_none(),
        O4,
        "metadata",
        "stream {id} is closed by node {}, whose WAL {} is {:?}'s",
        owner.node,
        owner.broker_epoch,
        wal.recoverer
    );
    Ok(())
}

fn assigned(
    (node, epoch): (NodeId, BrokerEpoch),
    (recoverer, recoverer_epoch): (NodeId, BrokerEpoch),
    ledger: &Ledger,
) -> Check {
    registered(recoverer, recoverer_epoch, ledger)?;
    let wal = ledger.wals.get(&(node, epoch)).copied();
    require!(
        wal.is_some_and(|wal| wal.sealed.is_none()),
        O4,
        "metadata",
        "recovery of the WAL {epoch} of node {node} is assigned; it is {wal:?}"
    );
    let owner = ledger.current(node, epoch);
    require!(
        owner.is_none_or(|owner| owner.fenced),
        O4,
        "metadata",
        "recovery of the WAL {epoch} of node {node} is assigned while its owner is {owner:?}"
    );
    Ok(())
}

fn sealed((node, epoch): (NodeId, BrokerEpoch), ledger: &Ledger) -> Check {
    let wal = ledger.wals.get(&(node, epoch)).copied();
    let by = wal.and_then(|wal| wal.recoverer);
    require!(
        wal.is_some_and(|wal| wal.sealed.is_none())
            && by.is_some_and(|(node, epoch)| ledger.current(node, epoch).is_some()),
        O4,
        "metadata",
        "the WAL {epoch} of node {node} is sealed; it is {wal:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{BrokerEpoch, LeaderEpoch};
    use broker_core::metadata::record::Record;

    use crate::testing::{
        A, A_EPOCH, B, B_EPOCH, Case, S, assign, change, commit_object, open_stream, prepare,
    };

    #[test]
    fn commit_by_the_owner_holds_until_its_wal_is_assigned() {
        let mut case = Case::cluster("O4");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![prepare(1, A, A_EPOCH)]).fail_over();
        assert!(case.holds());
        case.meta(alloc::vec![commit_object(1, (A, A_EPOCH), 0, (2, 3))]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn commit_by_the_recoverer_holds_until_the_seal() {
        let mut case = Case::cluster("O4");
        case.fail_over().commit(0, (B, B_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![prepare(1, B, B_EPOCH)]).seal(1);
        assert!(case.holds());
        case.meta(alloc::vec![commit_object(1, (A, A_EPOCH), 0, (2, 3))]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn prepare_by_an_old_registration_breaks() {
        let mut case = Case::cluster("O4");
        case.register(A).meta(alloc::vec![prepare(0, A, A_EPOCH)]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn stream_opened_while_open_breaks() {
        let mut case = Case::cluster("O4");
        case.meta(alloc::vec![change(Some(B), None, 1, 2), open_stream(B, B_EPOCH, 1)]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn stream_opened_when_closed_holds() {
        let mut case = Case::cluster("O4");
        case.fail_over().seal(0).lead(B, B_EPOCH, 1, 3);
        assert!(case.holds());
    }

    #[test]
    fn stream_opened_by_another_than_the_replica_breaks() {
        let mut case = Case::cluster("O4");
        case.fail_over().seal(0).register(A);
        let epoch = BrokerEpoch(9);
        case.meta(alloc::vec![open_stream(A, epoch, 1)]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn stream_closed_by_an_owner_whose_wal_is_assigned_breaks() {
        let mut case = Case::cluster("O4");
        let (stream, epoch) = (S, LeaderEpoch(0));
        case.fail_over().meta(alloc::vec![Record::CloseStream { stream, epoch }]);
        assert!(case.breaks("O4"));
    }

    #[test]
    fn recovery_of_a_serving_broker_assigned_breaks() {
        let mut case = Case::cluster("O4");
        case.meta(alloc::vec![assign(A, A_EPOCH, B, B_EPOCH)]);
        assert!(case.breaks("O4"));
    }
}

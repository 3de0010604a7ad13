//! M1 ImageEquiv: nodes at one metadata offset hold one image, and that image is what an
//! independent reading of the log gives. Source: KIP-630, KIP-631 (no state outside the timeline).

use broker_core::ids::{MetaOffset, NodeId};
use broker_core::metadata::Image;

use crate::facts::ledger::Ledger;
use crate::{Check, require};

/// Digests of two nodes' images at one offset.
pub(crate) fn digests(offset: MetaOffset, node: NodeId, first: u64, other: u64) -> Check {
    require!(
        first == other,
        M1,
        "metadata",
        "node {node}'s image after {offset} has the digest {other:016x}, the first one {first:016x}"
    );
    Ok(())
}

/// Two nodes' whole images at one offset.
pub(crate) fn images(
    (first, image): (NodeId, &Image),
    (second, other): (NodeId, &Image),
) -> Check {
    require!(
        image == other,
        M1,
        "metadata",
        "nodes {first} and {second} hold different images at {}",
        image.end
    );
    Ok(())
}

/// A node's image against the ledger, both at one offset.
pub(crate) fn by_the_log(node: NodeId, image: &Image, ledger: &Ledger) -> Check {
    let at = image.end;
    let brokers = image.brokers.len() == ledger.brokers.len()
        && image.brokers.iter().all(|(id, broker)| {
            ledger.brokers.get(id).is_some_and(|known| {
                (known.epoch, known.fenced, known.leaving)
                    == (broker.epoch, broker.fenced, broker.in_controlled_shutdown)
            })
        });
    require!(brokers, M1, "metadata", "node {node} at {at}: its brokers are not the log's");
    let partitions = image.partitions.len() == ledger.partitions.len()
        && image.partitions.iter().all(|(id, partition)| {
            ledger.partitions.get(id).is_some_and(|known| {
                (known.stream, known.replica, known.leader)
                    == (partition.stream, partition.replica, partition.leader)
                    && (known.leader_epoch, known.partition_epoch)
                        == (partition.leader_epoch, partition.partition_epoch)
            })
        });
    require!(partitions, M1, "metadata", "node {node} at {at}: its partitions are not the log's");
    for (id, known) in &ledger.streams {
        let same = image.streams.get(id).is_some_and(|stream| {
            (stream.epoch, stream.open, stream.end) == (known.epoch, known.open, known.end)
                && stream.ranges.len() == known.ranges.len()
                && stream.ranges.iter().zip(&known.ranges).all(|(range, known)| {
                    (range.epoch, range.node, range.broker_epoch, range.start)
                        == (known.epoch, known.node, known.broker_epoch, known.start)
                })
                && stream.objects.len() == known.pieces.len()
                && stream.objects.iter().zip(&known.pieces).all(|(object, piece)| {
                    (*object.0, object.1.0, object.1.1) == (piece.start, piece.end, piece.object)
                })
        });
        require!(
            same,
            M1,
            "metadata",
            "node {node} at {at}: stream {id} is {:?}, the log says {known:?}",
            image.streams.get(id)
        );
    }
    let streams = image.streams.len() == ledger.streams.len();
    let wals = image.wals.iter().all(|(id, wal)| {
        ledger.wals.get(id).is_some_and(|known| {
            (known.recoverer, known.sealed.map(|seal| seal.end)) == (wal.recoverer, wal.sealed)
        })
    });
    require!(streams && wals, M1, "metadata", "node {node} at {at}: its WALs are not the log's");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{IncarnationId, MetaOffset, NodeId, ZoneId};
    use broker_core::metadata::Image;
    use broker_core::metadata::record::Record;

    use crate::testing::{A, B, C, Case};

    #[test]
    fn digests_that_differ_break() {
        let mut case = Case::new("M1");
        case.applied(C, MetaOffset(0), alloc::vec![], Some(1));
        case.applied(A, MetaOffset(0), alloc::vec![], Some(2));
        assert!(case.breaks("M1"));
    }

    #[test]
    fn digests_that_agree_hold() {
        let mut case = Case::new("M1");
        case.applied(C, MetaOffset(0), alloc::vec![], Some(1));
        case.applied(A, MetaOffset(0), alloc::vec![], Some(1));
        assert!(case.holds());
    }

    fn image(records: &[Record]) -> Image {
        let mut image = Image::default();
        image.apply(records).expect("sound records");
        image
    }

    fn registered(node: NodeId) -> alloc::vec::Vec<Record> {
        let (incarnation_id, zone) = (IncarnationId(1), ZoneId(0));
        alloc::vec![Record::RegisterBroker { node, incarnation_id, zone }]
    }

    #[test]
    fn image_other_than_the_log_breaks() {
        let mut case = Case::new("M1");
        case.meta(registered(A));
        case.fake.images.insert(C, image(&registered(B)));
        case.finish();
        assert!(case.breaks("M1"));
    }

    #[test]
    fn image_of_the_log_holds() {
        let mut case = Case::new("M1");
        case.meta(registered(A));
        case.fake.images.insert(C, image(&registered(A)));
        case.fake.images.insert(B, Image::default());
        case.finish();
        assert!(case.holds());
    }
}

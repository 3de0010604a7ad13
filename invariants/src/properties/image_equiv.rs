//! M1 ImageEquiv: nodes at one metadata offset hold one image, and that image is what an
//! independent reading of the log gives; so is what a client was told of its topics. Source:
//! KIP-630, KIP-631 (no state outside the timeline).

use broker_core::ids::{MetaOffset, NodeId, PartitionIndex, TopicId, TopicPartition};
use broker_core::metadata::Image;
use broker_core::metadata::image::ObjectState;

use crate::facts::ledger::{Ledger, Object};
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

/// A client was told that its topic is there.
pub(crate) fn created(topic: TopicId, ledger: &Ledger) -> Check {
    let first = TopicPartition { topic, index: PartitionIndex(0) };
    require!(
        ledger.partitions.contains_key(&first) || ledger.topics_gone.contains(&topic),
        M1,
        "metadata",
        "a client was told that topic {topic} was created, and no committed entry says so"
    );
    Ok(())
}

/// A client was told that its topic is gone.
pub(crate) fn deleted(topic: TopicId, ledger: &Ledger) -> Check {
    require!(
        ledger.topics_gone.contains(&topic),
        M1,
        "metadata",
        "a client was told that topic {topic} was deleted, and no committed entry says so"
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
    require!(same_topics(image, ledger), M1, "metadata", "node {node} at {at}: other topics");
    require!(same_objects(image, ledger), M1, "metadata", "node {node} at {at}: other objects");
    let streams = image.streams.len() == ledger.streams.len();
    let wals = image.wals.len() == ledger.wals.len()
        && image.wals.iter().all(|(id, wal)| {
            ledger.wals.get(id).is_some_and(|known| {
                (known.recoverer, known.sealed.map(|seal| seal.end)) == (wal.recoverer, wal.sealed)
            })
        });
    require!(streams && wals, M1, "metadata", "node {node} at {at}: its WALs are not the log's");
    Ok(())
}

fn same_topics(image: &Image, ledger: &Ledger) -> bool {
    image.topics.len() == ledger.topics.len()
        && image.topics.iter().all(|(id, topic)| {
            image.topic_ids.get(&topic.name) == Some(id)
                && ledger.topics.get(id).is_some_and(|(name, configs)| {
                    (name, configs) == (&topic.name, &topic.configs)
                })
        })
}

fn same_objects(image: &Image, ledger: &Ledger) -> bool {
    image.objects.len() == ledger.objects.len()
        && image.objects.iter().all(|(id, object)| {
            let object = match object {
                ObjectState::Prepared { node, epoch, .. } => {
                    Object::Prepared { node: *node, epoch: *epoch }
                }
                ObjectState::Committed { .. } => Object::Committed,
                ObjectState::Destroyed => Object::Destroyed,
            };
            ledger.objects.get(id) == Some(&object)
        })
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{IncarnationId, MetaOffset, NodeId, ZoneId};
    use broker_core::metadata::Image;
    use broker_core::metadata::record::Record;

    use crate::history::{Answer, Call};
    use crate::testing::{A, B, C, Case, P};

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

    #[test]
    fn image_with_other_configs_breaks() {
        let config = |value: &str| {
            let (topic, value) = (P.topic, Some(value.into()));
            alloc::vec![
                Record::Topic { name: "t".into(), topic, nonce: 1 },
                Record::Config { topic, key: "retention.ms".into(), value },
            ]
        };
        for (value, holds) in [("1", true), ("2", false)] {
            let mut case = Case::new("M1");
            case.meta(config("1"));
            case.fake.images.insert(C, image(&config(value)));
            case.finish();
            assert!(if holds { case.holds() } else { case.breaks("M1") });
        }
    }

    #[test]
    fn topic_that_only_its_client_knows_of_breaks() {
        let ordered = |deletes: bool| {
            let mut case = Case::new("M1");
            let topic = deletes.then_some(P.topic);
            let call = case.invoke(1, Call::Admin { topic, deletes });
            let answer = if deletes { Answer::Done } else { Answer::Created(P.topic) };
            case.ok(call, answer);
            case
        };
        assert!(ordered(true).breaks("M1"));
        assert!(ordered(false).breaks("M1"));
    }
}

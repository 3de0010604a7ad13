//! Records against images: what each refuses, and that everything derived stays true.

use alloc::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ids::*;
use crate::metadata::record::ObjectKind;

const N: NodeId = NodeId(11);
const M: NodeId = NodeId(12);
const E: BrokerEpoch = BrokerEpoch(0);
const T: TopicId = TopicId(7);

fn at(index: u32) -> TopicPartition {
    TopicPartition { topic: T, index: PartitionIndex(index) }
}

fn register(node: NodeId) -> Record {
    Record::RegisterBroker { node, incarnation_id: IncarnationId(1), zone: ZoneId(0) }
}

fn change(index: u32, replica: Option<NodeId>, leader_epoch: u32, partition_epoch: u32) -> Record {
    Record::PartitionChange {
        partition: at(index),
        replica,
        leader: None,
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
    }
}

fn open(stream: u64, epoch: u32, node: NodeId, broker_epoch: BrokerEpoch) -> Record {
    Record::OpenStream { stream: StreamId(stream), epoch: LeaderEpoch(epoch), node, broker_epoch }
}

fn prepare(object: u64) -> Record {
    Record::PrepareObject { object: ObjectId(object), node: N, epoch: E, request: object }
}

fn commit(object: u64, ranges: &[(u64, u32, u64, u64)]) -> Record {
    let range = |&(stream, epoch, start, end): &(u64, u32, u64, u64)| CommittedRange {
        stream: StreamId(stream),
        epoch: LeaderEpoch(epoch),
        start: Offset(start),
        end: Offset(end),
    };
    Record::CommitObject {
        object: ObjectId(object),
        kind: ObjectKind::StreamSet,
        size: 1,
        ranges: ranges.iter().map(range).collect(),
        wal_node: N,
        wal_epoch: E,
    }
}

fn assign(node: NodeId, recoverer: NodeId, recoverer_epoch: u64) -> Record {
    let recoverer_epoch = BrokerEpoch(recoverer_epoch);
    Record::AssignRecovery { node, epoch: E, recoverer, recoverer_epoch }
}

const SEAL: Record = Record::SealWal { node: N, epoch: E, end: Lsn(9) };

/// Two brokers, a topic of two partitions, both streams open at `N`, 10 offsets committed in each,
/// one object prepared.
fn image() -> Image {
    let mut image = Image::default();
    let batches = [
        alloc::vec![register(N)],
        alloc::vec![register(M)],
        alloc::vec![
            Record::Topic { name: "t".into(), topic: T, nonce: 1 },
            Record::Partition { partition: at(0), stream: StreamId(0), replica: Some(N) },
            Record::Partition { partition: at(1), stream: StreamId(1), replica: None },
        ],
        alloc::vec![open(0, 1, N, E), open(1, 1, N, E)],
        alloc::vec![prepare(0)],
        alloc::vec![commit(0, &[(0, 1, 0, 4), (1, 1, 0, 10)])],
        alloc::vec![prepare(1), commit(1, &[(0, 1, 4, 10)]), prepare(2)],
    ];
    for batch in batches {
        image.apply(&batch).expect("applies");
    }
    image
}

/// Batches that contradict [`image`].
fn contradictions() -> Vec<Vec<Record>> {
    let close = |epoch| Record::CloseStream { stream: StreamId(0), epoch: LeaderEpoch(epoch) };
    let broker_change = |epoch| Record::BrokerChange {
        node: N,
        epoch: BrokerEpoch(epoch),
        fenced: false,
        in_controlled_shutdown: false,
    };
    let partition = |index, stream, replica| Record::Partition {
        partition: at(index),
        stream: StreamId(stream),
        replica,
    };
    let topic = |name: &str, topic| Record::Topic { name: name.into(), topic, nonce: 2 };
    let destroy = |object| Record::DestroyObject { object: ObjectId(object) };
    let published = Record::PartitionChange {
        partition: at(0),
        replica: Some(N),
        leader: Some(M),
        leader_epoch: LeaderEpoch(1),
        partition_epoch: PartitionEpoch(1),
    };
    let unset = Record::Config { topic: TopicId(8), key: "k".into(), value: None };
    alloc::vec![
        alloc::vec![register(N), register(N)],
        alloc::vec![broker_change(1)],
        alloc::vec![topic("t", TopicId(8))],
        alloc::vec![topic("u", T)],
        alloc::vec![Record::RemoveTopic { topic: TopicId(8) }],
        alloc::vec![unset],
        alloc::vec![partition(3, 2, None)],
        alloc::vec![partition(2, 3, None)],
        alloc::vec![partition(2, 2, Some(NodeId(99)))],
        alloc::vec![change(2, Some(N), 1, 1)],
        alloc::vec![change(0, Some(N), 1, 2)],
        alloc::vec![change(0, Some(NodeId(99)), 1, 1)],
        alloc::vec![change(0, None, 2, 1), change(0, None, 1, 2)],
        alloc::vec![published],
        alloc::vec![open(2, 2, N, E)],
        alloc::vec![open(0, 1, M, BrokerEpoch(1))],
        alloc::vec![open(0, 2, M, E)],
        alloc::vec![close(2)],
        alloc::vec![close(1), close(1)],
        alloc::vec![prepare(2)],
        alloc::vec![prepare(4)],
        alloc::vec![Record::PrepareObject { object: ObjectId(3), node: N, epoch: E, request: 2 }],
        alloc::vec![commit(3, &[(0, 1, 10, 11)])],
        alloc::vec![commit(1, &[(0, 1, 10, 11)])],
        alloc::vec![commit(2, &[(0, 1, 9, 11)])],
        alloc::vec![commit(2, &[(0, 1, 11, 12)])],
        alloc::vec![commit(2, &[(0, 1, 10, 10)])],
        alloc::vec![commit(2, &[(0, 2, 10, 11)])],
        alloc::vec![commit(2, &[(2, 1, 0, 1)])],
        alloc::vec![commit(2, &[(1, 1, 10, 11), (0, 1, 10, 11)])],
        alloc::vec![destroy(1)],
        alloc::vec![destroy(2), destroy(2)],
        alloc::vec![destroy(3)],
        alloc::vec![assign(N, M, 0)],
        alloc::vec![assign(M, N, 0)],
        alloc::vec![SEAL],
        alloc::vec![
            close(1),
            Record::CloseStream { stream: StreamId(1), epoch: LeaderEpoch(1) },
            SEAL,
            SEAL
        ],
    ]
}

#[test]
fn apply_refuses_what_contradicts_the_image() {
    for batch in contradictions() {
        let mut image = image();
        let refused = image.apply(&batch).expect_err("contradicts");
        assert_eq!(refused.offset, MetaOffset(7), "{batch:?}");
        assert_eq!(image.end, MetaOffset(7), "{batch:?}");
    }
}

#[test]
fn apply_registration_takes_the_entrys_offset_as_epoch() {
    let image = image();
    assert_eq!(image.brokers[&M].epoch, BrokerEpoch(1));
    assert!(image.brokers[&M].fenced);
    assert_eq!(image.unsealed_wals().collect::<Vec<_>>(), [(N, E), (M, BrokerEpoch(1))]);
}

#[test]
fn apply_removed_topic_leaves_nothing_behind() {
    let mut image = image();
    let other = TopicId(8);
    let batch = [
        Record::Topic { name: "u".into(), topic: other, nonce: 2 },
        Record::Partition {
            partition: TopicPartition { topic: other, index: PartitionIndex(0) },
            stream: StreamId(2),
            replica: Some(N),
        },
        open(2, 1, N, E),
        commit(2, &[(0, 1, 10, 12), (2, 1, 0, 3)]),
    ];
    image.apply(&batch).expect("applies");
    image.apply(&[Record::RemoveTopic { topic: T }]).expect("applies");
    assert_eq!(image.streams.keys().copied().collect::<Vec<_>>(), [StreamId(2)]);
    assert_eq!(image.partition_count(N), 1);
    assert_eq!(image.unplaced().count(), 0);
    assert_eq!(image.open_streams(N, E).collect::<Vec<_>>(), [StreamId(2)]);
    assert_eq!(image.objects[&ObjectId(0)], ObjectState::Destroyed);
    assert_eq!(image.objects[&ObjectId(1)], ObjectState::Destroyed);
    let ObjectState::Committed { ranges, .. } = &image.objects[&ObjectId(2)] else { panic!() };
    assert_eq!(ranges.iter().map(|r| r.stream).collect::<Vec<_>>(), [StreamId(2)]);
    assert_eq!(derived(&image), image.index);
}

#[test]
fn covering_gives_the_pieces_of_a_range() {
    let image = image();
    let pieces = |from, to| {
        let pieces = image.covering(StreamId(0), Offset(from), Offset(to));
        pieces.map(|(start, end, object)| (start.0, end.0, object.0)).collect::<Vec<_>>()
    };
    let (first, second) = ((0, 4, 0), (4, 10, 1));
    assert_eq!(pieces(0, 10), [first, second]);
    assert_eq!(pieces(3, 4), [first]);
    assert_eq!(pieces(3, 5), [first, second]);
    assert_eq!(pieces(4, 5), [second]);
    assert_eq!(pieces(9, 99), [second]);
    assert_eq!(pieces(10, 99), []);
    assert_eq!(pieces(5, 5), []);
    assert_eq!(image.covering(StreamId(9), Offset(0), Offset(1)).count(), 0);
}

#[test]
fn stream_range_ends_where_the_next_begins() {
    let mut image = image();
    let close = Record::CloseStream { stream: StreamId(0), epoch: LeaderEpoch(1) };
    image.apply(&[close, open(0, 3, M, BrokerEpoch(1))]).expect("applies");
    let stream = &image.streams[&StreamId(0)];
    let end = |epoch| stream.range(LeaderEpoch(epoch)).map(|(range, end)| (range.node, end.0));
    assert_eq!([end(0), end(1), end(2), end(3)], [None, Some((N, 10)), None, Some((M, 10))]);
    assert_eq!(stream.range(LeaderEpoch(3)).map(|(range, _)| range.start), Some(Offset(10)));
}

#[test]
fn wal_start_is_the_last_ones_sealed_end() {
    let mut image = image();
    let close = |stream| Record::CloseStream { stream: StreamId(stream), epoch: LeaderEpoch(1) };
    assert_eq!(image.wal_start(N, E), Some(Lsn(0)));
    image.apply(&[register(N)]).expect("applies");
    let later = BrokerEpoch(7);
    assert_eq!(image.wal_start(N, later), None);
    image.apply(&[close(0), close(1), SEAL]).expect("applies");
    assert_eq!(image.wal_start(N, later), Some(Lsn(9)));
    assert_eq!(image.unsealed_wals_of(N).collect::<Vec<_>>(), [later]);
}

#[test]
fn admin_memory_is_bounded() {
    let mut image = Image::default();
    for nonce in 0..=ADMIN_DONE_MAX as u64 {
        image.apply(&[Record::AdminDone { nonce, created: None }]).expect("applies");
    }
    assert_eq!(image.admin_done.len(), ADMIN_DONE_MAX);
    assert_eq!(image.admin_done[0].nonce, 1);
}

#[test]
fn digest_tells_images_apart() {
    let base = image();
    let close = Record::CloseStream { stream: StreamId(0), epoch: LeaderEpoch(1) };
    let config = Record::Config { topic: T, key: "k".into(), value: Some("v".into()) };
    let batches: [Vec<Record>; 9] = [
        alloc::vec![],
        alloc::vec![close],
        alloc::vec![config],
        alloc::vec![change(0, Some(M), 1, 1)],
        alloc::vec![prepare(3)],
        alloc::vec![commit(2, &[(0, 1, 10, 11)])],
        alloc::vec![commit(2, &[(0, 1, 10, 12)])],
        alloc::vec![Record::DestroyObject { object: ObjectId(2) }],
        alloc::vec![assign(N, M, 1)],
    ];
    let mut digests = BTreeSet::from([base.digest()]);
    for batch in batches {
        let mut image = base.clone();
        image.apply(&batch).expect("applies");
        assert!(digests.insert(image.digest()), "{batch:?}");
    }
    // What is committed into which object counts, although its size alone is the same.
    let mut swapped = base.clone();
    let stream = swapped.streams.get_mut(&StreamId(0)).expect("there");
    stream.objects.insert(Offset(0), (Offset(4), ObjectId(1)));
    swapped.index.grown = derived(&swapped).grown;
    assert!(digests.insert(swapped.digest()));
}

/// The index as the image's maps say it should be.
fn derived(image: &Image) -> crate::metadata::image::Index {
    let mut index = crate::metadata::image::Index::default();
    for (&id, partition) in &image.partitions {
        match partition.replica {
            Some(node) => index.by_replica.entry(node).or_default().insert(id),
            None => index.unplaced.insert(id),
        };
    }
    for (&id, stream) in &image.streams {
        if let (true, Some(owner)) = (stream.open, stream.owner()) {
            index.open.insert((owner.node, owner.broker_epoch, id));
        }
        for (start, (end, object)) in &stream.objects {
            let digest = digest_of(&(id, *start, *end, *object));
            index.grown = index.grown.wrapping_add(digest);
        }
    }
    index.unsealed =
        image.wals.iter().filter(|(_, w)| w.sealed.is_none()).map(|(&id, _)| id).collect();
    for (&id, state) in &image.objects {
        index.grown = index.grown.wrapping_add(digest_of(&(id, state)));
        if let ObjectState::Prepared { .. } = state {
            index.prepared.insert(id);
        }
    }
    for (&request, &object) in &image.requests {
        assert!(image.objects.contains_key(&object), "{request:?} names {object:?}");
        index.grown = index.grown.wrapping_add(digest_of(&(request, object)));
    }
    index
}

/// A record that often fits the image, from a few random words.
fn fitting(image: &Image, kind: u8, a: u64, b: u64) -> Record {
    let brokers = [N, M, NodeId(13)];
    let node = brokers[(a % 3) as usize];
    let epoch = image.brokers.get(&node).map_or(E, |broker| broker.epoch);
    let stream = StreamId(a % image.next_stream.0.max(1));
    let object = image.next_object;
    match kind {
        0 => register(node),
        1 => Record::Topic {
            name: alloc::format!("t{}", b % 3),
            topic: TopicId(u128::from(b % 5)),
            nonce: 0,
        },
        2 => Record::RemoveTopic { topic: TopicId(u128::from(a % 5)) },
        3 | 4 => {
            let topic = TopicId(u128::from(b % 5));
            let index = PartitionIndex(image.topics.get(&topic).map_or(0, |t| t.partitions));
            let replica = image.brokers.contains_key(&node).then_some(node);
            let partition = TopicPartition { topic, index };
            Record::Partition { partition, stream: image.next_stream, replica }
        }
        5 => {
            let Some((&partition, state)) = image.partitions.iter().nth((b % 4) as usize) else {
                return register(node);
            };
            Record::PartitionChange {
                partition,
                replica: (!b.is_multiple_of(3)).then_some(node),
                leader: None,
                leader_epoch: state.leader_epoch.next(),
                partition_epoch: state.partition_epoch.next(),
            }
        }
        6 | 7 => {
            let epoch_of = image.streams.get(&stream).and_then(|s| s.epoch);
            let leader_epoch = epoch_of.map_or(LeaderEpoch(0), LeaderEpoch::next);
            Record::OpenStream { stream, epoch: leader_epoch, node, broker_epoch: epoch }
        }
        8 => {
            let epoch = image.streams.get(&stream).and_then(|s| s.epoch).unwrap_or_default();
            Record::CloseStream { stream, epoch }
        }
        9 => Record::PrepareObject { object, node, epoch, request: b },
        10 | 11 => {
            let object = image.prepared().next().unwrap_or(object);
            let ends = image.streams.iter().take(1 + (b % 3) as usize);
            let ranges = ends.filter_map(|(&stream, state)| {
                let (start, end) = (state.end, state.end.plus(1 + b % 7));
                Some(CommittedRange { stream, epoch: state.epoch?, start, end })
            });
            let kind = ObjectKind::Stream;
            let ranges = ranges.collect();
            Record::CommitObject { object, kind, size: b, ranges, wal_node: node, wal_epoch: epoch }
        }
        12 => Record::DestroyObject { object: image.prepared().next().unwrap_or(object) },
        _ => {
            let epoch = image.unsealed_wals_of(node).next().unwrap_or(epoch);
            Record::SealWal { node, epoch, end: Lsn(b) }
        }
    }
}

proptest! {
    #[test]
    fn index_and_digest_follow_from_the_maps(
        words in prop::collection::vec((0u8..14, any::<u64>(), any::<u64>()), 1..120),
    ) {
        let mut image = Image::default();
        let mut log = Vec::new();
        for (kind, a, b) in words {
            let record = fitting(&image, kind, a, b);
            let mut next = image.clone();
            if next.apply(core::slice::from_ref(&record)).is_ok() {
                image = next;
                log.push(record);
            }
            prop_assert_eq!(&derived(&image), &image.index);
            for stream in image.streams.values() {
                let tiles = stream.objects.iter().try_fold(stream.start, |at, (start, (end, _))| {
                    (at == *start && start < end).then_some(*end)
                });
                prop_assert_eq!(tiles, Some(stream.end));
            }
        }
        let mut again = Image::default();
        for record in &log {
            again.apply(core::slice::from_ref(record)).expect("applied before");
        }
        prop_assert_eq!(again.digest(), image.digest());
        prop_assert_eq!(again, image);
    }
}

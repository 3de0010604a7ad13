//! Bytes of record batches: back and forth, cut short, damaged.

use proptest::prelude::*;

use super::*;

/// Every kind of record, its fields taken from a few random words.
fn record(kind: u8, words: [u64; 4], name: &str) -> Record {
    let [a, b, c, d] = words;
    let (node, other) = (NodeId(a as u16), NodeId(b as u16));
    let (epoch, leader_epoch) = (BrokerEpoch(c), LeaderEpoch(d as u32));
    let topic = TopicId(u128::from(a) << 64 | u128::from(b));
    let partition = TopicPartition { topic, index: crate::ids::PartitionIndex(c as u32) };
    let (stream, object) = (StreamId(a), ObjectId(b));
    let (flag, choice) = (a % 2 == 0, (b % 3 > 0).then_some(other));
    let name = String::from(name);
    match kind {
        0 => {
            Record::RegisterBroker { node, incarnation_id: IncarnationId(c), zone: ZoneId(d as u8) }
        }
        1 => Record::BrokerChange { node, epoch, fenced: flag, in_controlled_shutdown: c > d },
        2 => Record::Topic { name, topic, nonce: d },
        3 => Record::RemoveTopic { topic },
        4 => Record::Config { topic, key: name.clone(), value: flag.then_some(name) },
        5 => Record::Partition { partition, stream, replica: choice },
        6 => Record::PartitionChange {
            partition,
            replica: choice,
            leader: choice.filter(|_| flag),
            leader_epoch,
            partition_epoch: PartitionEpoch(a as u32),
        },
        7 => Record::OpenStream { stream, epoch: leader_epoch, node: other, broker_epoch: epoch },
        8 => Record::CloseStream { stream, epoch: leader_epoch },
        9 => Record::PrepareObject { object, node, epoch, request: d },
        10 => {
            let range =
                CommittedRange { stream, epoch: leader_epoch, start: Offset(c), end: Offset(d) };
            let ranges = alloc::vec![range; (d % 4) as usize];
            let kind = if flag { ObjectKind::Stream } else { ObjectKind::StreamSet };
            Record::CommitObject { object, kind, size: a, ranges, wal_node: node, wal_epoch: epoch }
        }
        11 => Record::DestroyObject { object },
        12 => Record::AssignRecovery {
            node,
            epoch,
            recoverer: other,
            recoverer_epoch: BrokerEpoch(d),
        },
        13 => Record::SealWal { node, epoch, end: Lsn(d) },
        _ => Record::AdminDone { nonce: c, created: flag.then_some(topic) },
    }
}

fn batches() -> impl Strategy<Value = Vec<Record>> {
    let one = (0u8..15, any::<[u64; 4]>(), "[a-z._-]{0,9}");
    prop::collection::vec(one.prop_map(|(kind, words, name)| record(kind, words, &name)), 0..8)
}

proptest! {
    #[test]
    fn batch_encoded_decodes_again(records in batches()) {
        prop_assert_eq!(decode_batch(&encode_batch(&records)), Ok(records));
    }

    #[test]
    fn batch_truncated_is_refused(records in batches(), at: prop::sample::Index) {
        let bytes = encode_batch(&records);
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert_eq!(decode_batch(cut), Err(FormatError::Short));
    }

    #[test]
    fn batch_bit_flipped_is_refused(
        records in batches(),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let mut bytes = encode_batch(&records).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_batch(&bytes).is_err());
    }

    #[test]
    fn batch_with_something_behind_is_refused(records in batches(), more in 1usize..9) {
        let mut bytes = encode_batch(&records).to_vec();
        bytes.extend(core::iter::repeat_n(0, more));
        prop_assert_eq!(decode_batch(&bytes), Err(FormatError::Body));
    }
}

#[test]
fn batch_whose_body_is_longer_than_its_records_is_refused() {
    let mut body = postcard::to_allocvec(&Vec::<Record>::new()).expect("encodes");
    body.push(0);
    assert_eq!(decode_batch(&format::seal(MAGIC, VERSION, &body)), Err(FormatError::Body));
}

#[test]
fn batch_of_a_newer_build_is_refused() {
    let body = postcard::to_allocvec(&Vec::<Record>::new()).expect("encodes");
    let newer = format::seal(MAGIC, VERSION + 1, &body);
    assert_eq!(decode_batch(&newer), Err(FormatError::Version(VERSION + 1)));
}

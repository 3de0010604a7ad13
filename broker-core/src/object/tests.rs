//! The format of data objects: round trip, damage, and the index.

use alloc::vec;

use super::*;
use crate::metadata::record::ObjectKind;
use crate::store::fake::{flips, none};
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

const HEADER: ObjectHeader = ObjectHeader { node: NodeId(3), epoch: BrokerEpoch(5), nonce: 77 };

/// Streams with their batches' lengths in offsets and bytes; each starts at its number.
fn builder(streams: &[Vec<(u64, usize)>]) -> Builder {
    let mut builder = Builder::default();
    for (stream, batches) in (0u64..).zip(streams) {
        let mut base = Offset(stream * 10);
        for &(len, bytes) in batches {
            let end = Offset(base.0 + len);
            let batch = vec![stream as u8; bytes].into();
            builder.push(StreamId(stream), LeaderEpoch(2), BlockRecord { base, end, batch });
            base = end;
        }
    }
    builder
}

fn contents() -> impl Strategy<Value = Vec<Vec<(u64, usize)>>> {
    vec_of(vec_of((1u64..9, 0usize..60), 1..5), 1..5)
}

proptest! {
    #[test]
    fn object_encoded_reads_back_by_ranges(streams in contents()) {
        let builder = builder(&streams);
        let object = builder.encode(HEADER, none());
        prop_assert_eq!(decode_header(&object[..HEADER_BYTES]), Ok(HEADER));
        let footer = decode_footer(&object[object.len() - FOOTER_BYTES..]).expect("footer");
        let index = slice(&object, footer.index_pos, footer.index_len).expect("in the object");
        let index = decode_index(&index).expect("index");
        for range in builder.ranges() {
            for offset in range.start.0..range.end.0 {
                let entry = index.find(range.stream, Offset(offset)).expect("covered");
                let block = slice(&object, entry.pos, u64::from(entry.len)).expect("in the object");
                let records = decode_block(entry, &block).expect("block");
                let covers = |it: &&BlockRecord| it.base.0 <= offset && offset < it.end.0;
                let record = records.iter().find(covers).expect("covered");
                prop_assert!(record.batch.iter().all(|&byte| u64::from(byte) == range.stream.0));
            }
            prop_assert_eq!(index.find(range.stream, range.end), None);
        }
    }

    #[test]
    fn object_truncated_is_refused(streams in contents(), cut: prop::sample::Index) {
        let object = builder(&streams).encode(HEADER, none());
        let cut = cut.index(object.len());
        prop_assert!(decode_object(&object.slice(..cut)).is_err());
    }

    #[test]
    fn object_bit_flipped_is_refused(
        streams in contents(), at: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut object = builder(&streams).encode(HEADER, none()).to_vec();
        let at = at.index(object.len());
        object[at] ^= 1 << bit;
        prop_assert!(decode_object(&object.into()).is_err());
    }

    #[test]
    fn object_torn_over_another_is_refused_or_either(
        a in contents(), b in contents(), cut: prop::sample::Index,
    ) {
        let a = builder(&a).encode(HEADER, none());
        let b = builder(&b).encode(ObjectHeader { nonce: 78, ..HEADER }, none());
        let cut = cut.index(a.len().min(b.len()));
        let torn: Bytes = [&a[..cut], &b[cut..]].concat().into();
        if let Ok(blocks) = decode_object(&torn) {
            // The cut went through bytes that are equal in both, or through the nonce, which no
            // reader of data needs.
            let whole = [&a, &b].map(|object| decode_object(object).expect("whole"));
            prop_assert!(whole.contains(&blocks));
        }
    }
}

#[test]
fn block_of_other_offsets_is_refused() {
    let object = builder(&[vec![(3, 8), (2, 8)]]).encode(HEADER, none());
    let (entry, records) = decode_object(&object).expect("whole").remove(0);
    assert_eq!(records.len(), 2);
    let block = slice(&object, entry.pos, u64::from(entry.len)).expect("in the object");
    for wrong in [
        BlockEntry { start: Offset(1), ..entry },
        BlockEntry { end: Offset(4), ..entry },
        BlockEntry { end: Offset(6), ..entry },
    ] {
        assert_eq!(decode_block(&wrong, &block), Err(FormatError::Body), "{wrong:?}");
    }
    let half = block.slice(..block.len() / 2);
    assert_eq!(decode_block(&entry, &half), Err(FormatError::Checksum));
}

#[test]
fn stream_larger_than_a_block_is_split_into_several() {
    let object = builder(&[vec![(1, BLOCK_BYTES_MAX / 2 + 1); 5]]);
    let blocks = decode_object(&object.encode(HEADER, none())).expect("whole");
    let ranges: Vec<_> = blocks.iter().map(|(entry, _)| (entry.start.0, entry.end.0)).collect();
    assert_eq!(ranges, [(0, 2), (2, 4), (4, 5)]);
}

#[test]
fn kind_and_ranges_follow_the_streams() {
    let one = builder(&[vec![(1, 1), (2, 1)]]);
    assert_eq!(one.kind(), ObjectKind::Stream);
    let two = builder(&[vec![(1, 1)], vec![(5, 1), (1, 1)]]);
    assert_eq!(two.kind(), ObjectKind::StreamSet);
    let (epoch, range) = (LeaderEpoch(2), two.ranges()[1]);
    let (stream, start, end) = (StreamId(1), Offset(10), Offset(16));
    assert_eq!(range, CommittedRange { stream, epoch, start, end });
    assert_eq!(two.end_of(stream, epoch), Some(end));
}

#[test]
fn index_names_each_block_by_its_own_stream() {
    flips(Mutant::UploadWrongIndex, |mutants| {
        let object = builder(&[vec![(1, 4)], vec![(1, 4)], vec![(2, 4)]]).encode(HEADER, mutants);
        decode_object(&object).expect("whole").iter().all(|(entry, records)| {
            records.iter().all(|it| it.batch.iter().all(|&byte| u64::from(byte) == entry.stream.0))
        })
    });
}

//! The format against bytes worked out by hand from Kafka's protocol guide, and against damage.

use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Two records: key `k`, value `hello`, header `h` = 1; then, 300 ms later, key and value null,
/// header `n` without value. Written out by hand; the checksum by a bitwise CRC-32C.
const KNOWN: &[u8] = &[
    0, 0, 0, 0, 0, 0, 0, 0, // base_offset
    0, 0, 0, 77, // batch_length: 89 − 12
    0xff, 0xff, 0xff, 0xff, // partition_leader_epoch −1
    2,    // magic
    0x2b, 0x93, 0xca, 0x49, // crc
    0, 0, // attributes
    0, 0, 0, 1, // last_offset_delta
    0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b, // base_timestamp 1,700,000,000,123
    0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x69, 0xa7, // max_timestamp, 300 later
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer_id −1
    0xff, 0xff, // producer_epoch −1
    0xff, 0xff, 0xff, 0xff, // base_sequence −1
    0, 0, 0, 2, // records_count
    32, 0, 0, 0, 2, b'k', 10, b'h', b'e', b'l', b'l', b'o', 2, 2, b'h', 2, 1, //
    20, 0, 0xd8, 0x04, 2, 1, 1, 2, 2, b'n', 1,
];

fn known() -> Bytes {
    build(
        &[
            NewRecord {
                timestamp: TimestampMs(1_700_000_000_123),
                key: Some(b"k"),
                value: Some(b"hello"),
                headers: &[("h", Some(&[1]))],
            },
            NewRecord {
                timestamp: TimestampMs(1_700_000_000_423),
                key: None,
                value: None,
                headers: &[("n", None)],
            },
        ],
        ProducerStamp::NONE,
    )
}

/// The checksum put right again after a change of what it covers.
fn resealed(mut batch: Vec<u8>) -> Vec<u8> {
    seal(&mut batch);
    batch
}

fn changed(at: usize, to: &[u8]) -> Vec<u8> {
    let mut batch = KNOWN.to_vec();
    batch[at..at + to.len()].copy_from_slice(to);
    resealed(batch)
}

#[test]
fn batch_known_records_have_known_bytes() {
    assert_eq!(&known()[..], KNOWN);
}

#[test]
fn batch_known_bytes_read_as_known_records() {
    let header = verify_produced(KNOWN).unwrap();
    assert_eq!(header.end_offset(), Offset(2));
    assert_eq!((header.records, header.bytes, header.leader_epoch), (2, 89, None));
    assert_eq!(header.base_timestamp, TimestampMs(1_700_000_000_123));
    assert_eq!(header.max_timestamp, TimestampMs(1_700_000_000_423));
    assert_eq!(header.producer, ProducerStamp::NONE);
    let records = records(KNOWN).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(records[0].key, Some(&b"k"[..]));
    assert_eq!(records[0].value, Some(&b"hello"[..]));
    assert_eq!(records[0].headers.collect::<Vec<_>>(), [(&b"h"[..], Some(&[1u8][..]))]);
    assert_eq!(records[1].offset, Offset(1));
    assert_eq!(records[1].timestamp, TimestampMs(1_700_000_000_423));
    assert_eq!((records[1].key, records[1].value), (None, None));
    assert_eq!(records[1].headers.collect::<Vec<_>>(), [(&b"n"[..], None)]);
}

#[test]
fn batch_stamped_keeps_checksum_and_client_bytes() {
    let stamped = stamp(known(), Offset(70_000_000_000), LeaderEpoch(9));
    let header = verify(&stamped).unwrap();
    assert_eq!(header.base_offset, Offset(70_000_000_000));
    assert_eq!(header.leader_epoch, Some(LeaderEpoch(9)));
    assert_eq!(stamped[8..12], KNOWN[8..12]);
    assert_eq!(stamped[16..], KNOWN[16..]);
    assert_eq!(records(&stamped).last().unwrap().unwrap().offset, Offset(70_000_000_001));
    assert_eq!(verify_produced(&stamped), Err(BatchError::NotFromClient));
}

#[test]
fn batch_stamped_while_shared_leaves_the_other_copy_alone() {
    let original = known();
    let kept = original.clone();
    let stamped = stamp(original, Offset(5), LeaderEpoch(1));
    assert_eq!(&kept[..], KNOWN);
    assert_ne!(stamped, kept);
}

#[test]
fn batch_log_append_time_rules_all_records() {
    let stamped = stamp_log_append_time(known(), TimestampMs(7));
    let header = verify(&stamped).unwrap();
    assert!(header.attributes.log_append_time());
    assert_eq!(header.max_timestamp, TimestampMs(7));
    assert!(records(&stamped).all(|record| record.unwrap().timestamp == TimestampMs(7)));
    // Back again: the records still know when they were created.
    assert_eq!(&stamp_create_time(stamped).unwrap().0[..], KNOWN);
}

#[test]
fn batch_create_time_puts_a_false_maximum_right() {
    let lying = changed(MAX_TIMESTAMP_AT, &i64::MAX.to_be_bytes());
    assert_eq!(&stamp_create_time(Bytes::from(lying)).unwrap().0[..], KNOWN);
}

#[test]
fn batch_compressed_is_verified_and_not_read() {
    for (codec, name) in
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
            .into_iter()
            .enumerate()
    {
        let mut batch = KNOWN.to_vec();
        batch[22] = u8::try_from(codec).unwrap() + 1;
        batch[70] ^= 0xff; // No record that could be read.
        let batch = resealed(batch);
        assert_eq!(verify(&batch).unwrap().records, 2);
        assert_eq!(records(&batch).collect::<Vec<_>>(), [Err(BatchError::Compressed(name))]);
        let batch = Bytes::from(batch);
        assert_eq!(stamp_create_time(batch.clone()).map(|(batch, _)| batch), Ok(batch));
    }
    assert_eq!(verify(&changed(22, &[5])), Err(BatchError::Codec(5)));
}

#[test]
fn batch_with_bad_header_is_refused() {
    let mut older = KNOWN.to_vec();
    older[16] = 1;
    assert_eq!(verify(&older), Err(BatchError::Magic(1)));
    let mut longer = KNOWN.to_vec();
    longer.push(0);
    assert_eq!(verify(&longer), Err(BatchError::Trailing));
    let mut tiny = KNOWN.to_vec();
    tiny[11] = 48;
    assert_eq!(verify(&tiny), Err(BatchError::Length));
    let mut negative = KNOWN.to_vec();
    negative[8] = 0x80;
    assert_eq!(verify(&negative), Err(BatchError::Length));
    let mut last = KNOWN.to_vec();
    last[..8].copy_from_slice(&(i64::MAX - 1).to_be_bytes());
    assert_eq!(verify(&last), Err(BatchError::Field), "offsets must not run over");
    last[..8].copy_from_slice(&(i64::MAX - 2).to_be_bytes());
    assert!(verify(&last).is_ok());
}

#[test]
fn batch_refused_is_answered_with_kafkas_code() {
    let code = |batch: &[u8]| verify(batch).unwrap_err().code();
    let changed_at = |at: usize, bytes: &[u8]| {
        let mut batch = KNOWN.to_vec();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batch
    };
    for there in [0, 11, 16, 60, KNOWN.len() - 1] {
        assert_eq!(code(&KNOWN[..there]), ErrorCode::InvalidRecord, "{there} bytes");
    }
    for length in [i32::MIN, -1, 0, 13, 14, 48] {
        let batch = changed_at(8, &length.to_be_bytes());
        assert_eq!(code(&batch), ErrorCode::CorruptMessage, "length {length}");
    }
    for (magic, answer) in [
        (0, ErrorCode::InvalidRecord),
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
        (-1, ErrorCode::CorruptMessage),
    ] {
        assert_eq!(code(&changed_at(MAGIC_AT, &i8::to_be_bytes(magic))), answer, "magic {magic}");
    }
}

#[test]
fn batch_with_wrong_count_is_refused() {
    assert_eq!(verify(&changed(57, &0i32.to_be_bytes())), Err(BatchError::Empty));
    assert_eq!(verify(&changed(57, &3i32.to_be_bytes())), Err(BatchError::Count));
    assert_eq!(verify(&changed(57, &(-1i32).to_be_bytes())), Err(BatchError::Field));
    assert_eq!(verify(&changed(23, &5i32.to_be_bytes())), Err(BatchError::Count));
    // Header fields that agree with each other, but not with the records.
    let mut fewer = changed(57, &1i32.to_be_bytes());
    fewer[23..27].copy_from_slice(&0i32.to_be_bytes());
    assert_eq!(verify(&resealed(fewer)), Err(BatchError::Trailing));
    let mut more = changed(57, &i32::MAX.to_be_bytes());
    more[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    assert_eq!(verify(&resealed(more)), Err(BatchError::Record));
}

#[test]
fn batch_with_bad_record_is_refused() {
    // Length of the first record: too long, too short, negative.
    assert_eq!(verify(&changed(61, &[34])), Err(BatchError::Record));
    assert_eq!(verify(&changed(61, &[30])), Err(BatchError::Record));
    assert_eq!(verify(&changed(61, &[1])), Err(BatchError::Record));
    // Its offset delta: 1 instead of 0.
    assert_eq!(verify(&changed(64, &[2])), Err(BatchError::Count));
    // Key length −2, value length beyond the record, a million headers, a null header key.
    assert_eq!(verify(&changed(65, &[3])), Err(BatchError::Record));
    assert_eq!(verify(&changed(67, &[0x7e])), Err(BatchError::Record));
    assert_eq!(verify(&changed(73, &[0xfe, 0xff, 0x7f])), Err(BatchError::Record));
    assert_eq!(verify(&changed(74, &[1])), Err(BatchError::Record));
    // A varint that never ends, and one whose bits do not fit.
    let far = |timestamp| NewRecord { timestamp, key: None, value: None, headers: &[] };
    let far = [far(TimestampMs(0)), far(TimestampMs(i64::MAX))];
    let mut wide = build(&far, ProducerStamp::NONE).to_vec();
    assert_eq!(verify(&wide).unwrap().max_timestamp, TimestampMs(i64::MAX));
    let last = wide.iter().rposition(|byte| *byte == 0xff).unwrap() + 1;
    assert_eq!(wide[last], 1);
    wide[last] = 3;
    assert_eq!(verify(&resealed(wide)), Err(BatchError::Record));
    assert_eq!(verify(&changed(63, &[0xff; 11])), Err(BatchError::Record));
}

#[test]
fn batch_of_a_producer_needs_its_sequence() {
    let records = [NewRecord { timestamp: TimestampMs(1), key: None, value: None, headers: &[] }];
    let full = ProducerStamp { id: 4, epoch: 0, base_sequence: 7 };
    let batch = build(&records, full);
    assert_eq!(verify_produced(&batch).unwrap().producer, full);
    let lacking = build(&records, ProducerStamp { base_sequence: -1, ..full });
    assert_eq!(verify_produced(&lacking), Err(BatchError::Field));
    assert_eq!(verify_produced(&changed(22, &[1 << 4])), Err(BatchError::Field));
    assert_eq!(verify_produced(&changed(22, &[1 << 5])), Err(BatchError::NotFromClient));
}

#[test]
fn timestamp_conversion_rounds_as_asked() {
    assert_eq!(TimestampMs::floor(Wall(1_999)), TimestampMs(1));
    assert_eq!(TimestampMs::ceil(Wall(1_001)), TimestampMs(2));
    assert_eq!(TimestampMs::ceil(Wall(2_000)), TimestampMs(2));
    assert_eq!(TimestampMs::floor(Wall(-1)), TimestampMs(-1));
    assert_eq!(TimestampMs::ceil(Wall(-1)), TimestampMs(0));
    assert_eq!(TimestampMs(3).wall(), Wall(3_000));
    assert_eq!(TimestampMs(i64::MAX).wall(), Wall(i64::MAX));
}

type BorrowedHeaders<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn owned_records() -> impl Strategy<Value = Vec<Owned>> {
    let blob = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let headers = proptest::collection::vec((".{0,4}", blob()), 0..4);
    proptest::collection::vec((-1i64..1 << 45, blob(), blob(), headers), 1..8)
}

fn encode(owned: &[Owned]) -> Bytes {
    let headers: Vec<BorrowedHeaders<'_>> = owned
        .iter()
        .map(|(.., headers)| headers.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect())
        .collect();
    let records: Vec<NewRecord<'_>> = owned
        .iter()
        .zip(&headers)
        .map(|((timestamp, key, value, _), headers)| NewRecord {
            timestamp: TimestampMs(*timestamp),
            key: key.as_deref(),
            value: value.as_deref(),
            headers,
        })
        .collect();
    build(&records, ProducerStamp::NONE)
}

proptest! {
    #[test]
    fn batch_built_reads_back(owned in owned_records(), base in 0u64..1 << 62, epoch in 0u32..9) {
        let batch = encode(&owned);
        verify_produced(&batch).unwrap();
        prop_assert_eq!(&stamp_create_time(batch.clone()).unwrap().0, &batch);
        let batch = stamp(batch, Offset(base), LeaderEpoch(epoch));
        let header = verify(&batch).unwrap();
        prop_assert_eq!(header.end_offset(), Offset(base + owned.len() as u64));
        let mut read = records(&batch);
        for (index, (timestamp, key, value, headers)) in owned.iter().enumerate() {
            let record = read.next().unwrap().unwrap();
            prop_assert_eq!(record.offset, Offset(base + index as u64));
            prop_assert_eq!(record.timestamp, TimestampMs(*timestamp));
            prop_assert_eq!(record.key, key.as_deref());
            prop_assert_eq!(record.value, value.as_deref());
            let expected = headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref()));
            prop_assert!(record.headers.eq(expected));
        }
        prop_assert!(read.next().is_none());
    }

    #[test]
    fn batch_truncated_is_refused(owned in owned_records(), at: prop::sample::Index) {
        let batch = encode(&owned);
        prop_assert_eq!(verify(&batch[..at.index(batch.len())]), Err(BatchError::Short));
    }

    #[test]
    fn batch_bit_flipped_is_refused(
        owned in owned_records(), at: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut batch = encode(&owned).to_vec();
        // Base offset and leader epoch are the broker's, and not covered.
        let covered: Vec<usize> = (8..12).chain(16..batch.len()).collect();
        batch[*at.get(&covered)] ^= 1 << bit;
        prop_assert!(verify(&batch).is_err());
    }

    #[test]
    fn batch_torn_is_refused(owned in owned_records(), at: prop::sample::Index) {
        // The tail of the batch was never written and reads as zeroes.
        let whole = encode(&owned);
        let mut torn = whole.to_vec();
        let from = at.index(torn.len());
        torn[from..].fill(0);
        prop_assert!(verify(&torn).is_err() || torn == whole);
    }

    #[test]
    fn batch_wild_bytes_never_panic(
        owned in owned_records(),
        writes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut batch = encode(&owned).to_vec();
        for (at, byte) in writes {
            let at = at.index(batch.len());
            batch[at] = byte;
        }
        // A hostile client computes a good checksum.
        let batch = Bytes::from(resealed(batch));
        let count = records(&batch).count();
        prop_assert!(count <= batch.len());
        let _ = verify_produced(&batch);
        let _ = stamp_create_time(batch.clone());
        let cut: usize = split(&batch).flatten().map(|whole| whole.len()).sum();
        prop_assert!(cut <= batch.len());
    }

    #[test]
    fn batches_concatenated_are_split_again(
        batches in proptest::collection::vec(owned_records(), 0..4), cut: prop::sample::Index,
    ) {
        let batches: Vec<Bytes> = batches.iter().map(|owned| encode(owned)).collect();
        let joined = Bytes::from(batches.concat());
        let back: Vec<Bytes> = split(&joined).map(Result::unwrap).collect();
        prop_assert_eq!(&back, &batches);
        if let Some(last) = batches.last() {
            let kept = joined.len() - last.len() + 1 + cut.index(last.len() - 1);
            let mut parts = split(&joined.slice(..kept));
            let whole = parts.by_ref().take_while(Result::is_ok).count();
            prop_assert_eq!(whole, batches.len() - 1);
            prop_assert!(parts.next().is_none());
        }
    }
}

//! Markers: control batches of one record, by which a transaction ends in a partition.
//!
//! Only brokers write them. Control batches of other types may come one day and say nothing about
//! transactions. Source: `ControlRecordType.java`, `EndTransactionMarker.java`, KIP-98.

use bytes::Bytes;

use super::{Attributes, Header, NewRecord, ProducerStamp, TimestampMs, encode, records};
use crate::ids::{CoordinatorEpoch, ProducerEpoch, ProducerId};
use crate::protocol::TransactionResult;

/// The layout of keys and values that is written. Later ones only add fields behind.
const VERSION: i16 = 0;

/// What a marker says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Marker {
    /// Whose transaction ends.
    pub producer: ProducerId,
    /// Its producer's epoch from now on.
    pub epoch: ProducerEpoch,
    /// How it ends.
    pub result: TransactionResult,
    /// Of the coordinator that decided it.
    pub coordinator_epoch: CoordinatorEpoch,
}

impl Marker {
    /// The batch, written at `now`; its offset is not given yet.
    #[must_use]
    pub fn encode(&self, now: TimestampMs) -> Bytes {
        let kind: i16 = match self.result {
            TransactionResult::Abort => 0,
            TransactionResult::Commit => 1,
        };
        let (mut key, mut value) = ([0; 4], [0; 6]);
        key[..2].copy_from_slice(&VERSION.to_be_bytes());
        key[2..].copy_from_slice(&kind.to_be_bytes());
        value[..2].copy_from_slice(&VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.0.to_be_bytes());
        let record =
            NewRecord { timestamp: now, key: Some(&key), value: Some(&value), headers: &[] };
        let id = i64::try_from(self.producer.0).expect("Kafka's producer ids are signed");
        let stamp = ProducerStamp { id, epoch: self.epoch.0, base_sequence: -1 };
        let attributes = Attributes(Attributes::TRANSACTIONAL | Attributes::CONTROL);
        encode(&[record], attributes, stamp)
    }

    /// What the batch with this header says, if it is a marker.
    #[must_use]
    pub fn read(batch: &[u8], header: &Header) -> Option<Self> {
        if !header.attributes.control() {
            return None;
        }
        let record = records(batch).next()?.ok()?;
        let result = match record.key?.get(2..4)? {
            [0, 0] => TransactionResult::Abort,
            [0, 1] => TransactionResult::Commit,
            _ => return None,
        };
        let epoch = record.value?.get(2..6)?.try_into().expect("four bytes");
        Some(Self {
            producer: ProducerId(u64::try_from(header.producer.id).ok()?),
            epoch: ProducerEpoch(header.producer.epoch),
            result,
            coordinator_epoch: CoordinatorEpoch(u32::from_be_bytes(epoch)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{build_transactional, verify, verify_produced};

    fn marker(result: TransactionResult) -> Marker {
        let (producer, epoch) = (ProducerId(7), ProducerEpoch(3));
        Marker { producer, epoch, result, coordinator_epoch: CoordinatorEpoch(9) }
    }

    #[test]
    fn marker_encoded_reads_back() {
        for result in [TransactionResult::Abort, TransactionResult::Commit] {
            let batch = marker(result).encode(TimestampMs(5));
            let header = verify(&batch).expect("well-formed");
            assert_eq!(Marker::read(&batch, &header), Some(marker(result)));
            assert!(header.attributes.transactional());
            assert_eq!(header.offsets(), 1);
        }
    }

    /// Field by field, by the schemas `ControlRecordType.json` and `EndTxnMarker.json`.
    #[test]
    fn marker_has_the_layout_of_its_schema() {
        let batch = marker(TransactionResult::Commit).encode(TimestampMs(0));
        let record = [
            &[32][..],               // length 16, zig-zag
            &[0, 0, 0],              // attributes, timestamp delta, offset delta
            &[8, 0, 0, 0, 1],        // key: version 0, COMMIT
            &[12, 0, 0, 0, 0, 0, 9], // value: version 0, coordinator epoch 9
            &[0],                    // no headers
        ]
        .concat();
        assert_eq!(&batch[crate::batch::HEADER_BYTES..], record);
        assert_eq!(&batch[21..23], [0, 0b11_0000]);
    }

    #[test]
    fn marker_is_refused_from_a_client_and_data_is_none() {
        let batch = marker(TransactionResult::Abort).encode(TimestampMs(0));
        assert!(verify_produced(&batch).is_err());
        let (timestamp, value) = (TimestampMs(0), Some(&b"v"[..]));
        let record = NewRecord { timestamp, key: None, value, headers: &[] };
        let stamp = ProducerStamp { id: 7, epoch: 3, base_sequence: 0 };
        let data = build_transactional(&[record], stamp);
        let header = verify_produced(&data).expect("well-formed");
        assert!(header.attributes.transactional());
        assert_eq!(Marker::read(&data, &header), None);
    }
}

//! A coordinator: the host of a state that is the fold of a log.
//!
//! One shard per partition of an internal topic, at that partition's leader. A request gives
//! records and an answer. The records are appended as one batch and are part of the state at once,
//! read from the very bytes that are in the log, so that a successor that replays it gets the same
//! state. The answer leaves only when all that it may have seen is confirmed. Nothing of it
//! survives the loss of the leadership: what was not confirmed is answered `NotCoordinator`, and
//! whether it happened is for the log to say. Source: Kafka's `CoordinatorRuntime.java`,
//! `TransactionStateManager.scala`, KIP-848 ("Group Coordinator").

pub mod group;
pub mod txn;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;

use bytes::Bytes;

use crate::batch::{self, Header, Marker, NewRecord, ProducerStamp, TimestampMs};
use crate::format::FormatError;
use crate::ids::{ConnId, Offset, ProducerEpoch, ProducerId};
use crate::partition::Asker;
use crate::protocol::{ErrorCode, TransactionResult};
use crate::time::Dur;

/// One shard: a fold of its partition's log, and what it knows beside of clients that wait.
pub trait Shard: Clone + Eq + Hash + Debug {
    /// What its log is made of.
    type Record: LogRecord;
    /// What it answers.
    type Answer: Answer;

    /// A record is in the log at `at`. `of`: it counts when this producer's transaction is
    /// committed.
    fn replay(&mut self, at: Offset, record: Self::Record, of: Option<ProducerId>);

    /// This producer's transaction is over: its marker is in the log at `at`.
    fn ended(&mut self, at: Offset, producer: ProducerId, result: TransactionResult);
}

/// A record of a coordinator's log. The newest one of a key replaces those before it.
pub trait LogRecord: Sized {
    /// Its key and its value; without a value nothing is left under the key.
    fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>);

    /// The record of these bytes.
    ///
    /// # Errors
    /// If they are of a version that this build does not know, or make no sense.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, FormatError>;
}

/// An answer of a coordinator.
pub trait Answer: Clone + Eq + Hash + Debug {
    /// The answer of the same kind that says nothing but this.
    #[must_use]
    fn refused(self, code: ErrorCode) -> Self;
}

/// What a shard makes of one request, timer or loading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome<S: Shard> {
    /// To be appended as one batch.
    pub records: Vec<S::Record>,
    /// They are part of this producer's transaction.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
    /// Each leaves when the records, and all that was in the log before, are confirmed.
    pub answers: Vec<(Asker, S::Answer)>,
    /// Timers to arm, or (`None`) to forget, by the shard's own numbers.
    pub timers: Vec<(u64, Option<Dur>)>,
}

impl<S: Shard> Default for Outcome<S> {
    fn default() -> Self {
        Self { records: Vec::new(), producer: None, answers: Vec::new(), timers: Vec::new() }
    }
}

impl<S: Shard> Outcome<S> {
    /// The batch of the records, written at `now`; `None`: there are none.
    #[must_use]
    pub fn batch(&self, now: TimestampMs) -> Option<Bytes> {
        let encoded: Vec<_> = self.records.iter().map(LogRecord::encode).collect();
        let records: Vec<_> = encoded
            .iter()
            .map(|(key, value)| NewRecord {
                timestamp: now,
                key: Some(key),
                value: value.as_deref(),
                headers: &[],
            })
            .collect();
        if records.is_empty() {
            return None;
        }
        Some(match self.producer {
            None => batch::build(&records, ProducerStamp::NONE),
            Some((id, epoch)) => {
                let id = i64::try_from(id.0).expect("Kafka's producer ids are signed");
                let stamp = ProducerStamp { id, epoch: epoch.0, base_sequence: -1 };
                batch::build_transactional(&records, stamp)
            }
        })
    }
}

/// A shard at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Host<S: Shard> {
    /// As of the log's end.
    state: S,
    /// Answers that wait, and up to where the log must be confirmed for each; ascending. Bounded by
    /// the requests that clients have open, and by those of other brokers while the log stands
    /// still.
    parked: VecDeque<(Offset, Asker, S::Answer)>,
}

impl<S: Shard> Host<S> {
    /// Of an empty log.
    #[must_use]
    pub fn new(state: S) -> Self {
        Self { state, parked: VecDeque::new() }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The state, to ask it.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// The next batch of the log, read or just appended. Records that this build can not read are
    /// those of a newer one, and are stepped over as Kafka does.
    pub fn fold(&mut self, batch: &[u8], header: &Header) {
        if let Some(marker) = Marker::read(batch, header) {
            return self.state.ended(header.base_offset, marker.producer, marker.result);
        }
        let id = u64::try_from(header.producer.id).ok().map(ProducerId);
        let of = id.filter(|_| header.attributes.transactional());
        for (record, at) in batch::records(batch).zip(header.base_offset.0..) {
            let Ok(record) = record else { return };
            let read = S::Record::decode(record.key.unwrap_or_default(), record.value);
            if let Ok(read) = read {
                self.state.replay(Offset(at), read, of);
            }
        }
    }

    /// Keeps an answer until the log is confirmed up to `end`.
    pub fn park(&mut self, end: Offset, asker: Asker, answer: S::Answer) {
        self.parked.push_back((end, asker, answer));
    }

    /// The log is confirmed up to `upto`: the answers that may leave.
    pub fn confirmed(&mut self, upto: Offset) -> impl Iterator<Item = (Asker, S::Answer)> {
        let ready = self.parked.partition_point(|(end, ..)| *end <= upto);
        self.parked.drain(..ready).map(|(_, asker, answer)| (asker, answer))
    }

    /// A connection is gone: nobody waits for its answers.
    pub fn gone(&mut self, conn: ConnId) {
        self.parked.retain(|(_, asker, _)| asker.0 != conn);
    }

    /// The leadership is lost: what must be told to those who wait.
    pub fn close(self) -> impl Iterator<Item = (Asker, S::Answer)> {
        let lost = |(_, asker, answer): (_, _, S::Answer)| {
            (asker, answer.refused(ErrorCode::NotCoordinator))
        };
        self.parked.into_iter().map(lost)
    }
}

/// The partition of an internal topic with `partitions` of them that is in charge of `name`: Java's
/// `String.hashCode`, made positive as by `Utils.abs`, modulo the number.
#[must_use]
pub fn partition_for(name: &str, partitions: u32) -> u32 {
    let hash = name
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    positive % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_a_name_is_kafkas() {
        // "a".hashCode() = 97; "polygenelubricants".hashCode() = Integer.MIN_VALUE.
        assert_eq!(partition_for("a", 50), 47);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
    }
}

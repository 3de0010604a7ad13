//! A sound history of any length, for the benchmark and the test of memory: four partitions, eight
//! producers, one plain and one committed reader of each partition. Of eight calls that append two
//! are plain batches, four idempotent ones, two transactions; one in sixteen gets no answer.

use broker_core::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{Acks, Isolation};
use broker_core::time::Wall;
use invariants::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord, SimTime};

const PARTITIONS: u64 = 4;
/// Records in a batch.
const BATCH: u64 = 2;

/// One history.
#[derive(Default)]
pub(crate) struct Load {
    at_us: u64,
    calls: u32,
    values: u64,
    /// By partition: the end of the log.
    ends: [u64; PARTITIONS as usize],
    events: Vec<HistoryEvent>,
}

impl Load {
    /// At least `events` events, given to `sink` a few at a time.
    pub(crate) fn run(events: u64, mut sink: impl FnMut(&HistoryEvent)) -> u64 {
        let mut load = Self::default();
        let (mut given, mut round) = (0, 0);
        while given < events {
            load.round(round);
            round += 1;
            given += load.events.len() as u64;
            load.events.drain(..).for_each(|event| sink(&event));
        }
        given
    }

    fn call(&mut self, client: u16, op: u32, call: Call, answer: Option<Answer>) {
        self.calls += 1;
        let end = answer.map_or(EventKind::Unknown(None), EventKind::Ok);
        for kind in [EventKind::Invoke(call), end] {
            self.at_us += 7;
            let (at, call) = (SimTime(self.at_us), self.calls);
            self.events.push(HistoryEvent { at, client, call, op, kind });
        }
    }

    /// A batch, the end of its transaction if it is in one, and two reads of it.
    fn round(&mut self, round: u64) {
        let index = round / 3 % PARTITIONS;
        let partition = TopicPartition { topic: TopicId(0), index: PartitionIndex(index as u32) };
        let (client, op) = ((round % 8) as u16, round as u32);
        let transactional = round % 8 > 5;
        let (first, base) = (self.values, self.ends[index as usize]);
        self.values += BATCH;
        let produce = Call::Produce {
            partition,
            acks: Acks::All,
            first_value: first,
            count: BATCH as u32,
            damaged: false,
            created: Some(Wall(first as i64 * 1_000)),
            idempotent: round % 8 > 1,
            retried: false,
            transactional,
            id: None,
        };
        let produced = Answer::Produced { base: Offset(base), log_append_time: None };
        self.call(client, op, produce, (round % 16 != 3).then_some(produced));
        let mut end = base + BATCH;
        let mut skipped = Vec::new();
        if transactional {
            self.call(
                client,
                op,
                Call::EndTxn { commit: true, producer: None, id: None },
                Some(Answer::Done),
            );
            skipped.push((Offset(end), Offset(end + 1)));
            end += 1;
        }
        self.ends[index as usize] = end;
        let epoch = Some(LeaderEpoch((round / 10_000) as u32));
        let record = |nth: u64| ReadRecord {
            offset: Offset(base + nth),
            value: Some(first + nth),
            timestamp: Some(Wall(first as i64 * 1_000)),
            leader_epoch: epoch,
            intact: true,
        };
        for (reader, isolation) in
            [Isolation::ReadUncommitted, Isolation::ReadCommitted].into_iter().enumerate()
        {
            let (client, offset) = (100 + 2 * index as u16 + reader as u16, Offset(base));
            let call = Call::Fetch { partition, offset, reader: 0, leader_epoch: epoch, isolation };
            let fetched = Answer::Fetched {
                high_watermark: Some(Offset(end)),
                last_stable: Some(Offset(end)),
                log_start: Some(Offset(0)),
                records: (0..BATCH).map(record).collect(),
                skipped: Some(skipped.clone()),
            };
            self.call(client, op, call, Some(fetched));
        }
    }
}

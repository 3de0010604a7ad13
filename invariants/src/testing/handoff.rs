//! Handoffs in the language for evidence: from the topic `t`, partition `P`, to the topic `bills`,
//! whose partition 0 takes rows and whose partition 1 takes markers.

use alloc::string::ToString;
use alloc::vec;

use broker_core::ids::{Offset, PartitionIndex, StreamId, TopicId, TopicPartition};
use broker_core::metadata::record::Record;

use super::{A, A_EPOCH, Case, P, batch, produce_to};
use crate::handoff::{BatchNumber, Handoff, Promise, Row, RunNumber, Span, Terms};
use crate::view::Evidence;

const SINK: TopicId = TopicId(900);
const ROWS: TopicPartition = TopicPartition { topic: SINK, index: PartitionIndex(0) };
const MARKERS: TopicPartition = TopicPartition { topic: SINK, index: PartitionIndex(1) };

fn terms(promise: Promise) -> Terms {
    Terms {
        source: "t".to_string(),
        sink: "bills".to_string(),
        marker_partition: (promise == Promise::OnceCommitted).then_some(MARKERS.index),
        promise,
        fan_out: 1,
        batch_max: 1,
        partitions: 1,
    }
}

fn row(offset: u64, copy: u32) -> Row {
    Row { partition: P.index, offset: Offset(offset), value: 100 + offset, copy }
}

impl Case {
    /// A query starts for the first time; its sink is there.
    pub(crate) fn query(&mut self, promise: Promise) -> &mut Self {
        self.meta(vec![Record::Topic { name: "bills".to_string(), topic: SINK, nonce: 2 }]);
        self.query_starts(1, promise)
    }

    pub(crate) fn query_starts(&mut self, run: u32, promise: Promise) -> &mut Self {
        self.tells(Handoff::Started(RunNumber(run), terms(promise)))
    }

    pub(crate) fn query_gone(&mut self, run: u32) -> &mut Self {
        self.tells(Handoff::Gone(RunNumber(run)))
    }

    pub(crate) fn tells(&mut self, handoff: Handoff) -> &mut Self {
        self.see(&Evidence::Handoff(&handoff))
    }

    /// The source holds these values, which follow one another.
    pub(crate) fn produce_source(&mut self, values: &[u64]) -> &mut Self {
        let (first, count) = (values[0], values.len() as u64);
        self.produced(first, u32::try_from(count).expect("few"), 0);
        self.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, count, first)])
    }

    /// A batch reads `[from, to)`.
    pub(crate) fn runs(&mut self, run: u32, batch: u64, from: u64, to: u64) -> &mut Self {
        let span = Span { partition: P.index, from: Offset(from), to: Offset(to) };
        self.tells(Handoff::Running(RunNumber(run), BatchNumber(batch), vec![span]))
    }

    pub(crate) fn batch_committed(&mut self, run: u32, batch: u64) -> &mut Self {
        self.tells(Handoff::Committed(RunNumber(run), BatchNumber(batch)))
    }

    pub(crate) fn batch_found(&mut self, run: u32, batch: u64) -> &mut Self {
        self.tells(Handoff::Found(RunNumber(run), BatchNumber(batch)))
    }

    pub(crate) fn reads_range(
        &mut self,
        partition: TopicPartition,
        from: u64,
        to: u64,
        records: &[(u64, u64)],
    ) -> &mut Self {
        let records = records.iter().map(|(offset, value)| (Offset(*offset), *value)).collect();
        self.tells(Handoff::Read { partition, range: (Offset(from), Offset(to)), records })
    }

    /// A produce, acknowledged at `base`, carries the rows of these offsets.
    pub(crate) fn sends_rows(&mut self, first: u64, offsets: &[u64], base: u64) -> &mut Self {
        let rows = offsets.iter().map(|offset| row(*offset, 0)).collect();
        self.tells(Handoff::Sent(first, rows));
        self.writes_sink(ROWS, first, offsets.len(), base)
    }

    /// A marker says that everything below `end` is handed over.
    pub(crate) fn marks_end(&mut self, value: u64, end: u64) -> &mut Self {
        self.tells(Handoff::Marked(value, vec![(P.index, Offset(end))]));
        self.writes_sink(MARKERS, value, 1, 0)
    }

    pub(crate) fn takes(&mut self, rows: &[(u64, u32)]) -> &mut Self {
        let rows = rows.iter().map(|(offset, copy)| row(*offset, *copy));
        self.tells(Handoff::Took(rows.collect()))
    }

    fn writes_sink(
        &mut self,
        partition: TopicPartition,
        first_value: u64,
        count: usize,
        base: u64,
    ) -> &mut Self {
        let count = u32::try_from(count).expect("few");
        let opened = self.invoke(1, produce_to(partition, first_value, count, false));
        self.placed(opened, base)
    }

    /// All of the sink's rows, by value.
    pub(crate) fn sink_log(&mut self, values: &[u64]) -> &mut Self {
        self.log_of(ROWS, StreamId(5), 5, values)
    }

    /// All of the sink's markers.
    pub(crate) fn marker_log(&mut self, value: u64) -> &mut Self {
        self.log_of(MARKERS, StreamId(6), 6, &[value])
    }

    fn log_of(
        &mut self,
        partition: TopicPartition,
        stream: StreamId,
        object: u64,
        values: &[u64],
    ) -> &mut Self {
        let batches = (0..).zip(values).map(|(base, value)| batch(base, base + 1, *value, 0));
        self.opens(partition, stream).log_in_object(object, stream, batches)
    }
}

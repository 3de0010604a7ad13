//! What a query reports, in the words of the judge. The two sides share no type on purpose.

use broker_core::ids::PartitionIndex;
use invariants::handoff::{BatchNumber, Handoff, Promise, Row, RunNumber, Span, Terms};
use workloads::spark::checkpoint::BatchId;
use workloads::spark::driver::Sink;
use workloads::spark::handoff::CrashPoint;
use workloads::spark::step::{Event, OutRow};
use workloads::spark_handoff::Query;

/// What a query is about.
pub(super) fn terms(query: &Query) -> Terms {
    let promise = match query.sink {
        Sink::AtLeastOnce => Promise::AtLeastOnce,
        Sink::Keyed => Promise::OnceByKey,
        Sink::MarkedTable => Promise::OnceInTable,
        Sink::DriverTransaction => Promise::OnceCommitted,
    };
    let marked = query.has_marker_partition();
    Terms {
        source: query.source.clone(),
        sink: query.target.clone(),
        marker_partition: marked.then(|| PartitionIndex(query.marker_partition())),
        promise,
        fan_out: query.fan_out,
        batch_max: query.max_offsets,
        partitions: query.partitions,
    }
}

/// An event, if it is about the handoff.
pub(super) fn event(run: RunNumber, batch: BatchId, event: Event) -> Option<Handoff> {
    Some(match event {
        Event::Running { batch, ranges } => {
            let spans = ranges.into_iter();
            let spans = spans.map(|(partition, (from, to))| Span { partition, from, to });
            Handoff::Running(run, BatchNumber(batch.0), spans.collect())
        }
        Event::AttemptEnded { won: false, sent, .. } if sent > 0 => Handoff::Wasted(sent),
        // Of the progress event a crash may leave nothing.
        Event::Reached(CrashPoint::C8) => Handoff::Committed(run, BatchNumber(batch.0)),
        Event::Idle => Handoff::Idle(run),
        // The process before may have died between the commit and its word.
        Event::Resumed { batch, planned: false } if batch.0 > 0 => {
            Handoff::Found(run, BatchNumber(batch.0 - 1))
        }
        Event::Started(_)
        | Event::Resumed { .. }
        | Event::Skipped(_)
        | Event::AttemptEnded { .. }
        | Event::Reached(_)
        | Event::Progress { .. }
        | Event::Ended(_) => return None,
    })
}

/// Rows, as the judge knows them.
pub(super) fn rows(rows: &[OutRow]) -> Vec<Row> {
    let row = |row: &OutRow| Row {
        partition: row.id.partition,
        offset: row.id.offset,
        value: row.value,
        copy: row.id.copy,
    };
    rows.iter().map(row).collect()
}

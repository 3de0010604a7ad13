//! How fast a history of a million events is judged: from memory, and from its lines.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use invariants::HistoryJudge;
use invariants::history::HistoryEvent;
use invariants::jsonl::{Line, Reader, Writer};
use load::Load;

#[path = "../tests/load/mod.rs"]
mod load;

const EVENTS: u64 = 1_000_000;

fn judge(events: &[HistoryEvent]) {
    let mut judge = HistoryJudge::default();
    events.iter().for_each(|event| judge.event(event).expect("a sound history"));
    black_box(judge.finish().expect("a sound history"));
}

fn read(text: &str, mut sink: impl FnMut(Line)) {
    let mut reader = Reader::default();
    text.lines().for_each(|line| sink(reader.line(line).expect("a sound line")));
    reader.finish().expect("a header");
}

fn benches(criterion: &mut Criterion) {
    let mut events = Vec::new();
    Load::run(EVENTS, |event| events.push(event.clone()));
    let writer = Writer::default();
    let mut text = writer.header("none", "a benchmark");
    events.iter().for_each(|event| {
        text.push('\n');
        text.push_str(&writer.line(event));
    });
    let mut group = criterion.benchmark_group("history");
    group.sample_size(10);
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("judge (budget 100 ns per event)", |bencher| {
        bencher.iter(|| judge(&events));
    });
    group.bench_function("read the lines", |bencher| {
        bencher.iter(|| read(&text, |line| drop(black_box(line))));
    });
    group.bench_function("read and judge (budget 1 s for a million)", |bencher| {
        bencher.iter(|| {
            let mut judge = HistoryJudge::default();
            read(&text, |line| {
                if let Line::Event { event, .. } = line {
                    judge.event(&event).expect("a sound history");
                }
            });
            black_box(judge.finish().expect("a sound history"));
        });
    });
    group.finish();
}

criterion_group!(history, benches);
criterion_main!(history);

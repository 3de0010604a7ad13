//! The demand: a million events are judged in under a second, and read and judged in under 300
//! bytes per event. Checked once at the start, then measured in its parts.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use invariants::HistoryJudge;
use invariants::history::HistoryEvent;
use invariants::jsonl::{Line, Reader, Writer};
use load::Load;
use peak_alloc::PeakAlloc;

#[path = "../tests/load/mod.rs"]
mod load;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const EVENTS: u64 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(1);
const BYTES_MAX: u64 = 300;

/// The quickest of so many counts: what else the machine does is not to be measured.
const TRIES: u32 = 5;

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

fn read_and_judge(text: &str) {
    let mut judge = HistoryJudge::default();
    read(text, |line| {
        if let Line::Event { event, .. } = line {
            judge.event(&event).expect("a sound history");
        }
    });
    black_box(judge.finish().expect("a sound history"));
}

/// Whether the demand is met: how long the judge takes, and what it and the reader hold.
fn check(events: &[HistoryEvent], text: &str) {
    let tries = (0..TRIES).map(|_| {
        let clock = WallTime;
        let start = clock.start();
        judge(events);
        clock.end(start)
    });
    let took = tries.min().expect("several tries");
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    read_and_judge(text);
    let bytes = (ALLOCATOR.peak_usage() - before) as u64 / events.len() as u64;
    #[expect(clippy::disallowed_macros, reason = "what was measured")]
    {
        println!("{} events: {} ms, {bytes} bytes per event", events.len(), took.as_millis());
    }
    assert!(took < TIME_MAX, "{took:?}");
    assert!(bytes < BYTES_MAX, "{bytes} bytes per event");
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
    check(&events, &text);
    let mut group = criterion.benchmark_group("history");
    group.sample_size(10);
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("judge", |bencher| {
        bencher.iter(|| judge(&events));
    });
    group.bench_function("read the lines", |bencher| {
        bencher.iter(|| read(&text, |line| drop(black_box(line))));
    });
    group.bench_function("read and judge", |bencher| bencher.iter(|| read_and_judge(&text)));
    group.finish();
}

criterion_group!(history, benches);
criterion_main!(history);

//! What a judge of a history holds, per event: the budget is 300 bytes.

mod load;

use invariants::HistoryJudge;
use load::Load;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The largest amount counts, wherever it is reached: the end, too, builds something.
#[test]
fn history_is_judged_within_300_bytes_per_event() {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut judge = HistoryJudge::default();
    let events = Load::run(400_000, |event| judge.event(event).expect("a sound history"));
    let held = (ALLOCATOR.current_usage() - before) as u64 / events;
    let summary = judge.finish().expect("a sound history");
    let peak = (ALLOCATOR.peak_usage() - before) as u64 / events;
    assert_eq!((summary.events, summary.unread), (events, 0));
    assert!(peak <= 300, "{peak} bytes per event at most, {held} before the end");
    #[expect(clippy::disallowed_macros, reason = "a figure for who asks with --nocapture")]
    {
        println!("{peak} bytes per event at most, {held} before the end");
    }
}

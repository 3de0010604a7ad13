//! Judges a history alone, of this broker or of another: the properties that need nothing but what
//! clients saw. The final log is what the readers read.

use alloc::collections::BTreeMap;

use crate::Violation;
use crate::history::{EventKind, HistoryEvent};
use crate::judge::Judge;

/// What a history that holds was made of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Events.
    pub events: u64,
    /// Calls that began.
    pub invoked: u64,
    /// Calls that were done.
    pub ok: u64,
    /// Calls that were definitely not done.
    pub failed: u64,
    /// Calls of which nobody knows.
    pub unknown: u64,
    /// Operations that were given up.
    pub given_up: u64,
    /// Partitions.
    pub partitions: u64,
    /// As `Judge::reached`.
    pub reached: BTreeMap<&'static str, u64>,
}

/// Judges a history, in the order of its events.
///
/// # Errors
/// The first property that does not hold.
pub fn judge_history(events: &[HistoryEvent]) -> Result<Summary, Violation> {
    let mut judge = Judge::new(None);
    let mut summary = Summary::default();
    for event in events {
        summary.events += 1;
        let count = match &event.kind {
            EventKind::Invoke(_) => &mut summary.invoked,
            EventKind::Ok(_) => &mut summary.ok,
            EventKind::Fail(_) => &mut summary.failed,
            EventKind::Unknown => &mut summary.unknown,
            EventKind::GaveUp => &mut summary.given_up,
        };
        *count += 1;
        judge.history_event(event)?;
    }
    (summary.partitions, summary.reached) = judge.finish_history()?;
    Ok(summary)
}

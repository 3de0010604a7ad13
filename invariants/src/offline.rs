//! Judges a history alone, of this broker or of another: the properties that need nothing but what
//! clients saw. What readers read and passed over stands in for the final log.

use alloc::collections::BTreeMap;

use crate::facts::group_calls::Untold;
use crate::history::{EventKind, HistoryEvent};
use crate::judge::Judge;
use crate::judge::alone::{Ended, Settled};
use crate::{EVALUATED, PROPERTIES, Violation};

/// The properties that clients can see broken, and which facts each needs of them.
pub const OF_HISTORIES: &[(&str, &str)] = &[
    ("L1", "several acknowledged offsets of a partition, or records read besides them"),
    ("L2", "records read, or a produce begun after another was acknowledged"),
    ("L3", "records read of produces whose outcome is known"),
    ("L4", "an offset read twice"),
    ("L5", "`high_watermark` of fetches"),
    ("L6", "`leader_epoch` of several fetches or list_offsets, with the bounds they show"),
    ("L8", "`leader_epoch` of records"),
    ("L9", "records read"),
    (
        "G3",
        "two commit_offsets of a partition that count, or one behind a fetch_offsets that tells \
         where the group begins (with a `txn`: and its end_txn)",
    ),
    ("G5", "sync_group with the parts of several members of a generation of a classic group"),
    ("P1", "idempotent produces that are acknowledged and read, or several producer ids"),
    ("Q1", "list_offsets with a `leader_epoch`, or by timestamp"),
    ("Q2", "epoch_end with a `leader_epoch`"),
    ("T1", "records of committed transactions, read or passed over as committed"),
    ("T2", "records of transactions, read as committed"),
    ("T3", "`last_stable_offset` of fetches that read committed"),
    (
        "T6",
        "end_txn with `commit`, of a producer in whose place an init_producer_id of the same \
         `transactional_id`, or `producer_id`, had put another",
    ),
    (
        "T10",
        "`error`s that say that a producer is none any more, of calls with a `transactional_id` \
         that an init_producer_id with its `timeout_us` was done for",
    ),
];

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
    /// Calls that never got an answer: as unknown, and not among them.
    pub unanswered: u64,
    /// Operations that were given up.
    pub given_up: u64,
    /// Partitions.
    pub partitions: u64,
    /// Acknowledged records that no reader read or passed over: nobody knows of them.
    pub unread: u64,
    /// Produces that are in the log more than once, which is their clients' own doing as far as
    /// anybody knows: they are not idempotent, and not told to be sent once.
    pub doubled: u64,
    /// Partitions of groups of which is not told where the group began: what it left out before the
    /// first that it read is not judged.
    pub unanchored: u64,
    /// Stretches that groups read in transactions of which nobody knows whether they were
    /// committed, or whose partition they commit without transactions, too: as good as not there.
    pub undecided: u64,
    /// As `Judge::reached`.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// The properties of [`OF_HISTORIES`], and how often each was judged with its antecedent true.
    pub fn evaluated(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        OF_HISTORIES.iter().map(|(code, _)| {
            let place = PROPERTIES.iter().position(|row| row.code == *code);
            let name = EVALUATED[place.expect("a property of the table")];
            (*code, self.reached.get(name).copied().unwrap_or_default())
        })
    }
}

/// Judges a history event by event.
#[derive(Clone, Debug)]
pub struct HistoryJudge {
    judge: Judge,
    settled: Option<Settled>,
    summary: Summary,
}

impl Default for HistoryJudge {
    fn default() -> Self {
        Self { judge: Judge::alone(), settled: None, summary: Summary::default() }
    }
}

impl HistoryJudge {
    /// The next event.
    ///
    /// # Errors
    /// The first property that does not hold. The judge is not to be asked any more then.
    pub fn event(&mut self, event: &HistoryEvent) -> Result<(), Violation> {
        let summary = &mut self.summary;
        summary.events += 1;
        let count = match &event.kind {
            EventKind::Invoke(_) => &mut summary.invoked,
            EventKind::Ok(_) => &mut summary.ok,
            EventKind::Fail(_) => &mut summary.failed,
            EventKind::Unknown(_) => &mut summary.unknown,
            EventKind::GaveUp => &mut summary.given_up,
        };
        *count += 1;
        self.judge.history_event(event, self.settled.as_ref())
    }

    /// Whoever recorded this vouches that from here on every answer is the newest leader's, so that
    /// the ends it shows must cover all that was acknowledged before.
    pub fn settled(&mut self) {
        self.settled = Some(self.judge.settled());
    }

    /// The end of the history: calls that are still open are unknown.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub fn finish(mut self) -> Result<Summary, Violation> {
        let ended = self.judge.finish_history()?;
        let Ended { partitions, unanswered, unread, doubled, untold } = ended;
        let Untold { starts: unanchored, stretches: undecided } = untold;
        self.judge.publish();
        let reached = self.judge.reached().clone();
        Ok(Summary {
            partitions,
            unanswered,
            unread,
            doubled,
            unanchored,
            undecided,
            reached,
            ..self.summary
        })
    }
}

/// Judges a history, in the order of its events.
///
/// # Errors
/// The first property that does not hold.
pub fn judge_history(events: &[HistoryEvent]) -> Result<Summary, Violation> {
    let mut judge = HistoryJudge::default();
    for event in events {
        judge.event(event)?;
    }
    judge.finish()
}

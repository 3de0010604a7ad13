//! The end of a live run: what is under way comes to its end, transactions are decided, and every
//! partition is read once more from its start to its end, so that what is lost or doubled shows.
//!
//! All of it within a bound: what does not end is named.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_core::ids::{Offset, TopicId, TopicPartition};
use invariants::history::{Answer, Call, EventKind, HistoryEvent, SimTime};
use tokio::time::Instant;
use workloads::Op;
use workloads::op::ListSpec;

use super::host::Host;

/// When nothing was acknowledged for so long, whoever copies has caught up; but it is not waited
/// for longer than [`QUIET_MAX`].
const QUIET: Duration = Duration::from_secs(2);
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Between two looks at transactions that are not decided.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Each stage may take so long.
    pub(super) patience: Duration,
    /// How long a cluster takes, once healed, until no deposed leader is believed any more.
    pub(super) settle: Duration,
    /// There are transactions.
    pub(super) transactions: bool,
}

/// How it ended.
#[derive(Clone, Default, Debug)]
pub(super) struct Finished {
    /// The number of events before the cluster was settled, and when that was.
    pub(super) settled: Option<(usize, SimTime)>,
    /// What did not come to its end.
    pub(super) stuck: Vec<String>,
}

/// Ends a run; `reader` is a client of its own, operations are numbered from `number` on.
pub(super) async fn finish(host: &mut Host, reader: u16, number: u32, terms: Terms) -> Finished {
    let mut last = Last { reader, number, terms, finished: Finished::default() };
    host.run(Instant::now() + terms.patience, Host::is_idle).await;
    last.finished.stuck = host.blocked();
    host.run(Instant::now() + terms.patience, |host| host.unsettled().is_empty()).await;
    last.finished.stuck.extend(host.unsettled());
    host.run(Instant::now() + QUIET_MAX, |host| host.acknowledged.elapsed() >= QUIET).await;
    host.run(Instant::now() + terms.settle, |_| false).await;
    host.add(reader);
    let written = written(&host.history);
    if terms.transactions {
        last.decided(host, &written).await;
    }
    // Every partition has a leader that answers.
    last.ends(host, &written, false).await;
    last.finished.settled = Some((host.history.len(), host.now()));
    let ends = last.ends(host, &written, false).await;
    last.finished.stuck.extend(without_end(&written, &ends, &host.seen().topics));
    for committed in [false, true] {
        if committed && !terms.transactions {
            continue;
        }
        let read = |topic, partition| Op::CatchUp { topic, partition, committed };
        last.ask(host, &written, read).await;
    }
    // One that blocks several stages is named once.
    last.finished.stuck.sort_unstable();
    last.finished.stuck.dedup();
    last.finished
}

struct Last {
    reader: u16,
    number: u32,
    terms: Terms,
    finished: Finished,
}

impl Last {
    /// Asks about every partition, and waits for all that is asked.
    async fn ask(
        &mut self,
        host: &mut Host,
        partitions: &BTreeSet<TopicPartition>,
        op: impl Fn(String, u32) -> Op,
    ) {
        let topics = host.seen().topics;
        for partition in partitions {
            let Some(topic) = topics.get(&partition.topic) else { continue };
            host.give(self.reader, self.number, op(topic.clone(), partition.index.0));
            self.number += 1;
        }
        let reader = self.reader;
        let until = Instant::now() + self.terms.patience;
        host.run(until, |host| host.is_client_idle(reader)).await;
        if !host.is_client_idle(reader) {
            self.finished.stuck.extend(host.blocked());
        }
    }

    /// The end of each partition, as far as it was told.
    async fn ends(
        &mut self,
        host: &mut Host,
        partitions: &BTreeSet<TopicPartition>,
        committed: bool,
    ) -> BTreeMap<TopicPartition, Offset> {
        let from = host.history.len();
        let spec = ListSpec::Latest;
        self.ask(host, partitions, |topic, partition| Op::ListOffsets {
            topic,
            partition,
            spec,
            committed,
        })
        .await;
        listed(&host.history[from..], self.reader)
    }

    /// Waits until every transaction is decided: one that nobody ended is aborted by and by.
    async fn decided(&mut self, host: &mut Host, partitions: &BTreeSet<TopicPartition>) {
        let until = Instant::now() + self.terms.patience;
        loop {
            let stable = self.ends(host, partitions, true).await;
            let ends = self.ends(host, partitions, false).await;
            let open = ends.iter().filter(|(at, end)| stable.get(*at) < Some(*end));
            let open: Vec<_> = open.map(|(at, end)| (*at, stable.get(at).copied(), *end)).collect();
            if open.is_empty() {
                return;
            }
            if Instant::now() >= until {
                let topics = host.seen().topics;
                let say = |(at, stable, end): (TopicPartition, Option<Offset>, Offset)| {
                    let topic = topics.get(&at.topic).map_or("?", String::as_str);
                    let stable = stable.map_or_else(|| "untold".to_owned(), |it| it.to_string());
                    format!(
                        "{topic} {}: the last stable offset is {stable}, the end {end}: a \
                         transaction is never decided",
                        at.index
                    )
                };
                self.finished.stuck.extend(open.into_iter().map(say));
                return;
            }
            host.run(Instant::now() + LOOK_EVERY, |_| false).await;
        }
    }
}

/// What was written to, or may have been, and was not meant to be deleted.
fn written(history: &[HistoryEvent]) -> BTreeSet<TopicPartition> {
    let mut deleted: BTreeSet<TopicId> = BTreeSet::new();
    let mut written = BTreeSet::new();
    for event in history {
        match &event.kind {
            EventKind::Invoke(Call::Produce { partition, .. }) => {
                written.insert(*partition);
            }
            EventKind::Invoke(Call::Admin { topic: Some(topic), deletes: true }) => {
                deleted.insert(*topic);
            }
            EventKind::Invoke(_)
            | EventKind::Ok(_)
            | EventKind::Fail(_)
            | EventKind::Unknown(_)
            | EventKind::GaveUp => {}
        }
    }
    written.retain(|partition| !deleted.contains(&partition.topic));
    written
}

/// The partitions whose end nobody tells: what was written there can not be read, either.
fn without_end(
    written: &BTreeSet<TopicPartition>,
    ends: &BTreeMap<TopicPartition, Offset>,
    topics: &BTreeMap<TopicId, String>,
) -> Vec<String> {
    let untold = written.iter().filter(|partition| !ends.contains_key(partition));
    let say = |partition: &TopicPartition| {
        let topic = topics.get(&partition.topic).map_or("?", String::as_str);
        format!("{topic} {}: nobody tells where it ends", partition.index)
    };
    untold.map(say).collect()
}

/// What a client was told of the offsets that it asked for; of each partition the newest.
fn listed(history: &[HistoryEvent], client: u16) -> BTreeMap<TopicPartition, Offset> {
    let mut asked = BTreeMap::new();
    let mut listed = BTreeMap::new();
    for event in history.iter().filter(|event| event.client == client) {
        match &event.kind {
            EventKind::Invoke(Call::ListOffsets { partition, .. }) => {
                asked.insert(event.call, *partition);
            }
            EventKind::Ok(Answer::Listed(Some((offset, ..)))) => {
                if let Some(partition) = asked.get(&event.call) {
                    listed.insert(*partition, *offset);
                }
            }
            EventKind::Invoke(_)
            | EventKind::Ok(_)
            | EventKind::Fail(_)
            | EventKind::Unknown(_)
            | EventKind::GaveUp => {}
        }
    }
    listed
}

//! A run's history as a file: JSON lines as `docs/history.md` defines them, with the topics under
//! the names that the plan gives them.

use std::collections::BTreeMap;

use broker_core::ids::TopicId;
use invariants::history::{Answer, Call, EventKind, HistoryEvent};
use invariants::jsonl::Writer;

use crate::plan::Plan;

/// The file's text. `note` goes into its header.
#[must_use]
pub fn lines(plan: &Plan, note: &str, events: &[HistoryEvent]) -> String {
    let writer = Writer::new(topics(plan, events));
    let header = writer.header(concat!("seedbed ", env!("CARGO_PKG_VERSION")), note);
    let mut text = header + "\n";
    for event in events {
        text.push_str(&writer.line(event));
        text.push('\n');
    }
    text
}

/// A topic is called as the operation that named it says; the next one of that name has `#2` added:
/// it is another one, whose offsets begin anew.
fn topics(plan: &Plan, events: &[HistoryEvent]) -> BTreeMap<TopicId, String> {
    let mut names = BTreeMap::new();
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    for event in events {
        let (Some(topic), Some(op)) = (topic_of(event), plan.ops.get(event.op as usize)) else {
            continue;
        };
        names.entry(topic).or_insert_with(|| {
            let name = op.op.topic();
            let nth = used.entry(name).or_default();
            *nth += 1;
            if *nth == 1 { name.to_owned() } else { format!("{name}#{nth}") }
        });
    }
    names
}

fn topic_of(event: &HistoryEvent) -> Option<TopicId> {
    match &event.kind {
        EventKind::Invoke(
            Call::Produce { partition, .. }
            | Call::Fetch { partition, .. }
            | Call::ListOffsets { partition, .. }
            | Call::EpochEnd { partition, .. }
            | Call::AddPartitions { partition, .. },
        ) => Some(partition.topic),
        EventKind::Invoke(Call::Admin { topic, .. }) => *topic,
        EventKind::Ok(Answer::Created(topic)) => Some(*topic),
        EventKind::Invoke(
            Call::EndTxn { .. }
            | Call::InitProducerId { .. }
            | Call::AddOffsets { .. }
            | Call::CommitOffsets { .. }
            | Call::FetchOffsets { .. }
            | Call::SyncGroup { .. },
        )
        | EventKind::Ok(_)
        | EventKind::Fail(_)
        | EventKind::Unknown(_)
        | EventKind::GaveUp => None,
    }
}

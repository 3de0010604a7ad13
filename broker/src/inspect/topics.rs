//! Topics: each partition with its leader and its offsets.

use std::collections::BTreeMap;

use super::dialog::{Cluster, Partitions};
use super::table::{Cell, Table};
use super::told;
use crate::wire::messages::cluster::metadata::MetadataResponseTopic;

const COLUMNS: &[&str] =
    &["topic", "partition", "leader", "leader_epoch", "start_offset", "end_offset", "error"];

/// The topics of these names, or all.
///
/// # Errors
/// If a broker can not be asked, or one of the topics is not there.
pub async fn topics(bootstrap: &str, names: &[String]) -> Result<Table, String> {
    let mut cluster = Cluster::at(bootstrap).await?;
    let mut topics = cluster.topics((!names.is_empty()).then_some(names)).await?;
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    for topic in &topics {
        if let Some(why) = told(topic.error_code) {
            return Err(format!("topic {}: {why}", topic.name.as_deref().unwrap_or_default()));
        }
    }
    let led = led(&topics);
    let starts = cluster.offsets(&led, -2).await?;
    let ends = cluster.offsets(&led, -1).await?;
    let mut table = Table::new(COLUMNS);
    for topic in &topics {
        let name = topic.name.clone().unwrap_or_default();
        let mut partitions: Vec<_> = topic.partitions.iter().collect();
        partitions.sort_by_key(|it| it.partition_index);
        for it in partitions {
            let at = (name.clone(), it.partition_index);
            let (start, end) = (starts.get(&at).copied(), ends.get(&at).copied());
            let refused = start.into_iter().chain(end).find_map(Result::err);
            let error = told(it.error_code).or(refused.and_then(told));
            let leader = (it.leader_id >= 0).then_some(it.leader_id);
            table.push(vec![
                name.as_str().into(),
                it.partition_index.into(),
                leader.into(),
                it.leader_epoch.into(),
                offset(start),
                offset(end),
                error.into(),
            ]);
        }
    }
    Ok(table)
}

fn offset(found: Option<Result<i64, i16>>) -> Cell {
    found.and_then(Result::ok).into()
}

/// The partitions that have a leader, by it.
pub(super) fn led(topics: &[MetadataResponseTopic]) -> BTreeMap<i32, Partitions> {
    let mut led: BTreeMap<i32, Partitions> = BTreeMap::new();
    for topic in topics {
        for it in topic.partitions.iter().filter(|it| it.leader_id >= 0) {
            let name = topic.name.clone().unwrap_or_default();
            led.entry(it.leader_id).or_default().entry(name).or_default().push(it.partition_index);
        }
    }
    led
}

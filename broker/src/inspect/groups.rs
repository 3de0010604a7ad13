//! Groups: type, state, members, and how far each is behind in each partition.

use std::collections::BTreeMap;

use super::dialog::{Cluster, body};
use super::table::{Cell, Table};
use super::topics::led;
use super::{chosen, told};
use crate::wire::Request;
use crate::wire::messages::groups::{
    consumer_group_describe, describe_groups, list_groups, offset_fetch,
};

const COLUMNS: &[&str] = &[
    "group",
    "type",
    "state",
    "members",
    "coordinator",
    "topic",
    "partition",
    "offset",
    "end_offset",
    "lag",
];

/// A group as its coordinator lists it.
struct Listed {
    coordinator: i32,
    kind: String,
    state: String,
    members: usize,
    /// By topic and partition.
    offsets: BTreeMap<(String, i32), i64>,
}

/// The groups of these names, or all: a row for each partition that one has committed, or one row.
///
/// # Errors
/// If a broker can not be asked, or one of the groups is not there.
pub async fn groups(bootstrap: &str, names: &[String]) -> Result<Table, String> {
    let mut cluster = Cluster::at(bootstrap).await?;
    let mut groups = chosen("group", listed(&mut cluster).await?, names)?;
    for (name, group) in &mut groups {
        describe(&mut cluster, name, group).await?;
    }
    let topics = groups.values().flat_map(|group| group.offsets.keys());
    let mut topics: Vec<String> = topics.map(|(topic, _)| topic.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    // No names would mean all of them to some versions.
    let led = if topics.is_empty() {
        BTreeMap::new()
    } else {
        led(&cluster.topics(Some(&topics)).await?)
    };
    let ends = cluster.offsets(&led, -1).await?;
    let mut table = Table::new(COLUMNS);
    for (name, group) in &groups {
        let row = |rest: [Cell; 5]| {
            let members = u64::try_from(group.members).expect("it was counted");
            let first: [Cell; 5] = [
                name.as_str().into(),
                group.kind.as_str().into(),
                group.state.as_str().into(),
                members.into(),
                group.coordinator.into(),
            ];
            first.into_iter().chain(rest).collect()
        };
        if group.offsets.is_empty() {
            table.push(row([const { Cell::None }; 5]));
        }
        for (at, offset) in &group.offsets {
            let end = ends.get(at).copied().and_then(Result::ok);
            let lag = end.map(|end| (end - offset).max(0));
            let (topic, partition) = (at.0.as_str().into(), at.1.into());
            table.push(row([topic, partition, (*offset).into(), end.into(), lag.into()]));
        }
    }
    Ok(table)
}

async fn listed(cluster: &mut Cluster) -> Result<BTreeMap<String, Listed>, String> {
    let mut groups = BTreeMap::new();
    for coordinator in cluster.brokers.keys().copied().collect::<Vec<_>>() {
        let request = Request::ListGroups(list_groups::Request::default());
        let answer = body!(cluster.ask(coordinator, &request).await?, ListGroups);
        if let Some(why) = told(answer.error_code) {
            return Err(format!("broker {coordinator}: ListGroups: {why}"));
        }
        for it in answer.groups {
            // Brokers before KIP-848 know one type only, and do not name it.
            let kind = it.group_type.to_lowercase();
            let kind = if kind.is_empty() { "classic".to_owned() } else { kind };
            let (state, offsets) = (it.group_state, BTreeMap::new());
            groups.insert(it.group_id, Listed { coordinator, kind, state, members: 0, offsets });
        }
    }
    Ok(groups)
}

async fn describe(cluster: &mut Cluster, name: &str, group: &mut Listed) -> Result<(), String> {
    let broker = group.coordinator;
    let of = |code| match told(code) {
        Some(why) => Err(format!("group {name}: {why}")),
        None => Ok(()),
    };
    if group.kind == "consumer" {
        let group_ids = vec![name.to_owned()];
        let request = consumer_group_describe::Request { group_ids, ..Default::default() };
        let answer = cluster.ask(broker, &Request::ConsumerGroupDescribe(request)).await?;
        for it in body!(answer, ConsumerGroupDescribe).groups {
            of(it.error_code)?;
            (group.state, group.members) = (it.group_state, it.members.len());
        }
    } else {
        let groups = vec![name.to_owned()];
        let request = describe_groups::Request { groups, ..Default::default() };
        let answer = cluster.ask(broker, &Request::DescribeGroups(request)).await?;
        for it in body!(answer, DescribeGroups).groups {
            of(it.error_code)?;
            (group.state, group.members) = (it.group_state, it.members.len());
        }
    }
    let all = offset_fetch::OffsetFetchRequestGroup {
        group_id: name.to_owned(),
        topics: None,
        ..Default::default()
    };
    let request = offset_fetch::Request {
        group_id: name.to_owned(),
        topics: None,
        groups: vec![all],
        ..Default::default()
    };
    let answer = cluster.ask(broker, &Request::OffsetFetch(request)).await?;
    let answer = body!(answer, OffsetFetch);
    of(answer.error_code)?;
    for topic in answer.topics {
        for it in topic.partitions {
            of(it.error_code)?;
            group.offsets.insert((topic.name.clone(), it.partition_index), it.committed_offset);
        }
    }
    for it in answer.groups {
        of(it.error_code)?;
        for topic in it.topics {
            for it in topic.partitions {
                of(it.error_code)?;
                group.offsets.insert((topic.name.clone(), it.partition_index), it.committed_offset);
            }
        }
    }
    group.offsets.retain(|_, offset| *offset >= 0);
    Ok(())
}

//! Transactions: each transactional id with its producer and the partitions that it has written to.

use std::collections::BTreeMap;

use super::dialog::{Cluster, body};
use super::table::{Cell, Table};
use super::{chosen, told};
use crate::wire::Request;
use crate::wire::messages::transactions::{describe_transactions, list_transactions};

const COLUMNS: &[&str] = &[
    "transactional_id",
    "coordinator",
    "state",
    "producer_id",
    "producer_epoch",
    "timeout_ms",
    "started_ms",
    "partitions",
];

/// The transactional ids of these names, or all. `started_ms`: since 1970.
///
/// # Errors
/// If a broker can not be asked, or one of the ids is not there.
pub async fn transactions(bootstrap: &str, names: &[String]) -> Result<Table, String> {
    let mut cluster = Cluster::at(bootstrap).await?;
    let mut coordinators = BTreeMap::new();
    for broker in cluster.brokers.keys().copied().collect::<Vec<_>>() {
        let request = Request::ListTransactions(list_transactions::Request::default());
        let answer = body!(cluster.ask(broker, &request).await?, ListTransactions);
        if let Some(why) = told(answer.error_code) {
            return Err(format!("broker {broker}: ListTransactions: {why}"));
        }
        let ids = answer.transaction_states.into_iter();
        coordinators.extend(ids.map(|it| (it.transactional_id, broker)));
    }
    let mut table = Table::new(COLUMNS);
    for (id, broker) in chosen("transactional id", coordinators, names)? {
        let request = describe_transactions::Request { transactional_ids: vec![id.clone()] };
        let answer = cluster.ask(broker, &Request::DescribeTransactions(request)).await?;
        for it in body!(answer, DescribeTransactions).transaction_states {
            if let Some(why) = told(it.error_code) {
                return Err(format!("transactional id {id}: {why}"));
            }
            let started = it.transaction_start_time_ms;
            table.push(vec![
                id.as_str().into(),
                broker.into(),
                it.transaction_state.as_str().into(),
                it.producer_id.into(),
                it.producer_epoch.into(),
                it.transaction_timeout_ms.into(),
                (started >= 0).then_some(started).into(),
                partitions(&it.topics),
            ]);
        }
    }
    Ok(table)
}

/// `topic:0,1 other:2`.
fn partitions(topics: &[describe_transactions::TopicData]) -> Cell {
    let topic = |it: &describe_transactions::TopicData| {
        let partitions: Vec<_> = it.partitions.iter().map(i32::to_string).collect();
        format!("{}:{}", it.topic, partitions.join(","))
    };
    let topics: Vec<_> = topics.iter().map(topic).collect();
    (!topics.is_empty()).then(|| topics.join(" ")).into()
}

//! The metadata quorum: each voter and each observer, and how far it is behind the leader.

use super::dialog::{Cluster, body};
use super::table::Table;
use super::told;
use crate::wire::Request;
use crate::wire::messages::cluster::describe_quorum::{
    self, DescribeQuorumRequestPartition, DescribeQuorumRequestTopic,
};

/// Those of `kafka-metadata-quorum.sh describe --replication`, with what `--status` tells.
const COLUMNS: &[&str] = &[
    "node",
    "status",
    "leader_epoch",
    "high_watermark",
    "log_end_offset",
    "lag",
    "last_fetch_ms",
    "last_caught_up_ms",
];

/// The quorum, by its leader: first itself, then the other voters, then the observers. Times are
/// since 1970, by the leader's clock.
///
/// # Errors
/// If a broker can not be asked, or no leader answers it.
pub async fn quorum(bootstrap: &str) -> Result<Table, String> {
    let mut cluster = Cluster::at(bootstrap).await?;
    let topic = DescribeQuorumRequestTopic {
        topic_name: "__cluster_metadata".to_owned(),
        partitions: vec![DescribeQuorumRequestPartition { partition_index: 0 }],
    };
    let request = Request::DescribeQuorum(describe_quorum::Request { topics: vec![topic] });
    let answer = body!(cluster.ask_any(&request).await?, DescribeQuorum);
    let partition = answer.topics.into_iter().flat_map(|it| it.partitions).next();
    let code = partition.as_ref().map_or(0, |it| it.error_code);
    if let Some(why) = told(answer.error_code).or(told(code)) {
        return Err(format!("DescribeQuorum: {why}"));
    }
    let it = partition.ok_or("DescribeQuorum: an answer without the partition")?;
    let end = |id| it.current_voters.iter().find(|voter| voter.replica_id == id);
    let end = end(it.leader_id).map(|leader| leader.log_end_offset);
    let known = |value: i64| (value >= 0).then_some(value);
    let voters = it.current_voters.iter().map(|voter| match voter.replica_id == it.leader_id {
        true => (0, "Leader", voter),
        false => (1, "Follower", voter),
    });
    let mut replicas: Vec<_> =
        voters.chain(it.observers.iter().map(|observer| (2, "Observer", observer))).collect();
    replicas.sort_by_key(|(rank, _, replica)| (*rank, replica.replica_id));
    let mut table = Table::new(COLUMNS);
    for (_, status, replica) in replicas {
        let own = known(replica.log_end_offset);
        table.push(vec![
            replica.replica_id.into(),
            status.into(),
            it.leader_epoch.into(),
            known(it.high_watermark).into(),
            own.into(),
            end.zip(own).map(|(end, own)| end - own).into(),
            known(replica.last_fetch_timestamp).into(),
            known(replica.last_caught_up_timestamp).into(),
        ]);
    }
    Ok(table)
}

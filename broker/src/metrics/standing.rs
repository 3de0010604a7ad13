//! How the nodes of this process stand, as gauges of one scrape: made anew for each, so that what
//! is not led here any more is not told of any more.

use std::collections::BTreeMap;

use broker_core::ids::NodeId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::OfNode;
use crate::host::{BrokerLevels, ControllerLevels, Levels, PartitionLevels};

type Gauges<L> = Family<L, Gauge>;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfPartition {
    node: u16,
    topic: String,
    partition: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfGroup {
    node: u16,
    group: String,
    topic: String,
    partition: u32,
}

#[derive(Default)]
struct Standing {
    answering: Gauges<OfNode>,
    serving: Gauges<OfNode>,
    connections: Gauges<OfNode>,
    metadata_offset: Gauges<OfNode>,
    wal_bytes: Gauges<OfNode>,
    wal_records: Gauges<OfNode>,
    uncommitted: Gauges<OfNode>,
    left_out: Gauges<OfNode>,
    high_watermark: Gauges<OfPartition>,
    unconfirmed: Gauges<OfPartition>,
    stable_lag: Gauges<OfPartition>,
    commit_lag: Gauges<OfPartition>,
    group_offset: Gauges<OfGroup>,
    group_lag: Gauges<OfGroup>,
    active: Gauges<OfNode>,
    quorum_epoch: Gauges<OfNode>,
    quorum_end: Gauges<OfNode>,
    quorum_watermark: Gauges<OfNode>,
}

/// Adds what the nodes say; none: one does not answer.
pub(super) fn register(levels: &BTreeMap<NodeId, Option<Levels>>, to: &mut Registry) {
    let standing = Standing::default();
    // The ends of the logs whose leaders are in this process.
    let mut ends = BTreeMap::new();
    for levels in levels.values().flatten() {
        if let Levels::Broker(broker) = levels {
            let end = |at: &PartitionLevels| ((at.topic.clone(), at.partition), at.high_watermark);
            ends.extend(broker.partitions.iter().map(end));
        }
    }
    for (node, levels) in levels {
        let of = OfNode { node: node.0 };
        standing.answering.get_or_create(&of).set(i64::from(levels.is_some()));
        match levels {
            Some(Levels::Controller(controller)) => standing.controller(&of, controller),
            Some(Levels::Broker(broker)) => standing.broker(&of, broker, &ends),
            None => {}
        }
    }
    standing.register(to);
}

impl Standing {
    fn controller(&self, of: &OfNode, controller: &ControllerLevels) {
        let ControllerLevels { active, epoch, log_end, high_watermark } = *controller;
        self.active.get_or_create(of).set(i64::from(active));
        set(&self.quorum_epoch, of, epoch);
        set(&self.quorum_end, of, log_end);
        set(&self.quorum_watermark, of, high_watermark);
    }

    fn broker(&self, of: &OfNode, broker: &BrokerLevels, ends: &BTreeMap<(String, u32), u64>) {
        self.serving.get_or_create(of).set(i64::from(broker.serving));
        set(&self.connections, of, broker.connections as u64);
        set(&self.metadata_offset, of, broker.metadata_offset);
        set(&self.wal_bytes, of, broker.wal_unconfirmed_bytes);
        set(&self.wal_records, of, broker.wal_unconfirmed_records);
        set(&self.uncommitted, of, broker.uncommitted_bytes);
        set(&self.left_out, of, broker.left_out);
        for at in &broker.partitions {
            let (topic, partition) = (at.topic.clone(), at.partition);
            let of = OfPartition { node: of.node, topic, partition };
            set(&self.high_watermark, &of, at.high_watermark);
            set(&self.unconfirmed, &of, at.log_end.saturating_sub(at.high_watermark));
            set(&self.stable_lag, &of, at.high_watermark.saturating_sub(at.last_stable));
            set(&self.commit_lag, &of, at.high_watermark.saturating_sub(at.committed));
        }
        for at in &broker.groups {
            let (group, topic, partition) = (at.group.clone(), at.topic.clone(), at.partition);
            let end = ends.get(&(topic.clone(), partition));
            let of = OfGroup { node: of.node, group, topic, partition };
            set(&self.group_offset, &of, at.committed);
            if let Some(end) = end {
                set(&self.group_lag, &of, end.saturating_sub(at.committed));
            }
        }
    }

    fn register(self, to: &mut Registry) {
        to.register("node_answering", "1: the node says how it stands", self.answering);
        to.register("broker_serving", "1: the broker serves", self.serving);
        to.register("broker_connections", "Connections of clients", self.connections);
        let help = "End of the metadata that the broker has applied";
        to.register("broker_metadata_offset", help, self.metadata_offset);
        let help = "Bytes that the WAL has taken and not confirmed";
        to.register_with_unit("wal_unconfirmed", help, Unit::Bytes, self.wal_bytes);
        let help = "Batches that the WAL has taken and not confirmed";
        to.register("wal_unconfirmed_batches", help, self.wal_records);
        let help = "Bytes confirmed and not committed as part of an object";
        to.register_with_unit("broker_uncommitted", help, Unit::Bytes, self.uncommitted);
        let help = "Partitions and offsets of groups that are not told of: there are too many";
        to.register("broker_series_left_out", help, self.left_out);
        let help = "High watermark of a partition that is led here";
        to.register("partition_high_watermark_offset", help, self.high_watermark);
        let help = "Records from the high watermark to the log's end";
        to.register("partition_unconfirmed_records", help, self.unconfirmed);
        let help = "Records from the last stable offset to the high watermark";
        to.register("partition_last_stable_offset_lag_records", help, self.stable_lag);
        let help = "Records from the end of what is in committed objects to the high watermark";
        to.register("partition_commit_lag_records", help, self.commit_lag);
        let help = "Offset that a group has committed";
        to.register("group_committed_offset", help, self.group_offset);
        let help = "Records from a group's offset to the high watermark, where the leader is in \
                    this process";
        to.register("group_lag_records", help, self.group_lag);
        to.register("controller_active", "1: the active controller", self.active);
        to.register("quorum_epoch", "Epoch of the metadata quorum", self.quorum_epoch);
        to.register("quorum_log_end_offset", "End of the metadata log", self.quorum_end);
        let help = "End of the metadata known to be committed";
        to.register("quorum_high_watermark_offset", help, self.quorum_watermark);
    }
}

fn set<L>(gauges: &Gauges<L>, of: &L, value: u64)
where
    L: Clone + std::hash::Hash + Eq + Send + Sync + 'static,
{
    gauges.get_or_create(of).set(i64::try_from(value).unwrap_or(i64::MAX));
}

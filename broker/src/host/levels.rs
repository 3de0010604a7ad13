//! How a node stands at one moment, read off its machine between two inputs. Nothing here changes
//! anything.

use broker_core::broker::Broker;
use broker_core::controller::Controller;
use broker_core::ids::TopicPartition;

use super::Role;

/// Partitions, and offsets of groups, that are told of: reading more would keep the node from its
/// inputs for milliseconds.
const ROWS_MAX: usize = 10_000;

/// How a node stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Levels {
    /// A controller.
    Controller(ControllerLevels),
    /// A broker.
    Broker(BrokerLevels),
}

/// How a controller stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControllerLevels {
    /// Whether it is the active one.
    pub active: bool,
    /// Epoch of the quorum.
    pub epoch: u64,
    /// End of its log.
    pub log_end: u64,
    /// End of what it knows to be committed.
    pub high_watermark: u64,
}

/// How a broker stands.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BrokerLevels {
    /// The controller takes it as alive, and its WAL is open.
    pub serving: bool,
    /// Clients' connections.
    pub connections: usize,
    /// End of the metadata that it has applied.
    pub metadata_offset: u64,
    /// Bytes that its WAL has taken and not confirmed.
    pub wal_unconfirmed_bytes: u64,
    /// Records of its WAL (batches) that are not confirmed.
    pub wal_unconfirmed_records: u64,
    /// Bytes confirmed, and not yet committed as part of an object.
    pub uncommitted_bytes: u64,
    /// The partitions that it leads.
    pub partitions: Vec<PartitionLevels>,
    /// What groups have committed whose coordinator it is.
    pub groups: Vec<GroupLevels>,
    /// Partitions and offsets left out, for there are too many.
    pub left_out: u64,
}

/// How a partition stands with its leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionLevels {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: u32,
    /// Log end offset.
    pub log_end: u64,
    /// High watermark.
    pub high_watermark: u64,
    /// Last stable offset.
    pub last_stable: u64,
    /// End of what is committed as part of objects.
    pub committed: u64,
}

/// How far a group has come in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupLevels {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: u32,
    /// Where it reads on.
    pub committed: u64,
}

impl Levels {
    pub(super) fn of(role: &Role, connections: usize) -> Self {
        match role {
            Role::Controller(controller) => Self::Controller(of_controller(controller)),
            Role::Broker(broker, _) => Self::Broker(of_broker(broker, connections)),
        }
    }
}

fn of_controller(controller: &Controller) -> ControllerLevels {
    let quorum = controller.quorum();
    ControllerLevels {
        active: controller.is_active(),
        epoch: u64::from(quorum.epoch().0),
        log_end: quorum.end_offset().0,
        high_watermark: quorum.high_watermark().0,
    }
}

fn of_broker(broker: &Broker, connections: usize) -> BrokerLevels {
    let (wal, image) = (broker.wal(), broker.image());
    let name = |at: TopicPartition| Some(image.topics.get(&at.topic)?.name.clone());
    let mut partitions = Vec::new();
    let mut groups = Vec::new();
    let mut left_out = 0;
    for (at, partition) in broker.partitions() {
        // A partition that is being deleted has no name any more.
        let (Some(topic), Some(stream)) = (name(at), image.streams.get(&partition.stream())) else {
            continue;
        };
        if partitions.len() == ROWS_MAX {
            left_out += 1;
            continue;
        }
        partitions.push(PartitionLevels {
            topic,
            partition: at.index.0,
            log_end: partition.log_end().0,
            high_watermark: partition.high_watermark().0,
            last_stable: partition.last_stable().0,
            committed: stream.end.0,
        });
    }
    for (group, at, offset) in broker.groups().flat_map(|groups| groups.fold().iter()) {
        let Some(topic) = name(at) else { continue };
        if groups.len() == ROWS_MAX {
            left_out += 1;
            continue;
        }
        let (group, partition) = (group.to_owned(), at.index.0);
        groups.push(GroupLevels { group, topic, partition, committed: offset.offset.0 });
    }
    BrokerLevels {
        serving: broker.is_serving(),
        connections,
        metadata_offset: broker.metadata_offset().0,
        wal_unconfirmed_bytes: wal.unconfirmed_bytes(),
        wal_unconfirmed_records: wal.next_lsn().0.saturating_sub(wal.confirmed_end().0),
        uncommitted_bytes: broker.upload().backlog_bytes(),
        partitions,
        groups,
        left_out,
    }
}

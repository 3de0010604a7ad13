//! What can be seen of a broker from outside: its image, its partitions, and what it waits for.
//!
//! Nothing here changes anything.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::coordinators::Coordinator;
use super::{Broker, Phase};
use crate::coordinator::group::Groups;
use crate::ids::{MetaOffset, TopicPartition};
use crate::metadata::Image;
use crate::partition::Partition;
use crate::upload::Upload;
use crate::wal::Wal;

impl Broker {
    /// The committed metadata as far as this broker knows it.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A partition that is open here.
    #[must_use]
    pub fn partition(&self, partition: TopicPartition) -> Option<&Partition> {
        self.partitions.get(&partition)
    }

    /// The partitions that are open here, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.partitions.iter().map(|(&id, partition)| (id, partition))
    }

    /// The WAL.
    #[must_use]
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    /// What is on its way from the WAL to the objects.
    #[must_use]
    pub fn upload(&self) -> &Upload {
        &self.upload
    }

    /// End of the metadata that was applied here.
    #[must_use]
    pub fn metadata_offset(&self) -> MetaOffset {
        self.observer.next_offset()
    }

    /// The shards of the group coordinator that are at work here.
    pub fn groups(&self) -> impl Iterator<Item = &Groups> {
        self.coordinators.values().filter_map(|coordinator| match coordinator {
            Coordinator::Groups(host) => Some(host.state()),
            Coordinator::Transactions(_) => None,
        })
    }

    /// Whether the controller takes this broker as alive, as it said last.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.is_unfenced() && self.running().is_some()
    }

    /// What each flow is waiting for, one line each. Fetches that wait for data are not blocked.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.phase {
            Phase::Down | Phase::Ended | Phase::Running(_) => {}
            Phase::Registering => lines.push("broker: not registered yet".into()),
            Phase::Registered(epoch) => {
                lines.push(format!("broker: {epoch:?} waits for its earlier WALs to be sealed"));
            }
        }
        for (purpose, target) in self.asks.waiting() {
            lines.push(format!("ask: {purpose:?} waits for controller {target}"));
        }
        lines.extend(self.wal.blocked());
        lines.extend(self.upload.blocked());
        for (_, recovery) in self.recoveries.values() {
            lines.extend(recovery.blocked());
        }
        for (stream, opening) in &self.opening {
            lines.push(format!("open: {stream:?} {opening:?}"));
        }
        for (&stream, loading) in &self.loading {
            lines.push(loading.blocked(stream));
        }
        for (stream, closing) in &self.closing {
            lines.push(format!("close: {stream:?} {closing:?}"));
        }
        if let Some(first) = self.queue.front() {
            let waiting = self.queue.len();
            lines.push(format!("produce: {waiting} batches wait for room, first {first}"));
        }
        let produces = self.produces.len();
        if produces > 0 {
            lines.push(format!("produce: {produces} requests wait for confirmation"));
        }
        for coordinator in self.coordinators.values() {
            lines.extend(coordinator.blocked());
        }
        for (partition, producer, epoch) in self.verifying.keys() {
            lines.push(format!("verify: {producer:?} {epoch:?} in {partition:?}"));
        }
        lines.extend(self.reads.blocked());
        lines
    }

    /// Whether nothing is under way: all that was appended is confirmed, committed and trimmed.
    /// Heartbeats, and fetches that wait for data, go on.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let heartbeat = |purpose| matches!(purpose, super::Purpose::Heartbeat);
        self.running().is_some()
            && self.asks.waiting().all(|(purpose, _)| heartbeat(purpose))
            && self.wal.blocked().is_empty()
            && self.upload.is_idle()
            && self.recoveries.values().all(|(_, recovery)| recovery.is_done())
            && self.opening.is_empty()
            && self.loading.is_empty()
            && self.closing.is_empty()
            && self.queue.is_empty()
            && self.produces.is_empty()
            && self.coordinators.values().all(|coordinator| coordinator.blocked().is_empty())
            && self.verifying.is_empty()
            && self.peers.len() == 0
            && self.reads.is_idle()
            && self.partitions.values().all(|open| open.high_watermark() == open.log_end())
    }
}

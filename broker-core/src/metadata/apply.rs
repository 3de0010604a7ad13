//! How each record changes the image.
//!
//! A record is checked for what would make the image meaningless: a name that is not there, a
//! counter that goes back, committed data that does not tile. Whether a change was *allowed* is the
//! controller's business, and judged from outside by the invariants.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, StreamId, TopicId};
use crate::ids::{PartitionEpoch, TopicPartition};
use crate::metadata::digest::digest_of;
use crate::metadata::image::{
    ADMIN_DONE_MAX, AdminDone, BrokerState, Image, ObjectState, PartitionState, StreamRange,
    StreamState, TopicState, Unapplicable, WalState, of_topic,
};
use crate::metadata::record::{CommittedRange, Record};
use crate::mutants::{Mutant, Mutants};

/// What is wrong with a record.
type Refused = &'static str;

impl Image {
    /// Applies the records of the entry at `self.end`, all of them, and moves `end` on by one.
    ///
    /// # Errors
    /// If a record contradicts the image; the image is then not to be used any more.
    pub fn apply(&mut self, records: &[Record]) -> Result<(), Unapplicable> {
        self.apply_under(Mutants::NONE, records)
    }

    /// As [`Image::apply`], with the planted bugs of the image.
    ///
    /// # Errors
    /// As [`Image::apply`].
    pub fn apply_under(
        &mut self,
        mutants: Mutants,
        records: &[Record],
    ) -> Result<(), Unapplicable> {
        for record in records {
            self.apply_record(mutants, record)
                .map_err(|reason| Unapplicable { offset: self.end, reason })?;
        }
        self.end = self.end.next();
        Ok(())
    }

    fn apply_record(&mut self, mutants: Mutants, record: &Record) -> Result<(), Refused> {
        match record {
            Record::RegisterBroker { .. } => self.register(record),
            Record::BrokerChange { node, epoch, fenced, in_controlled_shutdown } => {
                let broker = self.brokers.get_mut(node).filter(|b| b.epoch == *epoch);
                let broker = broker.ok_or("change of a registration that is not current")?;
                broker.fenced = *fenced;
                broker.in_controlled_shutdown = *in_controlled_shutdown;
                Ok(())
            }
            Record::Topic { name, topic, nonce } => self.create_topic(name, *topic, *nonce),
            Record::RemoveTopic { topic } => self.remove_topic(*topic),
            Record::Config { topic, key, value } => {
                let topic = self.topics.get_mut(topic).ok_or("config of no topic")?;
                match value {
                    Some(value) => topic.configs.insert(key.clone(), value.clone()),
                    None => topic.configs.remove(key),
                };
                Ok(())
            }
            Record::Partition { partition, stream, replica } => {
                self.create_partition(*partition, *stream, *replica)
            }
            Record::PartitionChange { .. } => self.change_partition(record),
            Record::OpenStream { stream, epoch, node, broker_epoch } => {
                self.open_stream(mutants, *stream, *epoch, (*node, *broker_epoch))
            }
            Record::CloseStream { stream, epoch } => self.close_stream(*stream, *epoch),
            Record::PrepareObject { object, node, epoch, request } => {
                self.prepare(*object, (*node, *epoch), *request)
            }
            Record::CommitObject { object, ranges, .. } => {
                self.commit(mutants, *object, ranges, record)
            }
            Record::DestroyObject { object } => self.destroy(*object),
            Record::AssignRecovery { node, epoch, recoverer, recoverer_epoch } => {
                self.assign((*node, *epoch), (*recoverer, *recoverer_epoch))
            }
            Record::SealWal { node, epoch, end } => self.seal((*node, *epoch), *end),
            Record::ProducerIds { next, .. } => {
                if *next <= self.next_producer {
                    return Err("producer ids that are given out already");
                }
                self.next_producer = *next;
                Ok(())
            }
            Record::AdminDone { nonce, created } => {
                if self.admin_done.len() == ADMIN_DONE_MAX {
                    self.admin_done.pop_front();
                }
                self.admin_done.push_back(AdminDone { nonce: *nonce, created: *created });
                Ok(())
            }
        }
    }

    fn register(&mut self, record: &Record) -> Result<(), Refused> {
        let &Record::RegisterBroker { node, incarnation_id, zone } = record else {
            panic!("a registration, not {record:?}");
        };
        let epoch = BrokerEpoch(self.end.0);
        if self.wals.insert((node, epoch), WalState::default()).is_some() {
            return Err("two registrations of one broker in one batch");
        }
        self.index.unsealed.insert((node, epoch));
        // Requests of earlier registrations are refused as stale: nobody will ask for these again.
        let stale = (node, BrokerEpoch(0), 0)..(node, epoch, 0);
        let stale: Vec<_> = self.requests.range(stale).map(|(&key, _)| key).collect();
        for key in stale {
            let object = self.requests.remove(&key).expect("just found");
            self.index.grown = self.index.grown.wrapping_sub(digest_of(&(key, object)));
        }
        let (fenced, in_controlled_shutdown) = (true, false);
        let broker = BrokerState { epoch, incarnation_id, zone, fenced, in_controlled_shutdown };
        self.brokers.insert(node, broker);
        Ok(())
    }

    fn create_topic(&mut self, name: &str, topic: TopicId, nonce: u64) -> Result<(), Refused> {
        if self.topic_ids.contains_key(name) || self.topics.contains_key(&topic) {
            return Err("creation of a topic that exists");
        }
        self.topic_ids.insert(String::from(name), topic);
        let configs = BTreeMap::new();
        self.topics.insert(topic, TopicState { name: name.into(), nonce, partitions: 0, configs });
        Ok(())
    }

    fn remove_topic(&mut self, topic: TopicId) -> Result<(), Refused> {
        let state = self.topics.remove(&topic).ok_or("removal of no topic")?;
        self.topic_ids.remove(&state.name);
        let partitions: Vec<_> = self.partitions.range(of_topic(topic)).map(|(&p, _)| p).collect();
        for partition in partitions {
            let state = self.partitions.remove(&partition).expect("just found");
            self.index_replica(partition, state.replica, false);
            self.remove_stream(state.stream);
        }
        Ok(())
    }

    /// The stream's ranges go out of its objects; an object without ranges is destroyed.
    fn remove_stream(&mut self, id: StreamId) {
        let stream = self.streams.remove(&id).expect("a partition has a stream");
        if let (true, Some(owner)) = (stream.open, stream.owner()) {
            self.index.open.remove(&(owner.node, owner.broker_epoch, id));
        }
        for (start, (end, object)) in stream.objects {
            self.index.grown = self.index.grown.wrapping_sub(digest_of(&(id, start, end, object)));
            let mut state = self.objects[&object].clone();
            let ObjectState::Committed { ranges, .. } = &mut state else {
                panic!("{object:?} holds {id:?} and is {state:?}");
            };
            ranges.retain(|range| range.stream != id);
            let empty = ranges.is_empty();
            self.set_object(object, if empty { ObjectState::Destroyed } else { state });
        }
    }

    fn create_partition(
        &mut self,
        partition: TopicPartition,
        stream: StreamId,
        replica: Option<NodeId>,
    ) -> Result<(), Refused> {
        if replica.is_some_and(|node| !self.brokers.contains_key(&node)) {
            return Err("partition on a broker that never registered");
        }
        let topic = self.topics.get_mut(&partition.topic).ok_or("partition of no topic")?;
        if partition.index.0 != topic.partitions || stream != self.next_stream {
            return Err("partition or stream out of order");
        }
        topic.partitions += 1;
        self.next_stream = stream.next();
        let state = PartitionState {
            stream,
            replica,
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        };
        self.partitions.insert(partition, state);
        self.index_replica(partition, replica, true);
        let state = StreamState {
            partition,
            epoch: None,
            open: false,
            start: Offset(0),
            end: Offset(0),
            ranges: Vec::new(),
            objects: BTreeMap::new(),
        };
        self.streams.insert(stream, state);
        Ok(())
    }

    fn change_partition(&mut self, record: &Record) -> Result<(), Refused> {
        let &Record::PartitionChange { partition, replica, leader, leader_epoch, partition_epoch } =
            record
        else {
            panic!("a partition change, not {record:?}");
        };
        if replica.is_some_and(|node| !self.brokers.contains_key(&node)) {
            return Err("partition on a broker that never registered");
        }
        if leader.is_some() && leader != replica {
            return Err("a leader that is not the replica");
        }
        let state = self.partitions.get_mut(&partition).ok_or("change of no partition")?;
        if partition_epoch != state.partition_epoch.next() || leader_epoch < state.leader_epoch {
            return Err("a partition's epochs out of order");
        }
        let before = state.replica;
        state.replica = replica;
        state.leader = leader;
        state.leader_epoch = leader_epoch;
        state.partition_epoch = partition_epoch;
        if before != replica {
            self.index_replica(partition, before, false);
            self.index_replica(partition, replica, true);
        }
        Ok(())
    }

    fn open_stream(
        &mut self,
        mutants: Mutants,
        id: StreamId,
        epoch: LeaderEpoch,
        wal: (NodeId, BrokerEpoch),
    ) -> Result<(), Refused> {
        if !self.wals.contains_key(&wal) {
            return Err("opening for a WAL that is unknown");
        }
        let stream = self.streams.get_mut(&id).ok_or("opening of no stream")?;
        let again = mutants.on(Mutant::ControllerEpochKept) && stream.epoch == Some(epoch);
        if stream.epoch.is_some_and(|current| current >= epoch) && !again {
            return Err("a stream's epochs out of order");
        }
        if let (true, Some(owner)) = (stream.open, stream.ranges.last()) {
            self.index.open.remove(&(owner.node, owner.broker_epoch, id));
        }
        stream.epoch = Some(epoch);
        stream.open = true;
        let (node, broker_epoch) = wal;
        stream.ranges.push(StreamRange { epoch, node, broker_epoch, start: stream.end });
        self.index.open.insert((node, broker_epoch, id));
        Ok(())
    }

    fn close_stream(&mut self, id: StreamId, epoch: LeaderEpoch) -> Result<(), Refused> {
        let stream = self.streams.get_mut(&id).ok_or("closing of no stream")?;
        if !stream.open || stream.epoch != Some(epoch) {
            return Err("closing of a stream that is not open under this epoch");
        }
        stream.open = false;
        let owner = *stream.owner().expect("an open stream has an owner");
        self.index.open.remove(&(owner.node, owner.broker_epoch, id));
        Ok(())
    }

    fn prepare(
        &mut self,
        object: ObjectId,
        owner: (NodeId, BrokerEpoch),
        request: u64,
    ) -> Result<(), Refused> {
        if object != self.next_object || !self.wals.contains_key(&owner) {
            return Err("an object out of order, or for no registration");
        }
        self.next_object = object.next();
        let (node, epoch) = owner;
        let key = (node, epoch, request);
        if self.requests.insert(key, object).is_some() {
            return Err("two objects for one request");
        }
        self.index.grown = self.index.grown.wrapping_add(digest_of(&(key, object)));
        self.set_object(object, ObjectState::Prepared { node, epoch, request });
        Ok(())
    }

    fn commit(
        &mut self,
        mutants: Mutants,
        object: ObjectId,
        ranges: &[CommittedRange],
        record: &Record,
    ) -> Result<(), Refused> {
        let &Record::CommitObject { kind, size, wal_node, wal_epoch, .. } = record else {
            panic!("a commit, not {record:?}");
        };
        match self.objects.get(&object) {
            Some(ObjectState::Prepared { .. }) => {}
            Some(ObjectState::Committed { .. }) if mutants.on(Mutant::ControllerEndSetBack) => {
                for range in ranges {
                    self.streams.get_mut(&range.stream).ok_or("commit to no stream")?.end =
                        range.end;
                }
                return Ok(());
            }
            Some(ObjectState::Committed { .. } | ObjectState::Destroyed) | None => {
                return Err("commit of an object that is not prepared");
            }
        }
        if !self.wals.contains_key(&(wal_node, wal_epoch)) {
            return Err("commit from a WAL that is unknown");
        }
        if !ranges.windows(2).all(|pair| pair[0].stream < pair[1].stream) {
            return Err("ranges out of order");
        }
        for range in ranges {
            let stream = self.streams.get_mut(&range.stream).ok_or("commit to no stream")?;
            let (start, end) = (range.start, range.end);
            if start != stream.end || end <= start || stream.epoch != Some(range.epoch) {
                return Err("a range that does not continue its stream");
            }
            stream.objects.insert(start, (end, object));
            stream.end = end;
            let digest = digest_of(&(range.stream, start, end, object));
            self.index.grown = self.index.grown.wrapping_add(digest);
        }
        let state = if ranges.is_empty() {
            ObjectState::Destroyed
        } else {
            let ranges = ranges.iter().copied().collect();
            ObjectState::Committed { kind, size, ranges, wal: (wal_node, wal_epoch) }
        };
        self.set_object(object, state);
        Ok(())
    }

    fn destroy(&mut self, object: ObjectId) -> Result<(), Refused> {
        match self.objects.get(&object) {
            Some(ObjectState::Prepared { .. }) => {
                self.set_object(object, ObjectState::Destroyed);
                Ok(())
            }
            Some(ObjectState::Committed { .. } | ObjectState::Destroyed) | None => {
                Err("destruction of an object that is not prepared")
            }
        }
    }

    fn assign(
        &mut self,
        wal: (NodeId, BrokerEpoch),
        recoverer: (NodeId, BrokerEpoch),
    ) -> Result<(), Refused> {
        if self.brokers.get(&recoverer.0).map(|broker| broker.epoch) != Some(recoverer.1) {
            return Err("recovery by a registration that is not current");
        }
        let wal = self.wals.get_mut(&wal).filter(|wal| wal.sealed.is_none());
        wal.ok_or("recovery of a WAL that is unknown or sealed")?.recoverer = Some(recoverer);
        Ok(())
    }

    fn seal(&mut self, id: (NodeId, BrokerEpoch), end: Lsn) -> Result<(), Refused> {
        if self.open_streams(id.0, id.1).next().is_some() {
            return Err("seal of a WAL with open streams");
        }
        let wal = self.wals.get_mut(&id).filter(|wal| wal.sealed.is_none());
        wal.ok_or("seal of a WAL that is unknown or sealed")?.sealed = Some(end);
        self.index.unsealed.remove(&id);
        Ok(())
    }

    fn set_object(&mut self, object: ObjectId, state: ObjectState) {
        match state {
            ObjectState::Prepared { .. } => self.index.prepared.insert(object),
            ObjectState::Committed { .. } | ObjectState::Destroyed => {
                self.index.prepared.remove(&object)
            }
        };
        let grown = self.index.grown.wrapping_add(digest_of(&(object, &state)));
        let before = self.objects.insert(object, state);
        self.index.grown = before.map_or(grown, |b| grown.wrapping_sub(digest_of(&(object, &b))));
    }

    fn index_replica(&mut self, partition: TopicPartition, replica: Option<NodeId>, add: bool) {
        let index = &mut self.index;
        match (replica, add) {
            (None, true) => {
                index.unplaced.insert(partition);
            }
            (None, false) => {
                index.unplaced.remove(&partition);
            }
            (Some(node), true) => {
                index.by_replica.entry(node).or_default().insert(partition);
            }
            (Some(node), false) => {
                let of_node = index.by_replica.get_mut(&node).expect("replicas are indexed");
                of_node.remove(&partition);
                if of_node.is_empty() {
                    index.by_replica.remove(&node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

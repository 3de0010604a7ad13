//! Which partitions are open here: what the image says, and what is done about it.
//!
//! The image is the only judge. A stream is asked for when it is closed and the partition's epoch
//! is ours; the partition opens when the image shows the stream open under that epoch; it is given
//! up when the image shows anything else; and its stream is closed when all that went into the WAL
//! is committed. Sources: AutoMQ's `ElasticLog` and `OpenStreamChecker`, KAFKA-7164.

use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use super::asks::Purpose;
use super::coordinators::Coordinator;
use super::{Broker, Phase};
use crate::ids::{BrokerEpoch, LeaderEpoch, Offset, StreamId, TopicPartition};
use crate::metadata::image::StreamState;
use crate::metadata::record::{CommittedRange, Record};
use crate::mutants::Mutant;
use crate::partition::Partition;
use crate::partition::settled::Settled;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// `STREAM_NOT_CLOSED`, or a refusal that the image does not explain yet, is tried again after this
/// long (AutoMQ retries every 100 ms).
const OPEN_BACKOFF: Dur = Dur::ms(100);

/// A stream that is being opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Opening {
    epoch: LeaderEpoch,
    /// The unanswered request; without one the timer is armed, or the image will show the result.
    asked: Option<u64>,
}

/// A stream that was given up and is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Closing {
    epoch: LeaderEpoch,
    /// End of what went into the WAL: closed when it is committed.
    end: Offset,
    asked: bool,
}

impl Broker {
    /// Compares one partition with the image.
    pub(super) fn reconcile(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        let Some(epoch) = self.running() else { return };
        let known = self.image.partitions.get(&partition);
        let stream = known.map(|known| known.stream);
        let wanted = known
            .filter(|known| known.replica == Some(self.config.node))
            .map(|known| known.leader_epoch);
        if let Some(open) = self.partitions.get(&partition) {
            let (held, held_epoch) = (open.stream(), open.epoch());
            let state = self.image.streams.get(&held);
            let owned = state.is_some_and(|state| self.owns(state, epoch, held_epoch));
            if owned && wanted == Some(held_epoch) {
                return self.publish(partition, held_epoch, out);
            }
            self.give_up(cx, partition, out);
        }
        let Some((stream, state)) =
            stream.and_then(|stream| Some((stream, self.image.streams.get(&stream)?)))
        else {
            return;
        };
        let (open, current) = (state.open, state.epoch);
        match current {
            Some(current) if self.owns(state, epoch, current) => {
                if wanted == Some(current) {
                    self.stop_opening(stream, out);
                    self.load(cx, partition, stream, current, out);
                } else {
                    let end = state.end;
                    self.stop_loading(stream, out);
                    self.begin_close(cx, stream, current, end, out);
                }
            }
            Some(_) | None => {
                self.stop_loading(stream, out);
                self.closing.remove(&stream);
                self.stop_if_drained(out);
                let hasty = cx.mutants.on(Mutant::ControllerOpenUnchecked);
                let same = cx.mutants.on(Mutant::ControllerEpochKept);
                let is_new = |wanted: LeaderEpoch| {
                    current < Some(wanted) || same && !open && current == Some(wanted)
                };
                match wanted.filter(|wanted| (!open || hasty) && is_new(*wanted)) {
                    Some(wanted) => self.ask_to_open(stream, wanted, out),
                    None => self.stop_opening(stream, out),
                }
            }
        }
    }

    /// Compares all partitions that are to be led here with the image.
    pub(super) fn reconcile_all(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let wanted: Vec<TopicPartition> = self.image.partitions_of(self.config.node).collect();
        for partition in wanted {
            self.reconcile(cx, partition, out);
        }
    }

    /// The partitions led here that the records remove.
    pub(super) fn partitions_removed(&self, records: &[Record]) -> Vec<TopicPartition> {
        let mut removed = Vec::new();
        for record in records {
            if let Record::RemoveTopic { topic } = record {
                let led = self.partitions.keys().filter(|partition| partition.topic == *topic);
                removed.extend(led.copied());
            }
        }
        removed
    }

    /// Committed data may leave the log cache, and streams given up may be closed.
    pub(super) fn ranges_committed(&mut self, ranges: &[CommittedRange], out: &mut Outbox<Effect>) {
        for range in ranges {
            self.cache.committed(range.stream, range.end);
            self.close_if_committed(range.stream, out);
        }
        self.cache.evict(out);
    }

    /// The streams of a topic are gone: nothing is opened or closed there any more.
    pub(super) fn streams_removed(&mut self, out: &mut Outbox<Effect>) {
        let streams = &self.image.streams;
        self.closing.retain(|stream, _| streams.contains_key(stream));
        let is_gone = |stream: &&StreamId| !streams.contains_key(*stream);
        let pending = self.opening.keys().chain(self.loading.keys());
        let gone: Vec<StreamId> = pending.filter(is_gone).copied().collect();
        for stream in gone {
            self.stop_opening(stream, out);
            self.stop_loading(stream, out);
        }
        self.stop_if_drained(out);
    }

    /// Everything confirmed is uploaded at once.
    pub(super) fn seal_now(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let mut events = Vec::new();
        self.upload.seal_now(cx, out, &mut events);
        self.upload_events(cx, events, out);
    }

    /// A record of a stream that is not led here any more is confirmed: the last one of it lets the
    /// rest of the block go, so that the stream can be closed.
    pub(super) fn confirmed_after_close(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        end: Offset,
        out: &mut Outbox<Effect>,
    ) {
        if self.closing.get(&stream).is_some_and(|closing| closing.end == end) {
            self.seal_now(cx, out);
        }
    }

    pub(super) fn open_answered(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        epoch: LeaderEpoch,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        let Some(opening) = self.opening.get_mut(&stream).filter(|o| o.epoch == epoch) else {
            return;
        };
        opening.asked = None;
        match result {
            // The partition opens when the image shows the same.
            Ok(_) => {}
            Err(
                ControllerError::StreamNotClosed
                | ControllerError::NotController { .. }
                | ControllerError::DuplicateBrokerRegistration
                | ControllerError::StreamNotOpened
                | ControllerError::ObjectNotExist
                | ControllerError::OffsetNotMatched,
            ) => out.arm(TimerKey::Open(stream, epoch), OPEN_BACKOFF),
            // The image will show why, if it does not yet: then `reconcile` looks again.
            Err(
                ControllerError::StreamNotExist
                | ControllerError::StreamFenced
                | ControllerError::FencedLeaderEpoch
                | ControllerError::UnknownTopicOrPartition,
            ) => {
                self.opening.remove(&stream);
            }
            Err(
                ControllerError::StaleBrokerEpoch
                | ControllerError::BrokerIdNotRegistered
                | ControllerError::NodeEpochExpired
                | ControllerError::NodeFenced,
            ) => self.fenced_by(cx, result, out),
        }
    }

    /// The time to try again has come: to open a stream, or to publish what is open.
    pub(super) fn open_again(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        epoch: LeaderEpoch,
        out: &mut Outbox<Effect>,
    ) {
        if let Some(&partition) = self.led.get(&stream) {
            if self.partitions[&partition].epoch() == epoch {
                self.publish(partition, epoch, out);
            }
            return;
        }
        let waits = |opening: &Opening| opening.epoch == epoch && opening.asked.is_none();
        if self.opening.get(&stream).is_some_and(waits) {
            self.opening.remove(&stream);
            if let Some(state) = self.image.streams.get(&stream) {
                self.reconcile(cx, state.partition, out);
            }
        }
    }

    pub(super) fn assume_answered(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        if result.is_ok() {
            return;
        }
        self.fenced_by(cx, result, out);
        // Still to be led here, and still not published: try again.
        let open = self.partitions.get(&partition).filter(|open| open.epoch() == epoch);
        if let Some(open) = open {
            out.arm(TimerKey::Open(open.stream(), epoch), OPEN_BACKOFF);
        }
    }

    pub(super) fn close_answered(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        epoch: LeaderEpoch,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        // Done: it leaves the list when the image shows it.
        if result.is_ok() {
            return;
        }
        self.fenced_by(cx, result, out);
        // Out of our hands: someone else has closed it, or it is gone.
        if self.closing.get(&stream).is_some_and(|closing| closing.epoch == epoch) {
            self.closing.remove(&stream);
            self.stop_if_drained(out);
        }
    }

    /// The registration under which partitions can be led: the own WAL is open.
    pub(super) fn running(&self) -> Option<BrokerEpoch> {
        match self.phase {
            Phase::Running(epoch) if self.wal.is_open() => Some(epoch),
            Phase::Running(_)
            | Phase::Down
            | Phase::Registering
            | Phase::Registered(_)
            | Phase::Ended => None,
        }
    }

    /// Whether the image shows the stream open under `epoch`, by this process.
    fn owns(&self, state: &StreamState, registration: BrokerEpoch, epoch: LeaderEpoch) -> bool {
        let owner = state.ranges.last().map(|range| (range.node, range.broker_epoch));
        let me = Some((self.config.node, registration));
        state.open && state.epoch == Some(epoch) && owner == me
    }

    fn ask_to_open(
        &mut self,
        stream: StreamId,
        leader_epoch: LeaderEpoch,
        out: &mut Outbox<Effect>,
    ) {
        let Some(epoch) = self.running().filter(|_| !self.is_draining()) else { return };
        if self.opening.get(&stream).is_some_and(|opening| opening.epoch == leader_epoch) {
            return;
        }
        self.stop_opening(stream, out);
        let request = ControllerRequest::OpenStream { epoch, stream, leader_epoch };
        let purpose = Purpose::Open(stream, leader_epoch);
        let asked = Some(self.asks.ask(purpose, request, out));
        self.opening.insert(stream, Opening { epoch: leader_epoch, asked });
    }

    /// Nothing is asked about this stream any more. A request under way may still be carried out;
    /// then the image shows a stream of ours that is not wanted, and it is closed.
    fn stop_opening(&mut self, stream: StreamId, out: &mut Outbox<Effect>) {
        let Some(opening) = self.opening.remove(&stream) else { return };
        out.disarm(TimerKey::Open(stream, opening.epoch));
        if let Some(asked) = opening.asked {
            self.asks.forget(asked, out);
        }
    }

    /// The partition is loaded, and the image still shows its stream open here.
    pub(super) fn open_here(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (stream, epoch): (StreamId, LeaderEpoch),
        settled: (Settled, u64),
        coordinator: Option<Coordinator>,
        out: &mut Outbox<Effect>,
    ) {
        let state = &self.image.streams[&stream];
        self.cache.open(stream, state.end);
        let open = Partition::open(cx, partition, (stream, epoch), state, settled, out);
        self.partitions.insert(partition, open);
        self.led.insert(stream, partition);
        self.publish(partition, epoch, out);
        if let Some(coordinator) = coordinator {
            self.coordinator_opened(cx, partition, coordinator, out);
        }
    }

    /// Clients may know: asks the controller to name this broker as the leader.
    fn publish(
        &mut self,
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        out: &mut Outbox<Effect>,
    ) {
        let Some(epoch) = self.running() else { return };
        let published = self.image.partitions.get(&partition).and_then(|known| known.leader);
        let purpose = Purpose::Assume(partition, leader_epoch);
        if published == Some(self.config.node) || self.asks.is_waiting(purpose) {
            return;
        }
        let request = ControllerRequest::AssumeLeadership { epoch, partition, leader_epoch };
        self.asks.ask(purpose, request, out);
    }

    /// The image gives the partition to someone else, or to nobody.
    fn give_up(&mut self, cx: &Cx, partition: TopicPartition, out: &mut Outbox<Effect>) {
        let open = self.partitions.remove(&partition).expect("only open partitions are given up");
        let (stream, epoch, end) = (open.stream(), open.epoch(), open.wal_end());
        self.led.remove(&stream);
        self.cache.close(stream);
        let (unconfirmed, fetchers) = open.close(out);
        self.drop_queued(stream);
        self.stop_verifying(partition, out);
        self.coordinator_lost(partition, out);
        self.refuse_unconfirmed(partition, unconfirmed, out);
        for fetcher in fetchers {
            self.wake(cx, fetcher, out);
        }
        let gone = !self.image.streams.contains_key(&stream);
        self.snapshots.forget(stream, gone, out);
        if !gone {
            self.begin_close(cx, stream, epoch, end, out);
        }
        self.stop_if_drained(out);
    }

    fn begin_close(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        epoch: LeaderEpoch,
        end: Offset,
        out: &mut Outbox<Effect>,
    ) {
        if let Entry::Vacant(vacant) = self.closing.entry(stream) {
            vacant.insert(Closing { epoch, end, asked: false });
            self.seal_now(cx, out);
        }
        self.close_if_committed(stream, out);
    }

    fn close_if_committed(&mut self, stream: StreamId, out: &mut Outbox<Effect>) {
        let Some(epoch) = self.running() else { return };
        let Some(closing) = self.closing.get_mut(&stream).filter(|closing| !closing.asked) else {
            return;
        };
        let leader_epoch = closing.epoch;
        match self.image.streams.get(&stream) {
            Some(state) if state.end < closing.end => {}
            Some(_) => {
                closing.asked = true;
                let request = ControllerRequest::CloseStream { epoch, stream, leader_epoch };
                self.asks.ask(Purpose::Close(stream, leader_epoch), request, out);
            }
            None => {
                self.closing.remove(&stream);
            }
        }
    }
}

//! Streams and leaderships: who may write to a stream, and who is published as leader.
//!
//! A stream opens only when all that was ever acknowledged in it is committed (invariants L7, W3).
//! Source: AutoMQ's `StreamControlManager`.

use alloc::vec::Vec;

use crate::controller::office::{Active, Plan, Refusal, Verdict};
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, StreamId, TopicPartition};
use crate::metadata::image::StreamState;
use crate::metadata::record::Record;
use crate::mutants::Mutant;
use crate::peer::{ControllerAnswer, ControllerError};
use crate::step::Cx;

impl Active {
    pub(super) fn open_stream(
        &self,
        cx: &Cx,
        asker: (NodeId, BrokerEpoch),
        id: StreamId,
        leader_epoch: LeaderEpoch,
    ) -> Verdict {
        self.check_owner(cx, asker)?;
        let Some(stream) = self.stream(id)? else {
            return Err(ControllerError::StreamNotExist.into());
        };
        let opened =
            ControllerAnswer::Opened { start_offset: stream.start, next_offset: stream.end };
        if stream.epoch > Some(leader_epoch) {
            return Err(ControllerError::StreamFenced.into());
        }
        let again = !stream.open && cx.mutants.on(Mutant::ControllerEpochKept);
        if stream.epoch == Some(leader_epoch) && !again {
            let owner = stream.owner().map(|owner| (owner.node, owner.broker_epoch));
            return if stream.open && owner == Some(asker) {
                Ok(Plan::nothing(opened))
            } else {
                Err(ControllerError::StreamFenced.into())
            };
        }
        let partition = &self.image.partitions[&stream.partition];
        if partition.leader_epoch < leader_epoch {
            return Err(Refusal::ahead());
        }
        if partition.leader_epoch > leader_epoch || partition.replica != Some(asker.0) {
            return Err(ControllerError::StreamFenced.into());
        }
        if stream.open && !cx.mutants.on(Mutant::ControllerOpenUnchecked) {
            return Err(ControllerError::StreamNotClosed.into());
        }
        // Lsns run on over a node's WALs: this one has no start before the last one has an end.
        if self.image.wal_start(asker.0, asker.1).is_none() {
            return Err(ControllerError::StreamNotClosed.into());
        }
        let (node, broker_epoch) = asker;
        let record = Record::OpenStream { stream: id, epoch: leader_epoch, node, broker_epoch };
        Ok(Plan::change(Vec::from([record]), opened))
    }

    pub(super) fn close_stream(
        &self,
        cx: &Cx,
        asker: (NodeId, BrokerEpoch),
        id: StreamId,
        leader_epoch: LeaderEpoch,
    ) -> Verdict {
        self.check_owner(cx, asker)?;
        let Some(stream) = self.stream(id)? else {
            return Err(ControllerError::StreamNotExist.into());
        };
        let Some((range, _)) = stream.range(leader_epoch) else {
            return Err(match stream.epoch {
                Some(current) if current > leader_epoch => ControllerError::StreamFenced.into(),
                Some(_) | None => Refusal::after_barrier(ControllerError::StreamNotOpened),
            });
        };
        if (range.node, range.broker_epoch) != asker {
            return Err(ControllerError::StreamFenced.into());
        }
        if !stream.open || stream.epoch != Some(leader_epoch) {
            return Ok(Plan::nothing(ControllerAnswer::Done));
        }
        let record = Record::CloseStream { stream: id, epoch: leader_epoch };
        Ok(Plan::change(Vec::from([record]), ControllerAnswer::Done))
    }

    pub(super) fn assume_leadership(
        &self,
        cx: &Cx,
        asker: (NodeId, BrokerEpoch),
        partition: TopicPartition,
        leader_epoch: LeaderEpoch,
    ) -> Verdict {
        self.check_registration(asker)?;
        self.check_unfenced_wal(asker)?;
        let Some(state) = self.image.partitions.get(&partition) else {
            return Err(Refusal::after_barrier(ControllerError::UnknownTopicOrPartition));
        };
        if state.leader_epoch < leader_epoch {
            return Err(Refusal::ahead());
        }
        let node = asker.0;
        let eligible = self.image.can_lead(node) || cx.mutants.on(Mutant::ControllerTargetFenced);
        if state.leader_epoch > leader_epoch || state.replica != Some(node) || !eligible {
            return Err(ControllerError::FencedLeaderEpoch.into());
        }
        if state.leader == Some(node) {
            return Ok(Plan::nothing(ControllerAnswer::Done));
        }
        let stream = &self.image.streams[&state.stream];
        let owner = stream.owner().map(|owner| (owner.node, owner.broker_epoch));
        if !stream.open || stream.epoch != Some(leader_epoch) || owner != Some(asker) {
            return Err(Refusal::after_barrier(ControllerError::StreamNotOpened));
        }
        let record = Record::PartitionChange {
            partition,
            replica: Some(node),
            leader: Some(node),
            leader_epoch,
            partition_epoch: state.partition_epoch.next(),
        };
        Ok(Plan::change(Vec::from([record]), ControllerAnswer::Done))
    }

    /// The stream; `None` if it is deleted.
    pub(super) fn stream(&self, id: StreamId) -> Result<Option<&StreamState>, Refusal> {
        if id >= self.image.next_stream {
            return Err(Refusal::ahead());
        }
        Ok(self.image.streams.get(&id))
    }
}

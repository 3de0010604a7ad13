//! Objects: prepared, committed, expired. The order of a commit's checks is part of the protocol:
//! registration, WAL, object, ranges; what is already done is found before continuity is asked for
//! (AutoMQ #1055).
//!
//! Sources: AutoMQ's `StreamControlManager.commitStreamSetObject`, `S3ObjectControlManager`.

use alloc::vec::Vec;

use crate::controller::office::{Active, Plan, Refusal, Verdict};
use crate::ids::{BrokerEpoch, NodeId, ObjectId};
use crate::metadata::image::ObjectState;
use crate::metadata::record::{CommittedRange, Record};
use crate::mutants::Mutant;
use crate::peer::{CommitRequest, ControllerAnswer, ControllerError};
use crate::probe::Probe;
use crate::step::{Cx, Effect, Outbox};

/// A prepared object expires when it was seen by this many sweeps, one minute's worth. (AutoMQ: 60
/// minutes by the wall clock.) Counted, not timed: a new controller starts again, and an expiry
/// costs the broker an upload, never data, for a destroyed object can not be committed.
pub(super) const PREPARED_SWEEPS_MAX: u32 = 120;

/// Objects expired by one sweep; the next one goes on.
const EXPIRED_PER_SWEEP: usize = 256;

impl Active {
    pub(super) fn prepare_object(
        &self,
        cx: &Cx,
        asker: (NodeId, BrokerEpoch),
        request: u64,
    ) -> Verdict {
        self.check_owner(cx, asker)?;
        let (node, epoch) = asker;
        if let Some(object) = self.image.prepared_by(node, epoch, request) {
            return Ok(Plan::nothing(ControllerAnswer::Prepared { object }));
        }
        let object = self.image.next_object;
        let record = Record::PrepareObject { object, node, epoch, request };
        Ok(Plan::change(Vec::from([record]), ControllerAnswer::Prepared { object }))
    }

    pub(super) fn commit_object(
        &self,
        cx: &Cx,
        from: NodeId,
        commit: &CommitRequest,
        out: &mut Outbox<Effect>,
    ) -> Verdict {
        let wal = (commit.wal_node, commit.wal_epoch);
        if !cx.mutants.on(Mutant::ControllerEpochUnchecked) || !self.image.wals.contains_key(&wal) {
            self.check_registration((from, commit.epoch))?;
            self.check_committer((from, commit.epoch), wal)?;
        }
        if cx.mutants.on(Mutant::ControllerContinuityFirst) {
            self.check_ranges(commit)?;
        }
        match self.image.objects.get(&commit.object) {
            Some(&ObjectState::Prepared { node, epoch, .. })
                if (node, epoch) == (from, commit.epoch) => {}
            Some(state @ (ObjectState::Committed { .. } | ObjectState::Destroyed))
                if self.is_redundant(state, commit) =>
            {
                out.probe(Probe::ControllerCommitRedundant { object: commit.object });
                let answer = ControllerAnswer::Committed { redundant: true };
                let again = cx.mutants.on(Mutant::ControllerEndSetBack)
                    && matches!(state, ObjectState::Committed { .. });
                let records = if again { Vec::from([self.record_of(commit)]) } else { Vec::new() };
                return Ok(Plan::change(records, answer));
            }
            Some(
                ObjectState::Prepared { .. }
                | ObjectState::Committed { .. }
                | ObjectState::Destroyed,
            ) => return Err(ControllerError::ObjectNotExist.into()),
            None => return Err(Refusal::ahead()),
        }
        self.check_ranges(commit)?;
        let answer = ControllerAnswer::Committed { redundant: false };
        Ok(Plan::change(Vec::from([self.record_of(commit)]), answer))
    }

    /// The owner commits from its WAL until that is given to a recoverer; then only that one does.
    fn check_committer(
        &self,
        asker: (NodeId, BrokerEpoch),
        wal: (NodeId, BrokerEpoch),
    ) -> Result<(), Refusal> {
        let Some(state) = self.image.wals.get(&wal) else {
            return Err(if wal.1.0 >= self.image.end.0 {
                Refusal::ahead()
            } else {
                ControllerError::NodeEpochExpired.into()
            });
        };
        if state.sealed.is_some() {
            return Err(ControllerError::NodeFenced.into());
        }
        if asker == wal {
            return self.check_unfenced_wal(wal);
        }
        match state.recoverer {
            Some(recoverer) if recoverer == asker => Ok(()),
            // The assignment that the asker knows of may be news to a deposed controller, be it to
            // another node or to a later process of this one.
            None if asker.0 == wal.0 => {
                Err(Refusal::after_barrier(ControllerError::NodeEpochExpired))
            }
            Some(_) | None => Err(Refusal::after_barrier(ControllerError::NodeFenced)),
        }
    }

    /// Whether an earlier copy of the request has done all that it could do. Ranges of deleted
    /// streams are gone; a destroyed object has done its duty if it could have no others.
    fn is_redundant(&self, state: &ObjectState, commit: &CommitRequest) -> bool {
        let mut live = self.live_ranges(commit);
        match state {
            ObjectState::Prepared { .. } => false,
            ObjectState::Committed { kind, size, ranges, wal } => {
                (*kind, *size, *wal)
                    == (commit.kind, commit.size, (commit.wal_node, commit.wal_epoch))
                    && live.eq(ranges.iter().copied())
            }
            ObjectState::Destroyed => live.next().is_none(),
        }
    }

    /// The ranges must continue their streams, in the epoch and from the WAL that they are open in.
    /// A range of a deleted stream is nobody's loss, and no commit could ever carry it: it is
    /// dropped, for an error would stop the broker's other streams for good.
    fn check_ranges(&self, commit: &CommitRequest) -> Result<(), Refusal> {
        if !commit.ranges.windows(2).all(|pair| pair[0].stream < pair[1].stream) {
            return Err(ControllerError::OffsetNotMatched.into());
        }
        for range in &commit.ranges {
            let Some(stream) = self.stream(range.stream)? else { continue };
            if stream.epoch < Some(range.epoch) {
                return Err(Refusal::after_barrier(ControllerError::StreamNotOpened));
            }
            let owner = stream.owner().map(|owner| (owner.node, owner.broker_epoch));
            let wal = (commit.wal_node, commit.wal_epoch);
            if stream.epoch != Some(range.epoch) || owner != Some(wal) {
                return Err(ControllerError::StreamFenced.into());
            }
            if !stream.open {
                return Err(ControllerError::StreamNotOpened.into());
            }
            if range.start < stream.end || range.end <= range.start {
                return Err(ControllerError::OffsetNotMatched.into());
            }
            if range.start > stream.end {
                return Err(Refusal::after_barrier(ControllerError::OffsetNotMatched));
            }
        }
        Ok(())
    }

    fn live_ranges(&self, commit: &CommitRequest) -> impl Iterator<Item = CommittedRange> {
        let lives = |range: &CommittedRange| self.image.streams.contains_key(&range.stream);
        commit.ranges.iter().copied().filter(lives)
    }

    fn record_of(&self, commit: &CommitRequest) -> Record {
        Record::CommitObject {
            object: commit.object,
            kind: commit.kind,
            size: commit.size,
            ranges: self.live_ranges(commit).collect(),
            wal_node: commit.wal_node,
            wal_epoch: commit.wal_epoch,
        }
    }

    /// Prepared objects whose registration is gone, or that are prepared for too long.
    pub(super) fn expired_objects(&mut self) -> Vec<ObjectId> {
        let Self { image, ages, .. } = self;
        ages.retain(|object, _| matches!(image.objects[object], ObjectState::Prepared { .. }));
        let mut expired = Vec::new();
        for object in image.prepared() {
            let age = ages.entry(object).or_default();
            *age = age.saturating_add(1);
            let ObjectState::Prepared { node, epoch, .. } = image.objects[&object] else {
                panic!("{object:?} is indexed as prepared");
            };
            let orphan = image.brokers[&node].epoch != epoch;
            if (orphan || *age > PREPARED_SWEEPS_MAX) && expired.len() < EXPIRED_PER_SWEEP {
                expired.push(object);
            }
        }
        expired
    }
}

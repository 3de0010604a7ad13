//! One data object on its way: prepare → put → commit.
//!
//! Used by the owner's uploads, where many are on their way and commit in order, and by recovery,
//! where one follows the other. It leaves the order to them. Source: AutoMQ's
//! `DefaultUploadWriteAheadLogTask`.

use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, NodeId, ObjectId};
use crate::metadata::record::CommittedRange;
use crate::mutants::Mutant;
use crate::object::{Builder, HEADER_BYTES, ObjectHeader, object_key};
use crate::peer::{CommitRequest, ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::step::{Cx, Effect, Flow, ObjOp, ObjResult, Outbox, TimerKey};
use crate::store::create::{CreateOnly, Created, Io, Setup, Subject};
use crate::time::Dur;

/// Only a mutant gives up waiting for a commit's answer; a real one takes 100 ms or so.
const MUTANT_PATIENCE: Dur = Dur::secs(1);

/// The object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Shipment {
    load: Builder,
    step: Step,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    /// No object id is asked for.
    Waiting,
    /// The controller is asked for an id.
    Preparing { ask: u64 },
    /// It has an id, and waits for its turn to be put.
    Prepared(ObjectId),
    /// The put is on its way.
    Putting(ObjectId, CreateOnly),
    /// Durable; waits for its turn to be committed.
    Stored { object: ObjectId, size: u64 },
    /// The commit is asked for.
    Committing { object: ObjectId, size: u64, ask: u64 },
    /// Part of its streams.
    Committed(ObjectId),
}

/// In whose name an object is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Shipper {
    pub(crate) node: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) wal_node: NodeId,
    pub(crate) wal_epoch: BrokerEpoch,
    pub(crate) flow: Flow,
    pub(crate) timer: TimerKey,
}

/// What the controller's answer comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The step is done.
    Done,
    /// The prepared id is no good any more: prepare again.
    Expired,
    /// Not the active controller: the same again.
    AskAgain,
    /// This node's registration or WAL is not current any more.
    Fenced,
    /// Refused for what the request says.
    Refused(ControllerError),
}

impl Verdict {
    /// What `error` means for an upload.
    pub(crate) fn of(error: ControllerError) -> Self {
        match error {
            ControllerError::NotController { .. } => Self::AskAgain,
            ControllerError::ObjectNotExist => Self::Expired,
            ControllerError::StaleBrokerEpoch
            | ControllerError::BrokerIdNotRegistered
            | ControllerError::NodeEpochExpired
            | ControllerError::NodeFenced => Self::Fenced,
            ControllerError::DuplicateBrokerRegistration
            | ControllerError::StreamNotExist
            | ControllerError::StreamFenced
            | ControllerError::StreamNotClosed
            | ControllerError::StreamNotOpened
            | ControllerError::OffsetNotMatched
            | ControllerError::FencedLeaderEpoch
            | ControllerError::UnknownTopicOrPartition => Self::Refused(error),
        }
    }
}

impl Shipment {
    /// Waits with this load.
    pub(crate) fn new(load: Builder) -> Self {
        assert!(!load.is_empty(), "an object without records");
        Self { load, step: Step::Waiting }
    }

    /// How far it is.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// The ranges it carries.
    pub(crate) fn ranges(&self) -> Vec<CommittedRange> {
        self.load.ranges()
    }

    /// Asks for an object id.
    pub(crate) fn prepare(&mut self, by: &Shipper, ask: u64, request: u64) -> ControllerRequest {
        self.step = Step::Preparing { ask };
        ControllerRequest::PrepareObject { epoch: by.epoch, request }
    }

    /// Starts the put.
    pub(crate) fn put(&mut self, by: &Shipper, io: &mut Io<'_>) {
        let Step::Prepared(object) = self.step else { panic!("put in {:?}", self.step) };
        let nonce = io.seqs.nonce(io.cx);
        let header = ObjectHeader { node: by.node, epoch: by.epoch, nonce };
        let setup = Setup {
            subject: Subject::Data(object),
            flow: by.flow,
            timer: by.timer,
            key: object_key(object),
            body: self.load.encode(header, io.cx.mutants),
            header_bytes: HEADER_BYTES,
            hedge_after: None,
        };
        self.step = Step::Putting(object, CreateOnly::start(setup, io));
    }

    /// Asks for the commit; asking again is the same request.
    pub(crate) fn commit(
        &mut self,
        by: &Shipper,
        ask: u64,
        cx: &Cx,
        out: &mut Outbox<Effect>,
    ) -> ControllerRequest {
        let Step::Stored { object, size } = self.step else { panic!("commit in {:?}", self.step) };
        self.step = Step::Committing { object, size, ask };
        out.probe(Probe::UploadCommitSent { object });
        if cx.mutants.on(Mutant::UploadUnknownDeletes) {
            out.arm(by.timer, MUTANT_PATIENCE);
        }
        ControllerRequest::CommitObject(CommitRequest {
            epoch: by.epoch,
            wal_node: by.wal_node,
            wal_epoch: by.wal_epoch,
            object,
            kind: self.load.kind(),
            size,
            ranges: self.load.ranges(),
        })
    }

    /// Handles the answer to an operation of its put; whether the step changed.
    pub(crate) fn obj_done(&mut self, seq: u64, result: &ObjResult, io: &mut Io<'_>) -> bool {
        let Step::Putting(object, put) = &mut self.step else { return false };
        let object = *object;
        match put.obj_done(seq, result, io) {
            None => return false,
            Some(Created::Ours) => {
                let size = put.size();
                self.step = Step::Stored { object, size };
                io.out.probe(Probe::UploadPutDone { object });
            }
            // The id was given out twice: one that nobody else has is wanted.
            Some(Created::Foreign) => self.step = Step::Waiting,
        }
        true
    }

    /// Its timer fired; whether the step changed.
    pub(crate) fn timer(&mut self, by: &Shipper, io: &mut Io<'_>) -> bool {
        match &mut self.step {
            Step::Putting(_, put) => {
                put.timer(io);
                false
            }
            Step::Committing { object, .. } if io.cx.mutants.on(Mutant::UploadUnknownDeletes) => {
                io.seqs.send(by.flow, ObjOp::Delete { key: object_key(*object) }, io.out);
                self.step = Step::Waiting;
                true
            }
            Step::Waiting
            | Step::Preparing { .. }
            | Step::Prepared(_)
            | Step::Stored { .. }
            | Step::Committing { .. }
            | Step::Committed(_) => false,
        }
    }

    /// Whether it waits for the answer to this question.
    pub(crate) fn waits_for_answer(&self, id: u64) -> bool {
        match self.step {
            Step::Preparing { ask } | Step::Committing { ask, .. } => ask == id,
            Step::Waiting
            | Step::Prepared(_)
            | Step::Putting(..)
            | Step::Stored { .. }
            | Step::Committed(_) => false,
        }
    }

    /// Handles the controller's definite answer to the question it waits for.
    pub(crate) fn answered(
        &mut self,
        result: Result<ControllerAnswer, ControllerError>,
        io: &mut Io<'_>,
    ) -> Verdict {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let verdict = Verdict::of(error);
                if let (Verdict::Refused(_) | Verdict::Expired, &Step::Committing { object, .. }) =
                    (verdict, &self.step)
                {
                    io.out.probe(Probe::UploadCommitRefused { object });
                }
                self.refused(verdict, io);
                return verdict;
            }
        };
        self.step = match (&self.step, answer) {
            (Step::Preparing { .. }, ControllerAnswer::Prepared { object }) => {
                Step::Prepared(object)
            }
            (&Step::Committing { object, .. }, ControllerAnswer::Committed { redundant }) => {
                io.out.probe(Probe::UploadCommitted { object, redundant });
                Step::Committed(object)
            }
            (step, answer) => panic!("answer {answer:?} in {step:?}"),
        };
        Verdict::Done
    }

    fn refused(&mut self, verdict: Verdict, io: &mut Io<'_>) {
        match (verdict, &self.step) {
            (Verdict::AskAgain, Step::Preparing { .. })
                if io.cx.mutants.on(Mutant::UploadPrepareWedges) => {}
            (Verdict::AskAgain | Verdict::Expired, Step::Preparing { .. }) => {
                self.step = Step::Waiting;
            }
            // Whether the commit happened is unknown: the object stays, the request is sent again.
            (Verdict::AskAgain, &Step::Committing { object, size, .. }) => {
                self.step = Step::Stored { object, size };
            }
            // The object will be deleted by the controller; the data is still in the WAL and here.
            (Verdict::Expired, Step::Committing { .. }) => self.step = Step::Waiting,
            (_, _) => {}
        }
    }

    /// What it is waiting for.
    pub(crate) fn waits(&self) -> &'static str {
        match &self.step {
            Step::Waiting => "its turn to be prepared",
            Step::Preparing { .. } => "an object id",
            Step::Prepared(_) => "its turn to be put",
            Step::Putting(_, put) => put.waits(),
            Step::Stored { .. } => "its turn to be committed",
            Step::Committing { .. } => "the commit's answer",
            Step::Committed(_) => "nothing",
        }
    }
}

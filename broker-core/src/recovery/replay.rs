//! The replay of a listed WAL: reads the run, takes what its streams still lack, ships it.
//!
//! It decides neither which objects make up the run nor when the WAL is sealed. Source: AutoMQ's
//! `WALRecovery` (dedupe by the stream's committed end), `RecoverIterator`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Lsn, NodeId, Offset, StreamId};
use crate::metadata::Image;
use crate::mutants::Mutant;
use crate::object::{BlockRecord, Builder, WalKey, wal_key};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::step::{Flow, ObjOp, ObjResult, TimerKey};
use crate::store::Backoff;
use crate::store::create::Io;
use crate::upload::shipment::{Shipment, Shipper, Step, Verdict};
use crate::wal::record::{WalRecord, decode_wal_object};

/// Objects read ahead. The time of a recovery is mostly their latency; more would hold more memory.
const GETS_MAX: usize = 4;

/// The streams of a WAL: their epoch, and the offset at which the next record must start.
pub(super) type Ends = BTreeMap<StreamId, (LeaderEpoch, Offset)>;

/// The replay.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Replay {
    pub(super) end: Lsn,
    by: Shipper,
    object_bytes_max: u64,
    ends: Ends,
    run: VecDeque<WalKey>,
    fetches: VecDeque<Fetch>,
    backoff: Backoff,
    load: Builder,
    shipment: Option<Shipment>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Fetch {
    key: WalKey,
    state: FetchState,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum FetchState {
    Getting(u64),
    Resting,
    /// Came damaged, and rests.
    Damaged,
    Got(Vec<WalRecord>),
}

impl FetchState {
    fn rests(&self) -> bool {
        matches!(self, Self::Resting | Self::Damaged)
    }
}

/// What the replay came to, so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Goes on by itself.
    Going,
    /// Ask the controller this.
    Ask(u64, ControllerRequest),
    /// Everything of the run is committed.
    Replayed,
    /// The list, the image or the controller is out of date: list again.
    Stale,
}

/// The streams that are open under this WAL, and how far they are committed.
pub(super) fn open_ends(image: &Image, by: &Shipper) -> Ends {
    let mut ends = Ends::new();
    for (&stream, state) in &image.streams {
        let wal = state.ranges.last().map(|range| (range.node, range.broker_epoch));
        if let (true, Some(epoch)) = (state.open, state.epoch)
            && wal == Some((by.wal_node, by.wal_epoch))
        {
            ends.insert(stream, (epoch, state.end));
        }
    }
    ends
}

impl Replay {
    /// Replays `run`, which ends at `end`, on top of `ends`.
    pub(super) fn new(
        by: Shipper,
        object_bytes_max: u64,
        ends: Ends,
        run: VecDeque<WalKey>,
        end: Lsn,
    ) -> Self {
        Self {
            end,
            by,
            object_bytes_max,
            ends,
            run,
            fetches: VecDeque::new(),
            backoff: Backoff::default(),
            load: Builder::default(),
            shipment: None,
        }
    }

    /// Does what can be done now.
    pub(super) fn advance(&mut self, io: &mut Io<'_>) -> Progress {
        self.fetch(io);
        while self.load.bytes() < self.object_bytes_max
            && matches!(self.fetches.front(), Some(Fetch { state: FetchState::Got(_), .. }))
        {
            let fetch = self.fetches.pop_front().expect("it has a front");
            let FetchState::Got(records) = fetch.state else { unreachable!("it is got") };
            for (lsn, record) in (fetch.key.start.0..).zip(records) {
                self.take(Lsn(lsn), record, io);
            }
            self.fetch(io);
        }
        let read = self.fetches.is_empty() && self.run.is_empty();
        let full = self.load.bytes() >= self.object_bytes_max;
        if self.shipment.is_none() && !self.load.is_empty() && (read || full) {
            self.shipment = Some(Shipment::new(core::mem::take(&mut self.load)));
        }
        match self.shipment.as_ref().map(Shipment::step) {
            None if read => Progress::Replayed,
            None => Progress::Going,
            Some(_) => self.ship(io),
        }
    }

    /// Handles an answer of the store.
    pub(super) fn obj_done(&mut self, seq: u64, result: &ObjResult, io: &mut Io<'_>) -> Progress {
        let gets = |fetch: &Fetch| fetch.state == FetchState::Getting(seq);
        if let Some(at) = self.fetches.iter().position(gets) {
            match result {
                ObjResult::Body { data, .. } => {
                    let key = self.fetches[at].key;
                    match decode_wal_object(data) {
                        Ok((header, records)) => {
                            let named = (header.node, header.epoch, header.start, header.end);
                            let key = (key.node, key.epoch, key.start, key.end);
                            assert_eq!(named, key, "object under the wrong key");
                            self.backoff.reset();
                            self.fetches[at].state = FetchState::Got(records);
                        }
                        Err(_) if io.cx.mutants.on(Mutant::RecoveryDamageSkipped) => {
                            self.fetches[at].state = FetchState::Got(Vec::new());
                        }
                        // Perhaps on the way only. If not, the WAL stays unsealed for someone to
                        // look at: behind a seal its records would be lost without a word.
                        Err(_) => {
                            io.out.probe(damaged(key));
                            self.rest(at, FetchState::Damaged, io);
                            return Progress::Going;
                        }
                    }
                }
                // The old owner, still at it, trimmed it after our list; its data is committed, and
                // a newer object says so.
                ObjResult::NotFound => return Progress::Stale,
                ObjResult::SlowDown | ObjResult::Unknown => {
                    self.rest(at, FetchState::Resting, io);
                    return Progress::Going;
                }
                ObjResult::Done { .. } | ObjResult::Keys { .. } | ObjResult::PreconditionFailed => {
                    panic!("get of a WAL object: {result:?}")
                }
            }
        } else if let Some(shipment) = &mut self.shipment {
            let changed = shipment.obj_done(seq, result, io);
            self.keep_timer(io);
            if !changed {
                return Progress::Going;
            }
        }
        self.advance(io)
    }

    /// The recovery's timer fired: whatever rests goes on.
    pub(super) fn timer(&mut self, io: &mut Io<'_>) -> Progress {
        for fetch in &mut self.fetches {
            if fetch.state.rests() {
                fetch.state = FetchState::Getting(get(self.by.flow, fetch.key, io));
            }
        }
        let changed = self.shipment.as_mut().is_some_and(|it| it.timer(&self.by, io));
        if changed { self.advance(io) } else { Progress::Going }
    }

    /// Handles the controller's definite answer to question `id`.
    pub(super) fn answered(
        &mut self,
        id: u64,
        result: Result<ControllerAnswer, ControllerError>,
        io: &mut Io<'_>,
    ) -> Progress {
        let Some(shipment) = self.shipment.as_mut().filter(|it| it.waits_for_answer(id)) else {
            return Progress::Going;
        };
        match shipment.answered(result, io) {
            Verdict::Done | Verdict::Expired | Verdict::AskAgain => self.advance(io),
            // The image was behind the log. Later it is not: nobody else writes these streams. Or
            // the controller was, or this is no longer ours; then the image will say so.
            Verdict::Fenced | Verdict::Refused(_) => Progress::Stale,
        }
    }

    /// What it is waiting for.
    pub(super) fn blocked(&self, of: NodeId, lines: &mut Vec<String>) {
        for fetch in &self.fetches {
            let waits = match &fetch.state {
                FetchState::Getting(_) => "waits for a get",
                FetchState::Resting => "waits for time to get it again",
                FetchState::Damaged => "came damaged, waits for time to get it again",
                FetchState::Got(_) => continue,
            };
            lines.push(format!("recovery of {of}: {:?} {waits}", fetch.key.start));
        }
        if let Some(shipment) = &self.shipment {
            lines.push(format!("recovery of {of}: an object waits for {}", shipment.waits()));
        }
    }

    fn fetch(&mut self, io: &mut Io<'_>) {
        while self.fetches.len() < GETS_MAX {
            let Some(key) = self.run.pop_front() else { return };
            let state = FetchState::Getting(get(self.by.flow, key, io));
            self.fetches.push_back(Fetch { key, state });
        }
    }

    /// Takes the record if it is the next one its stream lacks.
    fn take(&mut self, lsn: Lsn, record: WalRecord, io: &mut Io<'_>) {
        let WalRecord { stream, epoch, base, end, batch } = record;
        let (of, wal_epoch) = (self.by.wal_node, self.by.wal_epoch);
        // Deleted, or closed, which means that all of it is committed.
        let Some((open_epoch, next)) = self.ends.get_mut(&stream) else { return };
        if epoch != *open_epoch {
            return;
        }
        let all = io.cx.mutants.on(Mutant::RecoveryDedupeSkipped);
        if end <= *next && !all {
            return;
        }
        let over_holes = io.cx.mutants.on(Mutant::RecoveryHoleIgnored);
        if base != *next && !all && !over_holes {
            let expected = *next;
            let epoch = wal_epoch;
            io.out.probe(Probe::RecoveryGap { of, epoch, lsn, stream, expected, base });
            return;
        }
        *next = end;
        io.out.probe(Probe::RecoveryTook { of, epoch: wal_epoch, lsn, stream, base, end });
        self.load.push(stream, epoch, BlockRecord { base, end, batch });
    }

    /// Moves the shipment on.
    fn ship(&mut self, io: &mut Io<'_>) -> Progress {
        let shipment = self.shipment.as_mut().expect("there is one");
        match shipment.step() {
            Step::Waiting => {
                // Numbers of this process that no other recovery or upload of it draws, so that
                // the controller takes no two prepares for one.
                let (ask, request) = (io.seqs.take(), io.seqs.take());
                Progress::Ask(ask, shipment.prepare(&self.by, ask, request))
            }
            Step::Prepared(_) => {
                shipment.put(&self.by, io);
                Progress::Going
            }
            Step::Stored { .. } => {
                let ask = io.seqs.take();
                Progress::Ask(ask, shipment.commit(&self.by, ask, io.cx, io.out))
            }
            Step::Committed(_) => {
                self.shipment = None;
                self.advance(io)
            }
            Step::Preparing { .. } | Step::Putting(..) | Step::Committing { .. } => Progress::Going,
        }
    }

    fn rest(&mut self, at: usize, state: FetchState, io: &mut Io<'_>) {
        self.fetches[at].state = state;
        io.out.arm(self.by.timer, self.backoff.failed());
    }

    /// The put and the gets share one timer: its end must not stop theirs.
    fn keep_timer(&mut self, io: &mut Io<'_>) {
        if self.fetches.iter().any(|fetch| fetch.state.rests()) {
            io.out.arm(self.by.timer, self.backoff.failed());
        }
    }
}

fn get(flow: Flow, key: WalKey, io: &mut Io<'_>) -> u64 {
    io.seqs.send(flow, ObjOp::Get { key: wal_key(key), range: None }, io.out)
}

/// The store gave bytes that are not what was put.
pub(super) fn damaged(key: WalKey) -> Probe {
    let WalKey { node: of, epoch, start, .. } = key;
    Probe::RecoveryDamaged { of, epoch, start }
}

/// The names under which a recovery works.
pub(super) fn timer(of: NodeId) -> TimerKey {
    TimerKey::Recovery(of)
}

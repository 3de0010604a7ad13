//! Recovery: takes over the WAL of a dead registration, so that nothing acknowledged is lost and
//! nothing is doubled.
//!
//! Claim (from here on the old owner can acknowledge nothing more) → list → contiguous run from the
//! trim position → read → take what the streams lack → prepare, put, commit → seal. Every step can
//! be repeated by another recoverer, or by this one again: what is already committed is skipped,
//! and the controller accepts the commits of the assigned recoverer only. Assignment is the
//! controller's, opening the streams elsewhere is the new replica's work. Source: AutoMQ's
//! `FailoverControlManager`, `RecoverIterator`, `WALRecovery`.

mod replay;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::BrokerLimits;
use crate::ids::{BrokerEpoch, Incarnation, Lsn, NodeId};
use crate::metadata::Image;
use crate::mutants::Mutant;
use crate::object::{WalKey, parse_wal_key, wal_key, wal_prefix};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::recovery::replay::{Progress, Replay, damaged, open_ends};
use crate::step::{Cx, Effect, Flow, Key, ObjOp, ObjResult, Outbox, Tok};
use crate::store::create::Io;
use crate::store::{Backoff, Seqs};
use crate::upload::shipment::{Shipper, Verdict};
use crate::wal::claim::{Claim, Terms};
use crate::wal::record::{WAL_HEADER_BYTES, decode_wal_header};

/// What a recovery tells its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecoveryEvent {
    /// Ask the active controller this, until there is a definite answer; give that to
    /// [`Recovery::answered`] with the same `id`.
    Ask {
        /// The question's number.
        id: u64,
        /// The question.
        request: ControllerRequest,
    },
    /// The WAL is recovered and sealed.
    Sealed {
        /// Exclusive end.
        end: Lsn,
    },
    /// The recovery is no longer ours.
    Abandoned,
}

/// The recovery of one WAL. There is at most one at a time per node in a process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Recovery {
    by: Shipper,
    limits: BrokerLimits,
    seqs: Seqs,
    backoff: Backoff,
    phase: Phase,
    /// Where the WAL starts: the end of the node's earlier ones.
    start: Lsn,
    found: Found,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    New,
    /// An earlier WAL of the node is not sealed, so that the start of this one is not known.
    WaitingForEarlier,
    Claiming(Claim),
    /// Lists a page of the WAL's objects; `None`: waits to do it again.
    Listing(Option<u64>),
    /// Reads the newest object's header; `None`: waits to do it again.
    ReadingTrim(Option<u64>, WalKey),
    Replaying(Replay),
    Sealing {
        ask: u64,
        end: Lsn,
    },
    Sealed,
    Abandoned,
}

/// What the list has shown so far. Bounded by what the owner may leave uncommitted.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Found {
    after: Option<Key>,
    /// Objects of this WAL, by start.
    objects: BTreeSet<(Lsn, BrokerEpoch, Lsn)>,
    /// Objects of the node's earlier, sealed WALs: garbage.
    garbage: Vec<Key>,
    /// Of these, such as were put after the seal.
    zombies: u32,
}

/// The part of the WAL that counts.
struct Run {
    keys: VecDeque<WalKey>,
    end: Lsn,
    hole: bool,
}

impl Recovery {
    /// The recovery of the WAL `(of, epoch)` by `node` in its registration `my_epoch`.
    #[must_use]
    pub fn new(
        node: NodeId,
        my_epoch: BrokerEpoch,
        of: NodeId,
        epoch: BrokerEpoch,
        limits: BrokerLimits,
    ) -> Self {
        let (flow, timer) = (Flow::Recovery(of), replay::timer(of));
        let by = Shipper { node, epoch: my_epoch, wal_node: of, wal_epoch: epoch, flow, timer };
        Self {
            by,
            limits,
            seqs: Seqs::default(),
            backoff: Backoff::default(),
            phase: Phase::New,
            start: Lsn(0),
            found: Found::default(),
        }
    }

    /// Begins. `image` must show the assignment: then it also shows every commit that the owner, or
    /// a recoverer before this one, got through.
    pub fn start(
        &mut self,
        cx: &Cx,
        incarnation: Incarnation,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        assert_eq!(self.phase, Phase::New, "a recovery starts once");
        assert!(self.is_assigned(image), "recovery of {:?} is not assigned", self.by);
        // A process may recover the WALs of one node one after the other: their operations,
        // questions and requests must not be taken for one another's.
        let first = self.by.wal_epoch.0 << 44 | (cx.entropy & 0xf_ffff) << 24;
        self.seqs = Seqs::new(incarnation, first);
        self.phase = Phase::WaitingForEarlier;
        out.probe(Probe::RecoveryStarted { of: self.by.wal_node, epoch: self.by.wal_epoch });
        self.image_changed(cx, image, out, events);
    }

    /// Handles the answer to an operation of this recovery's flow.
    pub fn obj_done(
        &mut self,
        cx: &Cx,
        tok: Tok,
        result: ObjResult,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        if !self.seqs.is_current(tok) {
            return;
        }
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        match &mut self.phase {
            Phase::Claiming(claim) => {
                if claim.obj_done(tok.seq, &result, &mut io).is_some() {
                    self.list_anew(out);
                }
            }
            Phase::Listing(seq) if *seq == Some(tok.seq) => {
                self.listed(cx, &result, image, out, events);
            }
            Phase::ReadingTrim(seq, newest) if *seq == Some(tok.seq) => {
                let newest = *newest;
                self.trim_read(cx, newest, &result, image, out, events);
            }
            Phase::Replaying(replay) => {
                let progress = replay.obj_done(tok.seq, &result, &mut io);
                self.progress(progress, out, events);
            }
            Phase::New
            | Phase::WaitingForEarlier
            | Phase::Listing(_)
            | Phase::ReadingTrim(..)
            | Phase::Sealing { .. }
            | Phase::Sealed
            | Phase::Abandoned => {}
        }
    }

    /// This recovery's timer fired.
    pub fn timer(
        &mut self,
        cx: &Cx,
        _image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        match &mut self.phase {
            Phase::Claiming(claim) => claim.timer(&mut io),
            Phase::Listing(None) => self.list(out),
            &mut Phase::ReadingTrim(None, newest) => self.read_trim(newest, out),
            Phase::Replaying(replay) => {
                let progress = replay.timer(&mut io);
                self.progress(progress, out, events);
            }
            Phase::New
            | Phase::WaitingForEarlier
            | Phase::Listing(Some(_))
            | Phase::ReadingTrim(Some(_), _)
            | Phase::Sealing { .. }
            | Phase::Sealed
            | Phase::Abandoned => {}
        }
    }

    /// Handles the controller's definite answer to question `id`.
    pub fn answered(
        &mut self,
        cx: &Cx,
        id: u64,
        result: Result<ControllerAnswer, ControllerError>,
        _image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        match &mut self.phase {
            Phase::Replaying(replay) => {
                let mut io = Io { cx, seqs: &mut self.seqs, out };
                let progress = replay.answered(id, result, &mut io);
                self.progress(progress, out, events);
            }
            &mut Phase::Sealing { ask, end } if ask == id => {
                self.seal_answered(end, result, out, events);
            }
            Phase::New
            | Phase::WaitingForEarlier
            | Phase::Claiming(_)
            | Phase::Listing(_)
            | Phase::ReadingTrim(..)
            | Phase::Sealing { .. }
            | Phase::Sealed
            | Phase::Abandoned => {}
        }
    }

    /// The image moved on: the assignment may be gone, an earlier WAL sealed, or this one.
    pub fn image_changed(
        &mut self,
        cx: &Cx,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        if self.is_done() {
            return;
        }
        if !self.is_assigned(image) {
            let wal = image.wals.get(&(self.by.wal_node, self.by.wal_epoch));
            return match (&self.phase, wal.and_then(|wal| wal.sealed)) {
                // Our own seal, seen in the log before its answer came.
                (&Phase::Sealing { end, .. }, Some(sealed)) if sealed == end => {
                    self.sealed(end, out, events);
                }
                (_, _) => self.abandon(out, events),
            };
        }
        if self.phase == Phase::WaitingForEarlier {
            let (of, epoch) = (self.by.wal_node, self.by.wal_epoch);
            for (_, wal) in image.wals.range((of, BrokerEpoch(0))..(of, epoch)) {
                let Some(sealed) = wal.sealed else { return };
                self.start = self.start.max(sealed);
            }
            self.claim(cx, out);
        }
    }

    /// Whether it is over, one way or the other.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Sealed | Phase::Abandoned)
    }

    /// What it is waiting for, one line each.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let of = self.by.wal_node;
        let mut lines = Vec::new();
        let waits = match &self.phase {
            Phase::New => "its start",
            Phase::WaitingForEarlier => "the seal of an earlier WAL",
            Phase::Claiming(claim) => claim.waits(),
            Phase::Listing(Some(_)) => "a list of WAL objects",
            Phase::Listing(None) => "time to list WAL objects again",
            Phase::ReadingTrim(Some(_), _) => "the newest object's header",
            Phase::ReadingTrim(None, _) => "time to read the newest object's header again",
            Phase::Sealing { .. } => "the seal's answer",
            Phase::Replaying(replay) => {
                replay.blocked(of, &mut lines);
                return lines;
            }
            Phase::Sealed | Phase::Abandoned => return lines,
        };
        lines.push(format!("recovery of {of}: waits for {waits}"));
        lines
    }

    fn is_assigned(&self, image: &Image) -> bool {
        let wal = image.wals.get(&(self.by.wal_node, self.by.wal_epoch));
        let by = Some((self.by.node, self.by.epoch));
        wal.is_some_and(|wal| wal.recoverer == by && wal.sealed.is_none())
    }

    fn claim(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        if cx.mutants.on(Mutant::RecoveryWithoutClaim) {
            return self.list_anew(out);
        }
        let Shipper { node: claimant, epoch, wal_node: of, flow, timer, .. } = self.by;
        let terms = Terms { of, claimant, epoch, flow, timer };
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        self.phase = Phase::Claiming(Claim::start(terms, &mut io));
    }

    fn list_anew(&mut self, out: &mut Outbox<Effect>) {
        self.found = Found::default();
        self.list(out);
    }

    fn list(&mut self, out: &mut Outbox<Effect>) {
        let prefix = wal_prefix(self.by.wal_node);
        let op = ObjOp::List { prefix, after: self.found.after.clone() };
        self.phase = Phase::Listing(Some(self.seqs.send(self.by.flow, op, out)));
    }

    fn listed(
        &mut self,
        cx: &Cx,
        result: &ObjResult,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        match result {
            ObjResult::Keys { keys, more } => {
                // An empty page that is not the last shows nothing.
                if *more && keys.is_empty() && !cx.mutants.on(Mutant::ListEmptyPageEnds) {
                    return self.rest_to_list(out);
                }
                self.backoff.reset();
                for key in keys {
                    self.sort_out(cx, key);
                }
                self.found.after = keys.last().cloned().or(self.found.after.take());
                if *more && !keys.is_empty() && !cx.mutants.on(Mutant::RecoveryFirstPage) {
                    return self.list(out);
                }
                match self.found.objects.last() {
                    Some(&(start, epoch, end)) => {
                        let node = self.by.wal_node;
                        self.read_trim(WalKey { node, epoch, start, end }, out);
                    }
                    None => self.replay(cx, self.start, image, out, events),
                }
            }
            ObjResult::SlowDown | ObjResult::Unknown => self.rest_to_list(out),
            ObjResult::Done { .. }
            | ObjResult::Body { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed => panic!("list of WAL objects ended with {result:?}"),
        }
    }

    /// Whose object is it: of this WAL, of one that is sealed, or none of our business?
    fn sort_out(&mut self, cx: &Cx, key: &Key) {
        let Some(WalKey { epoch, start, end, .. }) = parse_wal_key(key) else { return };
        // Earlier WALs are sealed, or this one would not be recovered yet; later ones are others'.
        let is_sealed = epoch < self.by.wal_epoch;
        let is_zombie = is_sealed && start >= self.start;
        self.found.zombies += u32::from(is_zombie);
        let kept_by_mutant = is_sealed && cx.mutants.on(Mutant::RecoverySealIgnored)
            || is_zombie && cx.mutants.on(Mutant::RecoveryOverlapFirst) && self.found.zombies > 1;
        if epoch == self.by.wal_epoch || kept_by_mutant {
            self.found.objects.insert((start, epoch, end));
        }
        if is_sealed {
            self.found.garbage.push(key.clone());
        }
    }

    fn read_trim(&mut self, newest: WalKey, out: &mut Outbox<Effect>) {
        let range = Some((0, WAL_HEADER_BYTES as u64));
        let op = ObjOp::Get { key: wal_key(newest), range };
        self.phase = Phase::ReadingTrim(Some(self.seqs.send(self.by.flow, op, out)), newest);
    }

    fn trim_read(
        &mut self,
        cx: &Cx,
        newest: WalKey,
        result: &ObjResult,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        match result {
            ObjResult::Body { data, .. } => match decode_wal_header(data) {
                Ok(header) => {
                    self.backoff.reset();
                    self.replay(cx, header.trim, image, out, events);
                }
                Err(_) => {
                    out.probe(damaged(newest));
                    self.rest_to_read_trim(newest, out);
                }
            },
            // Trimmed by its owner since, who must have put a newer one before.
            ObjResult::NotFound => self.rest_and_list(out),
            ObjResult::SlowDown | ObjResult::Unknown => self.rest_to_read_trim(newest, out),
            ObjResult::Done { .. } | ObjResult::Keys { .. } | ObjResult::PreconditionFailed => {
                panic!("get of a header ended with {result:?}")
            }
        }
    }

    fn rest_to_read_trim(&mut self, newest: WalKey, out: &mut Outbox<Effect>) {
        self.phase = Phase::ReadingTrim(None, newest);
        out.arm(self.by.timer, self.backoff.failed());
    }

    /// Asks for the page again, later.
    fn rest_to_list(&mut self, out: &mut Outbox<Effect>) {
        self.phase = Phase::Listing(None);
        out.arm(self.by.timer, self.backoff.failed());
    }

    /// Begins again with the list, later.
    fn rest_and_list(&mut self, out: &mut Outbox<Effect>) {
        self.found = Found::default();
        self.rest_to_list(out);
    }

    fn replay(
        &mut self,
        cx: &Cx,
        trim: Lsn,
        image: &Image,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        let Run { keys, end, hole } = self.run_from(cx, trim);
        out.probe(Probe::RecoveryListed {
            of: self.by.wal_node,
            epoch: self.by.wal_epoch,
            objects: u32::try_from(self.found.objects.len()).expect("objects fit in memory"),
            sealed: u32::try_from(self.found.garbage.len()).expect("objects fit in memory"),
            end,
            hole,
        });
        let ends = open_ends(image, &self.by);
        let object_bytes_max = self.limits.upload_block_bytes_max;
        let mut replay = Replay::new(self.by, object_bytes_max, ends, keys, end);
        let progress = replay.advance(&mut Io { cx, seqs: &mut self.seqs, out });
        self.phase = Phase::Replaying(replay);
        self.progress(progress, out, events);
    }

    /// The contiguous run from the trim position. What follows a hole was never acknowledged, for
    /// acknowledgements are given in order; what ends before the trim position is committed.
    fn run_from(&self, cx: &Cx, trim: Lsn) -> Run {
        let over_holes = cx.mutants.on(Mutant::RecoveryHoleIgnored);
        let from_oldest = over_holes || cx.mutants.on(Mutant::RecoveryDedupeSkipped);
        let oldest = self.found.objects.first().filter(|_| from_oldest);
        let mut reach = oldest.map_or(trim.max(self.start), |&(start, ..)| start);
        let (mut keys, mut hole) = (VecDeque::new(), false);
        for &(start, epoch, end) in &self.found.objects {
            if end <= reach {
                continue;
            }
            if start > reach && !over_holes {
                hole = true;
                break;
            }
            keys.push_back(WalKey { node: self.by.wal_node, epoch, start, end });
            reach = end;
        }
        // Never below where the WAL started: the next epoch would write over this one's past.
        Run { keys, end: reach.max(self.start), hole }
    }

    fn progress(
        &mut self,
        progress: Progress,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        match progress {
            Progress::Going => {}
            Progress::Ask(id, request) => events.push(RecoveryEvent::Ask { id, request }),
            Progress::Stale => self.rest_and_list(out),
            Progress::Replayed => {
                let Phase::Replaying(replay) = &self.phase else { panic!("{:?}", self.phase) };
                self.seal(replay.end, events);
            }
        }
    }

    fn seal(&mut self, end: Lsn, events: &mut Vec<RecoveryEvent>) {
        let Shipper { epoch, wal_node, wal_epoch, .. } = self.by;
        let ask = self.seqs.take();
        self.phase = Phase::Sealing { ask, end };
        let request = ControllerRequest::SealWal { epoch, wal_node, wal_epoch, end };
        events.push(RecoveryEvent::Ask { id: ask, request });
    }

    fn seal_answered(
        &mut self,
        end: Lsn,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
        events: &mut Vec<RecoveryEvent>,
    ) {
        match result {
            Ok(answer) => {
                assert_eq!(answer, ControllerAnswer::Done, "answer to a seal");
                self.sealed(end, out, events);
            }
            Err(error) => match Verdict::of(error) {
                Verdict::AskAgain => self.seal(end, events),
                // The answer may be an old one, or a deposed controller's, who knows nothing of the
                // assignment: only the log takes it away.
                Verdict::Fenced | Verdict::Refused(_) | Verdict::Expired | Verdict::Done => {
                    self.rest_and_list(out);
                }
            },
        }
    }

    fn sealed(&mut self, end: Lsn, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {
        let Shipper { wal_node: of, wal_epoch: epoch, flow, timer, .. } = self.by;
        self.phase = Phase::Sealed;
        out.disarm(timer);
        out.probe(Probe::RecoverySealed { of, epoch, end });
        events.push(RecoveryEvent::Sealed { end });
        // All of it is garbage now, what was behind a hole, too. Nobody waits for these deletes;
        // what they miss, or what lands later, the next owner or recoverer sweeps away.
        let Found { objects, garbage, .. } = core::mem::take(&mut self.found);
        let own = objects.into_iter().filter(|&(_, of_epoch, _)| of_epoch == epoch);
        let own = own.map(|(start, _, end)| wal_key(WalKey { node: of, epoch, start, end }));
        for key in own.chain(garbage) {
            self.seqs.send(flow, ObjOp::Delete { key }, out);
        }
    }

    fn abandon(&mut self, out: &mut Outbox<Effect>, events: &mut Vec<RecoveryEvent>) {
        let Shipper { wal_node: of, wal_epoch: epoch, timer, .. } = self.by;
        self.phase = Phase::Abandoned;
        self.found = Found::default();
        out.disarm(timer);
        out.probe(Probe::RecoveryAbandoned { of, epoch });
        events.push(RecoveryEvent::Abandoned);
    }
}

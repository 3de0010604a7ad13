//! Owner, zombie and recoverer over a faulty store, in thousands of random schedules.
//!
//! A node writes, dies for its session at a random moment and goes on as a zombie; recoverers take
//! over, crash, are replaced; the node comes back in a new registration and writes on. Operations
//! on the store are answered out of order, lost before or after they took effect, or take effect
//! long after. In the end every record ever confirmed must be readable exactly once, with its
//! bytes.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

extern crate std;

mod steps;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::*;
use crate::ids::{LeaderEpoch, Offset, StreamId};
use crate::metadata::Image;
use crate::metadata::image::ObjectState;
use crate::mutants::Mutants;
use crate::object::{decode_object, object_key, parse_claim_key, parse_wal_key};
use crate::peer::ControllerRequest;
use crate::recovery::{Recovery, RecoveryEvent};
use crate::step::ObjOp;
use crate::store::fake::*;
use crate::time::{Mono, Wall};
use crate::upload::{Upload, UploadEvent};

const NODE: NodeId = NodeId(1);
const STREAMS: u64 = 3;
const SCHEDULES: u64 = 4_000;
/// Registrations of the node in one schedule.
const LIVES: u64 = 3;

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// A process of the node: its WAL and its uploads.
struct Owner {
    epoch: BrokerEpoch,
    wal: Wal,
    upload: Upload,
    /// Next offsets of its streams, once they are open.
    next: Option<BTreeMap<StreamId, Offset>>,
    halted: bool,
}

struct Recoverer {
    me: (NodeId, BrokerEpoch),
    recovery: Recovery,
    /// May be behind, but not behind the assignment.
    image: Image,
}

enum Machine {
    Owner(Box<Owner>),
    Recoverer(Box<Recoverer>),
}

struct Actor {
    incarnation: Incarnation,
    desk: Desk,
    asks: Vec<(u64, ControllerRequest)>,
    machine: Machine,
}

/// An operation that was sent.
struct Sent {
    actor: usize,
    tok: Tok,
    op: ObjOp,
}

struct Run {
    rng: Rng,
    mutants: Mutants,
    store: FakeStore,
    controller: FakeController,
    actors: Vec<Actor>,
    sent: Vec<Sent>,
    /// Operations that took effect, and whose answers are on their way.
    answers: Vec<(usize, Tok, ObjResult)>,
    /// Nobody waits for these any more, but they may still take effect.
    late: Vec<ObjOp>,
    /// Requests of which another copy may still arrive.
    copies: Vec<(NodeId, ControllerRequest)>,
    next_epoch: u64,
    faults: bool,
    confirmed: BTreeMap<(StreamId, Offset), Bytes>,
    /// Per registration: the WAL objects that were there when its successor's claim landed.
    at_claim: BTreeMap<BrokerEpoch, BTreeSet<Lsn>>,
    /// Starts of the WAL objects that are or were there, by registration.
    landed: BTreeMap<BrokerEpoch, BTreeSet<Lsn>>,
    wrong: Option<String>,
    seen: Seen,
}

/// Proof that the schedules reach what they are for.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    confirmed: usize,
    fenced: usize,
    own_seen: usize,
    recovered: usize,
    holes: usize,
    zombie_puts: usize,
    deletes: usize,
    takeovers: usize,
}

impl Run {
    fn new(seed: u64, mutants: Mutants) -> Self {
        Self {
            rng: Rng(seed),
            mutants,
            store: FakeStore::new(3),
            controller: FakeController::default(),
            actors: Vec::new(),
            sent: Vec::new(),
            answers: Vec::new(),
            late: Vec::new(),
            copies: Vec::new(),
            next_epoch: 1,
            faults: true,
            confirmed: BTreeMap::new(),
            at_claim: BTreeMap::new(),
            landed: BTreeMap::new(),
            wrong: None,
            seen: Seen::default(),
        }
    }

    fn epoch(&mut self) -> BrokerEpoch {
        self.next_epoch += 1;
        BrokerEpoch(self.next_epoch)
    }

    fn cx(&mut self) -> Cx {
        Cx { mono: Mono(0), wall: Wall(0), entropy: self.rng.next(), mutants: self.mutants }
    }

    fn add(&mut self, machine: Machine) -> usize {
        let incarnation = Incarnation(self.actors.len() as u32 + 1);
        self.actors.push(Actor { incarnation, desk: Desk::default(), asks: Vec::new(), machine });
        self.actors.len() - 1
    }

    /// Registers the node anew and opens its WAL.
    fn new_life(&mut self) -> (usize, BrokerEpoch) {
        let epoch = self.epoch();
        let wals = self.controller.image.wals.values();
        let start = wals.map(|wal| wal.sealed.expect("sealed")).max().unwrap_or(Lsn(0));
        self.controller.register(NODE, epoch);
        let (wal, upload) = (Wal::new(NODE, limits()), Upload::new(NODE, limits()));
        let owner = Owner { epoch, wal, upload, next: None, halted: false };
        let at = self.add(Machine::Owner(Box::new(owner)));
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Owner(owner) = &mut actor.machine else { unreachable!() };
        owner.wal.open(&cx, actor.incarnation, epoch, start, &mut actor.desk.out);
        owner.upload.open(actor.incarnation, epoch, start);
        self.collect(at, Vec::new(), Vec::new(), Vec::new());
        (at, epoch)
    }

    /// Assigns the recovery of the WAL to a fresh process of another node.
    fn assign(&mut self, wal: BrokerEpoch) -> usize {
        let me = (NodeId(2 + self.rng.below(2) as u16), self.epoch());
        self.controller.assign((NODE, wal), me);
        let recovery = Recovery::new(me.0, me.1, NODE, wal, limits());
        let image = self.controller.image.clone();
        let at = self.add(Machine::Recoverer(Box::new(Recoverer { me, recovery, image })));
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Recoverer(it) = &mut actor.machine else { unreachable!() };
        let mut events = Vec::new();
        it.recovery.start(&cx, actor.incarnation, &it.image, &mut actor.desk.out, &mut events);
        self.collect(at, Vec::new(), Vec::new(), events);
        at
    }

    /// Does what the machines of an actor ask for.
    fn collect(
        &mut self,
        at: usize,
        wal: Vec<WalEvent>,
        upload: Vec<UploadEvent>,
        recovery: Vec<RecoveryEvent>,
    ) {
        for event in wal {
            self.wal_event(at, event);
        }
        for event in upload {
            self.upload_event(at, event);
        }
        for event in recovery {
            if let RecoveryEvent::Ask { id, request } = event {
                self.actors[at].asks.push((id, request));
            }
        }
        let actor = &mut self.actors[at];
        actor.desk.sort();
        for (tok, op) in core::mem::take(&mut actor.desk.ops) {
            self.sent.push(Sent { actor: at, tok, op });
        }
        for probe in core::mem::take(&mut actor.desk.probes) {
            match probe {
                Probe::WalOwnWriteSeen { .. } => self.seen.own_seen += 1,
                Probe::RecoveryTook { .. } => self.seen.recovered += 1,
                Probe::RecoveryListed { hole: true, .. } => self.seen.holes += 1,
                Probe::WalDeleteSent { .. } => self.seen.deletes += 1,
                _ => {}
            }
        }
    }

    fn wal_event(&mut self, at: usize, event: WalEvent) {
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Owner(owner) = &mut actor.machine else { unreachable!() };
        let disorder = cx.mutants.on(Mutant::WalCacheOnPutOrder);
        let mut events = Vec::new();
        let out = &mut actor.desk.out;
        match event {
            // Streams are opened only now, so no claim of this registration comes after that.
            WalEvent::Opened => self.open_streams(at),
            // Nobody asks for proofs here.
            WalEvent::Room | WalEvent::Proven { .. } => {}
            WalEvent::Fenced => {
                owner.halted = true;
                self.seen.fenced += 1;
            }
            WalEvent::Stored { lsn, record } => {
                owner.upload.confirmed(&cx, lsn, &record, out, &mut events);
            }
            WalEvent::Confirmed { lsn, record } => {
                if !disorder {
                    owner.upload.confirmed(&cx, lsn, &record, out, &mut events);
                }
                let epoch = owner.epoch;
                self.record_confirmed(epoch, lsn, record);
            }
            WalEvent::Failed { record, .. } => {
                let next = owner.next.as_mut().expect("it appended");
                let next = next.get_mut(&record.stream).expect("it appended");
                *next = (*next).min(record.base);
            }
        }
        for event in events {
            self.upload_event(at, event);
        }
    }

    fn open_streams(&mut self, at: usize) {
        let Machine::Owner(owner) = &mut self.actors[at].machine else { unreachable!() };
        let wal = &self.controller.image.wals[&(NODE, owner.epoch)];
        if wal.recoverer.is_some() {
            return;
        }
        let epoch = LeaderEpoch(owner.epoch.0 as u32);
        let streams = (0..STREAMS).map(StreamId);
        let owned = (NODE, owner.epoch);
        let open = |stream| (stream, self.controller.open_stream(stream, epoch, owned));
        owner.next = Some(streams.map(open).collect());
    }

    fn record_confirmed(&mut self, epoch: BrokerEpoch, lsn: Lsn, record: WalRecord) {
        self.seen.confirmed += 1;
        let durable = |starts: &BTreeSet<Lsn>| starts.contains(&lsn);
        if self.at_claim.get(&epoch).is_some_and(|starts| !durable(starts)) {
            self.fail(format!("{lsn:?} of {epoch:?} confirmed, not durable at the next claim"));
        }
        if !self.landed.get(&epoch).is_some_and(durable) {
            self.fail(format!("{lsn:?} of {epoch:?} confirmed, not durable"));
        }
        let other = self.confirmed.insert((record.stream, record.base), record.batch);
        if other.is_some() {
            self.fail(format!("{:?} {:?} confirmed twice", record.stream, record.base));
        }
    }

    fn upload_event(&mut self, at: usize, event: UploadEvent) {
        let cx = self.cx();
        let actor = &mut self.actors[at];
        let Machine::Owner(owner) = &mut actor.machine else { unreachable!() };
        match event {
            UploadEvent::Ask { id, request } => actor.asks.push((id, request)),
            UploadEvent::Committed { upto, .. } => {
                owner.wal.trim(&cx, upto, &mut actor.desk.out);
            }
            UploadEvent::Room => {}
            UploadEvent::Fenced => owner.halted = true,
        }
    }

    fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// Lives, deaths and take-overs, then the check.
    fn play(&mut self) -> Result<Seen, String> {
        for life in 0..LIVES {
            let last = life + 1 == LIVES;
            let (owner, epoch) = self.new_life();
            let steps = self.rng.below(600);
            self.steps(steps);
            if self.rng.percent(30) {
                self.crash(owner);
            }
            self.take_over(epoch, last)?;
            if let Some(wrong) = self.wrong.take() {
                return Err(wrong);
            }
        }
        self.check().map(|()| self.seen)
    }

    fn take_over(&mut self, epoch: BrokerEpoch, last: bool) -> Result<(), String> {
        let mut recoverer = self.assign(epoch);
        for _ in 0..self.rng.below(3) {
            let steps = self.rng.below(80);
            self.steps(steps);
            if self.rng.percent(50) {
                self.crash(recoverer);
            }
            if self.controller.image.wals[&(NODE, epoch)].sealed.is_none() {
                recoverer = self.assign(epoch);
            }
        }
        self.faults = !last;
        for _ in 0..40_000 {
            if self.controller.image.wals[&(NODE, epoch)].sealed.is_some() {
                return Ok(());
            }
            self.step();
        }
        let Machine::Recoverer(it) = &self.actors[recoverer].machine else { unreachable!() };
        Err(format!("stuck: {:?}", it.recovery.blocked()))
    }

    /// Every confirmed record is readable exactly once, with its bytes.
    fn check(&self) -> Result<(), String> {
        let mut readable: BTreeMap<(StreamId, Offset), Bytes> = BTreeMap::new();
        for (&object, state) in &self.controller.image.objects {
            let ObjectState::Committed { ranges, .. } = state else { continue };
            let key = object_key(object);
            let Some((_, body)) = self.store.objects.get(&key) else {
                return Err(format!("{key} is committed and not there"));
            };
            let blocks = decode_object(body).map_err(|error| format!("{key}: {error:?}"))?;
            let held: u64 = blocks.iter().map(|(it, _)| it.end.0 - it.start.0).sum();
            let promised: u64 = ranges.iter().map(|it| it.end.0 - it.start.0).sum();
            if held != promised {
                return Err(format!("{key} holds {held} offsets, not {promised}"));
            }
            for (entry, records) in blocks {
                for record in records {
                    if readable.insert((entry.stream, record.base), record.batch).is_some() {
                        return Err(format!("{:?} {:?} twice", entry.stream, record.base));
                    }
                }
            }
        }
        for (at, batch) in &self.confirmed {
            if readable.get(at) != Some(batch) {
                return Err(format!("confirmed {at:?} reads {:?}", readable.get(at)));
            }
        }
        for (stream, state) in &self.controller.image.streams {
            let held = readable.range((*stream, Offset(0))..=(*stream, Offset(u64::MAX))).count();
            if held as u64 != state.end.0 {
                return Err(format!("{stream:?} ends at {:?}, holds {held}", state.end));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, mutants: Mutants) -> Result<Seen, String> {
    let play = || Run::new(seed, mutants).play();
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|_| Err("assertion".into()))
}

#[test]
fn confirmed_records_survive_zombies_and_crashed_recoverers() {
    let mut all = Seen::default();
    for seed in 0..SCHEDULES {
        match run(seed, none()) {
            Ok(seen) => {
                all.confirmed += seen.confirmed;
                all.fenced += seen.fenced;
                all.own_seen += seen.own_seen;
                all.recovered += seen.recovered;
                all.holes += seen.holes;
                all.zombie_puts += seen.zombie_puts;
                all.deletes += seen.deletes;
                all.takeovers += seen.takeovers;
            }
            Err(wrong) => panic!("schedule {seed}: {wrong}"),
        }
    }
    let reached = [
        all.confirmed,
        all.fenced,
        all.own_seen,
        all.recovered,
        all.holes,
        all.zombie_puts,
        all.deletes,
        all.takeovers,
    ];
    assert!(reached.iter().all(|&times| times > 100), "{all:?}");
}

/// The schedules find what they should; the bugs that they cannot show have their own tests.
#[cfg(feature = "mutants")]
#[test]
fn schedules_find_the_planted_bugs() {
    let mut missed = Vec::new();
    for mutant in [
        Mutant::WalAckBeforeVerify,
        Mutant::WalVerifyBeforePut,
        Mutant::WalConfirmMax,
        Mutant::WalCacheOnPutOrder,
        Mutant::WalUnknownIsFailure,
        Mutant::UploadTrimBeforeCommit,
        Mutant::UploadUnknownDeletes,
        Mutant::UploadWrongIndex,
        Mutant::RecoveryOverlapFirst,
        Mutant::RecoverySealIgnored,
        Mutant::RecoveryDedupeSkipped,
        Mutant::RecoveryFirstPage,
        Mutant::RecoveryHoleIgnored,
        Mutant::RecoveryWithoutClaim,
    ] {
        let mutants = none().with(mutant);
        if !(0..SCHEDULES).any(|seed| run(seed, mutants).is_err()) {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

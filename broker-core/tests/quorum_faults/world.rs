//! A tiny event loop around voters and one observer: network, devices, timers, crashes, clients.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use broker_core::ids::{Incarnation, MetaOffset, NodeId};
use broker_core::mutants::Mutants;
use broker_core::peer::{PeerMsg, QuorumMsg};
use broker_core::probe::Probe;
use broker_core::quorum::format::decode_state;
use broker_core::quorum::{Observer, Quorum, QuorumEvent};
use broker_core::step::{Cx, Effect, LogOp, LogResult, Outbox, QuorumTimer, TimerKey, Tok};
use broker_core::time::{Mono, Wall};
use bytes::Bytes;

use crate::judge::{Broken, Durable, Judge, broken};

const MS: u64 = 1_000;
/// Faults happen until then …
const HEAL_AT: u64 = 9_000 * MS;
/// … and by then all must work again.
const END_AT: u64 = HEAL_AT + 12_000 * MS;
const OBSERVER: NodeId = NodeId(100);

/// What a run reached.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) steps: u64,
    committed: u64,
    reached: BTreeMap<&'static str, u64>,
}

impl Run {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.committed += other.committed;
        for (name, count) in &other.reached {
            *self.reached.entry(name).or_default() += count;
        }
    }

    pub(crate) fn check_reached(&self) {
        for name in [
            "quorum.became_leader",
            "quorum.resigned",
            "quorum.truncated",
            "torn tail",
            "node.halted",
            "check-quorum",
            "uncommitted entry lost",
        ] {
            assert!(self.reached.contains_key(name), "never reached: {name} in {self:?}");
        }
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        b ^ (b >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum What {
    Deliver(u64),
    Disk(NodeId),
    Timer(NodeId, TimerKey, u64),
    Boot(NodeId),
    Fault,
    Propose,
}

/// How bad this run is.
struct Profile {
    loss: u64,
    doubled: u64,
    delay_max: u64,
    sync_max: u64,
    fault_every: u64,
    wild_timers: bool,
}

#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    durable: usize,
    state: Bytes,
    queue: std::collections::VecDeque<(Tok, LogOp)>,
    busy: bool,
}

enum Machine {
    Voter(Box<Quorum>),
    Observer(Observer),
}

struct Node {
    machine: Machine,
    up: bool,
    incarnation: Incarnation,
    disk: Disk,
    timers: BTreeMap<TimerKey, u64>,
    next_offset: MetaOffset,
}

/// The world of one run.
pub(crate) struct World {
    rng: Rng,
    profile: Profile,
    mutants: Mutants,
    now: u64,
    serial: u64,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    flying: BTreeMap<u64, (NodeId, NodeId, QuorumMsg)>,
    nodes: BTreeMap<NodeId, Node>,
    /// Directed links that are cut.
    cut: BTreeSet<(NodeId, NodeId)>,
    out: Outbox<Effect>,
    judge: Judge,
    /// Wild timers say nothing about how long a leader stays.
    timers_fit: bool,
    run: Run,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        voters: u16,
        mutants: Mutants,
        only: &'static [&'static str],
    ) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        let profile = Profile {
            loss: [0, 1, 5, 20][rng.below(4) as usize],
            doubled: [0, 5, 20][rng.below(3) as usize],
            delay_max: [2, 20, 200, 800][rng.below(4) as usize] * MS,
            sync_max: [1, 10, 100][rng.below(3) as usize] * MS,
            fault_every: [200, 700, 2_000][rng.below(3) as usize] * MS,
            wild_timers: rng.percent(30),
        };
        let ids: Vec<_> = (1..=voters).map(NodeId).collect();
        let voter = |id: &NodeId| (*id, Machine::Voter(Box::new(Quorum::new(*id, ids.clone()))));
        let observer = (OBSERVER, Machine::Observer(Observer::new(OBSERVER, ids.clone())));
        let node = |(id, machine)| (id, Node::new(machine));
        let nodes = ids.iter().map(voter).chain([observer]).map(node).collect();
        Self {
            timers_fit: !profile.wild_timers,
            rng,
            profile,
            mutants,
            now: 0,
            serial: 0,
            queue: BinaryHeap::new(),
            flying: BTreeMap::new(),
            nodes,
            cut: BTreeSet::new(),
            out: Outbox::default(),
            judge: Judge::new(usize::from(voters), only),
            run: Run::default(),
        }
    }

    pub(crate) fn run(mut self) -> Result<Run, Broken> {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let at = self.rng.below(50 * MS);
            self.at(at, What::Boot(id));
        }
        self.at(self.profile.fault_every, What::Fault);
        self.at(100 * MS, What::Propose);
        let mut healed = None;
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            self.now = at;
            if at >= HEAL_AT && healed.is_none() {
                self.heal();
                healed = Some(self.judge.committed_end());
            }
            if at >= END_AT {
                break;
            }
            self.run.steps += 1;
            self.happen(what)?;
        }
        self.check_recovered(healed.expect("the run ends behind the healing"))?;
        self.run.committed = self.judge.committed_end().0;
        Ok(self.run)
    }

    /// LV2 and LV1: a leader, and everyone has what was committed, and something newer was.
    fn check_recovered(&self, healed: MetaOffset) -> Result<(), Broken> {
        let end = self.judge.committed_end();
        if !self.judge.judges("LV2") {
            return Ok(());
        }
        if end.0 <= healed.0 + 2 {
            return broken("LV2", format!("nothing committed after healing: {healed} to {end}"));
        }
        // Two seconds are more than any answer waits.
        let behind = |node: &Node| node.next_offset.0 + 40 < end.0;
        match self.nodes.iter().find(|(_, node)| behind(node)) {
            Some((id, node)) => {
                broken("LV2", format!("{id} stays at {} of {end}", node.next_offset))
            }
            None => Ok(()),
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.profile = Profile {
            loss: 0,
            doubled: 0,
            delay_max: 5 * MS,
            sync_max: 5 * MS,
            fault_every: u64::MAX,
            wild_timers: false,
        };
        let down: Vec<_> =
            self.nodes.iter().filter(|(_, node)| !node.up).map(|(id, _)| *id).collect();
        for id in down {
            self.at(self.now + 1, What::Boot(id));
        }
    }

    fn happen(&mut self, what: What) -> Result<(), Broken> {
        match what {
            What::Deliver(serial) => {
                let (from, to, msg) = self.flying.remove(&serial).expect("flying");
                if !self.cut.contains(&(from, to)) && self.nodes[&to].up {
                    return self.step(to, |node, cx, out, events| match &mut node.machine {
                        Machine::Voter(quorum) => quorum.peer(cx, from, msg, out, events),
                        Machine::Observer(observer) => observer.peer(cx, from, msg, out, events),
                    });
                }
                Ok(())
            }
            What::Disk(id) => self.disk_done(id),
            What::Timer(id, key, armed) => {
                let node = self.nodes.get_mut(&id).expect("a node");
                if !node.up || node.timers.get(&key) != Some(&armed) {
                    return Ok(());
                }
                node.timers.remove(&key);
                self.step(id, |node, cx, out, events| match (&mut node.machine, key) {
                    (Machine::Voter(quorum), TimerKey::Quorum(timer)) => {
                        quorum.timer(cx, timer, out, events);
                    }
                    (Machine::Observer(observer), TimerKey::Observe) => observer.timer(cx, out),
                    (_, other) => panic!("nobody armed {other:?}"),
                })
            }
            What::Boot(id) => self.boot(id),
            What::Fault => self.fault(),
            What::Propose => self.propose(),
        }
    }

    fn step(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut Node, &Cx, &mut Outbox<Effect>, &mut Vec<QuorumEvent>),
    ) -> Result<(), Broken> {
        let cx = Cx {
            mono: Mono(self.now),
            wall: Wall(self.now as i64),
            entropy: self.rng.next(),
            mutants: self.mutants,
        };
        let mut out = std::mem::take(&mut self.out);
        let mut events = Vec::new();
        let node = self.nodes.get_mut(&id).expect("a node");
        act(node, &cx, &mut out, &mut events);
        for event in events {
            if let QuorumEvent::Committed { offset, .. } = event {
                assert_eq!(offset, node.next_offset, "{id}: events out of order");
                node.next_offset = offset.next();
            }
        }
        let active = matches!(&node.machine, Machine::Voter(quorum) if quorum.is_active());
        let effects: Vec<_> = out.drain().collect();
        self.out = out;
        for effect in effects {
            self.effect(id, effect)?;
        }
        if active && self.timers_fit { self.judge.leads(self.now, id) } else { Ok(()) }
    }

    fn effect(&mut self, id: NodeId, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Send { to, msg: PeerMsg::Quorum(msg) } => {
                self.judge.sent(id, &msg, durable(&self.nodes, id))?;
                let copies = 1 + u64::from(self.rng.percent(self.profile.doubled));
                for _ in 0..copies {
                    if !self.rng.percent(self.profile.loss) {
                        let at = self.now + 200 + self.rng.below(self.profile.delay_max);
                        self.serial += 1;
                        self.flying.insert(self.serial, (id, to, msg.clone()));
                        self.at(at, What::Deliver(self.serial));
                    }
                }
            }
            Effect::Log(tok, op) => {
                let node = self.nodes.get_mut(&id).expect("a node");
                node.disk.queue.push_back((tok, op));
                self.disk_next(id);
            }
            Effect::Arm { key, after } => {
                let wild = self.profile.wild_timers
                    && key != TimerKey::Quorum(QuorumTimer::Fetch)
                    && key != TimerKey::Observe;
                let after = if wild {
                    self.rng.below(after.0 * 2) + 1
                } else {
                    // Clocks drift by up to one percent.
                    after.0 * (990 + self.rng.below(21)) / 1_000 + 1
                };
                self.serial += 1;
                let armed = self.serial;
                self.nodes.get_mut(&id).expect("a node").timers.insert(key, armed);
                self.at(self.now + after, What::Timer(id, key, armed));
            }
            Effect::Disarm(key) => {
                self.nodes.get_mut(&id).expect("a node").timers.remove(&key);
            }
            Effect::Probe(probe) => {
                *self.run.reached.entry(probe.name()).or_default() += 1;
                match probe {
                    Probe::QuorumLoaded { torn: true, .. } => self.reach("torn tail"),
                    Probe::QuorumResigned { check_quorum: true, .. } => self.reach("check-quorum"),
                    Probe::QuorumTruncated { .. } => self.reach("uncommitted entry lost"),
                    _ => {}
                }
                let nodes = &self.nodes;
                if let (Probe::QuorumLoaded { .. }, Machine::Voter(quorum)) =
                    (&probe, &nodes[&id].machine)
                {
                    self.judge.loaded(id, quorum)?;
                }
                self.judge.probe(self.now, id, &probe, &|node| durable(nodes, node))?;
            }
            Effect::Halt(_) => self.crash(id, 300 * MS),
            other => panic!("not the quorum's business: {other:?}"),
        }
        Ok(())
    }

    fn reach(&mut self, name: &'static str) {
        *self.run.reached.entry(name).or_default() += 1;
    }

    fn boot(&mut self, id: NodeId) -> Result<(), Broken> {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.up {
            return Ok(());
        }
        node.up = true;
        node.incarnation = node.incarnation.next();
        node.next_offset = MetaOffset(0);
        node.timers.clear();
        self.judge.booted(id);
        self.step(id, |node, cx, out, _| match &mut node.machine {
            Machine::Voter(quorum) => quorum.boot(cx, node.incarnation, out),
            Machine::Observer(observer) => observer.boot(cx, node.incarnation, out),
        })
    }

    /// Loses of what was not synced nothing, all, a tail, or a hole in it.
    fn crash(&mut self, id: NodeId, down_for: u64) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if !node.up {
            return;
        }
        node.up = false;
        node.timers.clear();
        let disk = &mut node.disk;
        // What was on its way to the device may have reached it.
        for (_, op) in std::mem::take(&mut disk.queue) {
            match op {
                LogOp::Append { bytes } => disk.bytes.extend_from_slice(&bytes),
                LogOp::WriteState { bytes } if self.rng.percent(50) => disk.state = bytes,
                LogOp::Truncate { end } if self.rng.percent(50) => {
                    disk.bytes.truncate(end as usize);
                    disk.durable = disk.bytes.len();
                }
                LogOp::WriteState { .. } | LogOp::Truncate { .. } => break,
                LogOp::Load | LogOp::Sync => {}
            }
        }
        let unsynced = disk.bytes.len() - disk.durable;
        let keep = self.rng.below(unsynced as u64 + 1) as usize;
        match self.rng.below(4) {
            0 => disk.bytes.truncate(disk.durable),
            1 => disk.bytes.truncate(disk.durable + keep),
            2 if unsynced > 0 => {
                let from = disk.durable + keep.min(unsynced - 1);
                let to = (from + 40).min(disk.bytes.len());
                disk.bytes[from..to].fill(0);
            }
            2 | 3 => {}
            _ => unreachable!(),
        }
        let back = self.now + 1 + self.rng.below(down_for);
        self.at(back, What::Boot(id));
    }

    fn fault(&mut self) -> Result<(), Broken> {
        if self.now >= HEAL_AT {
            return Ok(());
        }
        let every = self.profile.fault_every;
        let next = self.now + every / 2 + self.rng.below(every);
        self.at(next, What::Fault);
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let id = ids[self.rng.below(ids.len() as u64) as usize];
        match self.rng.below(8) {
            0..3 => self.crash(id, 2_500 * MS),
            3 => {
                for id in ids {
                    self.crash(id, 300 * MS);
                }
            }
            4 | 5 => {
                let one_way = self.rng.percent(30);
                for other in ids.into_iter().filter(|other| *other != id) {
                    self.cut.insert((id, other));
                    if !one_way {
                        self.cut.insert((other, id));
                    }
                }
            }
            6 => self.cut.clear(),
            7 => {
                if self.nodes[&id].up {
                    return self.step(id, |node, cx, out, events| {
                        if let Machine::Voter(quorum) = &mut node.machine {
                            quorum.resign(cx, out, events);
                        }
                    });
                }
            }
            _ => unreachable!(),
        }
        Ok(())
    }

    fn propose(&mut self) -> Result<(), Broken> {
        let next = self.now + self.rng.below(120 * MS);
        self.at(next, What::Propose);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let active = |quorum: &Quorum| quorum.is_active();
            let node = &self.nodes[&id];
            if node.up && matches!(&node.machine, Machine::Voter(quorum) if active(quorum)) {
                let batch = Bytes::from(self.rng.next().to_be_bytes().repeat(3));
                self.step(id, |node, cx, out, _| {
                    if let Machine::Voter(quorum) = &mut node.machine {
                        let end = quorum.end_offset();
                        assert_eq!(quorum.propose(cx, batch, out), Some(end));
                    }
                })?;
            }
        }
        Ok(())
    }

    fn disk_next(&mut self, id: NodeId) {
        let slow = self.profile.sync_max;
        let node = self.nodes.get_mut(&id).expect("a node");
        if let Some((_, op)) = node.disk.queue.front()
            && !std::mem::replace(&mut node.disk.busy, true)
        {
            let appends = matches!(op, LogOp::Append { .. });
            let took = if appends { 20 } else { 100 + self.rng.below(slow) };
            self.at(self.now + took, What::Disk(id));
        }
    }

    fn disk_done(&mut self, id: NodeId) -> Result<(), Broken> {
        let faults = self.now < HEAL_AT && self.rng.below(2_000) == 0;
        let node = self.nodes.get_mut(&id).expect("a node");
        let disk = &mut node.disk;
        disk.busy = false;
        let Some((tok, op)) = disk.queue.pop_front() else { return Ok(()) };
        let result = match op {
            LogOp::Append { .. } if faults => Some(LogResult::Full),
            LogOp::Sync if faults => Some(LogResult::SyncFailed),
            LogOp::Load | LogOp::Truncate { .. } | LogOp::WriteState { .. } if faults => {
                Some(LogResult::Io)
            }
            LogOp::Append { bytes } => {
                disk.bytes.extend_from_slice(&bytes);
                None
            }
            LogOp::Load => Some(LogResult::Loaded {
                log: Bytes::copy_from_slice(&disk.bytes),
                state: disk.state.clone(),
            }),
            LogOp::Sync => {
                disk.durable = disk.bytes.len();
                Some(LogResult::Durable { end: disk.durable as u64 })
            }
            LogOp::Truncate { end } => {
                disk.bytes.truncate(end as usize);
                disk.durable = disk.bytes.len();
                Some(LogResult::Durable { end })
            }
            LogOp::WriteState { bytes } => {
                disk.state = bytes;
                Some(LogResult::StateDurable)
            }
        };
        self.disk_next(id);
        let Some(result) = result else { return Ok(()) };
        self.step(id, |node, cx, out, events| {
            if let Machine::Voter(quorum) = &mut node.machine {
                quorum.log_done(cx, tok, result, out, events);
            }
        })
    }

    fn at(&mut self, at: u64, what: What) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, what)));
    }
}

impl Node {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            up: false,
            incarnation: Incarnation(0),
            disk: Disk::default(),
            timers: BTreeMap::new(),
            next_offset: MetaOffset(0),
        }
    }
}

/// What the device of a voter holds for certain.
fn durable(nodes: &BTreeMap<NodeId, Node>, id: NodeId) -> Option<Durable> {
    if id == OBSERVER {
        return None;
    }
    let disk = &nodes[&id].disk;
    let state = decode_state(&disk.state).expect("an undamaged state file");
    Some(Durable { bytes: disk.durable as u64, state })
}

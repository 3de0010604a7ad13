//! The metadata quorum: voters, their log devices, and messages that come late, in any order, or
//! never. It begins with a leader in office; then voters may suspect it, propose, die and come
//! back, as often as the bounds allow.

mod canonical;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, LazyLock};

use broker_core::ids::{Incarnation, NodeId};
use broker_core::metadata::Image;
use broker_core::mutants::Mutants;
use broker_core::peer::{PeerMsg, QuorumMsg};
use broker_core::probe::Probe;
use broker_core::quorum::Quorum;
use broker_core::step::{Cx, Effect, Key, LogOp, Outbox, QuorumTimer, TimerKey};
use broker_core::time::{Mono, Wall};
use broker_core::wal::Wal;
use bytes::Bytes;
use invariants::history::SimTime;
use invariants::view::{Evidence, Membership, NodeEvent, Tail, View};
use invariants::{Judge, Violation};
use stateright::{Model, Property};

use super::Watch;
use super::search::{Disturbed, HOLDS, Judged};
use crate::decider::panics::caught;
use crate::outcome::PANIC;
use crate::plan::Keep;
use crate::world::log_device::LogDevice;

/// The first voter's number; the others follow it.
const FIRST: u16 = 100;

/// How often what may happen. Sound messages and devices go on without a bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// A voter's patience ends: the timers of elections, of fetches that fail, of check-quorum.
    pub suspicions: u8,
    /// A request is made again: timers of fetches, votes, announcements.
    pub retries: u8,
    /// A voter dies and is started again.
    pub crashes: u8,
    /// A batch is proposed to the leader.
    pub proposals: u8,
    /// A message is lost, comes twice, or overtakes the one before it.
    pub disorders: u8,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suspicions, retries, crashes, proposals, disorders } = self;
        write!(
            f,
            "suspicions {suspicions}, retries {retries}, crashes {crashes}, proposals \
             {proposals}, disorders {disorders}"
        )
    }
}

/// The model.
#[derive(Debug)]
pub struct QuorumModel {
    /// How many voters there are.
    pub voters: u16,
    /// How often what may happen.
    pub bounds: Bounds,
    /// The planted bugs that are on.
    pub mutants: Mutants,
    /// What is reached, and what it takes.
    pub watch: Arc<Watch>,
}

/// The way from one voter to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Way {
    from: NodeId,
    to: NodeId,
}

/// A voter and its device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Voter {
    quorum: Quorum,
    device: LogDevice,
    timers: BTreeSet<QuorumTimer>,
    incarnation: Incarnation,
}

impl Voter {
    /// Whatever it is told now waits until its device is done, or is lost with its process: it may
    /// as well be told then.
    fn is_deaf(&self) -> bool {
        let waits_for = |op: &LogOp| matches!(op, LogOp::WriteState { .. } | LogOp::Load);
        self.device.head().is_some_and(|(_, op)| waits_for(op)) || !self.quorum.is_loaded()
    }
}

/// Everything there is between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    ids: Arc<[NodeId]>,
    voters: Vec<Arc<Voter>>,
    /// What is on its way, oldest first; where nothing is there is no entry.
    messages: BTreeMap<Way, VecDeque<QuorumMsg>>,
    left: Bounds,
    judge: Arc<Judge>,
    broken: Option<Violation>,
}

impl Judged for State {
    fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }
}

/// What may happen next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// The oldest message of a way arrives.
    Deliver(Way, QuorumMsg),
    /// The oldest message of a way is lost.
    Lose(Way, QuorumMsg),
    /// The oldest message of a way arrives, and will again.
    Double(Way, QuorumMsg),
    /// The second message of a way arrives.
    Overtake(Way, QuorumMsg),
    /// A voter's device does what it was asked first.
    Work(NodeId),
    /// A timer fires.
    Fire(NodeId, QuorumTimer),
    /// A voter dies, its device keeps so much of what was not synced, and it is started again.
    Crash(NodeId, Keep),
    /// A batch is proposed to a leader.
    Propose(NodeId),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::Deliver(..) => "deliver",
            Self::Lose(..) => "lose",
            Self::Double(..) => "double",
            Self::Overtake(..) => "overtake",
            Self::Work(_) => "work",
            Self::Fire(..) => "fire",
            Self::Crash(..) => "crash",
            Self::Propose(_) => "propose",
        }
    }
}

/// What a voter is told.
enum Told {
    Boot,
    Peer(NodeId, QuorumMsg),
    Worked,
    Fired(QuorumTimer),
    Propose(Bytes),
}

impl QuorumModel {
    fn cx(&self) -> Cx {
        Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: self.mutants }
    }

    /// All voters are up, the first one is in office, and all that was sent has arrived.
    fn start(&self) -> State {
        let ids: Arc<[NodeId]> = (FIRST..FIRST + self.voters).map(NodeId).collect();
        let voter = |id: &NodeId| {
            Arc::new(Voter {
                quorum: Quorum::new(*id, ids.to_vec()),
                device: LogDevice::default(),
                timers: BTreeSet::new(),
                incarnation: Incarnation(0),
            })
        };
        let mut state = State {
            voters: ids.iter().map(voter).collect(),
            messages: BTreeMap::new(),
            left: self.bounds,
            judge: Arc::new(Judge::new(None)),
            broken: None,
            ids: ids.clone(),
        };
        for id in ids.iter() {
            self.boot(&mut state, *id);
        }
        self.settle(&mut state);
        self.fire(&mut state, ids[0], QuorumTimer::Election);
        self.settle(&mut state);
        state
    }

    /// Lets devices work and messages arrive until there is nothing left to do.
    fn settle(&self, state: &mut State) {
        loop {
            let busy = |id: &&NodeId| state.voter(**id).device.head().is_some();
            if let Some(id) = state.ids.iter().find(busy).copied() {
                self.step(state, id, Told::Worked);
            } else if let Some(way) = state.messages.keys().next().copied() {
                let msg = state.take(way, 0);
                self.step(state, way.to, Told::Peer(way.from, msg));
            } else {
                return;
            }
        }
    }

    /// Nobody dies any more, so that it shows no difference when a device does its work: now.
    fn work(&self, state: &mut State) {
        for id in state.ids.clone().iter() {
            while state.voter(*id).device.head().is_some() {
                self.step(state, *id, Told::Worked);
            }
        }
    }

    fn boot(&self, state: &mut State, id: NodeId) {
        let voter = state.voter_mut(id);
        voter.timers.clear();
        voter.incarnation = Incarnation(voter.incarnation.0 + 1);
        let event = NodeEvent::Booted(voter.incarnation);
        observe(state, &Evidence::Node { node: id, event });
        self.step(state, id, Told::Boot);
    }

    fn fire(&self, state: &mut State, id: NodeId, timer: QuorumTimer) {
        if state.voter_mut(id).timers.remove(&timer) {
            self.step(state, id, Told::Fired(timer));
        }
    }

    fn crash(&self, state: &mut State, id: NodeId, keep: Keep) {
        let unsynced_lost = state.voter_mut(id).device.crash(keep, 0).lost;
        let event = NodeEvent::Crashed { unsynced_lost };
        observe(state, &Evidence::Node { node: id, event });
        self.boot(state, id);
    }

    /// A voter's step, and what follows from it at once.
    fn step(&self, state: &mut State, id: NodeId, told: Told) {
        let (mut out, mut events) = (Outbox::default(), Vec::new());
        let cx = self.cx();
        let voter = state.voter_mut(id);
        match told {
            Told::Boot => voter.quorum.boot(&cx, voter.incarnation, &mut out),
            Told::Peer(from, msg) => voter.quorum.peer(&cx, from, msg, &mut out, &mut events),
            Told::Worked => {
                if let Some((tok, result)) = voter.device.work() {
                    voter.quorum.log_done(&cx, tok, result, &mut out, &mut events);
                }
            }
            Told::Fired(timer) => voter.quorum.timer(&cx, timer, &mut out, &mut events),
            Told::Propose(batch) => drop(voter.quorum.propose(&cx, batch, &mut out)),
        }
        for effect in out.drain() {
            self.begin(state, id, effect);
        }
        ask(state, |judge, state| judge.stepped(SimTime(0), id, state));
    }

    fn begin(&self, state: &mut State, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, msg: PeerMsg::Quorum(msg) } => {
                state.messages.entry(Way { from: id, to }).or_default().push_back(msg);
            }
            Effect::Log(tok, op) => {
                state.voter_mut(id).device.submit(tok, op);
            }
            Effect::Arm { key: TimerKey::Quorum(timer), .. } => {
                state.voter_mut(id).timers.insert(timer);
            }
            Effect::Disarm(TimerKey::Quorum(timer)) => {
                state.voter_mut(id).timers.remove(&timer);
            }
            Effect::Probe(probe) => note(state, id, &probe),
            // Its process ends by itself, and is started again.
            Effect::Halt(_) => {
                let unsynced_lost = state.voter_mut(id).device.exit().lost;
                let event = NodeEvent::Crashed { unsynced_lost };
                observe(state, &Evidence::Node { node: id, event });
                self.boot(state, id);
            }
            other => unreachable!("a voter does not ask for {other:?}"),
        }
    }

    fn apply(&self, state: &mut State, action: &Action) {
        match action {
            Action::Deliver(way, msg) => {
                state.take(*way, 0);
                self.step(state, way.to, Told::Peer(way.from, msg.clone()));
            }
            Action::Lose(way, _) => {
                state.left.disorders -= 1;
                state.take(*way, 0);
            }
            Action::Double(way, msg) => {
                state.left.disorders -= 1;
                self.step(state, way.to, Told::Peer(way.from, msg.clone()));
            }
            Action::Overtake(way, msg) => {
                state.left.disorders -= 1;
                state.take(*way, 1);
                self.step(state, way.to, Told::Peer(way.from, msg.clone()));
            }
            Action::Work(id) => self.step(state, *id, Told::Worked),
            Action::Fire(id, timer) => {
                if let Some(left) = state.left.of(*timer) {
                    *left -= 1;
                }
                self.fire(state, *id, *timer);
            }
            Action::Crash(id, keep) => {
                state.left.crashes -= 1;
                self.crash(state, *id, *keep);
            }
            Action::Propose(id) => {
                state.left.proposals -= 1;
                let batch = Bytes::copy_from_slice(&[state.left.proposals]);
                self.step(state, *id, Told::Propose(batch));
            }
        }
    }
}

impl Bounds {
    /// What bounds the firing of a timer.
    fn of(&mut self, timer: QuorumTimer) -> Option<&mut u8> {
        match timer {
            QuorumTimer::Election | QuorumTimer::FetchTimeout | QuorumTimer::CheckQuorum => {
                Some(&mut self.suspicions)
            }
            QuorumTimer::Fetch | QuorumTimer::Begin | QuorumTimer::VoteRetry => {
                Some(&mut self.retries)
            }
            QuorumTimer::Linger => None,
        }
    }
}

impl State {
    fn at(&self, id: NodeId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    fn voter(&self, id: NodeId) -> &Voter {
        &self.voters[self.at(id).expect("a voter")]
    }

    fn voter_mut(&mut self, id: NodeId) -> &mut Voter {
        let at = self.at(id).expect("a voter");
        Arc::make_mut(&mut self.voters[at])
    }

    /// Takes the nth message off a way.
    fn take(&mut self, way: Way, nth: usize) -> QuorumMsg {
        let messages = self.messages.get_mut(&way).expect("something is on this way");
        let msg = messages.remove(nth).expect("so many are on this way");
        if messages.is_empty() {
            self.messages.remove(&way);
        }
        msg
    }

    fn breaks(&mut self, violation: Violation) {
        self.broken.get_or_insert(violation);
    }
}

fn note(state: &mut State, node: NodeId, probe: &Probe) {
    observe(state, &Evidence::Probe { node, probe });
}

fn observe(state: &mut State, evidence: &Evidence<'_>) {
    ask(state, |judge, state| judge.observe(SimTime(0), evidence, state));
}

/// In the judge's place while it looks at the state.
static NOBODY: LazyLock<Arc<Judge>> = LazyLock::new(|| Arc::new(Judge::new(None)));

fn ask(state: &mut State, ask: impl FnOnce(&mut Judge, &State) -> Result<(), Violation>) {
    if state.broken.is_some() {
        return;
    }
    let mut judge = std::mem::replace(&mut state.judge, NOBODY.clone());
    let judged = ask(Arc::make_mut(&mut judge), state);
    state.judge = judge;
    if let Err(violation) = judged {
        state.breaks(violation);
    }
}

impl Model for QuorumModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() || self.watch.is_over() {
            return;
        }
        for (way, messages) in &state.messages {
            let deaf = state.voter(way.to).is_deaf();
            let mut next = messages.iter();
            let Some(first) = next.next() else { continue };
            if !deaf {
                actions.push(Action::Deliver(*way, first.clone()));
            }
            if state.left.disorders > 0 {
                actions.push(Action::Lose(*way, first.clone()));
            }
            if state.left.disorders > 0 && !deaf {
                actions.push(Action::Double(*way, first.clone()));
                actions.extend(next.next().map(|it| Action::Overtake(*way, it.clone())));
            }
        }
        for (id, voter) in state.ids.iter().copied().zip(&state.voters) {
            if voter.device.head().is_some() {
                actions.push(Action::Work(id));
            }
            if !voter.is_deaf() {
                let mut left = state.left;
                let may = |timer: &&QuorumTimer| left.of(**timer).is_none_or(|left| *left > 0);
                let fire = |timer: &QuorumTimer| Action::Fire(id, *timer);
                actions.extend(voter.timers.iter().filter(may).map(fire));
            }
            if state.left.crashes > 0 {
                let keeps = [Keep::None, Keep::All, Keep::Torn];
                actions.extend(keeps.map(|keep| Action::Crash(id, keep)));
            }
            if state.left.proposals > 0 && voter.quorum.is_active() {
                actions.push(Action::Propose(id));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.advance(last.clone(), action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, |_, state: &State| state.broken.is_none())]
    }
}

impl Disturbed for QuorumModel {
    fn advance(&self, mut state: State, action: Action) -> State {
        let panicked = caught(|| {
            self.apply(&mut state, &action);
            if state.left.crashes == 0 {
                self.work(&mut state);
            }
            canonical::number(&mut state);
        });
        if let Err((place, message)) = panicked {
            state.breaks(Violation { property: PANIC, place, message, at: None });
        }
        // It is shared with the last state if it has seen nothing new.
        let reached = Arc::get_mut(&mut state.judge).map(Judge::forget_way);
        self.watch.note(reached.into_iter().flatten().chain([(action.name(), 1)]));
        state
    }

    fn is_disturbance(action: &Action) -> bool {
        match action {
            Action::Deliver(..) | Action::Work(_) | Action::Propose(_) => false,
            Action::Fire(_, timer) => *timer != QuorumTimer::Linger,
            Action::Lose(..) | Action::Double(..) | Action::Overtake(..) | Action::Crash(..) => {
                true
            }
        }
    }
}

impl View for State {
    fn controllers(&self) -> &[NodeId] {
        &self.ids
    }

    fn brokers(&self) -> &[NodeId] {
        &[]
    }

    fn is_up(&self, _: NodeId) -> bool {
        true
    }

    fn wall(&self, _: NodeId, _: SimTime) -> Option<Wall> {
        None
    }

    fn quorum(&self, node: NodeId) -> Option<&Quorum> {
        Some(&self.voters[self.at(node)?].quorum)
    }

    fn wal(&self, _: NodeId) -> Option<&Wal> {
        None
    }

    fn image(&self, _: NodeId) -> Option<&Image> {
        None
    }

    fn device_end(&self, node: NodeId) -> u64 {
        self.voter(node).device.durable_end()
    }

    fn device_state(&self, node: NodeId) -> Bytes {
        self.voter(node).device.state().clone()
    }

    fn object(&self, _: &Key) -> Option<Bytes> {
        None
    }

    fn keys(&self, _: &str) -> Vec<Key> {
        Vec::new()
    }

    fn in_core(&self, _: NodeId) -> bool {
        true
    }

    fn tails(&self) -> Vec<Tail> {
        Vec::new()
    }

    fn memberships(&self) -> Vec<Membership> {
        Vec::new()
    }

    fn is_under_way(&self, _: u16, _: u32) -> bool {
        false
    }

    fn blocked(&self) -> Vec<String> {
        Vec::new()
    }
}

/// In words.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(Way { from, to }, msg) => write!(f, "{to} gets from {from}: {msg:?}"),
            Self::Lose(Way { from, to }, msg) => {
                write!(f, "what {from} said to {to} is lost: {msg:?}")
            }
            Self::Double(Way { from, to }, msg) => {
                write!(f, "{to} gets from {from}, and will again: {msg:?}")
            }
            Self::Overtake(Way { from, to }, msg) => {
                write!(f, "{to} gets from {from}, before what was said earlier: {msg:?}")
            }
            Self::Work(id) => write!(f, "the device of {id} works"),
            Self::Fire(id, timer) => write!(f, "timer {timer:?} of {id} fires"),
            Self::Crash(id, keep) => {
                write!(f, "{id} dies, and is started; of what was not synced it has {keep:?}")
            }
            Self::Propose(id) => write!(f, "a batch is proposed to {id}"),
        }
    }
}

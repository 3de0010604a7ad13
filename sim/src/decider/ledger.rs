//! What the decider notes of a step while it happens: what it set going, its part of the trace
//! hash, counts, and which anchored faults it triggers.

use std::collections::BTreeSet;

use broker::recording::{Recorder, Role};
use broker_core::ids::Incarnation;
use broker_core::probe::Probe;
use broker_core::step::{Cx, Effect, Input};
use invariants::history::{Call, EventKind, HistoryEvent, SimTime};
use invariants::view::Evidence;
use workloads::client::ClientOut;
use workloads::spark::handoff::CrashPoint;
use workloads::spark::step::SparkOut;

use crate::decider::{RunOptions, ahead, describe};
use crate::draws::{Draws, Purpose, StreamKey};
use crate::plan::When;
use crate::trace::{TraceEffect, TraceHash};
use crate::world::layout::{Endpoint, Layout};
use crate::world::spark::{self, MARKS};
use crate::world::step::{HandOver, Launch, Sink, Step};
use crate::world::weather::FaultId;

/// The notes.
#[derive(Clone)]
pub(super) struct Ledger {
    pub draws: Draws,
    pub hash: TraceHash,
    pub launches: Vec<Launch>,
    /// What waits for the host of processes that run elsewhere.
    pub handed_over: Vec<HandOver>,
    /// How often each probe was seen.
    pub probes: Vec<u64>,
    pub calls_ok: u64,
    /// Open calls that commit a transaction, by client and call.
    commits: BTreeSet<(u16, u32)>,
    /// When the last of them was done.
    pub committed: SimTime,
    /// Anchored faults that were triggered: which, by whom, after how long.
    pub triggered: Vec<(FaultId, Endpoint, u64)>,
    /// By probe.
    anchors: Vec<Vec<AnchorCount>>,
    nodes: Vec<broker_core::ids::NodeId>,
    /// What the random bits of the step that is being taken come from, if they are not drawn.
    pub bits: Option<u64>,
    /// Filled only when someone wants the history.
    pub history: Option<Vec<HistoryEvent>>,
    /// Told only when someone wants a recording.
    recorder: Option<Recorder>,
    /// Filled only when someone reads the trace.
    pub effects: Option<Vec<TraceEffect>>,
}

#[derive(Clone)]
struct AnchorCount {
    fault: FaultId,
    on: Option<Endpoint>,
    /// Times it must still be seen.
    left: u32,
    after_us: u64,
}

impl Ledger {
    pub(super) fn new(layout: &Layout, background: u64, options: &RunOptions<'_>) -> Self {
        let mut anchors: Vec<Vec<AnchorCount>> = Vec::new();
        anchors.resize_with(Probe::NAMES.len() + MARKS.len(), Vec::new);
        let names = || Probe::NAMES.iter().copied().chain(MARKS.iter().map(|row| row.0));
        for (number, fault) in layout.faults.iter().enumerate() {
            let When::On { on } = &fault.when else { continue };
            let probe = names().position(|name| name == on.probe);
            anchors[probe.expect("the layout checked it")].push(AnchorCount {
                fault: FaultId(number as u16),
                on: on.node.as_ref().and_then(|name| layout.by_name(name, None)),
                left: on.nth.max(1),
                after_us: on.after_us,
            });
        }
        Self {
            draws: Draws::new(background),
            hash: TraceHash::default(),
            launches: Vec::new(),
            handed_over: Vec::new(),
            probes: vec![0; Probe::NAMES.len()],
            calls_ok: 0,
            commits: BTreeSet::new(),
            committed: SimTime(0),
            triggered: Vec::new(),
            anchors,
            nodes: (0..layout.nodes()).map(|one| layout.node(Endpoint(one as u8))).collect(),
            bits: None,
            history: options.history.is_some().then(Vec::new),
            recorder: options.recorder.clone(),
            effects: options.trace.is_some().then(Vec::new),
        }
    }

    /// A step begins.
    pub(super) fn begin(&mut self, at: SimTime, step: &Step) {
        self.hash.step(at, step);
    }

    /// What faults may wait for has come, on this node.
    fn came(&mut self, index: usize, node: Endpoint) {
        for anchor in &mut self.anchors[index] {
            if anchor.left > 0 && anchor.on.is_none_or(|on| on == node) {
                anchor.left -= 1;
                if anchor.left == 0 {
                    self.triggered.push((anchor.fault, node, anchor.after_us));
                }
            }
        }
    }

    fn count(&mut self, event: &HistoryEvent) {
        let call = (event.client, event.call);
        match event.kind {
            EventKind::Invoke(Call::EndTxn { commit: true, .. }) => {
                self.commits.insert(call);
            }
            EventKind::Invoke(_) | EventKind::GaveUp => {}
            EventKind::Ok(_) => {
                self.calls_ok += 1;
                if self.commits.remove(&call) {
                    self.committed = event.at;
                }
            }
            EventKind::Fail(_) | EventKind::Unknown(_) => {
                self.commits.remove(&call);
            }
        }
    }

    fn endpoint(&self, node: broker_core::ids::NodeId) -> Endpoint {
        let place = self.nodes.iter().position(|one| *one == node);
        Endpoint(place.expect("a node of this run") as u8)
    }
}

impl Sink for Ledger {
    fn entropy(&mut self, who: Endpoint) -> u64 {
        if let Some(bits) = self.bits {
            return ahead::bits_of(bits, who);
        }
        self.draws.bits(StreamKey::new(Purpose::Entropy, who.0.into()))
    }

    fn begun(&mut self, layout: &Layout, node: Endpoint, incarnation: Incarnation) {
        let Some(recorder) = &self.recorder else { return };
        let id = layout.node(node);
        let role = if layout.is_controller(node) {
            Role::Controller(layout.controller_config(id))
        } else {
            Role::Broker(layout.broker_config(node))
        };
        recorder.begun(id, incarnation, &role, layout.mutants);
    }

    fn fed(&mut self, node: Endpoint, cx: &Cx, input: &Input) {
        if let Some(recorder) = &self.recorder {
            recorder.fed(self.nodes[node.index()], cx, input);
        }
    }

    fn stepped(&mut self, node: Endpoint, effects: &[Effect]) {
        if let Some(recorder) = &self.recorder {
            recorder.stepped(self.nodes[node.index()], effects);
        }
    }

    fn effect(&mut self, _node: Endpoint, effect: &Effect) {
        self.hash.content(effect);
        if let Some(effects) = &mut self.effects {
            effects.push(describe::effect(effect));
        }
    }

    fn client_effect(&mut self, _client: Endpoint, effect: &ClientOut) {
        self.hash.content(effect);
        if let Some(effects) = &mut self.effects {
            effects.push(describe::client_effect(effect));
        }
    }

    fn spark_effect(&mut self, _driver: Endpoint, effect: &SparkOut) {
        self.hash.content(effect);
        if let Some(effects) = &mut self.effects {
            effects.push(describe::spark_effect(effect));
        }
    }

    fn spark_mark(&mut self, driver: Endpoint, point: CrashPoint) {
        if let Some(number) = spark::mark(point) {
            self.came(Probe::NAMES.len() + number, driver);
        }
    }

    fn evidence(&mut self, evidence: &Evidence<'_>) {
        match evidence {
            Evidence::Probe { node, probe } => {
                let index = probe.index();
                self.probes[index] += 1;
                if self.anchors[index].is_empty() {
                    return;
                }
                self.came(index, self.endpoint(*node));
            }
            Evidence::History(event) => {
                self.count(event);
                if let Some(history) = &mut self.history {
                    history.push((*event).clone());
                }
            }
            Evidence::Store { .. }
            | Evidence::Node { .. }
            | Evidence::Handoff(_)
            | Evidence::Healed => {
                if let Some(effects) = &mut self.effects {
                    effects.push(describe::evidence(evidence));
                }
            }
        }
    }

    fn launched(&mut self, launch: Launch) {
        self.launches.push(launch);
    }

    fn handed_over(&mut self, what: HandOver) {
        self.handed_over.push(what);
    }
}

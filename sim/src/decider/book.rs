//! The state of all faults of a run: which have begun, whom they hold, and whether they had an
//! effect.
//!
//! A fault was effective if something was really lost, delayed, refused, killed or changed by it: a
//! plan whose faults all missed proves nothing, and the sweep says so.

use std::collections::BTreeMap;

use invariants::history::SimTime;

use crate::draws::{Purpose, StreamKey, key_of};
use crate::outcome::FaultCount;
use crate::plan::{Fault, When};
use crate::world::layout::{Endpoint, Layout};
use crate::world::spark::Place;
use crate::world::weather::FaultId;

/// The state of all faults of a run.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub entries: Vec<Entry>,
    /// By node: faults that hold it down.
    pub down: Vec<u32>,
    /// By node: faults that hold it frozen.
    pub frozen: Vec<Vec<FaultId>>,
    /// By node and client: its drift without faults.
    pub base_drift: Vec<i32>,
    /// By node: which faults make its syncs fail or its device full at this moment, and which one
    /// lets its next crash rot.
    pub sync_fail: Vec<Vec<FaultId>>,
    pub full: Vec<Vec<FaultId>>,
    pub rot: Vec<Option<FaultId>>,
    /// Executors that faults of a query took.
    pub lost_executors: Vec<(FaultId, Place, u16)>,
    pub over: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub fault: Fault,
    pub stream: u64,
    pub begun: bool,
    pub effective: bool,
    /// While it lasts: whom it struck, and until when.
    pub active: Option<(Option<Endpoint>, SimTime)>,
    /// Operations it has struck, where it counts them.
    pub struck: u32,
}

impl Book {
    pub(super) fn new(layout: &Layout) -> Self {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let entries = layout.faults.iter().map(|fault| {
            // Named by what it is and not by its place in the plan, so that removing another fault
            // does not shift its draws.
            let key = key_of(&format!("{:?} {:?}", fault.when, fault.what));
            let twin = seen.entry(key).or_default();
            *twin += 1;
            Entry {
                fault: fault.clone(),
                stream: key.wrapping_add(*twin),
                begun: false,
                effective: false,
                active: None,
                struck: 0,
            }
        });
        Self {
            entries: entries.collect(),
            down: vec![0; layout.nodes()],
            frozen: vec![Vec::new(); layout.nodes()],
            base_drift: vec![0; layout.nodes() + layout.clients()],
            sync_fail: vec![Vec::new(); layout.nodes()],
            full: vec![Vec::new(); layout.nodes()],
            rot: vec![None; layout.nodes()],
            lost_executors: Vec::new(),
            over: false,
        }
    }

    /// Faults that begin at a given time, µs.
    pub(super) fn anchored_in_time(&self) -> Vec<(FaultId, u64)> {
        let all = self.entries.iter().enumerate();
        all.filter_map(|(number, entry)| match entry.fault.when {
            When::At { at_us } => Some((FaultId(number as u16), at_us)),
            When::On { .. } => None,
        })
        .collect()
    }

    pub(super) fn set_base_drift(&mut self, who: Endpoint, ppm: i32) {
        self.base_drift[who.index()] = ppm;
    }

    /// Something was lost, delayed, refused, killed or changed by the fault.
    pub(super) fn strike(&mut self, fault: FaultId) {
        self.entry(fault).effective = true;
    }

    /// One more of the operations that the fault may strike, at most `times` (0: any number).
    pub(super) fn strike_counted(&mut self, fault: FaultId, times: u32) -> bool {
        let entry = self.entry(fault);
        let room = times == 0 || entry.struck < times;
        if room {
            entry.struck += 1;
            entry.effective = true;
        }
        room
    }

    /// The stream of a fault's decisions about `entity`.
    pub(super) fn stream(&self, fault: FaultId, entity: u64) -> StreamKey {
        let key = self.entries[usize::from(fault.0)].stream;
        StreamKey::new(Purpose::Fault, key ^ entity.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether some fault holds a node down.
    pub(super) fn holds_down(&self, node: Endpoint) -> bool {
        self.down[node.index()] > 0
    }

    /// Whether any node is frozen.
    pub(super) fn any_frozen(&self) -> bool {
        self.frozen.iter().any(|faults| !faults.is_empty())
    }

    /// The faults that hold a node frozen were effective.
    pub(super) fn strike_frozen(&mut self, node: Endpoint) {
        for fault in self.frozen[node.index()].clone() {
            self.strike(fault);
        }
    }

    /// Bits were flipped on this node's device.
    pub(super) fn rotted(&mut self, node: Endpoint) {
        if let Some(fault) = self.rot[node.index()].take() {
            self.strike(fault);
        }
    }

    /// What became of the faults, by kind.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let mut counts: BTreeMap<&'static str, FaultCount> = BTreeMap::new();
        for entry in &self.entries {
            let count = counts.entry(entry.fault.what.name()).or_default();
            count.planned += 1;
            count.begun += u64::from(entry.begun);
            count.effective += u64::from(entry.effective);
        }
        counts
    }

    /// A fault's state.
    pub(super) fn entry(&mut self, fault: FaultId) -> &mut Entry {
        &mut self.entries[usize::from(fault.0)]
    }
}

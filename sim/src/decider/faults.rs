//! When faults begin and end, which steps they are made of, and whether they had an effect. What they
//! do to single messages and store operations is in the scheduler.
//!
//! A fault was effective if something was really lost, delayed, refused, killed or changed by it: a
//! plan whose faults all missed proves nothing, and the sweep says so.

use std::collections::BTreeMap;

use broker_core::step::LogOp;
use invariants::history::SimTime;

use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions};
use crate::draws::{Purpose, StreamKey, key_of};
use crate::outcome::FaultCount;
use crate::plan::{Fault, Keep, What, When};
use crate::world::layout::{Endpoint, Layout, Set};
use crate::world::scene::Asked;
use crate::world::step::Step;
use crate::world::weather::FaultId;

/// The state of all faults of a run.
#[derive(Clone, Debug)]
pub(super) struct Book {
    entries: Vec<Entry>,
    /// By node: faults that hold it down.
    down: Vec<u32>,
    /// By node: faults that hold it frozen.
    frozen: Vec<Vec<FaultId>>,
    /// By node and client: its drift without faults.
    base_drift: Vec<i32>,
    /// By node: who made its next sync fail, its device full, its next crash rot.
    sync_fail: Vec<Option<FaultId>>,
    full: Vec<Option<FaultId>>,
    rot: Vec<Option<FaultId>>,
    over: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    fault: Fault,
    stream: u64,
    begun: bool,
    effective: bool,
    /// While it lasts: whom it struck, and until when.
    active: Option<(Option<Endpoint>, SimTime)>,
    /// Operations it has struck, where it counts them.
    struck: u32,
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
            sync_fail: vec![None; layout.nodes()],
            full: vec![None; layout.nodes()],
            rot: vec![None; layout.nodes()],
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
            let count = counts.entry(kind(&entry.fault.what)).or_default();
            count.planned += 1;
            count.begun += u64::from(entry.begun);
            count.effective += u64::from(entry.effective);
        }
        counts
    }

    fn entry(&mut self, fault: FaultId) -> &mut Entry {
        &mut self.entries[usize::from(fault.0)]
    }
}

impl Run {
    /// Begins the faults that the last step triggered, or plans them if they wait a while.
    pub(super) fn strike(&mut self, cause: u64, options: &mut RunOptions<'_>) -> Judged {
        while let Some((fault, on, after_us)) = self.ledger.triggered.pop() {
            if after_us == 0 {
                self.begin(fault, Some(on), cause, options)?;
            } else {
                let at = SimTime(self.now.0 + after_us);
                self.queue.push(at, Due::Begin(fault, Some(on)), StreamKey::PLAN, cause);
            }
        }
        Ok(())
    }

    /// A fault begins.
    pub(super) fn begin(
        &mut self,
        id: FaultId,
        on: Option<Endpoint>,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let over = self.book.over;
        let now = self.now;
        let entry = self.book.entry(id);
        if over || entry.begun {
            return Ok(());
        }
        entry.begun = true;
        let what = entry.fault.what.clone();
        let end = SimTime(now.0 + lasting_us(&entry.fault, self.safety_us));
        entry.active = Some((on, end));
        self.queue.push(end, Due::End(id), StreamKey::PLAN, cause);
        let layout = self.world.scene().layout().clone();
        let node = |name: &str| layout.by_name(name, on).expect("the layout checked it");
        match &what {
            What::ZoneFail { zone } => {
                let zone = layout.zone_by_name(zone, on).expect("the layout checked it");
                for member in layout.zone_members(zone).iter().filter(|one| layout.is_node(*one)) {
                    let stream = self.book.stream(id, member.0.into());
                    let keep = KEEPS[self.ledger.draws.below(stream, KEEPS.len() as u64) as usize];
                    self.kill(id, member, keep, cause, options)?;
                }
                self.impose(id, on, cause, options)?;
            }
            What::Crash { node: name, keep } => {
                self.kill(id, node(name), *keep, cause, options)?;
            }
            What::Pause { node: name } => {
                let node = node(name);
                self.book.frozen[node.index()].push(id);
                self.take(Step::Pause(node), StreamKey::PLAN, cause, options)?;
            }
            What::ClockStep { node: name, by_us } => {
                self.book.strike(id);
                let step = Step::ClockStep(node(name), *by_us);
                self.take(step, StreamKey::PLAN, cause, options)?;
            }
            What::ClockDrift { node: name, .. } => {
                self.book.strike(id);
                self.drift(node(name), cause, options)?;
            }
            What::DeviceSyncFail { node: name } => {
                let node = node(name);
                self.book.sync_fail[node.index()] = Some(id);
                self.take(Step::SyncFail(node, true), StreamKey::PLAN, cause, options)?;
            }
            What::DeviceFull { node: name } => {
                let node = node(name);
                self.book.full[node.index()] = Some(id);
                self.take(Step::DeviceFull(node, true), StreamKey::PLAN, cause, options)?;
            }
            What::DeviceBitRot { node: name } => {
                let node = node(name);
                self.book.rot[node.index()] = Some(id);
                self.take(Step::BitRot(node, true), StreamKey::PLAN, cause, options)?;
            }
            What::Drain { node: name } => {
                let node = node(name);
                self.book.down[node.index()] += 1;
                if self.world.is_enabled(&Step::Drain(node)) {
                    self.book.strike(id);
                    self.take(Step::Drain(node), StreamKey::PLAN, cause, options)?;
                }
            }
            What::ZoneCut { .. }
            | What::Cut { .. }
            | What::Lossy { .. }
            | What::SlowLink { .. }
            | What::StoreSlowDown { .. }
            | What::StoreBrownOut { .. }
            | What::StoreLoseAnswer { .. }
            | What::StoreDuplicate { .. } => self.impose(id, on, cause, options)?,
        }
        Ok(())
    }

    /// A fault ends, if it is not over yet.
    pub(super) fn end(&mut self, id: FaultId, options: &mut RunOptions<'_>) -> Judged {
        let Some((on, _)) = self.book.entry(id).active.take() else { return Ok(()) };
        let what = self.book.entry(id).fault.what.clone();
        let layout = self.world.scene().layout().clone();
        let node = |name: &str| layout.by_name(name, on).expect("the layout checked it");
        match &what {
            What::ZoneFail { zone } => {
                self.take(Step::Lift(id), StreamKey::PLAN, 0, options)?;
                let zone = layout.zone_by_name(zone, on).expect("the layout checked it");
                for member in layout.zone_members(zone).iter().filter(|one| layout.is_node(*one)) {
                    self.release(member);
                }
            }
            What::Crash { node: name, .. } | What::Drain { node: name } => {
                self.release(node(name));
            }
            What::Pause { node: name } => {
                let node = node(name);
                self.book.frozen[node.index()].retain(|one| *one != id);
                if self.book.frozen[node.index()].is_empty() {
                    self.take(Step::Resume(node), StreamKey::PLAN, 0, options)?;
                    self.thaw(node);
                }
            }
            What::ClockDrift { node: name, .. } => self.drift(node(name), 0, options)?,
            What::DeviceFull { node: name } => {
                let node = node(name);
                self.book.full[node.index()] = None;
                self.take(Step::DeviceFull(node, false), StreamKey::PLAN, 0, options)?;
            }
            What::DeviceSyncFail { node: name } => {
                self.take(Step::SyncFail(node(name), false), StreamKey::PLAN, 0, options)?;
            }
            What::DeviceBitRot { node: name } => {
                self.take(Step::BitRot(node(name), false), StreamKey::PLAN, 0, options)?;
            }
            What::ClockStep { .. } => {}
            What::ZoneCut { .. }
            | What::Cut { .. }
            | What::Lossy { .. }
            | What::SlowLink { .. }
            | What::StoreSlowDown { .. }
            | What::StoreBrownOut { .. }
            | What::StoreLoseAnswer { .. }
            | What::StoreDuplicate { .. } => {
                self.take(Step::Lift(id), StreamKey::PLAN, 0, options)?;
            }
        }
        Ok(())
    }

    /// The safety phase ends. Faults that last longer and keep whole nodes out may go on, as long as
    /// what is left is a majority of the controllers and a broker; all others end.
    pub(super) fn heal(&mut self, options: &mut RunOptions<'_>) -> Judged {
        self.book.over = true;
        let layout = self.world.scene().layout().clone();
        let (mut outside, mut cut_off) = (Set::default(), Set::default());
        for number in 0..self.book.entries.len() {
            let id = FaultId(number as u16);
            let Some((on, end)) = self.book.entry(id).active else { continue };
            let what = &self.book.entries[number].fault.what;
            let struck = kept_out(&layout, what, on);
            let more = outside.or(struck);
            if end.0 <= self.safety_us || struck.is_empty() || !is_core(&layout, more) {
                self.end(id, options)?;
                continue;
            }
            outside = more;
            if matches!(what, What::ZoneCut { .. }) {
                cut_off = cut_off.or(struck);
            }
            self.take(Step::Outlast(id), StreamKey::PLAN, 0, options)?;
            // From here on it never ends.
            self.book.entry(id).active = None;
        }
        for node in outside.iter() {
            self.take(Step::Exile(node), StreamKey::PLAN, 0, options)?;
            if cut_off.holds(node) {
                continue;
            }
            // A crash undoes a pause: a node that came back behind a fault that still lasts would
            // live outside the core, and nobody could fail it over. So would one that is down now
            // and about to boot, for the crash is over and only the pause lasts.
            self.book.down[node.index()] += 1;
            if self.world.scene().is_ready(node) {
                self.take(Step::Crash(node, Keep::All), StreamKey::PLAN, 0, options)?;
            }
        }
        self.take(Step::Heal, StreamKey::PLAN, 0, options)
    }

    /// The operation at the head of a device is about to be done: notes whose doing its end is.
    pub(super) fn notice_device(&mut self, node: Endpoint) {
        let Some(device) = self.world.scene().device(node) else { return };
        let fault = match device.head() {
            Some((_, LogOp::Sync)) if device.sync_will_fail() => self.book.sync_fail[node.index()],
            Some((_, LogOp::Append { .. } | LogOp::WriteState { .. })) if device.is_full() => {
                self.book.full[node.index()]
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.book.strike(fault);
        }
    }

    fn kill(
        &mut self,
        id: FaultId,
        node: Endpoint,
        keep: Keep,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        self.book.down[node.index()] += 1;
        let step = Step::Crash(node, keep);
        if !self.world.is_enabled(&step) {
            return Ok(());
        }
        self.book.strike(id);
        self.take(step, StreamKey::PLAN, cause, options)
    }

    /// One fault less holds this node down.
    fn release(&mut self, node: Endpoint) {
        self.book.down[node.index()] -= 1;
        if !self.book.holds_down(node) && self.world.scene().slot(node).process.is_none() {
            self.boot_soon(node, 0);
        }
    }

    fn impose(
        &mut self,
        id: FaultId,
        on: Option<Endpoint>,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        self.take(Step::Impose(id, on), StreamKey::PLAN, cause, options)?;
        let cuts = matches!(
            self.book.entry(id).fault.what,
            What::ZoneFail { .. } | What::ZoneCut { .. } | What::Cut { .. }
        );
        if cuts { self.sweep(cause, options) } else { Ok(()) }
    }

    /// A cut began: what is on its way across it is lost. A store operation on its way may have
    /// reached the store already; that is drawn.
    fn sweep(&mut self, cause: u64, options: &mut RunOptions<'_>) -> Judged {
        let scene = self.world.scene();
        let (weather, store) = (scene.weather(), scene.layout().store());
        let mut lost = Vec::new();
        for (handle, message) in scene.messages().iter() {
            if let Some(fault) = weather.cut(message.from, message.to) {
                lost.push((fault, Step::Lose(handle), None));
            }
        }
        for conn in scene.clients().iter().flat_map(|client| &client.connections) {
            let (up, down) = conn.carries();
            let up = weather.cut(conn.client, conn.broker).filter(|_| up);
            let down = weather.cut(conn.broker, conn.client).filter(|_| down);
            if let Some(fault) = up.or(down) {
                lost.push((fault, Step::Break(conn.id), None));
            }
        }
        for (handle, ask) in scene.asks().iter().filter(|(_, ask)| !ask.orphan) {
            let (cut, sure) = match ask.stage {
                Asked::OnItsWay => (weather.cut(ask.node, store), false),
                Asked::Answered(_) => (weather.cut(store, ask.node), true),
                Asked::Lost => (None, true),
            };
            if let Some(fault) = cut {
                lost.push((fault, Step::StoreForget(handle), Some((ask.node, handle, sure))));
            }
        }
        for (fault, step, asked) in lost {
            if let Some((node, handle, sure)) = asked {
                let stream = self.book.stream(fault, node.0.into());
                if !sure && self.ledger.draws.chance(stream, 500) {
                    continue;
                }
                self.give_up_later(handle, cause);
            }
            self.book.strike(fault);
            self.take(step, StreamKey::PLAN, cause, options)?;
        }
        Ok(())
    }

    fn drift(&mut self, who: Endpoint, cause: u64, options: &mut RunOptions<'_>) -> Judged {
        let layout = self.world.scene().layout().clone();
        let mut ppm = self.book.base_drift[who.index()];
        for entry in &self.book.entries {
            if let (What::ClockDrift { node, ppm: more }, Some((on, _))) =
                (&entry.fault.what, entry.active)
                && layout.by_name(node, on) == Some(who)
            {
                ppm += more;
            }
        }
        self.take(Step::ClockDrift(who, ppm), StreamKey::PLAN, cause, options)?;
        self.retime(who, cause);
        Ok(())
    }
}

/// What a machine that loses power may keep of unsynced writes.
pub(super) const KEEPS: [Keep; 5] = [Keep::None, Keep::All, Keep::Prefix, Keep::Subset, Keep::Torn];

/// How long a fault lasts. A lost answer that is counted waits for its operations.
fn lasting_us(fault: &Fault, safety_us: u64) -> u64 {
    match fault.what {
        What::StoreLoseAnswer { times, .. } if times > 0 && fault.lasting_us == 0 => safety_us,
        What::DeviceSyncFail { .. } | What::DeviceBitRot { .. } => safety_us,
        _ => fault.lasting_us,
    }
}

/// The nodes that a fault keeps out of the core while it lasts.
fn kept_out(layout: &Layout, what: &What, on: Option<Endpoint>) -> Set {
    match what {
        What::ZoneFail { zone } | What::ZoneCut { zone, .. } => {
            let zone = layout.zone_by_name(zone, on);
            let members = zone.map(|zone| layout.zone_members(zone)).unwrap_or_default();
            members.without(layout.all_clients())
        }
        What::Crash { node, .. } | What::Pause { node } => {
            layout.by_name(node, on).into_iter().collect()
        }
        What::ClockStep { .. }
        | What::ClockDrift { .. }
        | What::Cut { .. }
        | What::Lossy { .. }
        | What::SlowLink { .. }
        | What::StoreSlowDown { .. }
        | What::StoreBrownOut { .. }
        | What::StoreLoseAnswer { .. }
        | What::StoreDuplicate { .. }
        | What::DeviceSyncFail { .. }
        | What::DeviceFull { .. }
        | What::DeviceBitRot { .. }
        | What::Drain { .. } => Set::default(),
    }
}

/// Whether those not outside can work: a majority of the controllers and a broker.
fn is_core(layout: &Layout, outside: Set) -> bool {
    let inside = |first: usize, count: usize| {
        (first..first + count).filter(|one| !outside.holds(Endpoint(*one as u8))).count()
    };
    let controllers = layout.controllers().len();
    inside(0, controllers) * 2 > controllers && inside(controllers, layout.brokers().len()) > 0
}

/// A fault's kind, as plans name it.
pub(super) fn kind(what: &What) -> &'static str {
    match what {
        What::ZoneFail { .. } => "zone-fail",
        What::ZoneCut { .. } => "zone-cut",
        What::Crash { .. } => "crash",
        What::Pause { .. } => "pause",
        What::ClockStep { .. } => "clock-step",
        What::ClockDrift { .. } => "clock-drift",
        What::Cut { .. } => "cut",
        What::Lossy { .. } => "lossy",
        What::SlowLink { .. } => "slow-link",
        What::StoreSlowDown { .. } => "store-slow-down",
        What::StoreBrownOut { .. } => "store-brown-out",
        What::StoreLoseAnswer { .. } => "store-lose-answer",
        What::StoreDuplicate { .. } => "store-duplicate",
        What::DeviceSyncFail { .. } => "device-sync-fail",
        What::DeviceFull { .. } => "device-full",
        What::DeviceBitRot { .. } => "device-bit-rot",
        What::Drain { .. } => "drain",
    }
}

//! When faults begin and end, and which steps they are made of. What they do to single messages and
//! store operations is in the scheduler.

use broker_core::step::LogOp;
use invariants::history::SimTime;

use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions};
use crate::draws::{Purpose, StreamKey};
use crate::plan::{Fault, Keep, What};
use crate::world::layout::{Endpoint, Layout, Set};
use crate::world::scene::Asked;
use crate::world::step::Step;
use crate::world::weather::FaultId;

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
        match &what {
            What::ZoneFail { zone } => {
                self.fail_zone(id, zone, on, cause, options)?;
                self.impose(id, on, cause, options)
            }
            What::ZoneCut { .. }
            | What::ZoneStoreLost { .. }
            | What::Cut { .. }
            | What::Lossy { .. }
            | What::SlowLink { .. }
            | What::StoreSlowDown { .. }
            | What::StoreEmptyPage { .. }
            | What::StoreDamage { .. }
            | What::Stall { .. }
            | What::StoreBrownOut { .. }
            | What::StoreLoseAnswer { .. }
            | What::StoreDuplicate { .. } => self.impose(id, on, cause, options),
            What::Query { act } => self.disturb(id, *act, on, cause, options),
            What::Crash { node, .. }
            | What::Pause { node }
            | What::ClockStep { node, .. }
            | What::ClockDrift { node, .. }
            | What::DeviceSyncFail { node }
            | What::DeviceFull { node }
            | What::DeviceBitRot { node }
            | What::Drain { node } => {
                let node = self.world.scene().layout().by_name(node, on);
                self.hurt(id, &what, node.expect("the layout checked it"), cause, options)
            }
        }
    }

    /// A fault of one node begins.
    fn hurt(
        &mut self,
        id: FaultId,
        what: &What,
        node: Endpoint,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let step = match what {
            What::Crash { keep, .. } => return self.kill(id, node, *keep, cause, options),
            What::ClockDrift { .. } => {
                self.book.strike(id);
                return self.drift(node, cause, options);
            }
            What::Pause { .. } => {
                self.book.frozen[node.index()].push(id);
                Step::Pause(node)
            }
            What::ClockStep { by_us, .. } => {
                self.book.strike(id);
                Step::ClockStep(node, *by_us)
            }
            What::DeviceSyncFail { .. } => {
                self.book.sync_fail[node.index()].push(id);
                Step::SyncFail(node, true)
            }
            What::DeviceFull { .. } => {
                self.book.full[node.index()].push(id);
                Step::DeviceFull(node, true)
            }
            What::DeviceBitRot { .. } => {
                self.book.rot[node.index()] = Some(id);
                Step::BitRot(node, true)
            }
            What::Drain { .. } => {
                self.book.down[node.index()] += 1;
                if self.world.is_enabled(&Step::Drain(node)) {
                    self.book.strike(id);
                }
                Step::Drain(node)
            }
            _ => unreachable!("{what:?} is not a fault of one node"),
        };
        self.take(step, StreamKey::PLAN, cause, options)
    }

    fn fail_zone(
        &mut self,
        id: FaultId,
        zone: &str,
        on: Option<Endpoint>,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let layout = self.world.scene().layout().clone();
        let zone = layout.zone_by_name(zone, on).expect("the layout checked it");
        for member in layout.zone_members(zone).iter().filter(|one| layout.is_node(*one)) {
            let stream = self.book.stream(id, member.0.into());
            let keep = KEEPS[self.ledger.draws.below(stream, KEEPS.len() as u64) as usize];
            self.kill(id, member, keep, cause, options)?;
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
                let full = &mut self.book.full[node.index()];
                full.retain(|other| *other != id);
                if full.is_empty() {
                    self.take(Step::DeviceFull(node, false), StreamKey::PLAN, 0, options)?;
                }
            }
            What::DeviceSyncFail { node: name } => {
                let node = node(name);
                let failing = &mut self.book.sync_fail[node.index()];
                failing.retain(|other| *other != id);
                if failing.is_empty() {
                    self.take(Step::SyncFail(node, false), StreamKey::PLAN, 0, options)?;
                }
            }
            What::DeviceBitRot { node: name } => {
                self.take(Step::BitRot(node(name), false), StreamKey::PLAN, 0, options)?;
            }
            What::ClockStep { .. } => {}
            What::Query { act } => self.leave_alone(id, *act, on, options)?,
            What::ZoneCut { .. }
            | What::ZoneStoreLost { .. }
            | What::Cut { .. }
            | What::Lossy { .. }
            | What::SlowLink { .. }
            | What::StoreSlowDown { .. }
            | What::StoreEmptyPage { .. }
            | What::StoreDamage { .. }
            | What::Stall { .. }
            | What::StoreBrownOut { .. }
            | What::StoreLoseAnswer { .. }
            | What::StoreDuplicate { .. } => {
                self.take(Step::Lift(id), StreamKey::PLAN, 0, options)?;
            }
        }
        Ok(())
    }

    /// The safety phase ends. Faults that last longer and keep whole nodes out may go on, as long
    /// as what is left is a majority of the controllers and a broker; all others end.
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
                self.take(Step::Crash(node, Keep::All, 0), StreamKey::PLAN, 0, options)?;
            }
        }
        self.take(Step::Heal, StreamKey::PLAN, 0, options)
    }

    /// The operation at the head of a device is about to be done: notes whose doing its end is.
    pub(super) fn notice_device(&mut self, node: Endpoint) {
        let Some(device) = self.world.scene().device(node) else { return };
        let fault = match device.head() {
            Some((_, LogOp::Sync)) if device.sync_will_fail() => {
                self.book.sync_fail[node.index()].last()
            }
            Some((_, LogOp::Append { .. } | LogOp::WriteState { .. })) if device.is_full() => {
                self.book.full[node.index()].last()
            }
            _ => None,
        };
        if let Some(&fault) = fault {
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
        let lot = self.ledger.draws.below(StreamKey::new(Purpose::Keep, node.0.into()), u64::MAX);
        let step = Step::Crash(node, keep, lot);
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
            What::ZoneFail { .. }
                | What::ZoneCut { .. }
                | What::ZoneStoreLost { .. }
                | What::Cut { .. }
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
const KEEPS: [Keep; 5] = [Keep::None, Keep::All, Keep::Prefix, Keep::Subset, Keep::Torn];

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
        | What::ZoneStoreLost { .. }
        | What::Cut { .. }
        | What::Lossy { .. }
        | What::SlowLink { .. }
        | What::StoreSlowDown { .. }
        | What::StoreEmptyPage { .. }
        | What::StoreDamage { .. }
        | What::Stall { .. }
        | What::StoreBrownOut { .. }
        | What::StoreLoseAnswer { .. }
        | What::StoreDuplicate { .. }
        | What::DeviceSyncFail { .. }
        | What::DeviceFull { .. }
        | What::DeviceBitRot { .. }
        | What::Query { .. }
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

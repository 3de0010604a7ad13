//! When what a step set going will happen, and what becomes of it on the way: latencies, losses,
//! copies, refusals, lost answers, late landings. Every decision is one draw of one keyed stream.

use broker_core::ids::ConnId;
use broker_core::step::{Cond, LogOp, ObjOp};
use broker_core::time::Dur;
use invariants::Violation;
use invariants::history::SimTime;

use crate::decider::alarms::Ring;
use crate::decider::faults::KEEPS;
use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions, latency};
use crate::draws::{Purpose, StreamKey};
use crate::plan::Fate;
use crate::world::determinism;
use crate::world::latency::Quantiles;
use crate::world::layout::Endpoint;
use crate::world::slab::Handle;
use crate::world::step::{Launch, Step};
use crate::world::weather::FaultId;

/// A store operation without an answer is given up after this: the request time-out of common S3
/// clients is of this order.
const STORE_PATIENCE_US: u64 = 10_000_000;

/// Of the conditional puts that come twice, so many per mille are refused the first time though
/// nothing is there: S3 answers 409 ConditionalRequestConflict to one of two conditional writes at
/// once, and clients that know only success and a failed precondition report the latter.
const CONFLICT_PM: u32 = 250;

/// A put of a dead node lands by this at the latest.
const ORPHAN_US_MAX: u64 = 60_000_000;

/// A process that ended by itself is started again within this (after at least a tenth of it), as by
/// a supervisor.
const REBOOT_US_MAX: u64 = 2_000_000;

/// A connection that was cut off is found out within this: a keep-alive, not a FIN.
const NOTICE_US_MAX: u64 = 1_000_000;

/// Reading a device at boot.
const DEVICE_LOAD_US: u64 = 2_000;

/// Refusing an append for want of room.
const DEVICE_REFUSE_US: u64 = 50;

impl Run {
    /// A step of the queue came up.
    pub(super) fn due(
        &mut self,
        step: Step,
        stream: StreamKey,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        if let Some(node) = self.frozen(&step) {
            self.held[node.index()].push((Due::Step(step), stream, cause));
            self.book.strike_frozen(node);
            return Ok(());
        }
        if !self.rings(&step, stream, cause) {
            return Ok(());
        }
        match step {
            Step::Boot(node) if self.is_held_down(node) => return Ok(()),
            Step::StoreAnswer(handle) if self.answer_is_cut(handle) => {
                self.give_up_later(handle, cause);
                let forget = Step::StoreForget(handle);
                return self.take(forget, stream, cause, options);
            }
            Step::StoreTake(handle) if self.postponed(handle) => return Ok(()),
            Step::Device(node, _) => self.notice_device(node),
            _ => {}
        }
        self.take(step, stream, cause, options)?;
        if step == Step::Tick { self.ticked() } else { Ok(()) }
    }

    /// Decides what becomes of something that the step `from` set going.
    pub(super) fn schedule(
        &mut self,
        launch: Launch,
        from: &Step,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        match launch {
            Launch::Message(handle) => {
                let copy = matches!(from, Step::Duplicate(_));
                self.message(handle, copy, cause, options)
            }
            Launch::Store(handle) => self.store(handle, cause, options),
            // Scheduled by whoever made the copy.
            Launch::Copy(handle) => {
                self.copied = Some(handle);
                Ok(())
            }
            Launch::Orphan(handle) => self.orphan(handle, cause, options),
            Launch::Up { conn, end } => {
                self.travel(conn, true, end, matches!(from, Step::Break(_)), cause, options)
            }
            Launch::Down { conn, end } => {
                self.travel(conn, false, end, matches!(from, Step::Break(_)), cause, options)
            }
            Launch::Device(node) => {
                self.device(node, cause);
                Ok(())
            }
            Launch::Timer(node, key, after) => {
                let (due, when) = self.alarm_times(node, after);
                if self.alarms[node.index()].arm(key, due, when) {
                    let stream = StreamKey::new(Purpose::Timer, node.0.into());
                    self.queue.push(when, Due::Step(Step::Timer(node, key)), stream, cause);
                }
                Ok(())
            }
            Launch::ClientTimer(client, key, after) => {
                let (due, when) = self.alarm_times(client, after);
                let number = self.world.scene().layout().client_number(client);
                if self.client_alarms[usize::from(number)].arm(key, due, when) {
                    let stream = StreamKey::new(Purpose::Timer, client.0.into());
                    self.queue.push(when, Due::Step(Step::ClientTimer(client, key)), stream, cause);
                }
                Ok(())
            }
            Launch::Halted(node) => {
                self.forget_process(node);
                if !self.book.holds_down(node) {
                    self.boot_soon(node, cause);
                }
                Ok(())
            }
            Launch::Rotted(node) => {
                self.book.rotted(node);
                Ok(())
            }
        }
    }

    /// Starts a node's process again after a while.
    pub(super) fn boot_soon(&mut self, node: Endpoint, cause: u64) {
        let stream = StreamKey::new(Purpose::Boot, node.0.into());
        let least = REBOOT_US_MAX / 10;
        let after = least + self.ledger.draws.below(stream, REBOOT_US_MAX - least);
        self.push(after, Step::Boot(node), stream, cause);
    }

    /// A process is gone: nothing waits for it any more.
    pub(super) fn forget_process(&mut self, node: Endpoint) {
        self.alarms[node.index()].clear();
        self.held[node.index()].clear();
    }

    /// A node goes on: everything that was due meanwhile is due now, in its old order.
    pub(super) fn thaw(&mut self, node: Endpoint) {
        for (due, stream, cause) in std::mem::take(&mut self.held[node.index()]) {
            if let Due::Step(Step::Timer(node, key)) = due {
                self.alarms[node.index()].requeue(key, self.now);
            }
            self.queue.push(self.now, due, stream, cause);
        }
    }

    /// The clock of an endpoint changed its pace.
    pub(super) fn retime(&mut self, who: Endpoint, cause: u64) {
        let scene = self.world.scene();
        let (clock, queue, now) = (scene.clock(who), &mut self.queue, self.now);
        let stream = StreamKey::new(Purpose::Timer, who.0.into());
        if scene.layout().is_node(who) {
            self.alarms[who.index()].retime(
                |due| clock.when(due).max(now),
                |key, at| queue.push(at, Due::Step(Step::Timer(who, key)), stream, cause),
            );
        } else {
            let number = usize::from(scene.layout().client_number(who));
            self.client_alarms[number].retime(
                |due| clock.when(due).max(now),
                |key, at| queue.push(at, Due::Step(Step::ClientTimer(who, key)), stream, cause),
            );
        }
    }

    /// The asker of a store operation that gets no answer will give up: half of them soon, as when a
    /// connection is reset, the others when their patience ends.
    pub(super) fn give_up_later(&mut self, handle: Handle, cause: u64) {
        let Some(ask) = self.world.scene().asks().get(handle) else { return };
        let stream = StreamKey::new(Purpose::Store, ask.node.0.into());
        let after = self.patience(stream);
        self.push(after, Step::StoreGiveUp(handle), stream, cause);
    }

    fn patience(&mut self, stream: StreamKey) -> u64 {
        match self.ledger.draws.chance(stream, 500) {
            true => latency::STORE_PUT.at(self.ledger.draws.half(stream)) * 2,
            false => STORE_PATIENCE_US,
        }
    }

    fn message(
        &mut self,
        handle: Handle,
        copy: bool,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let Some(message) = self.world.scene().messages().get(handle) else { return Ok(()) };
        let (from, to) = (message.from, message.to);
        if let Some(fault) = self.world.scene().weather().cut(from, to).filter(|_| from != to) {
            self.book.strike(fault);
            return self.take(Step::Lose(handle), StreamKey::PLAN, cause, options);
        }
        let link = u64::from(from.0) << 8 | u64::from(to.0);
        let mut held_us = 0;
        for at in 0..self.world.scene().weather().lossy().len() {
            let (fault, lossy) = self.world.scene().weather().lossy()[at];
            let stream = self.book.stream(fault, link);
            let draws = &mut self.ledger.draws;
            // Always three draws, so that a change of one rate leaves the others' luck alone.
            let lost = draws.chance(stream, lossy.drop_pm);
            let doubled = draws.chance(stream, lossy.duplicate_pm) && !copy;
            let held = draws.chance(stream, lossy.hold_pm);
            if lost || doubled || held {
                self.book.strike(fault);
            }
            if lost {
                return self.take(Step::Lose(handle), stream, cause, options);
            }
            if doubled {
                self.take(Step::Duplicate(handle), stream, cause, options)?;
            }
            if held {
                let stream = self.book.stream(fault, link | 1 << 16);
                held_us += 1 + self.ledger.draws.below(stream, lossy.hold_us_max.max(1));
            }
        }
        let (delay, stream) = self.link(from, to);
        self.push(delay + held_us, Step::Deliver(handle), stream, cause);
        Ok(())
    }

    /// The delay of one message on a link, µs.
    fn link(&mut self, from: Endpoint, to: Endpoint) -> (u64, StreamKey) {
        let stream = StreamKey::new(Purpose::Link, u64::from(from.0) << 8 | u64::from(to.0));
        let scene = self.world.scene();
        let layout = scene.layout();
        let table = match (layout.zone(from), layout.zone(to)) {
            (Some(one), Some(other)) if one != other => &latency::CROSS_ZONE,
            _ => &latency::SAME_ZONE,
        };
        let mut delay = table.at(self.ledger.draws.half(stream));
        for (fault, by_us) in scene.weather().slow(from, to) {
            self.book.strike(fault);
            delay += by_us;
        }
        if layout.nondeterminism.wall_clock {
            delay += determinism::wall_clock_jitter_us();
        }
        (delay, stream)
    }

    /// Something on a connection: later than what is before it, or the end of the connection.
    fn travel(
        &mut self,
        conn: ConnId,
        up: bool,
        end: bool,
        broken: bool,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let Some(connection) = self.world.scene().connection(conn) else { return Ok(()) };
        let (client, broker) = (connection.client, connection.broker);
        let (from, to) = if up { (client, broker) } else { (broker, client) };
        let cut = self.world.scene().weather().cut(from, to);
        if let Some(fault) = cut
            && !end
        {
            self.book.strike(fault);
            return self.take(Step::Break(conn), StreamKey::PLAN, cause, options);
        }
        let (delay, stream) = if end && (broken || cut.is_some()) {
            let stream = StreamKey::new(Purpose::Notice, to.0.into());
            (1 + self.ledger.draws.below(stream, NOTICE_US_MAX), stream)
        } else {
            self.link(from, to)
        };
        let earliest = SimTime(self.now.0 + delay);
        let lane = self.lane(client, conn);
        let busy = if up { &mut lane.1 } else { &mut lane.2 };
        *busy = earliest.max(*busy);
        let at = *busy;
        let step = if up { Step::Up(conn) } else { Step::Down(conn) };
        self.queue.push(at, Due::Step(step), stream, cause);
        Ok(())
    }

    fn lane(&mut self, client: Endpoint, conn: ConnId) -> &mut (ConnId, SimTime, SimTime) {
        let scene = self.world.scene();
        let number = usize::from(scene.layout().client_number(client));
        let lanes = &mut self.lanes[number];
        let place = lanes.iter().position(|lane| lane.0 == conn).unwrap_or_else(|| {
            let alive = &scene.client(client).connections;
            lanes.retain(|lane| alive.iter().any(|one| one.id == lane.0));
            lanes.push((conn, self.now, self.now));
            lanes.len() - 1
        });
        &mut lanes[place]
    }

    fn device(&mut self, node: Endpoint, cause: u64) {
        let scene = self.world.scene();
        let Some((_, op)) = scene.device(node).and_then(|device| device.head()) else { return };
        let stream = StreamKey::new(Purpose::Device, node.0.into());
        let after = match op {
            LogOp::Load => DEVICE_LOAD_US,
            LogOp::Append { .. } => DEVICE_REFUSE_US,
            LogOp::Sync | LogOp::Truncate { .. } | LogOp::WriteState { .. } => {
                latency::DEVICE_SYNC.at(self.ledger.draws.half(stream))
            }
        };
        let step = Step::Device(node, scene.slot(node).incarnation);
        self.push(after, step, stream, cause);
    }

    fn store(&mut self, handle: Handle, cause: u64, options: &mut RunOptions<'_>) -> Judged {
        let Some(ask) = self.world.scene().asks().get(handle) else { return Ok(()) };
        let (node, is_put) = (ask.node, matches!(ask.op, ObjOp::Put { .. }));
        let (table, bytes) = store_latency(&ask.op);
        let stream = StreamKey::new(Purpose::Store, node.0.into());
        let total = table.at(self.ledger.draws.half(stream))
            + bytes * 1_000_000 / latency::STORE_BYTES_PER_S;
        // The store does it somewhere in the middle half of the time that the answer takes.
        let share = 256 + self.ledger.draws.below(stream, 512);
        let total = self.brown_out(total) + self.slow_store(node);
        let done = total * share / 1_024;
        let scene = self.world.scene();
        if let Some(fault) = scene.weather().cut(node, scene.layout().store()) {
            self.book.strike(fault);
            self.give_up_later(handle, cause);
            return self.take(Step::StoreForget(handle), StreamKey::PLAN, cause, options);
        }
        let mut step = Step::StoreTake(handle);
        if self.refused(node) {
            step = Step::StoreRefuse(handle);
        } else if is_put && self.duplicate(handle, node, done, cause, options)? {
            step = Step::StoreConflict(handle);
        } else if let Some((fault, fate)) = self.loses_answer(node) {
            return self.lose_answer(handle, node, fault, fate, done, cause, options);
        }
        self.push(done, step, stream, cause);
        // No answer is waited for any longer than that, be it a refusal.
        if total > STORE_PATIENCE_US {
            self.push(STORE_PATIENCE_US, Step::StoreGiveUp(handle), stream, cause);
        } else {
            self.push(total, Step::StoreAnswer(handle), stream, cause);
        }
        Ok(())
    }

    fn brown_out(&mut self, mut total: u64) -> u64 {
        for at in 0..self.world.scene().weather().brown_out().len() {
            let (fault, factor) = self.world.scene().weather().brown_out()[at];
            self.book.strike(fault);
            total *= u64::from(factor.max(1));
        }
        total
    }

    fn slow_store(&mut self, node: Endpoint) -> u64 {
        let scene = self.world.scene();
        let (weather, store) = (scene.weather(), scene.layout().store());
        let mut more = 0;
        for (fault, by_us) in weather.slow(node, store).chain(weather.slow(store, node)) {
            self.book.strike(fault);
            more += by_us;
        }
        more
    }

    fn refused(&mut self, node: Endpoint) -> bool {
        let mut refused = false;
        for at in 0..self.world.scene().weather().slow_down().len() {
            let (fault, per_mille) = self.world.scene().weather().slow_down()[at];
            let stream = self.book.stream(fault, node.0.into());
            if self.ledger.draws.chance(stream, per_mille) {
                self.book.strike(fault);
                refused = true;
            }
        }
        refused
    }

    /// Lets a put come twice, perhaps; true if the first one is refused because of the second.
    fn duplicate(
        &mut self,
        handle: Handle,
        node: Endpoint,
        done: u64,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Result<bool, Violation> {
        let ask = self.world.scene().asks().get(handle);
        let conditional =
            ask.is_some_and(|ask| matches!(ask.op, ObjOp::Put { cond: Cond::IfAbsent, .. }));
        let mut conflict = false;
        for at in 0..self.world.scene().weather().duplicate().len() {
            let (fault, rule) = self.world.scene().weather().duplicate()[at];
            if rule.of.is_some_and(|of| of != node) {
                continue;
            }
            let stream = self.book.stream(fault, node.0.into());
            if !self.ledger.draws.chance(stream, rule.per_mille) {
                continue;
            }
            let later = self.ledger.draws.below(stream, rule.later_us_max.max(1));
            self.book.strike(fault);
            self.take(Step::StoreDuplicate(handle), stream, cause, options)?;
            if let Some(copy) = self.copied.take() {
                self.push(done + 1 + later, Step::StoreTake(copy), stream, cause);
            }
            let stream = self.book.stream(fault, u64::from(node.0) | 1 << 17);
            conflict |= conditional && self.ledger.draws.chance(stream, CONFLICT_PM);
        }
        Ok(conflict)
    }

    fn loses_answer(&mut self, node: Endpoint) -> Option<(FaultId, Fate)> {
        for at in 0..self.world.scene().weather().lose_answer().len() {
            let (fault, rule) = self.world.scene().weather().lose_answer()[at];
            if rule.of.is_some_and(|of| of != node) {
                continue;
            }
            let stream = self.book.stream(fault, node.0.into());
            if self.ledger.draws.chance(stream, rule.per_mille)
                && self.book.strike_counted(fault, rule.times)
            {
                return Some((fault, rule.fate));
            }
        }
        None
    }

    #[expect(clippy::too_many_arguments, reason = "one call, and each of them is needed")]
    fn lose_answer(
        &mut self,
        handle: Handle,
        node: Endpoint,
        fault: FaultId,
        fate: Fate,
        done: u64,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let stream = self.book.stream(fault, u64::from(node.0) | 1 << 16);
        let given_up = self.patience(stream).max(done + 1).min(STORE_PATIENCE_US);
        self.push(given_up, Step::StoreGiveUp(handle), stream, cause);
        match fate {
            Fate::Applied => self.push(done, Step::StoreTake(handle), stream, cause),
            Fate::Dropped => {
                self.take(Step::StoreForget(handle), StreamKey::PLAN, cause, options)?;
            }
            Fate::Late { by_us_max } => {
                let later = 1 + self.ledger.draws.below(stream, by_us_max.max(1));
                self.push(given_up.max(done) + later, Step::StoreTake(handle), stream, cause);
            }
        }
        Ok(())
    }

    /// Nobody waits for this operation any more. If its asker died, it lands at its time, or later,
    /// or never; if it was merely given up, it lands when it was to land.
    fn orphan(&mut self, handle: Handle, cause: u64, options: &mut RunOptions<'_>) -> Judged {
        let Some(ask) = self.world.scene().asks().get(handle) else { return Ok(()) };
        let node = ask.node;
        if self.world.scene().slot(node).process.is_some() {
            return Ok(());
        }
        let stream = StreamKey::new(Purpose::Orphan, node.0.into());
        match self.ledger.draws.below(stream, 4) {
            0 => self.take(Step::StoreForget(handle), stream, cause, options),
            1 => {
                let later = STORE_PATIENCE_US / 10 + self.ledger.draws.below(stream, ORPHAN_US_MAX);
                let at = SimTime(self.now.0 + later);
                self.late.push((handle, at));
                self.queue.push(at, Due::Step(Step::StoreTake(handle)), stream, cause);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether an orphan's landing was put off to a later time than now.
    fn postponed(&mut self, handle: Handle) -> bool {
        let Some(place) = self.late.iter().position(|(late, _)| *late == handle) else {
            return false;
        };
        let later = self.late[place].1 > self.now;
        if !later {
            self.late.swap_remove(place);
        }
        later
    }

    fn answer_is_cut(&mut self, handle: Handle) -> bool {
        let scene = self.world.scene();
        let Some(ask) = scene.asks().get(handle).filter(|ask| !ask.orphan) else { return false };
        let cut = scene.weather().cut(scene.layout().store(), ask.node);
        if let Some(fault) = cut {
            self.book.strike(fault);
        }
        cut.is_some()
    }

    fn is_held_down(&self, who: Endpoint) -> bool {
        self.world.scene().layout().is_node(who) && self.book.holds_down(who)
    }

    /// The frozen node that a step is for, if it is for one.
    fn frozen(&self, step: &Step) -> Option<Endpoint> {
        if !self.book.any_frozen() {
            return None;
        }
        let scene = self.world.scene();
        let node = scene.target(step).filter(|one| scene.layout().is_node(*one))?;
        scene.slot(node).paused.then_some(node)
    }

    /// Whether a timer's event is still the valid one and due; true for all other steps.
    fn rings(&mut self, step: &Step, stream: StreamKey, cause: u64) -> bool {
        let (who, ring) = match *step {
            Step::Timer(node, key) => {
                let now = self.world.scene().clock(node).mono(self.now);
                (node, self.alarms[node.index()].ring(key, self.now, now))
            }
            Step::ClientTimer(client, key) => {
                let scene = self.world.scene();
                let now = scene.clock(client).mono(self.now);
                let number = usize::from(scene.layout().client_number(client));
                (client, self.client_alarms[number].ring(key, self.now, now))
            }
            _ => return true,
        };
        match ring {
            Ring::Now => true,
            Ring::Stale => false,
            Ring::Later(due) => {
                let when = self.world.scene().clock(who).when(due).max(SimTime(self.now.0 + 1));
                match *step {
                    Step::Timer(node, key) => self.alarms[node.index()].requeue(key, when),
                    Step::ClientTimer(client, key) => {
                        let number = self.world.scene().layout().client_number(client);
                        self.client_alarms[usize::from(number)].requeue(key, when);
                    }
                    _ => {}
                }
                self.queue.push(when, Due::Step(*step), stream, cause);
                false
            }
        }
    }

    /// When a timer is due: on its endpoint's clock, and in truth. Never at this very instant, so
    /// that time always passes.
    fn alarm_times(&self, who: Endpoint, after: Dur) -> (broker_core::time::Mono, SimTime) {
        let clock = self.world.scene().clock(who);
        let due = clock.after(self.now, Dur(after.0.max(1)));
        (due, clock.when(due).max(SimTime(self.now.0 + 1)))
    }

    fn push(&mut self, after_us: u64, step: Step, stream: StreamKey, cause: u64) {
        self.queue.push(SimTime(self.now.0 + after_us), Due::Step(step), stream, cause);
    }
}

fn store_latency(op: &ObjOp) -> (&'static Quantiles, u64) {
    match op {
        ObjOp::Put { body, .. } => (&latency::STORE_PUT, body.len() as u64),
        ObjOp::Get { range: Some((start, end)), .. } => {
            (&latency::STORE_GET, end.saturating_sub(*start))
        }
        ObjOp::Get { range: None, .. } => (&latency::STORE_GET, 0),
        ObjOp::List { .. } => (&latency::STORE_LIST, 0),
        ObjOp::Delete { .. } => (&latency::STORE_PUT, 0),
    }
}

const _: () = assert!(KEEPS.len() == 5, "every way to lose unsynced writes");

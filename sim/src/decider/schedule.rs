//! When what a step set going will happen, and what becomes of it on the way: latencies, losses,
//! copies, timers, what a frozen node misses. Every decision is one draw of one keyed stream.

use broker_core::ids::ConnId;
use broker_core::step::LogOp;
use broker_core::time::Dur;
use invariants::history::SimTime;

use crate::decider::alarms::Ring;
use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions, latency};
use crate::draws::{Purpose, StreamKey};
use crate::world::determinism;
use crate::world::layout::Endpoint;
use crate::world::slab::Handle;
use crate::world::spark::SparkStep;
use crate::world::step::{Launch, Step};

/// A process that ended by itself is started again within this (after at least a tenth of it), as
/// by a supervisor.
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
            Step::Spark(..) if self.query_stays_down(&step) => return Ok(()),
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
            Launch::Spark(place, launch) => {
                self.schedule_query(place, launch, cause);
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
            let place = scene.spark().and_then(|query| query.place_of(who));
            let Some(place) =
                place.filter(|it| scene.spark().map(|one| one.driver_at(*it)) == Some(who))
            else {
                return;
            };
            let step = |key| Step::Spark(place, SparkStep::Timer(key));
            self.query_alarms[usize::from(place.0)].retime(
                |due| clock.when(due).max(now),
                |key, at| queue.push(at, Due::Step(step(key)), stream, cause),
            );
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
        let stalled_us = if up && !end { self.stalled(conn) } else { 0 };
        let (delay, stream) = if end && (broken || cut.is_some()) {
            let stream = StreamKey::new(Purpose::Notice, to.0.into());
            (1 + self.ledger.draws.below(stream, NOTICE_US_MAX), stream)
        } else {
            self.link(from, to)
        };
        let earliest = SimTime(self.now.0 + delay + stalled_us);
        let lane = self.lane(client, conn);
        let busy = if up { &mut lane.1 } else { &mut lane.2 };
        *busy = earliest.max(*busy);
        let at = *busy;
        let step = if up { Step::Up(conn) } else { Step::Down(conn) };
        self.queue.push(at, Due::Step(step), stream, cause);
        Ok(())
    }

    /// How long a request is held back on its connection, µs.
    fn stalled(&mut self, conn: ConnId) -> u64 {
        let mut stalled_us = 0;
        for at in 0..self.world.scene().weather().stall().len() {
            let (fault, per_mille, by_us_max) = self.world.scene().weather().stall()[at];
            let stream = self.book.stream(fault, conn.0);
            // Always two draws, so that a change of the rate leaves the others' luck alone.
            let hit = self.ledger.draws.chance(stream, per_mille);
            let by_us = 1 + self.ledger.draws.below(stream, by_us_max.max(1));
            if hit {
                self.book.strike(fault);
                stalled_us += by_us;
            }
        }
        stalled_us
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
                (node, self.alarms[node.index()].ring(key, self.due_at, now))
            }
            Step::ClientTimer(client, key) => {
                let scene = self.world.scene();
                let now = scene.clock(client).mono(self.now);
                let number = usize::from(scene.layout().client_number(client));
                (client, self.client_alarms[number].ring(key, self.due_at, now))
            }
            Step::Spark(place, SparkStep::Timer(key)) => {
                let scene = self.world.scene();
                let driver = scene.spark().expect("it armed this").driver_at(place);
                let now = scene.clock(driver).mono(self.now);
                (driver, self.query_alarms[usize::from(place.0)].ring(key, self.due_at, now))
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
                    Step::Spark(place, SparkStep::Timer(key)) => {
                        self.query_alarms[usize::from(place.0)].requeue(key, when);
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
    pub(super) fn alarm_times(
        &self,
        who: Endpoint,
        after: Dur,
    ) -> (broker_core::time::Mono, SimTime) {
        let clock = self.world.scene().clock(who);
        let due = clock.after(self.now, Dur(after.0.max(1)));
        (due, clock.when(due).max(SimTime(self.now.0 + 1)))
    }

    pub(super) fn push(&mut self, after_us: u64, step: Step, stream: StreamKey, cause: u64) {
        self.queue.push(SimTime(self.now.0 + after_us), Due::Step(step), stream, cause);
    }
}

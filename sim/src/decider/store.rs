//! When store operations are done and answered, and what becomes of them under faults: refusals,
//! lost answers, late landings, second copies, and what a dead node left behind.

use broker_core::step::{Cond, ObjOp};
use invariants::Violation;
use invariants::history::SimTime;

use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions, latency};
use crate::draws::{Purpose, StreamKey};
use crate::plan::Fate;
use crate::plan::schema::MICROS_MAX;
use crate::world::latency::Quantiles;
use crate::world::layout::Endpoint;
use crate::world::scene::Ticket;
use crate::world::slab::Handle;
use crate::world::step::Step;
use crate::world::weather::{FaultId, Weather};

/// A store operation without an answer is given up after this: the request time-out of common S3
/// clients is of this order.
const STORE_PATIENCE_US: u64 = 10_000_000;

/// Of the conditional puts that come twice, so many per mille are refused the first time though
/// nothing is there: S3 answers 409 ConditionalRequestConflict to one of two conditional writes at
/// once, and clients that know only success and a failed precondition report the latter.
const CONFLICT_PM: u32 = 250;

/// A put of a dead node lands by this at the latest.
const ORPHAN_US_MAX: u64 = 60_000_000;

impl Run {
    /// The asker of a store operation that gets no answer will give up: half of them soon, as when
    /// a connection is reset, the others when their patience ends.
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

    /// Decides what becomes of a store operation.
    pub(super) fn store(
        &mut self,
        handle: Handle,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
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
        if step == Step::StoreTake(handle) {
            step = self.spoiled(handle, node);
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
            total = total.saturating_mul(u64::from(factor.max(1)));
        }
        // Several at once; no operation of the store takes longer than a day.
        total.min(MICROS_MAX)
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
        self.drawn(node, Weather::slow_down).is_some()
    }

    /// How an operation is done: as it should, or with an answer that is spoiled.
    fn spoiled(&mut self, handle: Handle, node: Endpoint) -> Step {
        let ask = self.world.scene().asks().get(handle);
        let op = ask.map(|ask| &ask.op);
        // A query's files have checksums, and its store's client reads again until they fit.
        let checked = ask.is_some_and(|ask| matches!(ask.ticket, Ticket::Spark(_)));
        if matches!(op, Some(ObjOp::List { .. })) {
            if self.drawn(node, Weather::empty_page).is_some() {
                return Step::StoreEmptyPage(handle);
            }
        } else if matches!(op, Some(ObjOp::Get { .. }))
            && !checked
            && let Some(fault) = self.drawn(node, Weather::damage)
        {
            let stream = self.book.stream(fault, u64::from(node.0) | 1 << 16);
            return Step::StoreDamage(handle, self.ledger.draws.half(stream).into());
        }
        Step::StoreTake(handle)
    }

    /// Draws for each fault of a kind whether it hits this operation; the last one that does.
    fn drawn(
        &mut self,
        node: Endpoint,
        of: impl Fn(&Weather) -> &[(FaultId, u32)],
    ) -> Option<FaultId> {
        let mut hit = None;
        for at in 0..of(self.world.scene().weather()).len() {
            let (fault, per_mille) = of(self.world.scene().weather())[at];
            let stream = self.book.stream(fault, node.0.into());
            if self.ledger.draws.chance(stream, per_mille) {
                self.book.strike(fault);
                hit = Some(fault);
            }
        }
        hit
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
    pub(super) fn orphan(
        &mut self,
        handle: Handle,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let Some(ask) = self.world.scene().asks().get(handle) else { return Ok(()) };
        let node = ask.node;
        if self.world.scene().runs(node) {
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
    pub(super) fn postponed(&mut self, handle: Handle) -> bool {
        let Some(place) = self.late.iter().position(|(late, _)| *late == handle) else {
            return false;
        };
        let later = self.late[place].1 > self.now;
        if !later {
            self.late.swap_remove(place);
        }
        later
    }

    /// Whether the answer that is due can not reach its asker.
    pub(super) fn answer_is_cut(&mut self, handle: Handle) -> bool {
        let scene = self.world.scene();
        let Some(ask) = scene.asks().get(handle).filter(|ask| !ask.orphan) else { return false };
        let cut = scene.weather().cut(scene.layout().store(), ask.node);
        if let Some(fault) = cut {
            self.book.strike(fault);
        }
        cut.is_some()
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

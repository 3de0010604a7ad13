//! The life of one operation: wait for metadata, ask, wait for the answer, back off, ask again.
//!
//! What is asked and what an answer means is the task's part ([`Task`]); timers and connections are
//! shared through [`Shared`].

use alloc::format;
use alloc::string::String;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{ConnId, Offset, TopicPartition};
use broker_core::protocol::{Request, Response};
use broker_core::step::{Cx, Outbox};
use broker_core::time::Dur;

use super::connections::{Lane, Waiter};
use super::idempotence::Turn;
use super::member::{self, Due, Heard, Member};
use super::metadata::{Refresh, Resolved, Target};
use super::outcome::Next;
use super::reader::Mode;
use super::task::Task;
use super::{Call, CallEvent, ClientOut, ClientTimer, DELIVERY_TIMEOUT, REQUEST_TIMEOUT, Shared};
use super::{Observation, backoff, mixed};
use crate::op::Op;

mod idempotent;
mod transactions;

/// Metadata answers in a row that do not know the topic or partition before a finite operation is
/// given up. Kafka's producer waits `max.block.ms`; this is some 20 s, longer than a cluster needs
/// to elect and to create what the run creates first, and short enough for an operation whose topic
/// was taken out of the plan.
const MISSING_MAX: u32 = 20;

/// What a task wants to be sent.
pub(super) struct Asked {
    /// What begins, unless it is another attempt of the call that is open; `None`: nothing that is
    /// worth a call of its own.
    pub(super) call: Option<Call>,
    pub(super) request: Request,
    /// Whether there will be an answer at all.
    pub(super) answered: bool,
}

/// What a task makes of an answer.
pub(super) struct Verdict {
    pub(super) event: CallEvent,
    pub(super) next: Next,
}

/// Whether a session lives on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Progress {
    Going,
    Finished,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// The leader, or the topic, is not known.
    Metadata,
    /// Batches before this one of the idempotent producer come first.
    Held,
    /// An answer is outstanding; the timer is the request's time-out.
    InFlight { conn: ConnId, call: u32, target: Target },
    /// A producer id was asked for.
    AskingId { conn: ConnId, call: u32 },
    /// The timer ends the wait.
    Backoff,
}

/// An operation in progress.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Session {
    op: u32,
    task: Task,
    phase: Phase,
    /// Attempts in a row without success; counts for the backoff.
    attempts: u32,
    /// Metadata answers in a row without the topic.
    missing: u32,
    /// The call to which all attempts of an idempotent produce belong, or of a part of a
    /// transaction.
    standing: Option<u32>,
    /// One of them may have taken effect.
    doubtful: bool,
}

impl Session {
    /// Takes an operation up; [`Self::go`] begins it.
    pub(super) fn new((client, op): (u16, u32), what: Op, cx: &Cx) -> Self {
        Self::of(op, Task::new((client, op), what, cx))
    }

    /// Takes a task up.
    pub(super) fn of(op: u32, task: Task) -> Self {
        Self {
            op,
            task,
            phase: Phase::Metadata,
            attempts: 0,
            missing: 0,
            standing: None,
            doubtful: false,
        }
    }

    /// Whether the operation ends by itself.
    pub(super) fn is_finite(&self) -> bool {
        match &self.task {
            Task::Reader(reader) => match reader.mode {
                Mode::Tail { .. } => false,
                Mode::CatchUp { .. } | Mode::Range { .. } => true,
            },
            Task::Member(member) => member.charge.stays.is_some(),
            Task::Produce(_) | Task::Transaction(_) | Task::Query(_) | Task::Admin(_) => true,
        }
    }

    pub(super) fn tail(&self) -> Option<(TopicPartition, Option<Offset>)> {
        match &self.task {
            Task::Reader(reader) => reader.tail(),
            Task::Produce(_)
            | Task::Transaction(_)
            | Task::Query(_)
            | Task::Admin(_)
            | Task::Member(_) => None,
        }
    }

    /// If it is a membership.
    pub(super) fn member(&self) -> Option<&Member> {
        match &self.task {
            Task::Member(member) => Some(member),
            Task::Produce(_)
            | Task::Transaction(_)
            | Task::Query(_)
            | Task::Admin(_)
            | Task::Reader(_) => None,
        }
    }

    /// A timer of a membership fired.
    pub(super) fn is_due(&mut self, what: Due, out: &mut Outbox<ClientOut>) {
        let Task::Member(member) = &mut self.task else { return };
        member.is_due(what);
        if what == Due::Commit {
            self.arm_member(what, member::COMMIT_INTERVAL, out);
        }
    }

    fn arm_member(&self, what: Due, after: Dur, out: &mut Outbox<ClientOut>) {
        out.push(ClientOut::Arm { key: ClientTimer::Member(self.op, what), after });
    }

    pub(super) fn waits_for_metadata(&self) -> bool {
        self.phase == Phase::Metadata
    }

    pub(super) fn waits_for_turn(&self) -> bool {
        self.phase == Phase::Held
    }

    pub(super) fn begin(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        for topic in self.task.topics() {
            shared.metadata.acquire(topic);
        }
        if let Task::Produce(produce) = &self.task
            && let Some(place) = produce.place()
        {
            shared.idempotence.join(place, self.op, produce.records);
        }
        // A transaction's time begins when it has a producer.
        if self.is_finite() && !matches!(self.task, Task::Transaction(_)) {
            self.arm_delivery(out);
        }
        if let Task::Member(member) = &self.task {
            self.arm_member(Due::Commit, member::COMMIT_INTERVAL, out);
            if let Some(stays) = member.charge.stays {
                self.arm_member(Due::Leave, stays, out);
            }
        }
        self.go(shared, cx, out)
    }

    fn arm_delivery(&self, out: &mut Outbox<ClientOut>) {
        let (key, after) = (ClientTimer::Delivery(self.op), DELIVERY_TIMEOUT);
        out.push(ClientOut::Arm { key, after });
    }

    /// Gives back what the session holds. It must be dropped then.
    pub(super) fn end(&mut self, shared: &mut Shared, out: &mut Outbox<ClientOut>) {
        for topic in self.task.topics() {
            shared.metadata.release(topic);
        }
        if let Some(transaction) = self.task.transaction() {
            transaction.give_back(&mut shared.producers, self.op);
        }
        if let Some(place) = self.task.place() {
            // Its call has ended with an answer, or is still standing.
            shared.idempotence.leave(&place, self.op, self.standing.is_none());
        }
        shared.connections.close_lane(Lane::Reader(self.op), out);
        out.push(ClientOut::Disarm(ClientTimer::Session(self.op)));
        if self.is_finite() {
            out.push(ClientOut::Disarm(ClientTimer::Delivery(self.op)));
        }
        if let Task::Member(_) = &self.task {
            for what in [Due::Heartbeat, Due::Commit, Due::Leave] {
                out.push(ClientOut::Disarm(ClientTimer::Member(self.op, what)));
            }
        }
    }

    /// Asks the next question, if it is known whom to ask.
    pub(super) fn go(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        if let Some(progress) = self.turn_comes(shared, cx, out) {
            return progress;
        }
        let lot = mixed(cx.entropy, u64::from(self.op));
        let found = shared.metadata.resolve(self.task.topic(), self.task.route(), lot);
        let Resolved::Ready(target) = found else {
            self.phase = Phase::Metadata;
            out.push(ClientOut::Disarm(ClientTimer::Session(self.op)));
            shared.want_metadata(cx, out);
            return Progress::Going;
        };
        self.missing = 0;
        if self.task.was_for_another(target.topic) {
            self.call_over(CallEvent::Unknown, out);
            return self.transaction_over(shared, cx, out);
        }
        let turn = match (&mut self.task, target.topic) {
            (task, Some(topic)) if let Some(place) = task.place() => {
                shared.idempotence.turn(&place, topic, self.op)
            }
            _ => Turn::Send(ProducerStamp::NONE),
        };
        let stamp = match turn {
            Turn::Send(stamp) => stamp,
            Turn::AskId => return self.ask_id(target, shared, out),
            Turn::Wait => return self.hold(out),
        };
        let asked = self.asks(&target, stamp, shared, cx);
        self.send(asked, target, shared, out)
    }

    /// The next question.
    fn asks(
        &mut self,
        target: &Target,
        stamp: ProducerStamp,
        shared: &mut Shared,
        cx: &Cx,
    ) -> Asked {
        match &mut self.task {
            Task::Produce(produce) => produce.ask(target, stamp, cx, &mut shared.numbers),
            Task::Transaction(transaction) => transaction.ask(target, cx, &mut shared.numbers),
            Task::Query(query) => query.ask(target, cx),
            Task::Admin(admin) => admin.ask(target),
            Task::Reader(reader) => reader.ask(target, &mut shared.numbers),
            Task::Member(member) => match member.transaction() {
                Some(transaction) => transaction.ask(target, cx, &mut shared.numbers),
                None => {
                    let partitions = shared.metadata.partitions(member.topic());
                    member.ask(target, partitions, &mut shared.numbers)
                }
            },
        }
    }

    fn send(
        &mut self,
        asked: Asked,
        target: Target,
        shared: &mut Shared,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        let call = self.standing.unwrap_or_else(|| shared.numbers.call());
        if let Some(begins) = asked.call.filter(|_| self.standing.is_none()) {
            self.observe(call, CallEvent::Invoke(begins), out);
            if self.task.is_standing() {
                self.standing = Some(call);
            }
        }
        let waiter = asked.answered.then_some(Waiter::Session(self.op));
        let lane = self.task.lane(self.op);
        let conn = shared.connections.send(lane, target.node, asked.request, waiter, out);
        if !asked.answered {
            self.observe(call, CallEvent::Unknown, out);
            return Progress::Finished;
        }
        self.phase = Phase::InFlight { conn, call, target };
        let key = ClientTimer::Session(self.op);
        let after = match &self.task {
            Task::Member(member) => member.patience(),
            _ => REQUEST_TIMEOUT,
        };
        out.push(ClientOut::Arm { key, after });
        Progress::Going
    }

    /// The process ends: what is asked may or may not be done.
    pub(super) fn on_death(&self, out: &mut Outbox<ClientOut>) {
        for call in self.open_calls() {
            self.observe(call, CallEvent::Unknown, out);
        }
    }

    /// Others come first.
    fn hold(&mut self, out: &mut Outbox<ClientOut>) -> Progress {
        self.phase = Phase::Held;
        out.push(ClientOut::Disarm(ClientTimer::Session(self.op)));
        Progress::Going
    }

    /// Metadata came in while waiting for it.
    pub(super) fn on_metadata(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        match shared.metadata.resolve(self.task.topic(), self.task.route(), 0) {
            Resolved::Missing => {
                self.missing += 1;
                if self.missing >= MISSING_MAX && self.is_finite() {
                    if let Some(call) = self.standing {
                        self.observe(call, CallEvent::Unknown, out);
                    }
                    return Progress::Finished;
                }
            }
            Resolved::NotYet | Resolved::Ready(_) => {}
        }
        self.go(shared, cx, out)
    }

    /// The answer to the outstanding request came; `None`: and it makes no sense, so the connection
    /// is not to be trusted.
    pub(super) fn on_response(
        &mut self,
        response: Response,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Option<Progress> {
        let (call, target) = match self.phase {
            Phase::InFlight { call, target, .. } => (call, target),
            Phase::AskingId { call, .. } => {
                let Response::InitProducerId(id) = response else { return None };
                return Some(self.id_answered(call, id, shared, cx, out));
            }
            Phase::Metadata | Phase::Held | Phase::Backoff => {
                unreachable!("operation {} got an answer in {:?}", self.op, self.phase)
            }
        };
        if let Some(transaction) = self.task.transaction() {
            let step = transaction.answered(target.topic, response)?;
            return Some(self.step_over(step, shared, cx, out));
        }
        let Verdict { event, next } = match &mut self.task {
            Task::Transaction(_) => unreachable!("it is a transaction"),
            Task::Produce(produce) => produce.answered(target.topic, response),
            Task::Query(query) => query.answered(target.topic, response),
            Task::Admin(admin) => admin.answered(response),
            Task::Reader(reader) => reader.answered(&target, response),
            Task::Member(member) => {
                let Heard { event, next, beats_in } = member.answered(&target, response)?;
                if let Some(event) = event {
                    self.call_over(event, out);
                }
                if let Some(after) = beats_in {
                    self.arm_member(Due::Heartbeat, after, out);
                }
                return Some(self.goes_on(next, shared, cx, out));
            }
        }?;
        match self.task.place() {
            Some(place) => self.attempt_over(&place, (event, next), shared, out),
            None => self.observe(call, event, out),
        }
        Some(self.goes_on(next, shared, cx, out))
    }

    fn goes_on(
        &mut self,
        next: Next,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        match next {
            Next::Done => Progress::Finished,
            Next::Again => {
                self.attempts = 0;
                self.go(shared, cx, out)
            }
            Next::Retry => self.back_off(cx, out),
            Next::Refresh => {
                shared.want_metadata(cx, out);
                self.back_off(cx, out)
            }
        }
    }

    /// The connection with the outstanding request is gone: the request may have been done.
    pub(super) fn on_lost(&mut self, shared: &mut Shared, cx: &Cx, out: &mut Outbox<ClientOut>) {
        let lost = match self.phase {
            Phase::InFlight { call, .. } => {
                if let Some(transaction) = self.task.transaction() {
                    let asked_for_id = transaction.asks_for_id();
                    transaction.unanswered();
                    if asked_for_id {
                        self.call_over(CallEvent::Unknown, out);
                    }
                    // Without a call it is asked for again.
                    self.doubtful |= self.standing.is_some();
                } else if let Task::Member(member) = &mut self.task {
                    member.unanswered();
                    self.call_over(CallEvent::Unknown, out);
                } else if let Some(place) = self.task.place() {
                    let unknown = (CallEvent::Unknown, Next::Refresh);
                    self.attempt_over(&place, unknown, shared, out);
                } else {
                    self.observe(call, CallEvent::Unknown, out);
                }
                true
            }
            Phase::AskingId { call, .. } => {
                self.observe(call, CallEvent::Unknown, out);
                shared.idempotence.answered(None);
                true
            }
            Phase::Metadata | Phase::Held | Phase::Backoff => false,
        };
        if lost {
            shared.want_metadata(cx, out);
            let Progress::Going = self.back_off(cx, out) else {
                unreachable!("a session does not end by backing off")
            };
        }
    }

    /// The session's timer fired: the backoff is over, or (`Err`) this connection was silent for
    /// too long.
    pub(super) fn on_timer(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Result<Progress, ConnId> {
        match self.phase {
            Phase::Backoff => Ok(self.go(shared, cx, out)),
            Phase::InFlight { conn, .. } | Phase::AskingId { conn, .. } => Err(conn),
            Phase::Metadata | Phase::Held => Ok(Progress::Going),
        }
    }

    /// The operation was tried long enough.
    pub(super) fn on_expiry(&mut self, shared: &mut Shared, out: &mut Outbox<ClientOut>) {
        self.on_death(out);
        self.observe(shared.numbers.call(), CallEvent::GaveUp, out);
    }

    fn open_calls(&self) -> impl Iterator<Item = u32> + use<> {
        let open = match self.phase {
            // What is asked beside the calls of a transaction or membership is none.
            Phase::InFlight { .. }
                if matches!(self.task, Task::Transaction(_) | Task::Member(_)) =>
            {
                None
            }
            Phase::InFlight { call, .. } | Phase::AskingId { call, .. } => Some(call),
            Phase::Metadata | Phase::Held | Phase::Backoff => None,
        };
        open.into_iter().chain(self.standing.filter(|call| Some(*call) != open))
    }

    /// One line on what the session waits for.
    pub(super) fn describe(&self, shared: &Shared) -> String {
        let who = format!(
            "client {}, operation {} ({} {})",
            shared.client,
            self.op,
            self.task.name(),
            self.task.topic()
        );
        match self.phase {
            Phase::Metadata => {
                let refresh = match shared.metadata.refresh {
                    Refresh::Idle | Refresh::Resting => "about to ask",
                    Refresh::InFlight(_) => "asked",
                };
                format!("{who} waits for a leader or topic in the metadata ({refresh})")
            }
            Phase::InFlight { conn, call, target } => {
                format!(
                    "{who} waits for broker {} on connection {conn:?}, call {call}",
                    target.node
                )
            }
            Phase::Held => format!("{who} waits for the batches before it"),
            Phase::AskingId { conn, call } => {
                format!("{who} waits for a producer id on connection {conn:?}, call {call}")
            }
            Phase::Backoff => format!("{who} backs off after attempt {}", self.attempts),
        }
    }

    fn back_off(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) -> Progress {
        let after = backoff(self.attempts, mixed(cx.entropy, u64::from(self.op)));
        self.attempts = self.attempts.saturating_add(1);
        self.pause(after, out);
        Progress::Going
    }

    fn pause(&mut self, after: Dur, out: &mut Outbox<ClientOut>) {
        self.phase = Phase::Backoff;
        out.push(ClientOut::Arm { key: ClientTimer::Session(self.op), after });
    }

    fn observe(&self, call: u32, event: CallEvent, out: &mut Outbox<ClientOut>) {
        let op = match &self.task {
            Task::Member(member) => member.transaction_number(),
            _ => None,
        };
        out.push(ClientOut::Observe(Observation { call, op: op.unwrap_or(self.op), event }));
    }
}

//! The part of a session that transactions have: their turn, their calls, and their end. A
//! transaction is an operation of its own, or a part of a membership.

use broker_core::protocol::ErrorCode;
use broker_core::step::{Cx, Outbox};

use super::{Progress, Session};
use crate::client::errand::TxnStep;
use crate::client::member::Plan;
use crate::client::outcome::Next;
use crate::client::task::Task;
use crate::client::transaction::Step;
use crate::client::{CallEvent, ClientOut, Shared};

impl Session {
    /// Whether it can ask now; `Some`: not, and this is how it goes on.
    pub(super) fn turn_comes(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Option<Progress> {
        if let Task::Member(member) = &mut self.task {
            match member.plan(&shared.metadata) {
                Plan::Ask => {}
                Plan::Over => return Some(Progress::Finished),
                Plan::Pause(after) => {
                    // Perhaps a leader is not known.
                    shared.want_metadata(cx, out);
                    self.pause(after, out);
                    return Some(Progress::Going);
                }
            }
        }
        if let Some(transaction) = self.task.transaction() {
            match transaction.take_turn(&mut shared.producers, self.op) {
                None => return Some(self.hold(out)),
                Some(true) if matches!(self.task, Task::Transaction(_)) => self.arm_delivery(out),
                Some(_) => {}
            }
            if self.transaction_waits() {
                return Some(self.hold(out));
            }
        }
        None
    }

    fn transaction_waits(&self) -> bool {
        matches!(&self.task, Task::Transaction(transaction) if transaction.waits_to_be_told())
    }

    /// The application tells its transaction the next step.
    pub(in crate::client) fn tell(
        &mut self,
        step: TxnStep,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        let Task::Transaction(transaction) = &mut self.task else {
            unreachable!("{step:?} of {:?}", self.task)
        };
        if !transaction.waits_to_be_told() {
            return Progress::Going;
        }
        transaction.tell(step);
        self.go(shared, cx, out)
    }

    /// An attempt at a part of a transaction was answered.
    pub(super) fn step_over(
        &mut self,
        step: Step,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        let transaction = self.task.transaction().expect("the caller saw it");
        match step {
            Step::Done(answer) => {
                let (left, thinks) = (transaction.has_left(), transaction.thinks());
                self.call_over(CallEvent::Ok(answer), out);
                if left {
                    return self.transaction_over(shared, cx, out);
                }
                if let Some(after) = thinks {
                    self.pause(after, out);
                    return Progress::Going;
                }
            }
            Step::Prepared(answer) => self.call_over(CallEvent::Ok(answer), out),
            Step::Ended(answer) => {
                self.call_over(CallEvent::Ok(answer), out);
                return self.transaction_over(shared, cx, out);
            }
            Step::Partly => {}
            Step::Fenced(code) => {
                let event = self.refused(code);
                self.call_over(event, out);
                return self.transaction_over(shared, cx, out);
            }
            Step::Replaced(code) => {
                let event = self.refused(code);
                self.call_over(event, out);
                return self.back_off(cx, out);
            }
            Step::Refused { code, definite, next } => {
                self.doubtful |= !definite && self.standing.is_some();
                if !transaction.must_abort(code, next) {
                    if next == Next::Refresh {
                        shared.want_metadata(cx, out);
                    }
                    return self.back_off(cx, out);
                }
                transaction.abort();
                let event = self.refused(code);
                self.call_over(event, out);
            }
        }
        self.attempts = 0;
        self.go(shared, cx, out)
    }

    /// With its transaction an operation is over, unless it is a membership.
    pub(super) fn transaction_over(
        &mut self,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        let Task::Member(member) = &mut self.task else { return Progress::Finished };
        member.copy_over(&mut shared.producers);
        self.attempts = 0;
        self.go(shared, cx, out)
    }

    /// How a call ends whose newest attempt did nothing.
    fn refused(&self, code: ErrorCode) -> CallEvent {
        if self.doubtful { CallEvent::Doubtful(code) } else { CallEvent::Fail(code) }
    }

    /// The call of a transaction that was under way, if one was, has ended.
    pub(super) fn call_over(&mut self, event: CallEvent, out: &mut Outbox<ClientOut>) {
        self.doubtful = false;
        if let Some(call) = self.standing.take() {
            self.observe(call, event, out);
        }
    }
}

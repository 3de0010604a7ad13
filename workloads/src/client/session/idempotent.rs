//! The part of a session that idempotent batches have: the producer id, and one call for all
//! attempts.

use broker_core::ids::{ProducerEpoch, ProducerId};
use broker_core::protocol::{ErrorCode, Request};
use broker_core::step::{Cx, Outbox};

use super::{Phase, Progress, Session};
use crate::client::connections::Waiter;
use crate::client::idempotence::Place;
use crate::client::metadata::Target;
use crate::client::outcome::Next;
use crate::client::{Answer, Call, CallEvent, ClientOut, ClientTimer, REQUEST_TIMEOUT, Shared};

impl Session {
    pub(super) fn ask_id(
        &mut self,
        target: Target,
        shared: &mut Shared,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        let call = shared.numbers.call();
        self.observe(call, CallEvent::Invoke(Call::InitProducerId(None)), out);
        let (lane, waiter) = (self.task.lane(self.op), Some(Waiter::Session(self.op)));
        let request = Request::InitProducerId;
        let conn = shared.connections.send(lane, target.node, request, waiter, out);
        self.phase = Phase::AskingId { conn, call };
        let key = ClientTimer::Session(self.op);
        out.push(ClientOut::Arm { key, after: REQUEST_TIMEOUT });
        Progress::Going
    }

    /// One attempt of an idempotent produce is over. The call ends with an answer that is final.
    pub(super) fn attempt_over(
        &mut self,
        place: &Place,
        (event, next): (CallEvent, Next),
        shared: &mut Shared,
        out: &mut Outbox<ClientOut>,
    ) {
        let call = self.standing.expect("an attempt belongs to a call");
        self.doubtful |= event == CallEvent::Unknown;
        if matches!(event, CallEvent::Ok(_)) {
            self.standing = None;
            return self.observe(call, event, out);
        }
        if next == Next::Done {
            let event = if self.doubtful { CallEvent::Unknown } else { event };
            return self.observe(call, event, out);
        }
        let unexpected = event == CallEvent::Fail(ErrorCode::OutOfOrderSequenceNumber);
        if event == CallEvent::Fail(ErrorCode::InvalidProducerEpoch) {
            shared.idempotence.renew(place);
        }
        shared.idempotence.came_back(place, self.op, unexpected);
    }

    pub(super) fn id_answered(
        &mut self,
        call: u32,
        result: Result<(ProducerId, ProducerEpoch), ErrorCode>,
        shared: &mut Shared,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) -> Progress {
        shared.idempotence.answered(result.ok());
        match result {
            Ok((id, epoch)) => {
                self.observe(call, CallEvent::Ok(Answer::ProducerId(id, epoch)), out);
                self.attempts = 0;
                self.go(shared, cx, out)
            }
            Err(code) => {
                self.observe(call, CallEvent::Fail(code), out);
                self.back_off(cx, out)
            }
        }
    }
}

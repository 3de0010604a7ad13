//! Answers of a coordinator that rest on nothing but what it remembers: they wait until the WAL is
//! shown to be this broker's.
//!
//! A coordinator that was replaced goes on for a while without knowing it, and what it remembers is
//! out of date once its successor has written. No record of its own is confirmed any more; but an
//! answer without a record would tell a healthy producer that it is none, or that its transaction
//! has ended, and a member to begin where its group was before. So the rule for batches of
//! producers holds here, too (ADR 0009).

use super::Broker;
use crate::coordinator::Answer as _;
use crate::ids::{ConnId, TopicPartition};
use crate::partition::Asker;
use crate::protocol::{ErrorCode, GroupAnswer, Response, TxnAnswer};
use crate::step::{Cx, Effect, Outbox};

/// An answer that waits for a proof.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Unproven {
    /// The coordinator's log.
    partition: TopicPartition,
    asker: Asker,
    answer: Answer,
}

/// An answer of a coordinator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Answer {
    Group(GroupAnswer),
    Txn(TxnAnswer),
}

impl Answer {
    fn refused(self, code: ErrorCode) -> Self {
        match self {
            Self::Group(answer) => Self::Group(answer.refused(code)),
            Self::Txn(answer) => Self::Txn(answer.refused(code)),
        }
    }

    /// As a client gets it.
    pub(super) fn response(self) -> Response {
        match self {
            Self::Group(answer) => Response::Group(answer),
            Self::Txn(answer) => Response::Txn(answer),
        }
    }
}

impl Broker {
    /// Of a request that leaves no record. The check of the WAL begins now.
    pub(super) fn answer_when_proven(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (asker, answer): (Asker, Answer),
        out: &mut Outbox<Effect>,
    ) {
        let proof = self.wal.prove(cx, out);
        self.unproven.insert(proof, Unproven { partition, asker, answer });
    }

    /// The WAL was ours after these answers were made up.
    pub(super) fn answers_proven(&mut self, cx: &Cx, before: u64, out: &mut Outbox<Effect>) {
        let later = self.unproven.split_off(&before);
        let proven = core::mem::replace(&mut self.unproven, later);
        for Unproven { partition, asker, answer } in proven.into_values() {
            self.park_answer(partition, (asker, answer));
            self.coordinator_moved(cx, partition, out);
        }
    }

    /// The coordinator's log is given up.
    pub(super) fn stop_proving(&mut self, partition: TopicPartition, out: &mut Outbox<Effect>) {
        let lost = self.unproven.extract_if(.., |_, unproven| unproven.partition == partition);
        for (_, Unproven { asker, answer, .. }) in lost.collect::<alloc::vec::Vec<_>>() {
            let refused = answer.refused(ErrorCode::NotCoordinator);
            self.answer(asker, refused, out);
        }
    }

    /// A connection is gone: nobody waits for its answers.
    pub(super) fn unproven_gone(&mut self, conn: ConnId) {
        self.unproven.retain(|_, unproven| unproven.asker.0 != conn);
    }
}

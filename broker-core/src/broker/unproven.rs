//! Answers that rest on nothing but what a broker remembers: they wait until the WAL is shown to be
//! this broker's (ADR 0009).
//!
//! A coordinator that was replaced goes on for a while without knowing it, and what it remembers is
//! out of date once its successor has written. No record of its own is confirmed any more; but an
//! answer without a record would tell a healthy producer that it is none, or that its transaction
//! has ended, and a member to begin where its group was before. A leader that was replaced does not
//! know its log's end: who is told an old one reads less than was acknowledged long ago, or begins
//! elsewhere. So the rule for batches of producers holds here, too.

use alloc::vec::Vec;

use super::Broker;
use crate::coordinator::Answer as _;
use crate::ids::{ConnId, TopicPartition};
use crate::partition::Asker;
use crate::probe::Probe;
use crate::protocol::{ErrorCode, GroupAnswer, Response, TxnAnswer};
use crate::step::{Cx, Effect, Outbox};

/// An answer that waits for a proof.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Unproven {
    asker: Asker,
    answer: Held,
}

/// Whose answer waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Held {
    /// A coordinator's, with its log.
    Coordinator(TopicPartition, Answer),
    /// A leader's. If its partition is given up meanwhile, it was right when it was made up.
    Leader(Response),
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
        let answer = Held::Coordinator(partition, answer);
        self.unproven.insert(self.wal.prove(cx, out), Unproven { asker, answer });
    }

    /// About the end of a log. The check of the WAL begins now.
    pub(super) fn reply_when_proven(
        &mut self,
        cx: &Cx,
        asker: Asker,
        answer: Response,
        out: &mut Outbox<Effect>,
    ) {
        out.probe(Probe::EndUnproven {});
        let answer = Held::Leader(answer);
        self.unproven.insert(self.wal.prove(cx, out), Unproven { asker, answer });
    }

    /// The WAL was ours after these answers were made up.
    pub(super) fn answers_proven(&mut self, cx: &Cx, before: u64, out: &mut Outbox<Effect>) {
        let later = self.unproven.split_off(&before);
        let proven = core::mem::replace(&mut self.unproven, later);
        for Unproven { asker, answer } in proven.into_values() {
            match answer {
                Held::Coordinator(partition, answer) => {
                    self.park_answer(partition, (asker, answer));
                    self.coordinator_moved(cx, partition, out);
                }
                Held::Leader(answer) => self.reply(asker, answer, out),
            }
        }
    }

    /// The coordinator's log is given up.
    pub(super) fn stop_proving(&mut self, partition: TopicPartition, out: &mut Outbox<Effect>) {
        let lost = self.unproven.extract_if(.., |_, unproven| match &unproven.answer {
            Held::Coordinator(of, _) => *of == partition,
            Held::Leader(_) => false,
        });
        for (_, Unproven { asker, answer }) in lost.collect::<Vec<_>>() {
            let Held::Coordinator(_, answer) = answer else { continue };
            self.answer(asker, answer.refused(ErrorCode::NotCoordinator), out);
        }
    }

    /// A connection is gone: nobody waits for its answers.
    pub(super) fn unproven_gone(&mut self, conn: ConnId) {
        self.unproven.retain(|_, unproven| unproven.asker.0 != conn);
    }
}

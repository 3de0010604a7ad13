//! Questions to several coordinators at once: which groups or transactions there are, and how some
//! transactions stand.
//!
//! Each coordinator answers as it answers everything: when all that it saw is confirmed, and the
//! WAL is shown to be this broker's. The client is told when all have answered. Source:
//! `GroupCoordinatorService.listGroups`, `TransactionStateManager.listTransactionStates`.

use alloc::vec::Vec;

use super::Broker;
use super::unproven::Answer;
use crate::ids::{ConnId, TopicPartition};
use crate::partition::Asker;
use crate::protocol::{CoordinatorKind, ErrorCode, GroupAnswer, TxnAnswer};
use crate::step::{Effect, Outbox};

/// What has come so far.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Gathered {
    answer: Answer,
    /// So many coordinators have not answered.
    open: usize,
}

impl Broker {
    /// All coordinators of this kind that are to be here.
    ///
    /// # Errors
    /// `CoordinatorLoadInProgress` as long as one of them is not at work.
    pub(super) fn all_shards(
        &self,
        kind: CoordinatorKind,
    ) -> Result<Vec<TopicPartition>, ErrorCode> {
        let here = self.image.partitions_of(self.config.node);
        let of_kind = here.filter(|at| self.coordinator_kind(at.topic) == Some(kind));
        let at_work = |at| match self.coordinators.contains_key(&at) {
            true => Ok(at),
            false => Err(ErrorCode::CoordinatorLoadInProgress),
        };
        of_kind.map(at_work).collect()
    }

    /// So many coordinators are about to be asked; `answer`: what is known without them.
    pub(super) fn gather(
        &mut self,
        asker: Asker,
        (answer, open): (Answer, usize),
        out: &mut Outbox<Effect>,
    ) {
        match open {
            0 => self.reply(asker, answer.response(), out),
            1.. => _ = self.gathered.insert(asker, Gathered { answer, open }),
        }
    }

    /// A coordinator answers: alone, or as one of several.
    pub(super) fn answer(&mut self, asker: Asker, answer: Answer, out: &mut Outbox<Effect>) {
        let Some(Gathered { answer: before, open }) = self.gathered.remove(&asker) else {
            return self.reply(asker, answer.response(), out);
        };
        self.gather(asker, (before.and(answer), open - 1), out);
    }

    /// A connection is gone: nobody waits for its answers.
    pub(super) fn gathered_gone(&mut self, conn: ConnId) {
        self.gathered.retain(|asker, _| asker.0 != conn);
    }
}

impl Answer {
    /// With what another coordinator answers to the same question.
    fn and(self, other: Self) -> Self {
        use GroupAnswer::ListGroups;
        use TxnAnswer::{Describe, List};
        match (self, other) {
            (Self::Group(ListGroups(one)), Self::Group(ListGroups(other))) => {
                Self::Group(ListGroups(both(one, other)))
            }
            (Self::Txn(List(one)), Self::Txn(List(other))) => Self::Txn(List(both(one, other))),
            (Self::Txn(Describe(mut one)), Self::Txn(Describe(other))) => {
                one.extend(other);
                Self::Txn(Describe(one))
            }
            (one, other) => unreachable!("{one:?} and {other:?} answer no question together"),
        }
    }
}

fn both<T>(
    one: Result<Vec<T>, ErrorCode>,
    other: Result<Vec<T>, ErrorCode>,
) -> Result<Vec<T>, ErrorCode> {
    match (one, other) {
        // It was given up meanwhile: its successor lists what it has.
        (one, Err(ErrorCode::NotCoordinator)) => one,
        (Ok(mut one), Ok(other)) => {
            one.extend(other);
            Ok(one)
        }
        (Err(code), _) | (Ok(_), Err(code)) => Err(code),
    }
}

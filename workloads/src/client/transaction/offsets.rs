//! Offsets of a group as a part of a transaction: by the first protocol its coordinator is told of
//! them first; then they are committed at the group's coordinator.
//!
//! Source: KIP-447, KIP-890, `TransactionManager.java` (`AddOffsetsToTxnHandler`,
//! `TxnOffsetCommitHandler`).

use alloc::string::String;

use broker_core::ids::{NodeId, Offset, TopicPartition};
use broker_core::protocol::{
    CoordinatorKind, ErrorCode, Generation, GroupAnswer, GroupRequest, MemberIdentity, Request,
    Response, TransactionVersion, TxnAnswer, TxnOffsetCommit, TxnProducer, TxnRequest,
};

use super::{Stage, Step, Transaction, refused};
use crate::client::member::to_commit;
use crate::client::outcome::Next;
use crate::client::session::Asked;
use crate::client::transactional::{has_moved, refused_by_coordinator};
use crate::client::{Answer, Call};

/// Offsets of a group that are part of a transaction (KIP-447).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::client) struct GroupOffsets {
    pub(in crate::client) group: String,
    pub(in crate::client) who: MemberIdentity,
    pub(in crate::client) generation: Generation,
    /// Of the group, as far as known.
    pub(in crate::client) coordinator: Option<NodeId>,
    /// Which partition, from where, and where to read on.
    pub(in crate::client) read: (TopicPartition, Offset, Offset),
    /// Whether the transaction's coordinator knows of them (first protocol).
    pub(in crate::client) added: bool,
}

impl Transaction {
    pub(super) fn must_add_offsets(&self) -> bool {
        let first = self.producer.as_ref().is_some_and(|it| it.version == TransactionVersion::V1);
        first && self.offsets.as_ref().is_some_and(|offsets| !offsets.added)
    }

    /// An answer about them. `None`: it is none.
    pub(super) fn offsets_answered(&mut self, response: Response) -> Option<Step> {
        Some(match response {
            Response::FindCoordinator(found) => {
                self.offsets.as_mut()?.coordinator = found.ok();
                found.map_or_else(refused, |_| Step::Partly)
            }
            Response::Txn(TxnAnswer::AddOffsets(result)) => match result {
                Ok(()) => {
                    self.offsets.as_mut()?.added = true;
                    Step::Prepared(Answer::Done)
                }
                Err(code) => self.producer.as_mut()?.refused(code),
            },
            Response::Group(GroupAnswer::TxnOffsetCommit(results)) => {
                let offsets = self.offsets.as_mut()?;
                let [(of, result)] = results.as_slice() else { return None };
                if *of != offsets.read.0 {
                    return None;
                }
                match result {
                    Ok(()) => {
                        self.stage = Stage::End(false);
                        Step::Done(Answer::Done)
                    }
                    Err(code) => offsets.refused(*code),
                }
            }
            _ => return None,
        })
    }
}

impl GroupOffsets {
    /// Tells the transaction's coordinator of them.
    pub(super) fn ask_to_add(&self, of: TxnProducer) -> Asked {
        let group = self.group.clone();
        let call = Call::AddOffsets { group: group.clone(), id: of.transactional_id.clone() };
        let request = Request::Txn(TxnRequest::AddOffsets { of, group });
        Asked { call: Some(call), request, answered: true }
    }

    pub(super) fn ask(
        &self,
        of: TxnProducer,
        version: TransactionVersion,
        asked: &mut bool,
    ) -> Asked {
        let Self { group, who, generation, read: (partition, _, upto), .. } = self;
        if self.coordinator.is_none() {
            let (kind, name) = (CoordinatorKind::Group, group.clone());
            let request = Request::FindCoordinator { kind, name };
            return Asked { call: None, request, answered: true };
        }
        let call = Call::CommitOffsets {
            group: group.clone(),
            member: who.member.clone(),
            generation: *generation,
            offsets: [self.read].into(),
            transactional: Some(of.clone()),
        };
        let again = core::mem::replace(asked, true);
        let request = GroupRequest::TxnOffsetCommit(TxnOffsetCommit {
            group: group.clone(),
            transactional_id: of.transactional_id,
            version,
            producer: of.producer,
            epoch: of.epoch,
            who: who.clone(),
            generation: *generation,
            offsets: [to_commit(*partition, *upto)].into(),
        });
        let call = (!again).then_some(call);
        Asked { call, request: Request::Group(request), answered: true }
    }

    /// `TransactionManager.TxnOffsetCommitHandler`.
    pub(super) fn refused(&mut self, code: ErrorCode) -> Step {
        if has_moved(code) {
            self.coordinator = None;
        }
        match code {
            // Checked before anything is written. Its topic is gone, or the coordinator has not
            // heard of it yet.
            ErrorCode::UnknownTopicOrPartition => {
                Step::Refused { code, definite: true, next: Next::Refresh }
            }
            // The group goes on without this member: the transaction is aborted.
            ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::FencedInstanceId
            | ErrorCode::OffsetMetadataTooLarge => {
                Step::Refused { code, definite: true, next: Next::Done }
            }
            _ => refused_by_coordinator(code),
        }
    }
}

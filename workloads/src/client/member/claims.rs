//! What a member has of its topic: where it reads each partition on, and what of that is committed.
//!
//! Source: `ConsumerCoordinator.java` (`maybeAutoCommitOffsetsAsync`, `commitOffsetsSync`),
//! `SubscriptionState.java`.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{Offset, TopicId, TopicPartition};
use broker_core::protocol::{ErrorCode, FetchedOffset, Isolation, OffsetToCommit};
use broker_core::time::Dur;

use super::super::outcome::Next;
use super::super::reader::{Kind, Mode, Reader};
use super::super::{Answer, CallEvent};
use super::{Doing, Due, Heard, Member, Speaks, Standing};

/// How long a fetch may wait for data: other partitions and the coordinator wait behind it.
const READ_WAIT: Dur = Dur::ms(200);

/// Bytes of one fetch: what is copied at once is committed at once.
const READ_BYTES_MAX: u32 = 1 << 20;

/// A partition that the member may read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Claim {
    pub(super) reader: Reader,
    /// Whether it was asked how far the group has come.
    pub(super) sought: bool,
    /// Where reading began that is not committed yet; `None`: where to begin is not known.
    pub(super) since: Option<Offset>,
}

impl Member {
    pub(super) fn uncommitted(
        &self,
        at: &TopicPartition,
    ) -> Option<(TopicPartition, Offset, Offset)> {
        let claim = &self.claims[at];
        let (since, position) = (claim.since?, claim.position()?);
        (position > since).then_some((*at, since, position))
    }

    pub(super) fn finds_positions(&self) -> Option<Doing> {
        let unknown = self.claims.iter().filter(|(_, claim)| !claim.sought);
        let unknown: Vec<_> = unknown.map(|(at, _)| *at).collect();
        (!unknown.is_empty()).then_some(Doing::Offsets(unknown))
    }

    pub(super) fn commits(&mut self, topic: Option<TopicId>) -> Option<Doing> {
        // Who copies commits with each transaction.
        if !self.due.remove(&Due::Commit) || self.charge.copies_to.is_some() {
            return None;
        }
        let unsaid = self.unsaid(self.claims.keys(), topic);
        (!unsaid.is_empty()).then_some(Doing::Commit(unsaid))
    }

    /// What there is to commit of these. Of a topic that is gone, as far as is known, nothing
    /// (`CommitRequestManager.autoCommitSyncBeforeRebalanceWithRetries`).
    pub(super) fn unsaid<'a>(
        &self,
        of: impl Iterator<Item = &'a TopicPartition>,
        topic: Option<TopicId>,
    ) -> Vec<(TopicPartition, Offset, Offset)> {
        let there = of.filter(|at| Some(at.topic) == topic);
        there.filter_map(|at| self.uncommitted(at)).collect()
    }

    pub(super) fn offsets_fetched(
        &mut self,
        of: &[TopicPartition],
        result: Result<Vec<FetchedOffset>, ErrorCode>,
    ) -> Heard {
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(code) => return self.turned_away(code),
        };
        let refused = fetched.iter().find_map(|it| it.result.as_ref().err().copied());
        if let Some(code) = refused {
            // Some of them are held by a transaction: as Kafka's, it takes none.
            let next = Next::Retry;
            return Heard { event: Some(CallEvent::Fail(code)), next, beats_in: None };
        }
        let mut offsets = Vec::new();
        for FetchedOffset { partition, result } in fetched {
            let Some(claim) = self.claims.get_mut(&partition).filter(|_| of.contains(&partition))
            else {
                continue;
            };
            let offset = result.ok().flatten().map(|committed| committed.offset);
            claim.begin_at(partition.topic, offset);
            offsets.push((partition, offset));
        }
        let event = Some(CallEvent::Ok(Answer::Offsets(offsets)));
        Heard { event, next: Next::Again, beats_in: None }
    }

    pub(super) fn committed(
        &mut self,
        of: &[(TopicPartition, Offset, Offset)],
        results: &[(TopicPartition, Result<(), ErrorCode>)],
    ) -> Option<Heard> {
        if !of.iter().map(|(at, ..)| at).eq(results.iter().map(|(at, _)| at)) {
            return None;
        }
        let mut taken = false;
        for ((at, _, upto), (_, result)) in of.iter().zip(results) {
            if result.is_ok()
                && let Some(claim) = self.claims.get_mut(at)
            {
                claim.since = Some(*upto);
                taken = true;
            }
        }
        let Some(code) = results.iter().find_map(|(_, result)| result.err()) else {
            let event = Some(CallEvent::Ok(Answer::Done));
            return Some(Heard { event, next: Next::Again, beats_in: None });
        };
        let mut heard = match code {
            // Its topic is gone, or the coordinator has not heard of it yet: the leaders are learnt
            // anew, and what is there still is committed again (`ConsumerCoordinator`,
            // `CommitRequestManager`: both are `RetriableException`s).
            ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition => {
                self.due.insert(Due::Commit);
                let event = Some(CallEvent::Fail(code));
                Heard { event, next: Next::Refresh, beats_in: None }
            }
            code => self.turned_away(code),
        };
        if taken {
            heard.event = Some(CallEvent::Unknown);
        }
        Some(heard)
    }

    /// Offsets were not to be had, or not taken: what that means for the membership.
    pub(super) fn turned_away(&mut self, code: ErrorCode) -> Heard {
        let standing = match &mut self.speaks {
            Speaks::Classic(classic) => classic.turned_away(code, &mut self.who),
            Speaks::Consumer(consumer) => consumer.turned_away(code),
        };
        if let (Standing::Again(_), Speaks::Classic(classic)) = (&standing, &self.speaks)
            && !classic.is_cooperative()
        {
            // A rebalance is under way, and too late to say anything more before it.
            self.claims.clear();
        }
        // Perhaps after the commit was written down.
        let doubtful = matches!(standing, Standing::Elsewhere(_));
        let next = self.take_in(standing).map_or_else(|(_, next)| next, |()| Next::Again);
        let event = if doubtful { CallEvent::Unknown } else { CallEvent::Fail(code) };
        Heard { event: Some(event), next, beats_in: None }
    }
}

impl Claim {
    pub(super) fn new(topic: &str, at: TopicPartition, lot: u64) -> Self {
        let mode = Mode::Tail { from_start: true };
        let kind = Kind { mode, isolation: Isolation::ReadCommitted };
        let mut reader = Reader::new(topic.into(), at.index, kind, lot);
        reader.at_most(READ_BYTES_MAX, READ_WAIT);
        Self { reader, sought: false, since: None }
    }

    /// Where the group has come to; `None`: it has not begun.
    pub(super) fn begin_at(&mut self, topic: TopicId, offset: Option<Offset>) {
        (self.sought, self.since) = (true, offset);
        match offset {
            Some(offset) => self.reader.seek(topic, offset),
            None => self.reader.restart(),
        }
    }

    pub(super) fn position(&self) -> Option<Offset> {
        self.reader.position()
    }
}

pub(in crate::client) fn to_commit(partition: TopicPartition, offset: Offset) -> OffsetToCommit {
    OffsetToCommit { partition, offset, leader_epoch: None, metadata: String::new() }
}

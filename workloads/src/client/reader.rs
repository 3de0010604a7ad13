//! A reader of one partition, as a consumer without a group: position, validation, fetch, reset.
//!
//! Offsets go only forward within one reading session. Whatever sets the position back (a reset, a
//! truncation found, a topic created anew under the same name) begins a new session. When to ask
//! again after an error is decided in [`super::outcome`]. Source: Kafka's `FetchCollector`,
//! `SubscriptionState`, `OffsetsForLeaderEpochUtils`; KIP-320.

use alloc::string::String;
use alloc::vec;

use broker_core::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{
    ErrorCode, FetchPartition, FetchRequest, FetchResult, Fetched, Isolation, OffsetSpec, Request,
    Response,
};
use broker_core::time::Dur;

use super::metadata::{Route, Target};
use super::outcome::{self, Next};
use super::queries::{ask_epoch_end, ask_offset, read_epoch_end, read_offset};
use super::session::{Asked, Verdict};
use super::{Answer, Call, CallEvent, FETCH_WAIT, Numbers, values};

/// How far a reader reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Mode {
    /// For ever; first from the start or from the end.
    Tail { from_start: bool },
    /// From the start to the high watermark seen first.
    CatchUp { until: Option<Offset> },
    /// From an offset up to another.
    Range { from: Offset, to: Offset },
}

/// What a reader is and wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Kind {
    pub(super) mode: Mode,
    pub(super) isolation: Isolation,
}

/// How a reader asks, drawn once: real consumers differ in this, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Manners {
    bytes_min: u32,
    bytes_max: u32,
    /// Names the epoch of the last record, as a KIP-595 fetcher does; else divergence is found by
    /// KIP-320 alone.
    declares_epoch: bool,
    /// Names the leader's epoch, as clients since KIP-320 do.
    names_leader_epoch: bool,
}

impl Manners {
    fn drawn(lot: u64) -> Self {
        Self {
            bytes_min: [1, 1, 1, 2_048][(lot & 3) as usize],
            // 1: one batch per fetch (KIP-74).
            bytes_max: [1, 700, 8 << 10, 1 << 20][(lot >> 2 & 3) as usize],
            declares_epoch: lot >> 4 & 1 == 1,
            names_leader_epoch: lot >> 5 & 7 != 0,
        }
    }
}

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Position {
    /// Nowhere yet: an offset must be listed first.
    Unset,
    At {
        offset: Offset,
        /// Epoch of the record before, if known.
        epoch: Option<LeaderEpoch>,
        /// The leader epoch under which the position was last known to be good.
        validated: LeaderEpoch,
    },
}

/// A reader.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Reader {
    pub(super) topic: String,
    pub(super) partition: PartitionIndex,
    pub(super) mode: Mode,
    isolation: Isolation,
    manners: Manners,
    /// The session's number; drawn when it first asks.
    session: Option<u32>,
    /// The topic that it reads.
    reading: Option<TopicId>,
    position: Position,
    /// How long a fetch may wait for data.
    wait_max: Dur,
}

impl Reader {
    pub(super) fn new(topic: String, partition: PartitionIndex, kind: Kind, lot: u64) -> Self {
        let manners = Manners::drawn(lot);
        let Kind { mode, isolation } = kind;
        Self {
            topic,
            partition,
            mode,
            isolation,
            manners,
            session: None,
            reading: None,
            position: Position::Unset,
            wait_max: FETCH_WAIT,
        }
    }

    /// Takes so much at once, and waits no longer.
    pub(super) fn at_most(&mut self, bytes_max: u32, wait_max: Dur) {
        self.manners.bytes_max = bytes_max;
        self.wait_max = wait_max;
    }

    /// Goes on from here.
    pub(super) fn seek(&mut self, topic: TopicId, offset: Offset) {
        self.restart();
        self.reading = Some(topic);
        let validated = LeaderEpoch(0);
        self.position = Position::At { offset, epoch: None, validated };
    }

    /// The offset to be read next, if that is known.
    pub(super) fn position(&self) -> Option<Offset> {
        match self.position {
            Position::At { offset, .. } => Some(offset),
            Position::Unset => None,
        }
    }

    pub(super) fn route(&self) -> Route {
        Route::Leader(self.partition)
    }

    /// For tail readers that found their topic: the partition and the offset to be read next, if
    /// that is known.
    pub(super) fn tail(&self) -> Option<(TopicPartition, Option<Offset>)> {
        let Mode::Tail { .. } = self.mode else { return None };
        let partition = TopicPartition { topic: self.reading?, index: self.partition };
        Some((partition, self.position()))
    }

    pub(super) fn ask(&mut self, target: &Target, numbers: &mut Numbers) -> Asked {
        let topic = target.topic.expect("the route of a reader gives the topic's id");
        if self.reading != Some(topic) {
            self.restart();
            self.reading = Some(topic);
        }
        let reader = *self.session.get_or_insert_with(|| numbers.reader());
        let partition = TopicPartition { topic, index: self.partition };
        let leader_epoch = self.manners.names_leader_epoch.then_some(target.leader_epoch);
        if let (Mode::Range { from, .. }, Position::Unset) = (self.mode, self.position) {
            let validated = target.leader_epoch;
            self.position = Position::At { offset: from, epoch: None, validated };
        }
        match self.position {
            Position::Unset => {
                let asked = (self.reset_spec(), self.isolation);
                ask_offset(partition, asked, target.leader_epoch)
            }
            Position::At { epoch: Some(epoch), .. } if self.must_validate(target) => {
                ask_epoch_end(partition, epoch, target.leader_epoch)
            }
            Position::At { offset, epoch, .. } => Asked {
                call: Some(Call::Fetch {
                    partition,
                    offset,
                    reader,
                    leader_epoch,
                    isolation: self.isolation,
                }),
                request: Request::Fetch(FetchRequest {
                    isolation: self.isolation,
                    wait_max: self.wait_max,
                    bytes_min: self.manners.bytes_min,
                    bytes_max: self.manners.bytes_max,
                    partitions: vec![FetchPartition {
                        partition,
                        fetch_offset: offset,
                        current_leader_epoch: leader_epoch,
                        last_fetched_epoch: epoch.filter(|_| self.manners.declares_epoch),
                        bytes_max: self.manners.bytes_max,
                    }],
                }),
                answered: true,
            },
        }
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&mut self, target: &Target, response: Response) -> Option<Verdict> {
        let topic = self.reading?;
        let partition = TopicPartition { topic, index: self.partition };
        match (self.position, response) {
            (Position::Unset, Response::ListOffsets(results)) => {
                Some(self.listed(target, read_offset(partition, &results)?))
            }
            (Position::At { offset, .. }, Response::OffsetForLeaderEpoch(results))
                if self.must_validate(target) =>
            {
                Some(self.validated(target, offset, read_epoch_end(partition, &results)?))
            }
            (Position::At { offset, epoch, .. }, Response::Fetch(mut results))
                if !self.must_validate(target) =>
            {
                let FetchResult { partition: of, result } = results.pop()?;
                if of != partition || !results.is_empty() {
                    return None;
                }
                Some(match result {
                    Ok(fetched) => self.fetched(target, offset, epoch, &fetched),
                    Err(code) => self.refused(code),
                })
            }
            _ => None,
        }
    }

    /// KIP-320: there is a new leader; does its log agree with what was read?
    fn must_validate(&self, target: &Target) -> bool {
        match self.position {
            Position::At { epoch: Some(_), validated, .. } => validated < target.leader_epoch,
            Position::At { epoch: None, .. } | Position::Unset => false,
        }
    }

    fn listed(&mut self, target: &Target, result: Result<Answer, ErrorCode>) -> Verdict {
        match result {
            Ok(answer) => {
                let mut next = Next::Retry;
                if let Answer::Listed(Some((offset, ..))) = answer {
                    // The listed epoch is that of the record there, not of the one before
                    // (OffsetFetcher.resetPositionIfNeeded takes none, and so does not validate).
                    self.position =
                        Position::At { offset, epoch: None, validated: target.leader_epoch };
                    next = Next::Again;
                }
                Verdict { event: CallEvent::Ok(answer), next }
            }
            Err(code) => Verdict { event: CallEvent::Fail(code), next: outcome::of_read(code) },
        }
    }

    /// SubscriptionState.maybeCompleteValidation.
    fn validated(
        &mut self,
        target: &Target,
        offset: Offset,
        result: Result<Answer, ErrorCode>,
    ) -> Verdict {
        let answer = match result {
            Ok(answer) => answer,
            Err(code) => {
                return Verdict { event: CallEvent::Fail(code), next: outcome::of_read(code) };
            }
        };
        if let Answer::EpochEnd(found) = answer {
            match found {
                None => self.restart(),
                Some((epoch, end)) if end < offset => self.truncated(target, epoch, end),
                Some(_) => {
                    if let Position::At { validated, .. } = &mut self.position {
                        *validated = target.leader_epoch;
                    }
                }
            }
        }
        Verdict { event: CallEvent::Ok(answer), next: Next::Again }
    }

    fn fetched(
        &mut self,
        target: &Target,
        from: Offset,
        epoch: Option<LeaderEpoch>,
        fetched: &Fetched,
    ) -> Verdict {
        let read = values::decode(&fetched.batches, from, &fetched.aborted);
        let mut next = Next::Again;
        if let Some((epoch, end)) = fetched.diverging {
            self.truncated(target, epoch, end.min(from));
            next = Next::Retry;
        } else {
            self.position = Position::At {
                offset: read.next,
                epoch: read.epoch.or(epoch),
                // The leader checked the epoch that was named with the question.
                validated: target.leader_epoch,
            };
            if let Mode::CatchUp { until } = &mut self.mode {
                let end = match self.isolation {
                    Isolation::ReadUncommitted => fetched.high_watermark,
                    Isolation::ReadCommitted => fetched.last_stable_offset,
                };
                let until = *until.get_or_insert(end);
                if read.next >= until {
                    next = Next::Done;
                }
            }
            if let Mode::Range { to, .. } = self.mode
                && read.next >= to
            {
                next = Next::Done;
            }
        }
        let answer = Answer::Fetched {
            high_watermark: fetched.high_watermark,
            last_stable: fetched.last_stable_offset,
            log_start: fetched.log_start_offset,
            records: read.records,
            skipped: read.skipped,
        };
        Verdict { event: CallEvent::Ok(answer), next }
    }

    fn refused(&mut self, code: ErrorCode) -> Verdict {
        if code == ErrorCode::OffsetOutOfRange {
            self.restart();
        }
        // A reader has no last answer but the end of its partition: nothing is final for it.
        // But a range whose offset is not there will not come to be.
        let next = match (outcome::of_read(code), self.mode) {
            (_, Mode::Range { .. }) if code == ErrorCode::OffsetOutOfRange => Next::Done,
            (Next::Done, _) => Next::Retry,
            (next, _) => next,
        };
        Verdict { event: CallEvent::Fail(code), next }
    }

    /// Begins a new session that has to find its position first.
    pub(super) fn restart(&mut self) {
        self.session = None;
        self.position = Position::Unset;
        self.forget_end();
    }

    /// Begins a new session where the logs still agree.
    fn truncated(&mut self, target: &Target, epoch: LeaderEpoch, end: Offset) {
        let position =
            Position::At { offset: end, epoch: Some(epoch), validated: target.leader_epoch };
        self.restart();
        self.position = position;
    }

    fn forget_end(&mut self) {
        if let Mode::CatchUp { until } = &mut self.mode {
            *until = None;
        }
    }

    fn reset_spec(&self) -> OffsetSpec {
        match self.mode {
            Mode::Tail { from_start: false } => OffsetSpec::Latest,
            Mode::Tail { from_start: true } | Mode::CatchUp { .. } => OffsetSpec::Earliest,
            Mode::Range { .. } => unreachable!("a range says where it begins"),
        }
    }
}

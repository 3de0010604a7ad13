//! Questions and orders that are done with one answer: offsets, epoch ends, topics and configs.
//!
//! What an error code proves is decided in [`super::outcome`]. Source: Kafka's `OffsetFetcher`,
//! `KafkaAdminClient`.

use alloc::string::String;
use alloc::vec;

use broker_core::ids::{LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{
    AdminRequest, AdminResponse, EpochPartition, EpochResult, ErrorCode, Isolation,
    ListOffsetsPartition, ListOffsetsResult, OffsetSpec, Request, Response,
};
use broker_core::step::Cx;
use broker_core::time::Wall;

use super::metadata::{Route, Target};
use super::outcome::{self, Next, Refusal};
use super::session::{Asked, Verdict};
use super::{Answer, Call, CallEvent};
use crate::op::ListSpec;

/// A question about one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Query {
    pub(super) topic: String,
    pub(super) partition: PartitionIndex,
    pub(super) question: Question,
}

/// What is asked of a partition's leader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Question {
    /// An offset.
    Offset(ListSpec, Isolation),
    /// The end of the epoch so many before the leader's.
    EpochEnd { back: u32 },
}

impl Query {
    pub(super) fn route(&self) -> Route {
        Route::Leader(self.partition)
    }

    pub(super) fn ask(&self, target: &Target, cx: &Cx) -> Asked {
        let partition = self.partition(target.topic);
        match self.question {
            Question::Offset(spec, isolation) => {
                let asked = (offset_spec(spec, cx.wall), isolation);
                ask_offset(partition, asked, target.leader_epoch)
            }
            Question::EpochEnd { back } => {
                let epoch = LeaderEpoch(target.leader_epoch.0.saturating_sub(back));
                ask_epoch_end(partition, epoch, target.leader_epoch)
            }
        }
    }

    pub(super) fn answered(&self, topic: Option<TopicId>, response: Response) -> Option<Verdict> {
        let partition = self.partition(topic);
        let answer = match (self.question, response) {
            (Question::Offset(..), Response::ListOffsets(results)) => {
                read_offset(partition, &results)?
            }
            (Question::EpochEnd { .. }, Response::OffsetForLeaderEpoch(results)) => {
                read_epoch_end(partition, &results)?
            }
            _ => return None,
        };
        Some(match answer {
            Ok(answer) => Verdict { event: CallEvent::Ok(answer), next: Next::Done },
            Err(code) => Verdict { event: CallEvent::Fail(code), next: outcome::of_read(code) },
        })
    }

    fn partition(&self, topic: Option<TopicId>) -> TopicPartition {
        let topic = topic.expect("the route of a query gives the topic's id");
        TopicPartition { topic, index: self.partition }
    }
}

/// An order to the controller, or a look at a topic's configs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Admin {
    pub(super) topic: String,
    pub(super) order: Order,
    /// The topic's id when the order was given: a topic of the same name that comes later is
    /// another one, and not meant.
    pub(super) id: Option<TopicId>,
}

/// What is ordered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Order {
    Create { partitions: u32 },
    Delete,
    AddPartitions { count: u32 },
    Alter { key: String, value: String },
    Describe,
}

impl Admin {
    pub(super) fn route(&self) -> Route {
        match self.order {
            Order::Create { .. } | Order::Describe => Route::Any,
            Order::Delete | Order::AddPartitions { .. } | Order::Alter { .. } => match self.id {
                Some(_) => Route::Any,
                None => Route::Topic,
            },
        }
    }

    pub(super) fn ask(&mut self, target: &Target) -> Asked {
        self.id = self.id.or(target.topic);
        let id = || self.id.expect("the route of this order gives the topic's id");
        let request = match &self.order {
            Order::Create { partitions } => AdminRequest::CreateTopic {
                name: self.topic.clone(),
                partitions: *partitions,
                configs: vec![],
            },
            Order::Delete => AdminRequest::DeleteTopic { topic: id() },
            Order::AddPartitions { count } => {
                AdminRequest::CreatePartitions { topic: id(), count: *count }
            }
            Order::Alter { key, value } => AdminRequest::AlterConfigs {
                topic: id(),
                configs: vec![(key.clone(), Some(value.clone()))],
            },
            Order::Describe => {
                return Asked {
                    call: Some(Call::Admin { topic: None, deletes: false }),
                    request: Request::DescribeConfigs { topic: self.topic.clone() },
                    answered: true,
                };
            }
        };
        let deletes = matches!(self.order, Order::Delete);
        let call = Some(Call::Admin { topic: self.id, deletes });
        Asked { call, request: Request::Admin(request), answered: true }
    }

    pub(super) fn answered(&self, response: Response) -> Option<Verdict> {
        let (event, next) = match (&self.order, response) {
            (Order::Describe, Response::DescribeConfigs(Ok(_))) => {
                (CallEvent::Ok(Answer::Done), Next::Done)
            }
            (Order::Describe, Response::DescribeConfigs(Err(code))) => {
                (CallEvent::Fail(code), Self::described_next(code))
            }
            (Order::Describe, _) => return None,
            (Order::Create { .. }, Response::Admin(AdminResponse::Created(id))) => {
                (CallEvent::Ok(Answer::Created(id)), Next::Done)
            }
            (Order::Create { .. }, Response::Admin(AdminResponse::Done)) => return None,
            (_, Response::Admin(AdminResponse::Done)) => (CallEvent::Ok(Answer::Done), Next::Done),
            (_, Response::Admin(AdminResponse::Error(code))) => {
                let Refusal { definite, next } = outcome::of_admin(code);
                let event = if definite { CallEvent::Fail(code) } else { CallEvent::Unknown };
                (event, next)
            }
            (_, _) => return None,
        };
        Some(Verdict { event, next })
    }

    /// A topic that is not there is an answer like any other.
    fn described_next(code: ErrorCode) -> Next {
        match code {
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Next::Done,
            other => outcome::of_read(other),
        }
    }
}

fn offset_spec(spec: ListSpec, now: Wall) -> OffsetSpec {
    match spec {
        ListSpec::Earliest => OffsetSpec::Earliest,
        ListSpec::Latest => OffsetSpec::Latest,
        ListSpec::MaxTimestamp => OffsetSpec::MaxTimestamp,
        ListSpec::AgoMs(ms) => {
            let ago = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
            OffsetSpec::At(Wall(now.0.saturating_sub(ago)))
        }
    }
}

/// Asks for an offset of a partition.
pub(super) fn ask_offset(
    partition: TopicPartition,
    (spec, isolation): (OffsetSpec, Isolation),
    leader_epoch: LeaderEpoch,
) -> Asked {
    let leader_epoch = Some(leader_epoch);
    let question = ListOffsetsPartition { partition, current_leader_epoch: leader_epoch, spec };
    Asked {
        call: Some(Call::ListOffsets { partition, spec, leader_epoch, isolation }),
        request: Request::ListOffsets { isolation, partitions: vec![question] },
        answered: true,
    }
}

/// Asks where `epoch` ended.
pub(super) fn ask_epoch_end(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    leader_epoch: LeaderEpoch,
) -> Asked {
    let current_leader_epoch = Some(leader_epoch);
    let question = EpochPartition { partition, current_leader_epoch, leader_epoch: epoch };
    Asked {
        call: Some(Call::EpochEnd { partition, epoch, leader_epoch: current_leader_epoch }),
        request: Request::OffsetForLeaderEpoch { partitions: vec![question] },
        answered: true,
    }
}

/// Reads the answer to [`ask_offset`]; `None` if it is none.
pub(super) fn read_offset(
    partition: TopicPartition,
    results: &[ListOffsetsResult],
) -> Option<Result<Answer, ErrorCode>> {
    let [ListOffsetsResult { partition: of, result }] = results else { return None };
    if *of != partition {
        return None;
    }
    let listed = |found: &Option<_>| {
        found.map(|found: broker_core::protocol::ListedOffset| {
            (found.offset, found.timestamp, found.leader_epoch)
        })
    };
    Some(result.as_ref().map(|found| Answer::Listed(listed(found))).map_err(|code| *code))
}

/// Reads the answer to [`ask_epoch_end`]; `None` if it is none.
pub(super) fn read_epoch_end(
    partition: TopicPartition,
    results: &[EpochResult],
) -> Option<Result<Answer, ErrorCode>> {
    match results {
        [EpochResult { partition: of, result }] if *of == partition => {
            Some((*result).map(Answer::EpochEnd))
        }
        _ => None,
    }
}

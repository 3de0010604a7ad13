//! What can not be said to a broker, and what a broker must not say.

use std::fmt;

use broker_core::ids::TopicId;
use broker_core::protocol::{
    Acks, AdminResponse, EpochResult, ErrorCode, FetchRequest, FetchResult, ListOffsetsResult,
    MetadataResponse, ProduceRequest, ProduceResult, Request, Response, TopicMetadata, TxnMarker,
};

use crate::wire::ApiKey;
use crate::wire::codec::Malformed;

/// Why a request can not be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The broker does not speak the call in any version that will do.
    NotSpoken {
        /// The call.
        key: ApiKey,
        /// The versions that would do, oldest and newest.
        needed: (i16, i16),
        /// Those that the broker speaks, if it speaks the call.
        offered: Option<(i16, i16)>,
    },
    /// No broker has told the name of this topic, or another topic has it now.
    UnknownTopic {
        /// The topic.
        topic: TopicId,
    },
    /// Brokers and tools say this, not clients.
    NotAClients,
}

impl Refusal {
    /// The same as an error code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotSpoken { .. } => ErrorCode::UnsupportedVersion,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopicId,
            Self::NotAClients => ErrorCode::InvalidRequest,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSpoken { key, needed: (oldest, newest), offered } => {
                write!(f, "{key:?} is needed in version {oldest} to {newest}, and the broker ")?;
                match offered {
                    Some((from, upto)) => write!(f, "speaks {from} to {upto}"),
                    None => f.write_str("does not speak it"),
                }
            }
            Self::UnknownTopic { topic } => write!(f, "no topic is known to have id {topic}"),
            Self::NotAClients => f.write_str("clients do not ask this"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a broker said and must not: the connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The bytes are no answer to the oldest request.
    Malformed {
        /// The call.
        key: ApiKey,
        /// Why.
        malformed: Malformed,
    },
    /// It answers another request.
    Correlation {
        /// The correlation id of the oldest request.
        asked: i32,
        /// That of the answer.
        answered: i32,
    },
    /// Nothing was asked.
    Unasked,
    /// It answers about a partition, group or key that was not asked about.
    OtherPartition,
    /// A value that no such field can have.
    Value {
        /// Which, by Kafka's name.
        field: &'static str,
    },
    /// It does not say which versions it speaks, with this error.
    NoVersions(i16),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { key, malformed } => write!(f, "the answer to {key:?}: {malformed}"),
            Self::Correlation { asked, answered } => {
                write!(f, "an answer to request {answered}, where the oldest is {asked}")
            }
            Self::Unasked => f.write_str("an answer, and nothing was asked"),
            Self::OtherPartition => f.write_str("an answer about something that was not asked"),
            Self::Value { field } => write!(f, "field {field} has a value that it can not have"),
            Self::NoVersions(code) => {
                write!(f, "the broker does not say which versions it speaks: error {code}")
            }
        }
    }
}

impl std::error::Error for Broken {}

/// Takes the answer's body, which was read as the one of its call.
macro_rules! body {
    ($answer:expr, $variant:pat => $value:expr) => {
        match $answer {
            $variant => $value,
            other => unreachable!("read as the answer to another call: {other:?}"),
        }
    };
}
pub(super) use body;

/// The answer that says nothing but this; none to a request that has none.
#[must_use]
pub fn refused(request: &Request, code: ErrorCode) -> Option<Response> {
    Some(match request {
        Request::Metadata { topics } => {
            let topics = topics.iter().flatten();
            let topics = topics.map(|name| TopicMetadata { name: name.clone(), result: Err(code) });
            let (brokers, topics) = (Vec::new(), topics.collect());
            Response::Metadata(MetadataResponse { brokers, topics })
        }
        Request::Produce(ProduceRequest { acks: Acks::None, .. }) => return None,
        Request::Produce(ProduceRequest { batches, .. }) => {
            let result = |it: &(_, _)| ProduceResult { partition: it.0, result: Err(code) };
            Response::Produce(batches.iter().map(result).collect())
        }
        Request::Fetch(FetchRequest { partitions, .. }) => {
            let partitions = partitions.iter().map(|it| it.partition);
            let result = |partition| FetchResult { partition, result: Err(code) };
            Response::Fetch(partitions.map(result).collect())
        }
        Request::ListOffsets { partitions, .. } => {
            let partitions = partitions.iter().map(|it| it.partition);
            let result = |partition| ListOffsetsResult { partition, result: Err(code) };
            Response::ListOffsets(partitions.map(result).collect())
        }
        Request::OffsetForLeaderEpoch { partitions } => {
            let partitions = partitions.iter().map(|it| it.partition);
            let result = |partition| EpochResult { partition, result: Err(code) };
            Response::OffsetForLeaderEpoch(partitions.map(result).collect())
        }
        Request::Admin(_) | Request::Validate(_) => Response::Admin(AdminResponse::Error(code)),
        Request::DescribeConfigs { .. } => Response::DescribeConfigs(Err(code)),
        Request::InitProducerId => Response::InitProducerId(Err(code)),
        Request::FindCoordinator { .. } => Response::FindCoordinator(Err(code)),
        Request::Txn(request) => Response::Txn(request.refusal(code)),
        Request::Group(request) => Response::Group(request.refusal(code)),
        Request::WriteTxnMarkers { markers } => {
            let of = |it: &TxnMarker| {
                let (producer, partitions) = (it.producer, it.partitions.clone().into_iter());
                partitions.map(move |partition| (producer, partition, Err(code)))
            };
            Response::WriteTxnMarkers(markers.iter().flat_map(of).collect())
        }
    })
}

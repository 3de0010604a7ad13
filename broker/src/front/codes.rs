//! Kafka's error codes: those of the core, those that only the front says, and what a code is
//! called in an old version.
//!
//! Source: `Errors.java`, whose messages are shortened here.

use broker_core::protocol::ErrorCode;

use crate::wire::Header;

/// An error by Kafka's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Code(pub i16);

impl Code {
    /// Never an error: of a partition that the core is not asked about and that is fine.
    pub(super) const NONE: Self = Self(0);
    /// Of clients there is none that may create `__cluster_metadata`.
    pub(super) const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    /// A version that is not spoken here.
    pub(super) const UNSUPPORTED_VERSION: Self = Self(35);
    /// Replicas by the hundred.
    pub(super) const INVALID_REPLICATION_FACTOR: Self = Self(38);
    /// Replicas are placed by the controller.
    pub(super) const INVALID_REPLICA_ASSIGNMENT: Self = Self(39);
    /// Another partition of the request was refused.
    pub(super) const OPERATION_NOT_ATTEMPTED: Self = Self(55);
    /// A fetch in a session that is not there.
    pub(super) const FETCH_SESSION_ID_NOT_FOUND: Self = Self(70);
    /// Asked for controllers, which clients do not reach.
    pub(super) const MISMATCHED_ENDPOINT_TYPE: Self = Self(114);
    /// A pattern that can not be used.
    pub(super) const INVALID_REGULAR_EXPRESSION: Self = Self(128);
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self(code as i16)
    }
}

/// Kafka's number for an outcome; 0 is success.
pub(super) fn code<T, E: Copy + Into<Code>>(result: &Result<T, E>) -> i16 {
    result.as_ref().err().map_or(0, |code| (*code).into().0)
}

/// As [`code`], in versions that name topics by name: they know no error about topic ids.
pub(super) fn code_by_name<T, E: Copy + Into<Code>>(result: &Result<T, E>) -> i16 {
    let code = code(result);
    let unknown = code == ErrorCode::UnknownTopicId as i16;
    if unknown { ErrorCode::UnknownTopicOrPartition as i16 } else { code }
}

/// An error by the name that a version before `since` knows it by.
pub(super) fn renamed(header: &Header, since: i16, code: i16) -> i16 {
    const RENAMED: &[(ErrorCode, ErrorCode)] = &[
        // KIP-588, `KafkaApis`: the newer one told who was fenced from who may begin anew.
        (ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch),
        // KIP-890, `AddPartitionsToTxnManager`.
        (ErrorCode::TransactionAbortable, ErrorCode::InvalidTxnState),
    ];
    older(header, since, RENAMED, code)
}

/// As [`renamed`], by names that only one call has.
pub(super) fn older(
    header: &Header,
    since: i16,
    names: &[(ErrorCode, ErrorCode)],
    code: i16,
) -> i16 {
    let old = names.iter().find(|(new, _)| header.version < since && *new as i16 == code);
    old.map_or(code, |(_, old)| *old as i16)
}

/// What a code says to a person, for answers that have room for it.
pub(super) fn message(code: ErrorCode) -> String {
    use ErrorCode as E;
    let known = match code {
        E::UnknownTopicOrPartition => "there is no such topic or partition",
        E::RequestTimedOut => "the controller did not answer in time: it may be done or not",
        E::CoordinatorLoadInProgress => "the coordinator is loading: try again",
        E::CoordinatorNotAvailable => "the coordinator is not available: try again",
        E::NotCoordinator => "this broker does not coordinate it: find the coordinator anew",
        E::InvalidTopicException => "a topic's name is 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'",
        E::InvalidGroupId => "the group's name is empty",
        E::UnknownMemberId => "the group has no such member: join it anew",
        E::TopicAlreadyExists => "there is a topic of this name",
        E::InvalidPartitions => "the number of partitions is too small or too large",
        E::InvalidConfig => "there is no such config, or its value is not allowed",
        E::InvalidRequest => "the request breaks a rule of its protocol",
        E::GroupIdNotFound => "there is no such group of this type",
        E::GroupMaxSizeReached => "the group has as many members as it may have",
        E::UnknownTopicId => "there is no topic of this id",
        E::FencedMemberEpoch => "the member's epoch is not the one it has: join the group anew",
        E::UnreleasedInstanceId => "the instance id is another member's, which has not left",
        E::UnsupportedAssignor => "the assignor is not known: 'uniform' and 'range' are",
        E::FencedInstanceId => "another member has this instance id",
        other => return format!("{other:?}"),
    };
    known.to_owned()
}

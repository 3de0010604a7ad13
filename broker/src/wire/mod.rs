//! Kafka's wire protocol: frames, headers, the calls that are spoken here and their versions.
//!
//! Untrusted bytes are bounded before they cost memory ([`codec`]). Record batches stay opaque
//! bytes, shared with the frame that they came in. Sources: Kafka's protocol guide, `ApiKeys.java`,
//! `RequestHeader.java`, KIP-482, KIP-511; ADR 0013.

use std::fmt;

use bytes::Bytes;

pub mod codec;
pub mod messages;
#[cfg(test)]
pub(crate) mod tests;

use codec::{Malformed, Reader, Wire, Writer};
#[cfg(test)]
use tests::sample::{Draw, Sample};

/// The longest frame: Kafka's `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 << 20;

/// Defines the calls: name, Kafka's number, versions, the first flexible one, and the messages.
macro_rules! calls {
    ($($Name:ident = $key:literal, $oldest:literal..=$newest:literal, flexible $flexible:literal,
        $area:ident::$module:ident;)*) => {
        /// A call that is spoken here.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[expect(missing_docs, reason = "named and documented by Kafka's ApiKeys.java")]
        #[repr(i16)]
        pub enum ApiKey { $($Name = $key,)* }

        impl ApiKey {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$Name,)*];

            /// The oldest and the newest version that can be read and written.
            #[must_use]
            pub const fn versions(self) -> (i16, i16) {
                match self { $(Self::$Name => ($oldest, $newest),)* }
            }

            /// The first version with compact lengths and tagged fields (KIP-482).
            const fn flexible_from(self) -> i16 {
                match self { $(Self::$Name => $flexible,)* }
            }
        }

        calls!(@bodies "A request's body." Request $($Name $area $module)*);
        calls!(@bodies "A response's body." Response $($Name $area $module)*);
    };
    (@bodies $doc:literal $Body:ident $($Name:ident $area:ident $module:ident)*) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Debug)]
        #[expect(missing_docs, reason = "named and documented by Kafka's message schemas")]
        pub enum $Body { $($Name(messages::$area::$module::$Body),)* }

        impl $Body {
            /// The call that it belongs to.
            #[must_use]
            pub const fn key(&self) -> ApiKey {
                match self { $(Self::$Name(_) => ApiKey::$Name,)* }
            }

            fn read(key: ApiKey, reader: &mut Reader) -> Result<Self, Malformed> {
                match key { $(ApiKey::$Name => Wire::read(reader).map(Self::$Name),)* }
            }

            fn write(&self, writer: &mut Writer) {
                match self { $(Self::$Name(body) => body.write(writer),)* }
            }

            #[cfg(test)]
            fn sample(key: ApiKey, draw: &mut Draw) -> Self {
                match key { $(ApiKey::$Name => Self::$Name(Sample::sample(draw)),)* }
            }
        }
    };
}

calls! {
    Produce = 0, 0..=13, flexible 9, records::produce;
    Fetch = 1, 4..=16, flexible 12, records::fetch;
    ListOffsets = 2, 1..=9, flexible 6, records::list_offsets;
    Metadata = 3, 0..=12, flexible 9, cluster::metadata;
    OffsetCommit = 8, 2..=9, flexible 8, groups::offset_commit;
    OffsetFetch = 9, 1..=9, flexible 6, groups::offset_fetch;
    FindCoordinator = 10, 0..=6, flexible 3, cluster::find_coordinator;
    JoinGroup = 11, 0..=9, flexible 6, groups::join_group;
    Heartbeat = 12, 0..=4, flexible 4, groups::heartbeat;
    LeaveGroup = 13, 0..=5, flexible 4, groups::leave_group;
    SyncGroup = 14, 0..=5, flexible 4, groups::sync_group;
    DescribeGroups = 15, 0..=6, flexible 5, groups::describe_groups;
    ListGroups = 16, 0..=5, flexible 3, groups::list_groups;
    ApiVersions = 18, 0..=4, flexible 3, cluster::api_versions;
    CreateTopics = 19, 2..=7, flexible 5, admin::create_topics;
    DeleteTopics = 20, 1..=6, flexible 4, admin::delete_topics;
    InitProducerId = 22, 0..=5, flexible 2, transactions::init_producer_id;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4, records::offset_for_leader_epoch;
    AddPartitionsToTxn = 24, 0..=3, flexible 3, transactions::add_partitions_to_txn;
    AddOffsetsToTxn = 25, 0..=4, flexible 3, transactions::add_offsets_to_txn;
    EndTxn = 26, 0..=5, flexible 3, transactions::end_txn;
    WriteTxnMarkers = 27, 1..=1, flexible 1, transactions::write_txn_markers;
    TxnOffsetCommit = 28, 0..=5, flexible 3, transactions::txn_offset_commit;
    DescribeConfigs = 32, 1..=4, flexible 4, admin::describe_configs;
    AlterConfigs = 33, 0..=2, flexible 2, admin::alter_configs;
    CreatePartitions = 37, 0..=3, flexible 2, admin::create_partitions;
    DeleteGroups = 42, 0..=2, flexible 2, groups::delete_groups;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1, admin::incremental_alter_configs;
    OffsetDelete = 47, 0..=0, flexible 1, groups::offset_delete;
    DescribeQuorum = 55, 0..=2, flexible 0, cluster::describe_quorum;
    DescribeCluster = 60, 0..=1, flexible 0, cluster::describe_cluster;
    DescribeTransactions = 65, 0..=0, flexible 0, transactions::describe_transactions;
    ListTransactions = 66, 0..=1, flexible 0, transactions::list_transactions;
    ConsumerGroupHeartbeat = 68, 0..=1, flexible 0, groups::consumer_group_heartbeat;
    ConsumerGroupDescribe = 69, 0..=1, flexible 0, groups::consumer_group_describe;
}

/// What stands before every request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The call.
    pub key: ApiKey,
    /// Its version.
    pub version: i16,
    /// Given back with the answer.
    pub correlation: i32,
    /// The client's name for itself.
    pub client: Option<String>,
}

/// Why a frame is no request that is known here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadRequest {
    /// A number that is no call spoken here.
    UnknownCall {
        /// The number.
        key: i16,
    },
    /// A version that is not spoken here.
    UnsupportedVersion {
        /// The call.
        key: ApiKey,
        /// Its version.
        version: i16,
        /// Given back with the answer: ApiVersions is answered all the same.
        correlation: i32,
    },
    /// The bytes are not the message.
    Malformed {
        /// The call, if the header was read.
        call: Option<(ApiKey, i16)>,
        /// Why.
        malformed: Malformed,
    },
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCall { key } => write!(f, "api key {key} is not spoken here"),
            Self::UnsupportedVersion { key, version, .. } => {
                let (oldest, newest) = key.versions();
                write!(f, "{key:?} version {version}: {oldest} to {newest} are spoken here")
            }
            Self::Malformed { call: Some((key, version)), malformed } => {
                write!(f, "{key:?} version {version}: {malformed}")
            }
            Self::Malformed { call: None, malformed } => write!(f, "request header: {malformed}"),
        }
    }
}

impl std::error::Error for BadRequest {}

impl ApiKey {
    /// The call of this number.
    #[must_use]
    pub fn of(key: i16) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| *it as i16 == key)
    }

    const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The header of an answer says nothing but the correlation id before the first flexible
    /// version, and always for ApiVersions: its asker can not know yet what we speak (KIP-511).
    const fn has_flexible_answer_header(self, version: i16) -> bool {
        self.is_flexible(version) && !matches!(self, Self::ApiVersions)
    }
}

/// Reads a request: a frame without its length. Bytes behind the last field are ignored, as Kafka
/// does: librdkafka sends some.
///
/// # Errors
/// If it is none that is spoken here.
pub fn read_request(frame: Bytes) -> Result<(Header, Request), BadRequest> {
    let broken = |malformed| BadRequest::Malformed { call: None, malformed };
    let mut head = Reader::new(frame, 0, false);
    let (number, version, correlation) = Wire::read(&mut head)
        .and_then(|number: i16| Ok((number, i16::read(&mut head)?, i32::read(&mut head)?)))
        .map_err(broken)?;
    let key = ApiKey::of(number).ok_or(BadRequest::UnknownCall { key: number })?;
    let (oldest, newest) = key.versions();
    if !(oldest..=newest).contains(&version) {
        return Err(BadRequest::UnsupportedVersion { key, version, correlation });
    }
    let malformed = |malformed| BadRequest::Malformed { call: Some((key, version)), malformed };
    let client = Wire::read(&mut head).map_err(malformed)?;
    let mut body = head.body(version, key.is_flexible(version));
    // The header's own tagged fields.
    body.tags(|_, _| Ok(false)).map_err(malformed)?;
    let request = Request::read(key, &mut body).map_err(malformed)?;
    Ok((Header { key, version, correlation, client }, request))
}

/// Writes an answer, with its length before it.
#[must_use]
pub fn write_response(header: &Header, response: &Response) -> Bytes {
    debug_assert_eq!(header.key, response.key());
    let flexible = header.key.has_flexible_answer_header(header.version);
    let mut frame = Writer::new(header.version, flexible);
    header.correlation.write(&mut frame);
    frame.tags(&[]);
    let mut frame = frame.body(header.version, header.key.is_flexible(header.version));
    response.write(&mut frame);
    frame.finish()
}

/// Writes a request, with its length before it.
#[must_use]
pub fn write_request(header: &Header, request: &Request) -> Bytes {
    debug_assert_eq!(header.key, request.key());
    // A client's name is never compact.
    let mut frame = Writer::new(header.version, false);
    (header.key as i16).write(&mut frame);
    header.version.write(&mut frame);
    header.correlation.write(&mut frame);
    header.client.write(&mut frame);
    let mut frame = frame.body(header.version, header.key.is_flexible(header.version));
    frame.tags(&[]);
    request.write(&mut frame);
    frame.finish()
}

/// Reads the answer to a request of this header: a frame without its length.
///
/// # Errors
/// If it is none.
pub fn read_response(header: &Header, frame: Bytes) -> Result<(i32, Response), Malformed> {
    let flexible = header.key.has_flexible_answer_header(header.version);
    let mut head = Reader::new(frame, header.version, flexible);
    let correlation = Wire::read(&mut head)?;
    head.tags(|_, _| Ok(false))?;
    let mut body = head.body(header.version, header.key.is_flexible(header.version));
    Ok((correlation, Response::read(header.key, &mut body)?))
}

//! What nodes say to one another: the quorum's RPCs (KIP-595, KIP-996) and the brokers' requests to
//! the active controller (KIP-631, AutoMQ's stream and object calls) and to one another.
//!
//! Messages may be lost, late, doubled and out of order. Each request can be sent again unchanged;
//! the receiver makes the second one equal to the first or refuses it.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{
    BrokerEpoch, IncarnationId, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId, Offset, ProducerId,
    QuorumEpoch, StreamId, TopicPartition, ZoneId,
};
use crate::metadata::record::{CommittedRange, ObjectKind};
use crate::protocol::{AdminRequest, AdminResponse, Request, Response};
use crate::quorum::Entry;

pub mod frame;

/// A message between nodes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum PeerMsg {
    /// The metadata quorum.
    Quorum(QuorumMsg),
    /// A broker asks the active controller. `id` is the broker's, unique in its incarnation.
    Ask {
        /// Echoed in the answer.
        id: u64,
        /// The sending process: an answer to an earlier one is dropped by the receiver.
        incarnation_id: IncarnationId,
        /// The request.
        request: ControllerRequest,
    },
    /// The controller's answer.
    Answer {
        /// Of the question.
        id: u64,
        /// Of the question.
        incarnation_id: IncarnationId,
        /// The answer, or why not.
        result: Result<ControllerAnswer, ControllerError>,
    },
    /// A broker asks another one, as a client would. `id` is the sender's, unique in its
    /// incarnation.
    Request {
        /// Echoed in the answer.
        id: u64,
        /// The sending process.
        incarnation_id: IncarnationId,
        /// The request.
        request: Request,
    },
    /// The answer.
    Response {
        /// Of the request.
        id: u64,
        /// Of the request: an answer to an earlier process is dropped.
        incarnation_id: IncarnationId,
        /// The answer.
        response: Response,
    },
}

/// RPCs of the quorum. `epoch` is always the sender's current epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum QuorumMsg {
    /// Ask for a vote, or (KIP-996) whether one would be given.
    Vote {
        /// The candidate's epoch (for a pre-vote: its current one).
        epoch: QuorumEpoch,
        /// Epoch of its last entry.
        last_epoch: QuorumEpoch,
        /// End of its log.
        end_offset: MetaOffset,
        /// Whether this is a pre-vote.
        pre_vote: bool,
    },
    /// Answer to a vote.
    VoteReply {
        /// The voter's epoch.
        epoch: QuorumEpoch,
        /// The epoch in the request.
        asked_epoch: QuorumEpoch,
        /// The leader it knows of in its epoch.
        leader: Option<NodeId>,
        /// Yes or no.
        granted: bool,
        /// Echo.
        pre_vote: bool,
    },
    /// The new leader makes itself known.
    BeginEpoch {
        /// Its epoch.
        epoch: QuorumEpoch,
    },
    /// Answer to `BeginEpoch`.
    BeginEpochReply {
        /// The receiver's epoch.
        epoch: QuorumEpoch,
    },
    /// The leader resigns; who should follow, best first.
    EndEpoch {
        /// The epoch that ends.
        epoch: QuorumEpoch,
        /// By end offset, descending.
        preferred_successors: Vec<NodeId>,
    },
    /// Pull from the leader; also how a follower says what it has made durable.
    Fetch {
        /// The fetcher's epoch.
        epoch: QuorumEpoch,
        /// The end of its durable log.
        fetch_offset: MetaOffset,
        /// Epoch of its last entry.
        last_fetched_epoch: QuorumEpoch,
        /// The high watermark it knows (KIP-1166): a fetch that can learn nothing waits.
        high_watermark: MetaOffset,
        /// Tells a late answer from the awaited one.
        id: u64,
    },
    /// The leader's answer.
    FetchReply {
        /// The leader's (or refuser's) epoch.
        epoch: QuorumEpoch,
        /// The leader it knows of in that epoch.
        leader: Option<NodeId>,
        /// Echo.
        id: u64,
        /// Data, divergence or refusal.
        body: FetchBody,
    },
}

/// Body of a fetch answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FetchBody {
    /// Entries from the fetch offset on (perhaps none), and the high watermark.
    Entries {
        /// In order.
        entries: Vec<Entry>,
        /// Exclusive.
        high_watermark: MetaOffset,
    },
    /// The logs part: the leader's largest epoch not above the asked one, and its end.
    Diverging {
        /// That epoch.
        epoch: QuorumEpoch,
        /// Its end offset in the leader's log.
        end_offset: MetaOffset,
    },
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER: see `epoch`, `leader`.
    Refused,
}

/// What a broker asks. `node` and `epoch` name the asking broker's registration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ControllerRequest {
    /// Join the cluster, fenced at first.
    Register {
        /// Tells a retry from another process.
        incarnation_id: IncarnationId,
        /// Where it runs.
        zone: ZoneId,
    },
    /// Stay alive; ask to be unfenced or to leave.
    Heartbeat {
        /// Its registration.
        epoch: BrokerEpoch,
        /// End of the metadata it has applied.
        metadata_offset: MetaOffset,
        /// It cannot serve yet.
        want_fence: bool,
        /// It wants to leave.
        want_shut_down: bool,
    },
    /// Open a closed stream under a new leader epoch.
    OpenStream {
        /// Its registration.
        epoch: BrokerEpoch,
        /// The stream.
        stream: StreamId,
        /// The partition's leader epoch.
        leader_epoch: LeaderEpoch,
    },
    /// Close a stream it owns; everything in it is committed.
    CloseStream {
        /// Its registration.
        epoch: BrokerEpoch,
        /// The stream.
        stream: StreamId,
        /// The epoch it was opened under.
        leader_epoch: LeaderEpoch,
    },
    /// The partition is open here: publish this broker as its leader.
    AssumeLeadership {
        /// Its registration.
        epoch: BrokerEpoch,
        /// The partition.
        partition: TopicPartition,
        /// Its leader epoch.
        leader_epoch: LeaderEpoch,
    },
    /// Reserve an object id. A retry carries the same `request` and gets the same id.
    PrepareObject {
        /// Its registration.
        epoch: BrokerEpoch,
        /// Counts the broker's prepares: makes a retry recognisable.
        request: u64,
    },
    /// Make an uploaded object part of its streams.
    CommitObject(CommitRequest),
    /// The WAL of `wal_node` in `wal_epoch` is recovered: all its records below `end` are
    /// committed.
    SealWal {
        /// The recoverer's registration.
        epoch: BrokerEpoch,
        /// Whose WAL.
        wal_node: NodeId,
        /// Which epoch of it.
        wal_epoch: BrokerEpoch,
        /// End of the recovered run; the next epoch starts here.
        end: Lsn,
    },
    /// A block of producer ids to give out (KIP-730). A retry gets another one.
    AllocateProducerIds {
        /// Its registration.
        epoch: BrokerEpoch,
    },
    /// An admin request passed on for a client.
    Admin {
        /// Makes a retry recognisable: drawn by the broker per client request.
        nonce: u64,
        /// The request.
        request: AdminRequest,
    },
    /// What would come of an admin request? Changes nothing.
    Validate {
        /// The request.
        request: AdminRequest,
    },
}

/// Make an uploaded object part of its streams.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct CommitRequest {
    /// The asking broker's registration.
    pub epoch: BrokerEpoch,
    /// Whose WAL the data comes from: the asker's own, or the one it recovers.
    pub wal_node: NodeId,
    /// The epoch of that WAL.
    pub wal_epoch: BrokerEpoch,
    /// The prepared object.
    pub object: ObjectId,
    /// Stream-set or single stream.
    pub kind: ObjectKind,
    /// Size in bytes.
    pub size: u64,
    /// The stream ranges it holds, ascending by stream.
    pub ranges: Vec<CommittedRange>,
}

/// The controller's answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ControllerAnswer {
    /// To `Register`.
    Registered {
        /// The broker's epoch from now on.
        epoch: BrokerEpoch,
    },
    /// To `Heartbeat`.
    Heartbeat {
        /// Still fenced.
        fenced: bool,
        /// It may stop now.
        shut_down: bool,
    },
    /// To `OpenStream`.
    Opened {
        /// First offset.
        start_offset: Offset,
        /// Where to append.
        next_offset: Offset,
    },
    /// To `PrepareObject`.
    Prepared {
        /// The id.
        object: ObjectId,
    },
    /// To `CommitObject`: done, by this request or (`redundant`) by an earlier copy of it.
    Committed {
        /// Found already applied.
        redundant: bool,
    },
    /// To `AllocateProducerIds`.
    ProducerIds {
        /// The first.
        first: ProducerId,
        /// How many.
        count: u64,
    },
    /// To `CloseStream`, `AssumeLeadership`, `SealWal`.
    Done,
    /// To `Admin`.
    Admin(AdminResponse),
}

/// Why the controller refused. Definite, except `NotController`: ask again, perhaps elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ControllerError {
    /// Not the active controller, or lost office before the batch was committed (then unknown).
    NotController {
        /// Who is, as far as known.
        leader: Option<NodeId>,
    },
    /// Kafka 101: the id has a live session of another process.
    DuplicateBrokerRegistration,
    /// Kafka 77: the asking registration is not the current one.
    StaleBrokerEpoch,
    /// Kafka 102: never registered.
    BrokerIdNotRegistered,
    /// AutoMQ NODE_EPOCH_EXPIRED: the WAL's epoch is not the node's current one.
    NodeEpochExpired,
    /// AutoMQ NODE_FENCED: another node recovers this WAL, or it is sealed.
    NodeFenced,
    /// AutoMQ STREAM_NOT_EXIST.
    StreamNotExist,
    /// AutoMQ STREAM_FENCED: a newer epoch, or another owner.
    StreamFenced,
    /// AutoMQ STREAM_NOT_CLOSED: the last owner's data is not all committed. Retry.
    StreamNotClosed,
    /// AutoMQ STREAM_NOT_OPENED.
    StreamNotOpened,
    /// AutoMQ OBJECT_NOT_EXIST: never prepared, expired or destroyed.
    ObjectNotExist,
    /// AutoMQ OFFSET_NOT_MATCHED: the range does not start at the stream's end.
    OffsetNotMatched,
    /// Kafka 74: the partition's leader epoch is another.
    FencedLeaderEpoch,
    /// Kafka 3.
    UnknownTopicOrPartition,
}

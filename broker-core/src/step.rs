//! The two doors of every state machine here: what goes in, what comes out.
//!
//! A machine is a value. It is fed one [`Input`], puts [`Effect`]s in its [`Outbox`], and has no
//! other way to touch the world: no clock, thread, socket, file, random source or randomly ordered
//! map. Rules of the contract:
//!
//! * A message that needs something durable first is emitted by the step that handles the
//!   completion, never sent with a note to wait. "Persist before send" is a fact of the code.
//! * [`ObjResult::Unknown`] and [`LogResult::SyncFailed`] are variants: nobody can forget them.
//!   `Unknown` may have happened, may still happen, may never happen.
//! * Timers are named and relative; arming an armed timer moves it. No instant is kept in state.
//! * A [`Tok`] names its flow and its incarnation: an answer from before a reboot matches nothing.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{
    ConnId, Incarnation, IncarnationId, LeaderEpoch, NodeId, ProducerEpoch, ProducerId, StreamId,
    TopicPartition,
};
use crate::mutants::Mutants;
use crate::peer::PeerMsg;
use crate::probe::Probe;
use crate::protocol::{Request, Response};
use crate::time::{Dur, Mono, Wall};

/// What a machine may know of its surroundings during one step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cx {
    /// This node's monotonic clock. Never stored.
    pub mono: Mono,
    /// This node's wall clock. Stored only as data: in records, and to be told.
    pub wall: Wall,
    /// 64 fresh random bits, the same again in a replay.
    pub entropy: u64,
    /// The planted bugs switched on; always empty outside the simulator.
    #[serde(skip)]
    pub mutants: Mutants,
}

/// A state machine: value in, value out.
pub trait Machine {
    /// What it is fed.
    type In;
    /// What it asks of its host.
    type Out;
    /// Handles one input to its end.
    fn step(&mut self, cx: &Cx, input: Self::In, out: &mut Outbox<Self::Out>);
}

/// The effects of a step, in the order in which the host must begin them.
#[derive(Clone, Debug)]
pub struct Outbox<T>(Vec<T>);

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Outbox<T> {
    /// Adds an effect behind those already there.
    pub fn push(&mut self, effect: T) {
        self.0.push(effect);
    }

    /// Takes all effects out, in order, and keeps the memory.
    pub fn drain(&mut self) -> impl DoubleEndedIterator<Item = T> + '_ {
        self.0.drain(..)
    }

    /// The effects so far.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl Outbox<Effect> {
    /// Adds a probe.
    pub fn probe(&mut self, probe: impl Into<Probe>) {
        self.push(Effect::Probe(probe.into()));
    }

    /// Arms (or moves) a timer.
    pub fn arm(&mut self, key: impl Into<TimerKey>, after: Dur) {
        self.push(Effect::Arm { key: key.into(), after });
    }

    /// Disarms a timer; nothing happens if it is not armed.
    pub fn disarm(&mut self, key: impl Into<TimerKey>) {
        self.push(Effect::Disarm(key.into()));
    }
}

/// What a node is told at its start. Everything else it must read from its device or the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BootImage {
    /// Grows at each boot of this node.
    pub incarnation: Incarnation,
    /// Random, for registration.
    pub incarnation_id: IncarnationId,
}

/// What can happen to a node.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The process starts; always the first input of a machine.
    Boot(BootImage),
    /// A request arrived on a connection; `corr` is echoed in the answer.
    Client {
        /// Where it came from.
        conn: ConnId,
        /// The client's correlation id.
        corr: u32,
        /// The request.
        req: Request,
    },
    /// A connection is gone; nothing sent on it will arrive.
    Gone(ConnId),
    /// A message from another node. May be late, doubled, out of order.
    Peer {
        /// The sender.
        from: NodeId,
        /// What it says.
        msg: PeerMsg,
    },
    /// The log device finished an operation.
    LogDone(Tok, LogResult),
    /// The object store answered, or will not.
    ObjDone(Tok, ObjResult),
    /// An armed timer fired; it is not armed any more.
    Timer(TimerKey),
    /// Controlled shutdown is asked for.
    Drain,
}

/// What a node asks of its host.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// The connection it came on.
        conn: ConnId,
        /// Its correlation id.
        corr: u32,
        /// The answer.
        resp: Response,
    },
    /// Close a connection.
    Close(ConnId),
    /// Send to a node; may be lost, late, doubled, out of order.
    Send {
        /// The receiver.
        to: NodeId,
        /// What to say.
        msg: PeerMsg,
    },
    /// Start an operation on this node's log device; the device works in order.
    Log(Tok, LogOp),
    /// Start an operation on the object store; operations run side by side, in no order.
    Obj(Tok, ObjOp),
    /// Fire `key` once, `after` from this step on this node's monotonic clock.
    Arm {
        /// The timer's name.
        key: TimerKey,
        /// How long from this step.
        after: Dur,
    },
    /// Forget a timer.
    Disarm(TimerKey),
    /// Something worth knowing happened.
    Probe(#[serde(with = "not_stored")] Probe),
    /// The process must end at once. The host may boot it again.
    Halt(HaltReason),
}

/// Probes are for those who watch a run, and refer to constants of the build: an effect that is one
/// is refused by whoever would store it, or read it.
mod not_stored {
    use serde::{Deserializer, Serializer, de, ser};

    use super::Probe;

    const WHY: &str = "a probe is not stored";

    pub(super) fn serialize<S: Serializer>(_: &Probe, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(WHY))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(_: D) -> Result<Probe, D::Error> {
        Err(de::Error::custom(WHY))
    }
}

/// Names the flow an operation belongs to. `seq` is the flow's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tok {
    /// The process that asked.
    pub incarnation: Incarnation,
    /// The flow that asked.
    pub flow: Flow,
    /// The flow's own number for this operation.
    pub seq: u64,
}

/// The flows that wait for completions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Flow {
    /// The quorum's log device.
    Quorum,
    /// WAL object puts and deletes of this node.
    Wal,
    /// Claims on this node's own WAL: taking and verifying.
    Claim,
    /// Uploads of sealed blocks.
    Upload,
    /// Take-over of the WAL of this node (which may be the node itself).
    Recovery(NodeId),
    /// Reads of committed objects.
    Read,
    /// Snapshots of the producers' state.
    Snapshots,
}

/// An object's key. Printable ASCII, `/` separated, at most 1,024 bytes (S3's limit).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Arc<str>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key {
    /// The longest key, in bytes.
    const BYTES_MAX: usize = 1_024;

    fn is_well_formed(text: &str) -> bool {
        text.len() <= Self::BYTES_MAX && text.bytes().all(|it| it.is_ascii_graphic() || it == b' ')
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::is_well_formed(&text) {
            true => Ok(Self(Arc::from(text))),
            false => Err(D::Error::custom("a key is printable ASCII of at most 1,024 bytes")),
        }
    }
}

/// A version of an object, as the store names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Etag(pub u64);

/// Condition of a put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Cond {
    /// Overwrite whatever is there.
    None,
    /// S3 `If-None-Match: *`.
    IfAbsent,
    /// S3 `If-Match`.
    IfMatch(Etag),
}

/// An operation on the object store. Retries are the core's decision, never the adapter's.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ObjOp {
    /// Put a whole object.
    Put {
        /// Its key.
        key: Key,
        /// Its bytes.
        body: Bytes,
        /// When it may be written.
        cond: Cond,
    },
    /// Read an object, or the part `[start, end)` of it; a range past the end is cut short.
    Get {
        /// Its key.
        key: Key,
        /// Byte range, or all.
        range: Option<(u64, u64)>,
    },
    /// One page of keys under `prefix` in lexicographic order, behind `after`.
    List {
        /// The prefix, matched literally.
        prefix: Key,
        /// List only keys greater than this one.
        after: Option<Key>,
    },
    /// Delete; deleting what is not there is `Done`.
    Delete {
        /// The key.
        key: Key,
    },
}

/// How an operation on the object store ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ObjResult {
    /// A put or delete took effect. (A delete's etag means nothing.)
    Done {
        /// The version written.
        etag: Etag,
    },
    /// A get's answer.
    Body {
        /// The version read.
        etag: Etag,
        /// The bytes asked for.
        data: Bytes,
        /// The whole object's size in bytes.
        size: u64,
    },
    /// A list's page; `more` says that keys may follow behind the last.
    Keys {
        /// The keys, ascending.
        keys: Vec<Key>,
        /// Whether to ask for the next page.
        more: bool,
    },
    /// A get, or a put with `IfMatch`, found nothing.
    NotFound,
    /// A conditional put was refused: its condition did not hold when it was tried.
    PreconditionFailed,
    /// S3 503: not done, try again later.
    SlowDown,
    /// No answer: may have happened, may still happen, may never happen.
    Unknown,
}

/// An operation on a controller's log device: one append-only log, and one small state file that is
/// replaced atomically.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum LogOp {
    /// Read everything.
    Load,
    /// Write behind the end of the log; not durable before a sync. Has no completion of its own
    /// unless it fails.
    Append {
        /// Encoded frames.
        bytes: Bytes,
    },
    /// Make durable all that was appended before.
    Sync,
    /// Cut the log to `end` bytes, durably.
    Truncate {
        /// Bytes kept.
        end: u64,
    },
    /// Replace the state file, durably and atomically.
    WriteState {
        /// Its new content.
        bytes: Bytes,
    },
}

/// How an operation on the log device ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum LogResult {
    /// Load: what the device holds. The log may end torn; the core finds out by its checksums.
    Loaded {
        /// The log's bytes.
        log: Bytes,
        /// The state file, empty if never written.
        state: Bytes,
    },
    /// Sync or truncate: the log is durable up to `end` bytes.
    Durable {
        /// Bytes.
        end: u64,
    },
    /// The state file is durable.
    StateDurable,
    /// Append: no room; nothing of it was written.
    Full,
    /// What was not durable may be lost, and a later sync proves nothing: give the device up.
    SyncFailed,
    /// The operation failed and did nothing.
    Io,
}

/// Why a process must end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum HaltReason {
    /// The log device failed a sync, an operation, or is full.
    Device,
    /// Someone else owns this node's WAL.
    WalFenced,
    /// The controller refused this node's epoch.
    NodeFenced,
    /// A committed metadata record could not be applied (KAFKA-14275).
    Unapplicable,
    /// Controlled shutdown is complete.
    ShutDown,
}

/// Every timer a node can arm. Names, not numbers: a model checker may fire any armed one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TimerKey {
    /// The quorum's own.
    Quorum(QuorumTimer),
    /// Controller: this broker's session ends.
    Session(NodeId),
    /// Controller: look for dead WALs, leaderless partitions and expired objects.
    Sweep,
    /// Broker: next metadata fetch, or its time-out.
    Observe,
    /// Broker: next heartbeat.
    Heartbeat,
    /// Broker: resend this unanswered request to the controller.
    Ask(u64),
    /// Close the WAL bulk being filled.
    WalBulk,
    /// Retry or hedge this WAL put; `seq` as in its [`Tok`].
    WalPut(u64),
    /// Verify the claim again.
    WalVerify,
    /// Delete trimmed WAL objects a second time, for a hedged put may have landed after the first.
    WalRedelete,
    /// Retry a claim flow's operation.
    Claim,
    /// Seal the block being filled.
    UploadSeal,
    /// Retry this upload; `seq` as in its [`Tok`].
    Upload(u64),
    /// Retry a step of the recovery of this node's WAL.
    Recovery(NodeId),
    /// Retry to open this stream.
    Open(StreamId, LeaderEpoch),
    /// A produce has waited long enough for its confirmation.
    ProduceWait(ConnId, u64),
    /// A delayed fetch has waited long enough.
    FetchWait(ConnId, u64),
    /// Go on with a search by timestamp.
    Search(ConnId, u64),
    /// Retry this read; `seq` as in its [`Tok`].
    Read(u64),
    /// Look for a snapshot of this stream's producers again.
    Load(StreamId),
    /// A request to another broker has waited long enough.
    Peer(u64),
    /// Ask the coordinator again whether this producer may write to this partition.
    Verify(TopicPartition, ProducerId, ProducerEpoch),
    /// A coordinator's own, by the partition of its log and a number of its own.
    Coordinator(TopicPartition, u64),
    /// Send the markers that this coordinator owes.
    Markers(TopicPartition),
}

/// Timers of the quorum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum QuorumTimer {
    /// Election timeout or backoff, by state.
    Election,
    /// Follower: no successful fetch for the fetch timeout.
    FetchTimeout,
    /// Follower: fetch now, or again. Leader: answer the fetches that wait.
    Fetch,
    /// Leader: send BeginQuorumEpoch again.
    Begin,
    /// Leader: check that a majority still fetches.
    CheckQuorum,
    /// Leader: flush what was appended (linger).
    Linger,
    /// Candidate, prospective: resend votes.
    VoteRetry,
}

impl From<QuorumTimer> for TimerKey {
    fn from(timer: QuorumTimer) -> Self {
        Self::Quorum(timer)
    }
}

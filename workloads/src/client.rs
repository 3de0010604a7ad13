//! A sans-IO Kafka client: metadata, connections, retries, unknown outcomes.
//!
//! One value, fed by its host, that behaves towards brokers as Kafka's producer, consumer and admin
//! client do, and writes down what it saw. It draws no conclusion about the brokers. Each operation
//! is a session ([`session`]); what is asked and what an answer proves is in the other submodules.
//! Source: Kafka's Java clients (`NetworkClient`, `Metadata`, `Sender`, `FetchCollector`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{
    ConnId, LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition, ZoneId,
};
use broker_core::protocol::{
    Acks, ErrorCode, Isolation, OffsetSpec, Request, Response, TransactionVersion,
};
use broker_core::step::{Cx, Outbox};
use broker_core::time::{Dur, Wall};

use crate::op::Op;

mod connections;
mod idempotence;
mod metadata;
mod outcome;
mod producer;
mod queries;
mod reader;
mod session;
mod shared;
mod task;
#[cfg(test)]
mod tests;
mod transaction;
mod transactional;
mod values;

use connections::{Matched, Waiter};
use metadata::Refresh;
use session::{Progress, Session};
use shared::{Numbers, Shared, backoff, mixed};

/// How long a request may stay unanswered before its connection is closed. Kafka's default is 30 s;
/// a simulated run is not much longer than that.
pub const REQUEST_TIMEOUT: Dur = Dur::secs(4);

/// How long a broker may take for a produce: it gives up before the client does.
pub const PRODUCE_TIMEOUT: Dur = Dur::secs(3);

/// How long an operation is tried before it is given up (Kafka's `delivery.timeout.ms`).
pub const DELIVERY_TIMEOUT: Dur = Dur::secs(120);

/// How long a fetch may wait for data (Kafka's `fetch.max.wait.ms`).
pub const FETCH_WAIT: Dur = Dur::ms(500);

/// Age at which metadata is refreshed without need (Kafka: 5 min).
pub const METADATA_AGE_MAX: Dur = Dur::secs(10);

/// First backoff (Kafka's `retry.backoff.ms`); it doubles …
pub const BACKOFF_MIN: Dur = Dur::ms(100);

/// … up to this (Kafka's `retry.backoff.max.ms`).
pub const BACKOFF_MAX: Dur = Dur::ms(1_000);

/// What can happen to a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientIn {
    /// It starts.
    Boot,
    /// It shall do this. `op` numbers the operations of a run, unique over all clients.
    Op(u32, Op),
    /// An answer came.
    Response {
        /// On this connection.
        conn: ConnId,
        /// To the request with this correlation id.
        corr: u32,
        /// The answer.
        resp: Response,
    },
    /// A connection is gone; what was asked on it may or may not have been done.
    Gone(ConnId),
    /// An armed timer fired.
    Timer(ClientTimer),
}

/// What a client asks of its host.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientOut {
    /// Open a connection; requests may be sent on it at once.
    Open {
        /// Chosen by the client: `client << 32 | n`, never used twice.
        conn: ConnId,
        /// To this broker.
        to: NodeId,
    },
    /// Send a request; a connection keeps the order.
    Send {
        /// On this connection.
        conn: ConnId,
        /// Correlation id; it comes back after some requests.
        corr: u32,
        /// The request.
        req: Request,
    },
    /// Close a connection.
    Close(ConnId),
    /// Arm (or move) a timer.
    Arm {
        /// Its name.
        key: ClientTimer,
        /// How long from this step.
        after: Dur,
    },
    /// Forget a timer.
    Disarm(ClientTimer),
    /// Something for the history.
    Observe(Observation),
}

/// A client's timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientTimer {
    /// Refresh the metadata.
    Metadata,
    /// Time-out or backoff of this session (an operation or a reader).
    Session(u32),
    /// This operation has been tried long enough.
    Delivery(u32),
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientConfig {
    /// Its number.
    pub client: u16,
    /// Where it runs.
    pub zone: ZoneId,
    /// Brokers to ask first.
    pub bootstrap: Vec<NodeId>,
    /// Of its transactions.
    pub protocol: TransactionVersion,
}

/// One line of a client's history. `call` numbers calls of one client; an operation may make
/// several (each retry of a produce is a call of its own, for each may take effect; but all
/// attempts of an idempotent one are one call, for one of them at most may).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Observation {
    /// The call.
    pub call: u32,
    /// The operation it belongs to.
    pub op: u32,
    /// What happened.
    pub event: CallEvent,
}

/// A call begins or ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CallEvent {
    /// It is sent.
    Invoke(Call),
    /// It was done.
    Ok(Answer),
    /// It was definitely not done.
    Fail(ErrorCode),
    /// Nobody knows; it may still be done later.
    Unknown,
    /// The operation is over without an end: it was tried for [`DELIVERY_TIMEOUT`]. The number
    /// belongs to no call.
    GaveUp,
}

/// What is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Produce `count` values, numbered from `first_value`, globally unique per call.
    Produce {
        /// Where to.
        partition: TopicPartition,
        /// Acks.
        acks: Acks,
        /// Number of the first value.
        first_value: u64,
        /// Records.
        count: u32,
        /// Sent with a broken checksum.
        damaged: bool,
        /// The records' timestamp.
        created: Wall,
        /// Under a producer id: the call is all attempts together.
        idempotent: bool,
        /// A part of the transaction that the operation is.
        transactional: bool,
    },
    /// End the transaction that the operation is, in all its partitions: the call is all attempts
    /// together.
    EndTxn {
        /// Commit it; else abort it.
        commit: bool,
        /// By this producer.
        producer: (ProducerId, ProducerEpoch),
    },
    /// Ask for a producer id.
    InitProducerId {
        /// Become the producer of a transactional id; else get an id that nobody has had.
        transactional: bool,
    },
    /// Fetch. `reader` numbers the reading session: offsets in it go only forward.
    Fetch {
        /// Where from.
        partition: TopicPartition,
        /// From which offset.
        offset: Offset,
        /// The session.
        reader: u32,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
        /// What it wants to see of transactions.
        isolation: Isolation,
    },
    /// List an offset.
    ListOffsets {
        /// Where.
        partition: TopicPartition,
        /// Which.
        spec: OffsetSpec,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
        /// What it wants to see of transactions.
        isolation: Isolation,
    },
    /// Ask for an epoch's end.
    EpochEnd {
        /// Where.
        partition: TopicPartition,
        /// Which epoch.
        epoch: LeaderEpoch,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
    },
    /// Change the metadata (create, delete, add partitions, alter), or read configs.
    Admin {
        /// The topic, if it has an id yet.
        topic: Option<TopicId>,
        /// It is to be deleted.
        deletes: bool,
    },
}

/// What a call gave.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The batch's base offset.
    Produced {
        /// First offset.
        base: Offset,
        /// The timestamp that the broker gave the records, if it did.
        log_append_time: Option<Wall>,
    },
    /// Records read.
    Fetched {
        /// High watermark.
        high_watermark: Offset,
        /// Last stable offset.
        last_stable: Offset,
        /// Log start.
        log_start: Offset,
        /// The records, ascending.
        records: Vec<ReadRecord>,
        /// What the client stepped over, ascending: markers, and with `ReadCommitted` what was
        /// aborted.
        skipped: Vec<(Offset, Offset)>,
    },
    /// An offset, if there is one.
    Listed(Option<(Offset, Option<Wall>, LeaderEpoch)>),
    /// The epoch found and its end.
    EpochEnd(Option<(LeaderEpoch, Offset)>),
    /// A producer id and its epoch.
    ProducerId(ProducerId, ProducerEpoch),
    /// A topic was created.
    Created(TopicId),
    /// Done.
    Done,
}

/// One record read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its value's number; `None` if the value is not one that any client makes.
    pub value: Option<u64>,
    /// Its timestamp.
    pub timestamp: Wall,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
    /// Whether checksum, key, value and headers are intact.
    pub intact: bool,
}

/// A client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    shared: Shared,
    /// By operation: each ends at its delivery time-out, or is a reader that the plan asked for.
    sessions: BTreeMap<u32, Session>,
    /// How many of them end by themselves; hosts ask for it all the time.
    finite: usize,
    disorders: u32,
}

impl Client {
    /// A client that knows nothing but its bootstrap servers.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let shared = Shared::new(config);
        Self { shared, sessions: BTreeMap::new(), finite: 0, disorders: 0 }
    }

    /// Handles one input to its end.
    pub fn step(&mut self, cx: &Cx, input: ClientIn, out: &mut Outbox<ClientOut>) {
        match input {
            // Metadata is asked for when an operation first needs it.
            ClientIn::Boot => {}
            ClientIn::Op(op, what) => self.begin(op, what, cx, out),
            ClientIn::Response { conn, corr, resp } => self.answered(conn, corr, resp, cx, out),
            ClientIn::Gone(conn) => {
                let waiters = self.shared.connections.gone(conn);
                self.lost(waiters.into_iter().map(|(_, waiter)| waiter), cx, out);
            }
            ClientIn::Timer(ClientTimer::Metadata) => self.metadata_timer(cx, out),
            ClientIn::Timer(ClientTimer::Session(op)) => self.session_timer(op, cx, out),
            ClientIn::Timer(ClientTimer::Delivery(op)) => {
                if let Some(session) = self.sessions.get_mut(&op) {
                    session.on_expiry(&mut self.shared, out);
                    self.settle(op, Progress::Finished, out);
                }
            }
        }
        while self.shared.idempotence.take_changed() | self.shared.producers.take_changed() {
            self.let_go(cx, out);
        }
    }

    /// Batches of the idempotent producer, and transactions, that wait for their turn may have it.
    fn let_go(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        self.advance(Session::waits_for_turn, Session::go, cx, out);
    }

    /// Lets the sessions that wait for this go on.
    fn advance(
        &mut self,
        waits: fn(&Session) -> bool,
        go: fn(&mut Session, &mut Shared, &Cx, &mut Outbox<ClientOut>) -> Progress,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) {
        let mut finished = Vec::new();
        for (op, session) in self.sessions.iter_mut().filter(|(_, session)| waits(session)) {
            match go(session, &mut self.shared, cx, out) {
                Progress::Going => {}
                Progress::Finished => finished.push(*op),
            }
        }
        for op in finished {
            self.settle(op, Progress::Finished, out);
        }
    }

    /// No finite operation is unfinished. Readers that tail do not count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.unfinished() == 0
    }

    /// Number of unfinished operations that end by themselves.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.finite
    }

    /// What each unfinished operation that ends by itself waits for, one line each.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let finite = self.sessions.values().filter(|session| session.is_finite());
        finite.map(|session| session.describe(&self.shared)).collect()
    }

    /// For each tail reader that found its topic: its partition, and the offset it reads next if
    /// it has a position.
    pub fn tails(&self) -> impl Iterator<Item = (TopicPartition, Option<Offset>)> + '_ {
        self.sessions.values().filter_map(Session::tail)
    }

    /// How often a broker answered out of order, or something else than was asked. Kafka's clients
    /// close the connection then, and so does this one; a judge may say more.
    #[must_use]
    pub fn disorders(&self) -> u32 {
        self.disorders
    }

    fn begin(&mut self, op: u32, what: Op, cx: &Cx, out: &mut Outbox<ClientOut>) {
        let mut session = Session::new(op, what, cx);
        let progress = session.begin(&mut self.shared, cx, out);
        self.finite += usize::from(session.is_finite());
        let before = self.sessions.insert(op, session);
        assert!(
            before.is_none(),
            "operation {op} was given to client {} twice",
            self.shared.client
        );
        self.settle(op, progress, out);
    }

    fn answered(
        &mut self,
        conn: ConnId,
        corr: u32,
        resp: Response,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) {
        match self.shared.connections.answered(conn, corr) {
            Matched::Stale => {}
            Matched::OutOfOrder => self.distrust(conn, None, cx, out),
            Matched::To(Waiter::Metadata) => match resp {
                Response::Metadata(answer) => {
                    self.shared.metadata.update(answer);
                    self.metadata_updated(cx, out);
                }
                _ => self.distrust(conn, Some(Waiter::Metadata), cx, out),
            },
            Matched::To(Waiter::Session(op)) => {
                // An operation that has expired meanwhile is gone.
                let Some(session) = self.sessions.get_mut(&op) else { return };
                match session.on_response(resp, &mut self.shared, cx, out) {
                    Some(progress) => self.settle(op, progress, out),
                    None => self.distrust(conn, Some(Waiter::Session(op)), cx, out),
                }
            }
        }
    }

    /// The other side breaks the protocol: nothing that is said on this connection counts any more.
    fn distrust(
        &mut self,
        conn: ConnId,
        first: Option<Waiter>,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) {
        self.disorders = self.disorders.saturating_add(1);
        let waiters = self.shared.connections.close(conn, out);
        self.lost(first.into_iter().chain(waiters.into_iter().map(|(_, waiter)| waiter)), cx, out);
    }

    fn lost(
        &mut self,
        waiters: impl Iterator<Item = Waiter>,
        cx: &Cx,
        out: &mut Outbox<ClientOut>,
    ) {
        for waiter in waiters {
            match waiter {
                Waiter::Metadata => {
                    self.shared.metadata.unanswered();
                    self.shared.metadata.stale = true;
                    self.shared.rest(cx, out);
                }
                Waiter::Session(op) => {
                    if let Some(session) = self.sessions.get_mut(&op) {
                        session.on_lost(&mut self.shared, cx, out);
                    }
                }
            }
        }
    }

    fn metadata_updated(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        self.shared.metadata.refresh = Refresh::Resting;
        self.advance(Session::waits_for_metadata, Session::on_metadata, cx, out);
        if !self.sessions.values().any(Session::waits_for_metadata) {
            self.shared.metadata.rounds = 0;
        }
        self.shared.rest(cx, out);
    }

    fn metadata_timer(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        let metadata = &mut self.shared.metadata;
        match metadata.refresh {
            Refresh::InFlight(conn) => {
                let waiters = self.shared.connections.close(conn, out);
                self.lost(waiters.into_iter().map(|(_, waiter)| waiter), cx, out);
            }
            Refresh::Resting if metadata.stale => self.shared.ask_metadata(cx, out),
            Refresh::Resting => {
                metadata.refresh = Refresh::Idle;
                let after = METADATA_AGE_MAX;
                out.push(ClientOut::Arm { key: ClientTimer::Metadata, after });
            }
            // Nobody needs anything: the next one who does will ask.
            Refresh::Idle if !metadata.is_needed() => {}
            Refresh::Idle => self.shared.ask_metadata(cx, out),
        }
    }

    fn session_timer(&mut self, op: u32, cx: &Cx, out: &mut Outbox<ClientOut>) {
        let Some(session) = self.sessions.get_mut(&op) else { return };
        match session.on_timer(&mut self.shared, cx, out) {
            Ok(progress) => self.settle(op, progress, out),
            Err(conn) => {
                let waiters = self.shared.connections.close(conn, out);
                self.lost(waiters.into_iter().map(|(_, waiter)| waiter), cx, out);
            }
        }
    }

    fn settle(&mut self, op: u32, progress: Progress, out: &mut Outbox<ClientOut>) {
        match progress {
            Progress::Going => {}
            Progress::Finished => {
                let mut session = self.sessions.remove(&op).expect("a session settles once");
                session.end(&mut self.shared, out);
                self.finite -= usize::from(session.is_finite());
            }
        }
    }
}

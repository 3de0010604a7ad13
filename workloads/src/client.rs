//! A sans-IO Kafka client: metadata, connections, retries, unknown outcomes.
//!
//! One value, fed by its host, that behaves towards brokers as Kafka's producer, consumer and admin
//! client do, and writes down what it saw. It draws no conclusion about the brokers. Each operation
//! is a session ([`session`]); what is asked and what an answer proves is in the other submodules.
//! Source: Kafka's Java clients (`NetworkClient`, `Metadata`, `Sender`, `FetchCollector`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{ConnId, NodeId, Offset, TopicPartition, ZoneId};
use broker_core::protocol::{Request, Response, TransactionVersion};
use broker_core::step::{Cx, Outbox};
use broker_core::time::Dur;

use crate::op::Op;

mod connections;
mod errand;
mod idempotence;
mod member;
mod metadata;
mod observation;
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

pub use errand::Errand;
pub use observation::{Answer, Becomes, Call, CallEvent, Observation, ReadRecord};
pub use transaction::APPLICATION_BYTES;

use connections::{Matched, Waiter};
pub use member::{Due, Membership};
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
    /// The application that runs on it asks for this; numbered like an operation. The steps of a
    /// transaction have one number.
    Errand(u32, Errand),
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
    /// Something of this operation, a membership, is due.
    Member(u32, Due),
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
            ClientIn::Op(op, what) => {
                self.begin(op, Session::new((self.shared.client, op), what, cx), cx, out)
            }
            ClientIn::Errand(op, errand) => self.errand(op, errand, cx, out),
            ClientIn::Response { conn, corr, resp } => self.answered(conn, corr, resp, cx, out),
            ClientIn::Gone(conn) => {
                let waiters = self.shared.connections.gone(conn);
                self.lost(waiters.into_iter().map(|(_, waiter)| waiter), cx, out);
            }
            ClientIn::Timer(ClientTimer::Metadata) => self.metadata_timer(cx, out),
            ClientIn::Timer(ClientTimer::Session(op)) => self.session_timer(op, cx, out),
            ClientIn::Timer(ClientTimer::Member(op, what)) => {
                if let Some(session) = self.sessions.get_mut(&op) {
                    session.is_due(what, out);
                }
            }
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

    /// For each tail reader that found its topic, and for all that members read who stay as long as
    /// the run: the partition, and the offset read next if there is a position.
    pub fn tails(&self) -> impl Iterator<Item = (TopicPartition, Option<Offset>)> + '_ {
        let stays = |member: &&member::Member| member.charge.stays.is_none();
        let members = self.sessions.values().filter_map(Session::member).filter(stays);
        let claims = members.flat_map(|member| member.stands(None).claims);
        self.sessions.values().filter_map(Session::tail).chain(claims)
    }

    /// The memberships in groups: each operation, and how it stands.
    pub fn memberships(&self) -> impl Iterator<Item = (u32, Membership<'_>)> + '_ {
        self.sessions.iter().filter_map(|(op, session)| {
            let member = session.member()?;
            let topic = self.shared.metadata.topic(&member.charge.topic);
            Some((*op, member.stands(topic)))
        })
    }

    /// Whether this operation has begun and not ended.
    #[must_use]
    pub fn is_under_way(&self, op: u32) -> bool {
        self.sessions.contains_key(&op)
    }

    /// How often a broker answered out of order, or something else than was asked. Kafka's clients
    /// close the connection then, and so does this one; a judge may say more.
    #[must_use]
    pub fn disorders(&self) -> u32 {
        self.disorders
    }

    /// Its process dies, and another one takes its place, which knows nothing; but no number is
    /// given out twice.
    pub fn reborn(&mut self, config: ClientConfig, out: &mut Outbox<ClientOut>) {
        for session in self.sessions.values() {
            session.on_death(out);
        }
        self.shared.reborn(config, out);
        self.sessions.clear();
        self.finite = 0;
    }

    fn errand(&mut self, op: u32, errand: Errand, cx: &Cx, out: &mut Outbox<ClientOut>) {
        if let (Some(step), Some(session)) = (errand.step(), self.sessions.get_mut(&op)) {
            let progress = session.tell(step, &mut self.shared, cx, out);
            return self.settle(op, progress, out);
        }
        let task = errand.task(mixed(cx.entropy, !u64::from(op)));
        self.begin(op, Session::of(op, task), cx, out);
    }

    fn begin(&mut self, op: u32, mut session: Session, cx: &Cx, out: &mut Outbox<ClientOut>) {
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

//! What clients may take of a broker: places, memory for what they send, and time in silence.
//!
//! Sources: `SocketServer.scala` (`max.connections`, `queued.max.request.bytes`), `Selector.java`
//! (`connections.max.idle.ms`).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, sleep_until};

/// Clients of a broker. Each costs two tasks, a file descriptor and the first `READ_BYTES` of a
/// frame: 125 MiB if all of them send one at once. A machine's clients open one connection for each
/// broker, so this is some hundreds of machines.
const CONNECTIONS_MAX: usize = 2_000;

/// A frame's buffer grows by this much at a time, as its bytes arrive: its stated length alone
/// takes no memory. A frame of no more than this never waits for room: heartbeats and fetches go
/// on when large produces have taken all of it.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Bytes behind the first `READ_BYTES` of frames, over all connections of a broker, from their
/// arrival until the node has taken the request: some hundreds of Kafka's largest produces by
/// default (`max.request.size`, 1 MiB). One frame at a time goes on without room, or frames that
/// are half there could wait for one another: the bound is this and `FRAME_BYTES_MAX`. (A buffer
/// may take twice its bytes while it grows.)
const FRAMES_BYTES_MAX: usize = 256 << 20;

/// Kafka's `connections.max.idle.ms`: a connection on which nothing has come or gone for so long,
/// and on which nothing is owed, is closed. So is one that does not take its answer for so long.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// How long the next bytes of a frame may take. Half a frame holds room that others wait for; a
/// client that lives sends what it has begun.
const STALLED: Duration = Duration::from_secs(30);

/// The limits of one broker, shared by its connections.
#[derive(Clone)]
pub(super) struct Limits {
    pub idle: Duration,
    pub stalled: Duration,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// Held by the frame that goes on without room.
    turn: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(CONNECTIONS_MAX, FRAMES_BYTES_MAX)
    }
}

impl Limits {
    pub(super) fn of(connections: usize, bytes: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (places, room, turn) = (semaphore(connections), semaphore(bytes), semaphore(1));
        Self { idle: IDLE, stalled: STALLED, places, room, turn }
    }

    /// Takes a connection as soon as there is a place for it, which is free again when the permit
    /// is dropped.
    pub(super) async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let place = self.places.clone().acquire_owned().await.expect("never closed");
        let (stream, _) = listener.accept().await?;
        Ok((stream, place))
    }

    /// Waits until a frame may have more bytes.
    pub(super) async fn hold(&self, held: &mut Held, bytes: usize) {
        if held.turn.is_some() {
            return;
        }
        let bytes = u32::try_from(bytes).expect("a part of a frame");
        tokio::select! { biased;
            room = self.room.clone().acquire_many_owned(bytes) => {
                let room = room.expect("never closed");
                match &mut held.room {
                    Some(before) => before.merge(room),
                    None => held.room = Some(room),
                }
            }
            turn = self.turn.clone().acquire_owned() => {
                held.turn = Some(turn.expect("never closed"));
            }
        }
    }
}

/// What a frame holds of a broker's room, until it is dropped.
#[derive(Default, Debug)]
pub struct Held {
    room: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

/// Whether anything happens on a connection.
pub(super) struct Traffic(Mutex<State>);

struct State {
    /// When bytes have come or gone.
    last: Instant,
    /// When the requests were read that have no answer, the first one first: they are answered in
    /// this order.
    owed: VecDeque<Instant>,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { last: Instant::now(), owed: VecDeque::new() }))
    }

    /// Bytes have come or gone.
    pub(super) fn seen(&self) {
        self.state(|state| state.last = Instant::now());
    }

    /// A request is there that will be answered.
    pub(super) fn asked(&self) {
        self.state(|state| state.owed.push_back(Instant::now()));
    }

    /// An answer is gone: so long after its request was read. None: nobody had asked.
    pub(super) fn answered(&self) -> Option<Duration> {
        let asked = self.state(|state| state.owed.pop_front());
        asked.map(|at| at.elapsed())
    }

    /// Waits until nothing has happened for so long. A request that waits for its answer may wait:
    /// a member of a group for the others, a fetch for records.
    pub(super) async fn idle(&self, after: Duration) -> io::Error {
        loop {
            let (idle_at, owed) = self.state(|state| (state.last + after, state.owed.len()));
            let now = Instant::now();
            if idle_at > now {
                sleep_until(idle_at).await;
            } else if owed > 0 {
                sleep_until(now + after).await;
            } else {
                let why = format!("idle for {} s", after.as_secs());
                return io::Error::new(io::ErrorKind::TimedOut, why);
            }
        }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("nobody panics with it"))
    }
}

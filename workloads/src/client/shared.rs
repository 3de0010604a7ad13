//! What the sessions of a client have in common: connections, metadata and its timing, numbers,
//! and chance.
//!
//! Source: Kafka's `Metadata.timeToNextUpdate`, KIP-580 (backoff).

use broker_core::protocol::Request;
use broker_core::step::{Cx, Outbox};
use broker_core::time::Dur;

use super::connections::{Connections, Lane, Waiter};
use super::idempotence::Idempotence;
use super::metadata::{Metadata, Refresh};
use super::transactional::Producers;
use super::{BACKOFF_MAX, BACKOFF_MIN, ClientConfig, ClientOut, ClientTimer, REQUEST_TIMEOUT};

/// What the sessions of a client have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Shared {
    pub(super) client: u16,
    pub(super) connections: Connections,
    pub(super) metadata: Metadata,
    pub(super) numbers: Numbers,
    pub(super) idempotence: Idempotence,
    pub(super) producers: Producers,
}

/// Numbers that a client gives out and never gives out again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Numbers {
    client: u16,
    calls: u32,
    values: u64,
    readers: u16,
}

impl Shared {
    pub(super) fn new(config: ClientConfig) -> Self {
        let ClientConfig { client, bootstrap, protocol, .. } = config;
        Self {
            client,
            connections: Connections::new(client),
            metadata: Metadata::new(bootstrap),
            numbers: Numbers { client, calls: 0, values: 0, readers: 0 },
            idempotence: Idempotence::default(),
            producers: Producers::new(client, protocol),
        }
    }

    /// Another process, which gives out no number of this one's again.
    pub(super) fn reborn(&mut self, config: ClientConfig, out: &mut Outbox<ClientOut>) {
        self.connections.close_all(out);
        let ClientConfig { bootstrap, protocol, .. } = config;
        self.metadata = Metadata::new(bootstrap);
        self.idempotence = Idempotence::default();
        self.producers = Producers::new(self.client, protocol);
    }

    /// Somebody needs newer metadata.
    pub(super) fn want_metadata(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        self.metadata.stale = true;
        if self.metadata.refresh == Refresh::Idle {
            self.ask_metadata(cx, out);
        }
    }

    pub(super) fn ask_metadata(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        let node = self.metadata.next_broker(mixed(cx.entropy, u64::MAX));
        let req = Request::Metadata { topics: Some(self.metadata.names()) };
        let conn = self.connections.send(Lane::Calls, node, req, Some(Waiter::Metadata), out);
        self.metadata.refresh = Refresh::InFlight(conn);
        self.metadata.stale = false;
        out.push(ClientOut::Arm { key: ClientTimer::Metadata, after: REQUEST_TIMEOUT });
    }

    /// After each request for metadata there is a pause, the longer the more often it did not help.
    pub(super) fn rest(&mut self, cx: &Cx, out: &mut Outbox<ClientOut>) {
        self.metadata.refresh = Refresh::Resting;
        let after = backoff(self.metadata.rounds, mixed(cx.entropy, u64::MAX));
        self.metadata.rounds = self.metadata.rounds.saturating_add(1);
        out.push(ClientOut::Arm { key: ClientTimer::Metadata, after });
    }
}

impl Numbers {
    pub(super) fn call(&mut self) -> u32 {
        let call = self.calls;
        self.calls = call.checked_add(1).expect("fewer than 2^32 calls");
        call
    }

    /// The first of `count` values, unique over all clients: `(client + 1) << 40 | n`.
    pub(super) fn values(&mut self, count: u32) -> u64 {
        let first = self.values;
        self.values += u64::from(count);
        assert!(self.values < 1 << 40, "client {} ran out of values", self.client);
        (u64::from(self.client) + 1) << 40 | first
    }

    /// A reading session, unique over all clients.
    pub(super) fn reader(&mut self) -> u32 {
        let reader = self.readers;
        self.readers = reader.checked_add(1).expect("fewer than 2^16 reading sessions");
        u32::from(self.client) << 16 | u32::from(reader)
    }
}

/// KIP-580: the backoff doubles, and is spread by 20 % to both sides.
pub(super) fn backoff(attempts: u32, lot: u64) -> Dur {
    let full = (BACKOFF_MIN.0 << attempts.min(16)).min(BACKOFF_MAX.0);
    Dur(full * (80 + lot % 41) / 100)
}

/// Two numbers well mixed to one (the finaliser of SplitMix64): one drawn number serves several
/// purposes of a step, and a value's filler follows from its number.
pub(super) fn mixed(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(b);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

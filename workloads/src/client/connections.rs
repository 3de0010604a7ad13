//! A client's connections and what is in flight on them.
//!
//! Calls share one connection per broker and are pipelined; each reader has a connection of its
//! own, for a fetch that waits for data holds back the answers behind it. Who sends what, and when
//! it has waited too long, is decided in [`super`]. Source: Kafka's `NetworkClient` and
//! `InFlightRequests`.

use alloc::collections::{BTreeMap, VecDeque};

use broker_core::ids::{ConnId, NodeId};
use broker_core::protocol::Request;
use broker_core::step::Outbox;

use super::ClientOut;

/// Correlation ids come back after so many requests, on purpose: a client may choose them as it
/// likes, and a broker must not tell requests apart by them.
const CORRELATIONS: u32 = 8;

/// Who shares a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Lane {
    /// Metadata, produces, queries, admin.
    Calls,
    /// One reader, named by its operation.
    Reader(u32),
}

/// Who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiter {
    /// The metadata.
    Metadata,
    /// The session of this operation.
    Session(u32),
}

/// What an answer turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Matched {
    /// It answers the oldest request on its connection.
    To(Waiter),
    /// Its connection is gone; so is whoever waited.
    Stale,
    /// It answers another request, or none: the connection can not be trusted any more.
    OutOfOrder,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Connection {
    lane: Lane,
    to: NodeId,
    next_corr: u32,
    /// At most one entry per session and one for the metadata.
    in_flight: VecDeque<(u32, Waiter)>,
}

/// All connections of a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Connections {
    client: u16,
    opened: u32,
    open: BTreeMap<ConnId, Connection>,
    by_lane: BTreeMap<(Lane, NodeId), ConnId>,
}

impl Connections {
    pub(super) fn new(client: u16) -> Self {
        Self { client, opened: 0, open: BTreeMap::new(), by_lane: BTreeMap::new() }
    }

    /// Sends a request, on a new connection if there is none. `waiter`: who gets the answer; `None`
    /// if there will be none (acks 0).
    pub(super) fn send(
        &mut self,
        lane: Lane,
        to: NodeId,
        req: Request,
        waiter: Option<Waiter>,
        out: &mut Outbox<ClientOut>,
    ) -> ConnId {
        let conn = match self.by_lane.get(&(lane, to)) {
            Some(conn) => *conn,
            None => self.open(lane, to, out),
        };
        let connection = self.open.get_mut(&conn).expect("by_lane names open connections");
        let corr = connection.next_corr;
        connection.next_corr = (corr + 1) % CORRELATIONS;
        if let Some(waiter) = waiter {
            connection.in_flight.push_back((corr, waiter));
        }
        out.push(ClientOut::Send { conn, corr, req });
        conn
    }

    /// Finds out whom an answer is for. A broker answers the requests of a connection in their
    /// order.
    pub(super) fn answered(&mut self, conn: ConnId, corr: u32) -> Matched {
        let Some(connection) = self.open.get_mut(&conn) else { return Matched::Stale };
        match connection.in_flight.front() {
            Some((front, waiter)) if *front == corr => {
                let matched = Matched::To(*waiter);
                connection.in_flight.pop_front();
                matched
            }
            _ => Matched::OutOfOrder,
        }
    }

    /// The other side is gone: gives those who waited, oldest first.
    pub(super) fn gone(&mut self, conn: ConnId) -> VecDeque<(u32, Waiter)> {
        let Some(connection) = self.open.remove(&conn) else { return VecDeque::new() };
        self.by_lane.remove(&(connection.lane, connection.to));
        connection.in_flight
    }

    /// Closes a connection from this side: gives those who waited, oldest first.
    pub(super) fn close(
        &mut self,
        conn: ConnId,
        out: &mut Outbox<ClientOut>,
    ) -> VecDeque<(u32, Waiter)> {
        if self.open.contains_key(&conn) {
            out.push(ClientOut::Close(conn));
        }
        self.gone(conn)
    }

    /// The process ends.
    pub(super) fn close_all(&mut self, out: &mut Outbox<ClientOut>) {
        while let Some((conn, _)) = self.open.first_key_value() {
            self.close(*conn, out);
        }
    }

    /// A reader has ended, or goes to another broker: nothing is in flight for it.
    pub(super) fn close_lane(&mut self, lane: Lane, out: &mut Outbox<ClientOut>) {
        let first = (lane, NodeId(0));
        let last = (lane, NodeId(u16::MAX));
        while let Some(conn) = self.by_lane.range(first..=last).next().map(|(_, conn)| *conn) {
            self.close(conn, out);
        }
    }

    fn open(&mut self, lane: Lane, to: NodeId, out: &mut Outbox<ClientOut>) -> ConnId {
        if lane != Lane::Calls {
            self.close_lane(lane, out);
        }
        let conn = ConnId(u64::from(self.client) << 32 | u64::from(self.opened));
        self.opened = self.opened.checked_add(1).expect("fewer than 2^32 connections");
        let connection = Connection { lane, to, next_corr: 0, in_flight: VecDeque::new() };
        self.open.insert(conn, connection);
        self.by_lane.insert((lane, to), conn);
        out.push(ClientOut::Open { conn, to });
        conn
    }
}

//! The order of answers on a connection: Kafka's clients match answers to requests by their order,
//! so an answer that is ready early waits for those before it.
//!
//! What the answers are is everybody else's business. Source: Kafka's protocol guide ("Network":
//! the server guarantees that requests on one connection are answered in order).

use alloc::collections::{BTreeMap, VecDeque};

use crate::ids::{ConnId, IncarnationId, NodeId};
use crate::mutants::Mutant;
use crate::partition::Asker;
use crate::peer::PeerMsg;
use crate::protocol::Response;
use crate::step::{Cx, Effect, Outbox};

/// Requests waiting for their answer on one connection; a client that sends more is cut off.
/// Kafka's clients keep at most 5 by default, tools at most some dozens: 256 stops a runaway.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 256;

/// All connections on which a request waits for its answer.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Connections {
    waiting: BTreeMap<ConnId, VecDeque<Slot>>,
    /// The number of the next request.
    next: u64,
    /// Requests of other brokers that wait, by their number here: whose, and the number there.
    peers: BTreeMap<u64, (NodeId, IncarnationId, u64)>,
}

/// Requests of other brokers come on no connection. They are answered as those of this one, which
/// never goes, and in any order.
pub const PEERS: ConnId = ConnId(u64::MAX);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Slot {
    number: u64,
    corr: u32,
    answer: Option<Response>,
}

impl Connections {
    /// A request arrived that will be answered. `None`: there are too many, and the connection
    /// must be closed. The correlation id is only given back, as in Kafka: it may repeat.
    #[must_use]
    pub fn begin(&mut self, cx: &Cx, conn: ConnId, corr: u32) -> Option<Asker> {
        let by_corr = cx.mutants.on(Mutant::ProduceWaiterByCorr);
        let number = if by_corr { u64::from(corr) } else { self.next };
        let slots = self.waiting.entry(conn).or_default();
        let doubled = by_corr && slots.iter().any(|slot| slot.number == number);
        if slots.len() >= REQUESTS_PER_CONNECTION_MAX || doubled {
            return None;
        }
        self.next += 1;
        slots.push_back(Slot { number, corr, answer: None });
        Some((conn, number))
    }

    /// A request of another broker arrived that will be answered. As many as they send until this
    /// broker answers or its WAL is given up.
    #[must_use]
    pub fn begin_peer(&mut self, from: NodeId, incarnation_id: IncarnationId, id: u64) -> Asker {
        let number = self.next;
        self.next += 1;
        self.peers.insert(number, (from, incarnation_id, id));
        (PEERS, number)
    }

    /// The answer to a request is there: it goes out with all that waited for it. Nothing happens
    /// if the connection is gone.
    pub fn answer(&mut self, (conn, number): Asker, answer: Response, out: &mut Outbox<Effect>) {
        if conn == PEERS {
            let Some((to, incarnation_id, id)) = self.peers.remove(&number) else { return };
            let msg = PeerMsg::Response { id, incarnation_id, response: answer };
            return out.push(Effect::Send { to, msg });
        }
        let Some(slots) = self.waiting.get_mut(&conn) else { return };
        let Some(slot) = slots.iter_mut().find(|slot| slot.number == number) else { return };
        assert!(slot.answer.is_none(), "{conn:?} {} answered twice", slot.corr);
        slot.answer = Some(answer);
        while slots.front().is_some_and(|slot| slot.answer.is_some()) {
            let slot = slots.pop_front().expect("just seen");
            let resp = slot.answer.expect("just seen");
            out.push(Effect::Reply { conn, corr: slot.corr, resp });
        }
        if slots.is_empty() {
            self.waiting.remove(&conn);
        }
    }

    /// The connection is gone, with all that waits on it.
    pub fn gone(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// Requests without an answer, over all connections.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it wants, and fails on anything else"
)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::mutants::Mutants;
    use crate::time::{Mono, Wall};

    const CONN: ConnId = ConnId(1);
    const CX: Cx = Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE };

    fn begin(connections: &mut Connections, corr: u32) -> Option<Asker> {
        connections.begin(&CX, CONN, corr)
    }

    fn answer(connections: &mut Connections, asker: Asker) -> Vec<u32> {
        let mut out = Outbox::default();
        connections.answer(asker, Response::Produce(Vec::new()), &mut out);
        let reply = |effect| match effect {
            Effect::Reply { corr, .. } => corr,
            other => panic!("{other:?}"),
        };
        out.drain().map(reply).collect()
    }

    #[test]
    fn connection_answers_ready_early_wait_for_the_first() {
        let mut connections = Connections::default();
        let [first, second, third] = [7, 8, 9].map(|corr| begin(&mut connections, corr).unwrap());
        assert_eq!(answer(&mut connections, third), []);
        assert_eq!(answer(&mut connections, second), []);
        assert_eq!(answer(&mut connections, first), [7, 8, 9]);
        assert_eq!(connections.unanswered(), 0);
    }

    #[test]
    fn connection_gone_drops_late_answers() {
        let mut connections = Connections::default();
        let asker = begin(&mut connections, 1).unwrap();
        connections.gone(CONN);
        assert_eq!(answer(&mut connections, asker), []);
    }

    #[test]
    fn connection_tells_requests_with_one_correlation_id_apart() {
        let mut connections = Connections::default();
        let (first, second) = (begin(&mut connections, 3), begin(&mut connections, 3));
        assert_ne!(first, second);
        assert_eq!(answer(&mut connections, second.unwrap()), []);
        assert_eq!(answer(&mut connections, first.unwrap()), [3, 3]);
        assert_eq!(answer(&mut connections, first.unwrap()), [], "that one is over");
    }

    #[test]
    fn connection_with_too_many_requests_is_refused() {
        let mut connections = Connections::default();
        let max = u32::try_from(REQUESTS_PER_CONNECTION_MAX).unwrap();
        assert!((0..max).all(|corr| begin(&mut connections, corr).is_some()));
        assert_eq!(begin(&mut connections, max), None);
    }
}

//! The order of answers on a connection: Kafka's clients match answers to requests by their order,
//! so an answer that is ready early waits for those before it.
//!
//! What the answers are is everybody else's business. Source: Kafka's protocol guide ("Network":
//! the server guarantees that requests on one connection are answered in order).

use alloc::collections::{BTreeMap, VecDeque};

use crate::ids::ConnId;
use crate::protocol::Response;
use crate::step::{Effect, Outbox};

/// Requests waiting for their answer on one connection; a client that sends more is cut off.
/// Kafka's clients keep at most 5 by default, tools at most some dozens: 256 stops a runaway.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 256;

/// All connections on which a request waits for its answer.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Connections {
    waiting: BTreeMap<ConnId, VecDeque<Slot>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Slot {
    corr: u32,
    answer: Option<Response>,
}

impl Connections {
    /// A request arrived that will be answered. Says no if the connection must be closed: too many
    /// requests, or a correlation id that is still in use.
    #[must_use]
    pub fn begin(&mut self, conn: ConnId, corr: u32) -> bool {
        let slots = self.waiting.entry(conn).or_default();
        let fits = slots.len() < REQUESTS_PER_CONNECTION_MAX;
        if !fits || slots.iter().any(|slot| slot.corr == corr) {
            return false;
        }
        slots.push_back(Slot { corr, answer: None });
        true
    }

    /// The answer to a request is there: it goes out with all that waited for it. Nothing happens
    /// if the connection is gone.
    pub fn answer(&mut self, conn: ConnId, corr: u32, answer: Response, out: &mut Outbox<Effect>) {
        let Some(slots) = self.waiting.get_mut(&conn) else { return };
        let Some(slot) = slots.iter_mut().find(|slot| slot.corr == corr) else { return };
        assert!(slot.answer.is_none(), "{conn:?} {corr} answered twice");
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

    const CONN: ConnId = ConnId(1);

    fn answer(connections: &mut Connections, corr: u32) -> Vec<u32> {
        let mut out = Outbox::default();
        connections.answer(CONN, corr, Response::Produce(Vec::new()), &mut out);
        let reply = |effect| match effect {
            Effect::Reply { corr, .. } => corr,
            other => panic!("{other:?}"),
        };
        out.drain().map(reply).collect()
    }

    #[test]
    fn connection_answers_ready_early_wait_for_the_first() {
        let mut connections = Connections::default();
        assert!((1..=3).all(|corr| connections.begin(CONN, corr)));
        assert_eq!(answer(&mut connections, 3), []);
        assert_eq!(answer(&mut connections, 2), []);
        assert_eq!(answer(&mut connections, 1), [1, 2, 3]);
        assert_eq!(connections, Connections::default());
    }

    #[test]
    fn connection_gone_drops_late_answers() {
        let mut connections = Connections::default();
        assert!(connections.begin(CONN, 1));
        connections.gone(CONN);
        assert_eq!(answer(&mut connections, 1), []);
    }

    #[test]
    fn connection_with_too_many_requests_or_a_doubled_one_is_refused() {
        let mut connections = Connections::default();
        assert!(connections.begin(CONN, 0));
        assert!(!connections.begin(CONN, 0));
        let max = u32::try_from(REQUESTS_PER_CONNECTION_MAX).unwrap();
        assert!((1..max).all(|corr| connections.begin(CONN, corr)));
        assert!(!connections.begin(CONN, max));
    }
}

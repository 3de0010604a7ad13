//! Requests to other brokers, the own one included: one attempt each, and what it is for.
//!
//! Whether it is tried again is up to who asked. Source: `AddPartitionsToTxnManager.scala`,
//! `TransactionMarkerChannelManager.scala` (both `InterBrokerSendThread`s).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Broker;
use super::verify::Held;
use crate::coordinator::txn::Decision;
use crate::ids::{IncarnationId, LeaderEpoch, NodeId, ProducerId, TopicPartition};
use crate::peer::PeerMsg;
use crate::protocol::{Request, Response};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// An unanswered request is given up after this long. Kafka waits 30 s (`request.timeout.ms`), for
/// it notices at once when a connection is lost; here a message may just get lost.
const REQUEST_TIMEOUT: Dur = Dur::secs(3);

/// What a request is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum PeerPurpose {
    /// Markers that this coordinator owes, under this epoch of its leadership: of which decisions,
    /// whose, and where.
    Markers((TopicPartition, LeaderEpoch), Vec<(Decision, ProducerId, TopicPartition)>),
    /// Whether these batches may be appended; what tells this question from others about them.
    Verify(Held, u64),
}

/// The requests that wait for an answer, each for a few seconds at most.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Peers {
    incarnation_id: IncarnationId,
    next: u64,
    waiting: BTreeMap<u64, PeerPurpose>,
}

impl Peers {
    /// A new process begins.
    pub(super) fn boot(&mut self, incarnation_id: IncarnationId) {
        self.incarnation_id = incarnation_id;
    }

    /// Asks once.
    pub(super) fn ask(
        &mut self,
        to: NodeId,
        request: Request,
        purpose: PeerPurpose,
        out: &mut Outbox<Effect>,
    ) {
        let (id, incarnation_id) = (self.next, self.incarnation_id);
        self.next += 1;
        self.waiting.insert(id, purpose);
        out.push(Effect::Send { to, msg: PeerMsg::Request { id, incarnation_id, request } });
        out.arm(TimerKey::Peer(id), REQUEST_TIMEOUT);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Broker {
    pub(super) fn peer_answered(
        &mut self,
        cx: &Cx,
        id: u64,
        incarnation_id: IncarnationId,
        response: Response,
        out: &mut Outbox<Effect>,
    ) {
        if incarnation_id != self.peers.incarnation_id {
            return;
        }
        out.disarm(TimerKey::Peer(id));
        self.peer_done(cx, id, Some(response), out);
    }

    /// An answer came, or (`None`) none will be waited for.
    pub(super) fn peer_done(
        &mut self,
        cx: &Cx,
        id: u64,
        response: Option<Response>,
        out: &mut Outbox<Effect>,
    ) {
        match self.peers.waiting.remove(&id) {
            Some(PeerPurpose::Markers(coordinator, sent)) => {
                self.markers_answered(cx, coordinator, &sent, response, out);
            }
            Some(PeerPurpose::Verify(held, guard)) => {
                self.verify_answered(cx, (held, guard), response, out);
            }
            // It was given up, or answered before.
            None => {}
        }
    }
}

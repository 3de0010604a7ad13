//! Requests to the controller: numbered, sent again unchanged until a definite answer comes.
//!
//! Every answer is definite except `NotController`, which says nothing about what happened to the
//! request (it may have been in a batch that was lost with the office, or not). What an answer
//! means is up to who asked. Source: KIP-631, KIP-590, `NodeToControllerChannelManager`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, IncarnationId, LeaderEpoch, NodeId, StreamId, TopicPartition};
use crate::partition::Asker;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest, PeerMsg};
use crate::protocol::CoordinatorKind;
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;
use crate::upload::asks_again;

/// An unanswered request goes to the next controller after this long: well above a commit's
/// latency over zones, well below the session's 9 s.
const RETRY_AFTER: Dur = Dur::ms(1_000);

/// A request refused with `NotController` is sent again after this long (Kafka's
/// `retry.backoff.ms`), unless it was told of another controller to try at once.
const BACKOFF: Dur = Dur::ms(100);

/// Hints followed at once before the backoff: two controllers with old news must not send a
/// request round in circles.
const HINTS_MAX: u8 = 2;

/// A client's request is given up, outcome unknown, after this long: Kafka's `request.timeout.ms`,
/// for its client has given up by then, too.
const CLIENT_WAIT_MAX: Dur = Dur::secs(30);

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Purpose {
    /// Join the cluster.
    Register,
    /// Stay alive.
    Heartbeat,
    /// Open the stream of a partition.
    Open(StreamId, LeaderEpoch),
    /// Close a stream given up.
    Close(StreamId, LeaderEpoch),
    /// Publish the leadership of a partition.
    Assume(TopicPartition, LeaderEpoch),
    /// On behalf of the upload, by its own number.
    Upload(u64),
    /// On behalf of the recovery of a WAL, by its own number.
    Recovery(NodeId, BrokerEpoch, u64),
    /// Get a block of producer ids.
    ProducerIds,
    /// Create the topic that is the log of such coordinators.
    InternalTopic(CoordinatorKind),
    /// On behalf of a client.
    Admin(Asker),
}

/// The requests that wait for a definite answer. Their number is bounded by who asks: one each of
/// the lifecycle and of the producer ids, a few per partition, the upload's and recoveries' own
/// bounds, and the requests that clients may have open.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asks {
    incarnation_id: IncarnationId,
    controllers: Vec<NodeId>,
    /// Who was the active controller when we last heard.
    preferred: NodeId,
    next: u64,
    waiting: BTreeMap<u64, Ask>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Ask {
    purpose: Purpose,
    request: ControllerRequest,
    target: NodeId,
    hints: u8,
    /// What its timer was last armed with, and the sum of all that it has waited.
    pause: Dur,
    waited: Dur,
}

impl Asks {
    /// Nothing asked yet. Panics if there is no controller to ask.
    #[must_use]
    pub(super) fn new(controllers: Vec<NodeId>) -> Self {
        let preferred = *controllers.first().expect("a broker knows at least one controller");
        let incarnation_id = IncarnationId(0);
        Self { incarnation_id, controllers, preferred, next: 0, waiting: BTreeMap::new() }
    }

    /// A new process begins.
    pub(super) fn boot(&mut self, incarnation_id: IncarnationId) {
        self.incarnation_id = incarnation_id;
    }

    /// Asks; returns the request's number.
    pub(super) fn ask(
        &mut self,
        purpose: Purpose,
        request: ControllerRequest,
        out: &mut Outbox<Effect>,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let target = self.preferred;
        let (pause, waited) = (RETRY_AFTER, Dur(0));
        self.waiting.insert(id, Ask { purpose, request, target, hints: 0, pause, waited });
        self.send(id, out);
        id
    }

    /// The time for an answer is over: asks the next controller. Returns the purpose if nobody
    /// will wait for the answer any longer.
    pub(super) fn timer(&mut self, cx: &Cx, id: u64, out: &mut Outbox<Effect>) -> Option<Purpose> {
        let ask = self.waiting.get_mut(&id)?;
        if !asks_again(cx, &ask.request) {
            return None;
        }
        ask.waited = Dur(ask.waited.0 + ask.pause.0);
        if matches!(ask.purpose, Purpose::Admin(_)) && ask.waited >= CLIENT_WAIT_MAX {
            return self.waiting.remove(&id).map(|ask| ask.purpose);
        }
        let at = self.controllers.iter().position(|&node| node == ask.target);
        let next = at.map_or(0, |at| (at + 1) % self.controllers.len());
        // Others may have found the active controller meanwhile; else it is the next one's turn.
        if ask.target == self.preferred {
            self.preferred = self.controllers[next];
        }
        ask.target = self.preferred;
        ask.hints = 0;
        self.send(id, out);
        None
    }

    /// An answer came. Returns it if it is definite and awaited.
    pub(super) fn answered(
        &mut self,
        from: NodeId,
        id: u64,
        incarnation_id: IncarnationId,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) -> Option<(Purpose, Result<ControllerAnswer, ControllerError>)> {
        if incarnation_id != self.incarnation_id {
            return None;
        }
        let ask = self.waiting.get_mut(&id)?;
        if let Err(ControllerError::NotController { leader }) = result {
            if from != ask.target {
                return None;
            }
            match leader.filter(|leader| self.controllers.contains(leader) && *leader != from) {
                Some(leader) if ask.hints < HINTS_MAX => {
                    ask.hints += 1;
                    ask.target = leader;
                    self.preferred = leader;
                    self.send(id, out);
                }
                Some(_) | None => {
                    ask.pause = BACKOFF;
                    out.arm(TimerKey::Ask(id), BACKOFF);
                }
            }
            return None;
        }
        self.preferred = from;
        out.disarm(TimerKey::Ask(id));
        self.waiting.remove(&id).map(|ask| (ask.purpose, result))
    }

    /// The quorum has a new leader: ask it first.
    pub(super) fn prefer(&mut self, leader: NodeId) {
        if self.controllers.contains(&leader) {
            self.preferred = leader;
        }
    }

    /// Stops asking this; its answer will be ignored.
    pub(super) fn forget(&mut self, id: u64, out: &mut Outbox<Effect>) {
        if self.waiting.remove(&id).is_some() {
            out.disarm(TimerKey::Ask(id));
        }
    }

    /// Stops asking on behalf of a connection.
    pub(super) fn gone(&mut self, of: impl Fn(Asker) -> bool, out: &mut Outbox<Effect>) {
        self.waiting.retain(|&id, ask| {
            let gone = matches!(ask.purpose, Purpose::Admin(asker) if of(asker));
            if gone {
                out.disarm(TimerKey::Ask(id));
            }
            !gone
        });
    }

    /// Whether an answer for this is still awaited.
    pub(super) fn is_waiting(&self, purpose: Purpose) -> bool {
        self.waiting.values().any(|ask| ask.purpose == purpose)
    }

    /// Who waits for what, in the order of asking.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Purpose, NodeId)> + '_ {
        self.waiting.values().map(|ask| (ask.purpose, ask.target))
    }

    fn send(&mut self, id: u64, out: &mut Outbox<Effect>) {
        let ask = self.waiting.get_mut(&id).expect("only waiting requests are sent");
        ask.pause = RETRY_AFTER;
        let (incarnation_id, request) = (self.incarnation_id, ask.request.clone());
        let msg = PeerMsg::Ask { id, incarnation_id, request };
        out.push(Effect::Send { to: ask.target, msg });
        out.arm(TimerKey::Ask(id), RETRY_AFTER);
    }
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it wants, and fails on anything else"
)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::mutants::Mutants;
    use crate::time::{Mono, Wall};

    const ME: IncarnationId = IncarnationId(7);
    const NOBODY: Result<ControllerAnswer, ControllerError> =
        Err(ControllerError::NotController { leader: None });

    fn cx() -> Cx {
        Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE }
    }

    fn asks() -> Asks {
        let mut asks = Asks::new(vec![NodeId(1), NodeId(2), NodeId(3)]);
        asks.boot(ME);
        asks
    }

    fn ask(asks: &mut Asks, purpose: Purpose) -> (u64, Vec<NodeId>) {
        let mut out = Outbox::default();
        let request = ControllerRequest::PrepareObject { epoch: BrokerEpoch(1), request: 1 };
        let id = asks.ask(purpose, request, &mut out);
        (id, sent(&mut out))
    }

    fn sent(out: &mut Outbox<Effect>) -> Vec<NodeId> {
        let to = |effect| match effect {
            Effect::Send { to, msg: PeerMsg::Ask { .. } } => Some(to),
            _ => None,
        };
        out.drain().filter_map(to).collect()
    }

    fn silence(asks: &mut Asks, id: u64) -> Vec<NodeId> {
        let mut out = Outbox::default();
        assert_eq!(asks.timer(&cx(), id, &mut out), None);
        sent(&mut out)
    }

    fn refused(asks: &mut Asks, id: u64, from: u16, leader: u16) -> Vec<NodeId> {
        let mut out = Outbox::default();
        let result = Err(ControllerError::NotController { leader: Some(NodeId(leader)) });
        assert_eq!(asks.answered(NodeId(from), id, ME, result, &mut out), None);
        sent(&mut out)
    }

    #[test]
    fn ask_unanswered_goes_round_the_controllers() {
        let mut asks = asks();
        let (id, to) = ask(&mut asks, Purpose::Register);
        assert_eq!(to, [NodeId(1)]);
        assert_eq!(silence(&mut asks, id), [NodeId(2)]);
        assert_eq!(silence(&mut asks, id), [NodeId(3)]);
        assert_eq!(silence(&mut asks, id), [NodeId(1)]);
    }

    #[test]
    fn ask_refused_with_a_hint_follows_it_but_not_in_circles() {
        let mut asks = asks();
        let (id, _) = ask(&mut asks, Purpose::Register);
        assert_eq!(refused(&mut asks, id, 1, 3), [NodeId(3)]);
        assert_eq!(refused(&mut asks, id, 3, 1), [NodeId(1)]);
        assert_eq!(refused(&mut asks, id, 1, 3), []);
        // Others begin where the hint led to.
        assert_eq!(ask(&mut asks, Purpose::Heartbeat).1, [NodeId(1)]);
    }

    #[test]
    fn ask_answered_definitely_is_over() {
        let mut asks = asks();
        let (id, _) = ask(&mut asks, Purpose::Upload(5));
        let mut out = Outbox::default();
        let mut answer = |from, incarnation_id, result| {
            asks.answered(NodeId(from), id, incarnation_id, result, &mut out)
        };
        let stale = Err(ControllerError::StaleBrokerEpoch);
        assert_eq!(answer(1, IncarnationId(6), stale.clone()), None);
        assert_eq!(answer(1, ME, NOBODY), None);
        assert_eq!(answer(2, ME, stale.clone()), Some((Purpose::Upload(5), stale.clone())));
        assert_eq!(answer(2, ME, stale), None);
        assert_eq!(asks.waiting().count(), 0);
    }

    #[test]
    fn ask_of_a_client_is_given_up_after_its_time() {
        let mut asks = asks();
        let purpose = Purpose::Admin((crate::ids::ConnId(1), 1));
        let (id, _) = ask(&mut asks, purpose);
        let mut out = Outbox::default();
        let given_up = (1..100).find(|_| asks.timer(&cx(), id, &mut out).is_some());
        assert_eq!(given_up, Some(30));
        assert_eq!(asks.waiting().count(), 0);
    }
}

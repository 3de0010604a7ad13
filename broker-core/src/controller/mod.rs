//! A controller: a voter of the metadata quorum and, while it leads, the cluster's single writer.
//!
//! Events come one at a time. Each leads to at most one atomic batch of records, decided on a
//! speculative image, proposed to the quorum and applied to that image at once; the answer is
//! parked until the batch is committed. With the office the speculative image is thrown away, so
//! no state that can be reverted lives outside it. Rules by area: [`brokers`], [`streams`],
//! [`objects`], [`wals`], [`topics`]. Consensus is the quorum's, applying the image's.
//!
//! Sources: KRaft's `QuorumController` (KIP-500, KIP-631), AutoMQ's `StreamControlManager`.

mod brokers;
mod objects;
mod office;
mod producers;
mod streams;
mod topics;
mod wals;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::ControllerConfig;
use crate::ids::{IncarnationId, MetaOffset, NodeId, QuorumEpoch};
use crate::metadata::Image;
use crate::metadata::record::{Record, decode_batch};
use crate::mutants::Mutant;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest, PeerMsg};
use crate::probe::Probe;
use crate::protocol::{AdminRequest, AdminResponse};
use crate::quorum::{Entry, Payload, Quorum, QuorumEvent};
use crate::step::{Cx, Effect, HaltReason, Input, Machine, Outbox, TimerKey};
use crate::time::Dur;
use office::{Active, Answer, Parked};

/// A broker that is not heard of for this long is fenced (Kafka: `broker.session.timeout.ms`).
pub const SESSION: Dur = Dur::secs(9);

/// Time between two sweeps. A partition or WAL that had no taker waits at most this long for one.
pub const SWEEP: Dur = Dur::ms(500);

/// A session's end that could not be written is tried again after this.
const EXPIRY_RETRY: Dur = Dur::ms(100);

/// A controller's process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    node: NodeId,
    quorum: Quorum,
    /// What is committed.
    image: Image,
    office: Office,
    halted: bool,
}

/// Where this controller stands between losing one election and winning the next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Office {
    /// Another leads, or nobody.
    Out,
    /// Leads the quorum; entries of earlier leaders may still be on their way to the image.
    Elected(QuorumEpoch),
    /// The active controller.
    Active(alloc::boxed::Box<Active>),
}

impl Controller {
    /// A controller before its boot.
    #[must_use]
    pub fn new(config: ControllerConfig) -> Self {
        Self {
            node: config.node,
            quorum: Quorum::new(config.node, config.voters),
            image: Image::default(),
            office: Office::Out,
            halted: false,
        }
    }

    /// Its voter.
    #[must_use]
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// The committed metadata, as far as this node knows.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Whether it is the active controller, as far as it knows.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.office, Office::Active(_))
    }

    /// What the active controller waits for, one line each.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        match &self.office {
            Office::Out => Vec::new(),
            Office::Elected(epoch) => Vec::from([format!(
                "controller {}: its first entry of epoch {epoch} is not committed",
                self.node
            )]),
            Office::Active(active) => active.blocked(self.node, &self.image),
        }
    }

    fn dispatch(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        let mut events = Vec::new();
        match input {
            Input::Boot(boot) => self.quorum.boot(cx, boot.incarnation, out),
            Input::Peer { from, msg: PeerMsg::Quorum(msg) } => {
                self.quorum.peer(cx, from, msg, out, &mut events);
            }
            Input::Peer { from, msg: PeerMsg::Ask { id, incarnation_id, request } } => {
                self.ask(cx, Asker { node: from, id, incarnation_id }, &request, out);
            }
            Input::LogDone(tok, result) => {
                self.quorum.log_done(cx, tok, result, out, &mut events);
            }
            Input::Timer(TimerKey::Quorum(timer)) => {
                self.quorum.timer(cx, timer, out, &mut events);
            }
            Input::Timer(TimerKey::Session(broker)) => self.session_ended(cx, broker, out),
            Input::Timer(TimerKey::Sweep) => self.sweep(cx, out),
            Input::Drain => self.quorum.resign(cx, out, &mut events),
            Input::Client { conn, .. } => out.push(Effect::Close(conn)),
            // Controllers have no store and arm no other timers; nobody answers them.
            Input::Peer {
                msg: PeerMsg::Answer { .. } | PeerMsg::Request { .. } | PeerMsg::Response { .. },
                ..
            }
            | Input::Gone(_)
            | Input::ObjDone(..)
            | Input::Timer(
                TimerKey::Observe
                | TimerKey::Heartbeat
                | TimerKey::Ask(_)
                | TimerKey::WalBulk
                | TimerKey::WalPut(_)
                | TimerKey::WalVerify
                | TimerKey::WalRedelete
                | TimerKey::Claim
                | TimerKey::UploadSeal
                | TimerKey::Upload(_)
                | TimerKey::Recovery(_)
                | TimerKey::Open(..)
                | TimerKey::ProduceWait(..)
                | TimerKey::FetchWait(..)
                | TimerKey::Search(..)
                | TimerKey::Read(_)
                | TimerKey::Load(_)
                | TimerKey::Peer(_)
                | TimerKey::Verify(..)
                | TimerKey::Coordinator(..)
                | TimerKey::Markers(_),
            ) => {}
        }
        for event in events {
            if !self.halted {
                self.quorum_event(cx, event, out);
            }
        }
    }

    fn quorum_event(&mut self, cx: &Cx, event: QuorumEvent, out: &mut Outbox<Effect>) {
        match event {
            QuorumEvent::BecameLeader { epoch } => {
                self.leave_office(cx, out);
                self.office = Office::Elected(epoch);
            }
            QuorumEvent::LostLeadership { epoch: _ } => self.leave_office(cx, out),
            QuorumEvent::Committed { offset, entry } => self.committed(cx, offset, &entry, out),
        }
    }

    fn committed(&mut self, cx: &Cx, offset: MetaOffset, entry: &Entry, out: &mut Outbox<Effect>) {
        let own = match &mut self.office {
            Office::Active(active) => Some(active.pop_committed(offset, entry)),
            Office::Out | Office::Elected(_) => None,
        };
        let (records, parked) = match (own, &entry.payload) {
            (Some((records, parked)), _) => (records, parked),
            (None, Payload::LeaderChange { .. }) => Default::default(),
            (None, Payload::Batch(bytes)) => match decode_batch(bytes) {
                Ok(records) => (Arc::new(records), Vec::new()),
                Err(_) => return self.halt(HaltReason::Unapplicable, out),
            },
        };
        if !self.apply(cx, offset, &records) {
            return self.halt(HaltReason::Unapplicable, out);
        }
        let image = if self.image.end == offset.next() { self.image.checkpoint() } else { None };
        out.probe(Probe::MetaApplied { offset, records, image });
        for answer in parked {
            answer.send(out);
        }
        let leads = matches!(entry.payload, Payload::LeaderChange { .. });
        if self.office == Office::Elected(entry.epoch) && leads {
            self.take_office(cx, entry.epoch, offset, out);
        }
    }

    fn apply(&mut self, cx: &Cx, offset: MetaOffset, records: &[Record]) -> bool {
        if cx.mutants.on(Mutant::ControllerSpeculativeKept) && offset < self.image.end {
            return true;
        }
        assert_eq!(offset, self.image.end, "entries are committed in order, each once");
        self.image.apply_under(cx.mutants, records).is_ok()
    }

    /// All of the log up to this leader's own first entry is applied: what comes now is its own.
    fn take_office(
        &mut self,
        cx: &Cx,
        epoch: QuorumEpoch,
        offset: MetaOffset,
        out: &mut Outbox<Effect>,
    ) {
        if cx.mutants.on(Mutant::ControllerSpeculativeKept) {
            self.image.end = offset.next();
        }
        let active = Active::begin(cx, epoch, &self.image, out);
        self.office = Office::Active(alloc::boxed::Box::new(active));
        out.arm(TimerKey::Sweep, SWEEP);
        out.probe(Probe::ControllerActivated { epoch });
    }

    fn leave_office(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let Office::Active(active) = core::mem::replace(&mut self.office, Office::Out) else {
            return;
        };
        let entries = active.pending.len() as u64;
        out.disarm(TimerKey::Sweep);
        for &broker in active.contacts.keys() {
            out.disarm(TimerKey::Session(broker));
        }
        let leader = self.quorum.leader();
        for mut parked in active.pending.into_iter().flat_map(|pending| pending.parked) {
            parked.result = Err(ControllerError::NotController { leader });
            parked.send(out);
        }
        if cx.mutants.on(Mutant::ControllerSpeculativeKept) {
            self.image = active.image;
        }
        out.probe(Probe::ControllerReverted { entries });
    }

    fn ask(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: &ControllerRequest,
        out: &mut Outbox<Effect>,
    ) {
        if let ControllerRequest::Admin { request: AdminRequest::DescribeQuorum, .. } = request {
            return self.describe_quorum(cx, asker, out);
        }
        let (changes, answer, barrier) = match &mut self.office {
            Office::Active(active) if !active.is_full() => {
                match active.decide(cx, asker.node, request, out) {
                    Ok(plan) => (plan.records, Ok(plan.answer), plan.barrier),
                    Err(refusal) => (Vec::new(), Err(refusal.error), refusal.barrier),
                }
            }
            Office::Active(_) => {
                let leader = Some(self.node);
                let parked = asker.park(Err(ControllerError::NotController { leader }));
                return parked.send(out);
            }
            Office::Out | Office::Elected(_) => {
                let leader = self.quorum.leader();
                let parked = asker.park(Err(ControllerError::NotController { leader }));
                return parked.send(out);
            }
        };
        let mut parked = asker.park(answer);
        if (barrier || !changes.is_empty()) && !self.propose(cx, changes, out) {
            let leader = self.quorum.leader();
            parked.result = Err(ControllerError::NotController { leader });
            return parked.send(out);
        }
        if let Office::Active(active) = &mut self.office {
            active.park(parked, out);
        }
    }

    /// Answers at once, be the office overloaded, or not yet taken: the quorum may be what ails.
    fn describe_quorum(&self, cx: &Cx, asker: Asker, out: &mut Outbox<Effect>) {
        let answer = match self.quorum.describe(cx) {
            Some(quorum) => Ok(ControllerAnswer::Admin(AdminResponse::Quorum(quorum))),
            None => Err(ControllerError::NotController { leader: self.quorum.leader() }),
        };
        asker.park(answer).send(out);
    }

    fn session_ended(&mut self, cx: &Cx, broker: NodeId, out: &mut Outbox<Effect>) {
        let Office::Active(active) = &mut self.office else { return };
        let Some(contact) = active.contacts.remove(&broker) else { return };
        let records = active.expire(cx, broker);
        if records.is_empty() || self.propose(cx, records, out) {
            return out.probe(Probe::ControllerSessionExpired { broker });
        }
        if let Office::Active(active) = &mut self.office {
            active.contacts.insert(broker, contact);
            out.arm(TimerKey::Session(broker), EXPIRY_RETRY);
        }
    }

    fn sweep(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let Office::Active(active) = &mut self.office else { return };
        out.arm(TimerKey::Sweep, SWEEP);
        let mut records = active.place_leaderless(cx);
        records.extend(active.assign_recoveries());
        let expired = active.expired_objects();
        records.extend(expired.iter().map(|&object| Record::DestroyObject { object }));
        if !records.is_empty() && self.propose(cx, records, out) {
            for object in expired {
                out.probe(Probe::ControllerPrepareExpired { object });
            }
        }
    }

    /// Proposes one atomic batch and applies it to the speculative image.
    fn propose(&mut self, cx: &Cx, records: Vec<Record>, out: &mut Outbox<Effect>) -> bool {
        let Office::Active(active) = &mut self.office else { return false };
        if active.is_full() {
            return false;
        }
        let bytes = crate::metadata::record::encode_batch(&records);
        match self.quorum.propose(cx, bytes, out) {
            Some(offset) => {
                active.proposed(cx, offset, records);
                true
            }
            None => false,
        }
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Outbox<Effect>) {
        self.halted = true;
        out.probe(Probe::Halted { reason });
        out.push(Effect::Halt(reason));
    }
}

impl Machine for Controller {
    type In = Input;
    type Out = Effect;

    fn step(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        if self.halted {
            return;
        }
        let drain = input == Input::Drain;
        self.dispatch(cx, input, out);
        if drain && !self.halted {
            self.halt(HaltReason::ShutDown, out);
        }
    }
}

/// Who asks, and how to answer.
#[derive(Clone, Copy)]
struct Asker {
    node: NodeId,
    id: u64,
    incarnation_id: IncarnationId,
}

impl Asker {
    fn park(self, result: Answer) -> Parked {
        Parked { to: self.node, id: self.id, incarnation_id: self.incarnation_id, result }
    }
}

#[cfg(test)]
mod tests;

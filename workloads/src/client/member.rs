//! A member of a group: finds its coordinator, takes part in rebalances, reads what it is assigned
//! from where the group has come to, and commits how far it came.
//!
//! One request at a time, as a consumer with a single thread: while a coordinator is slow nothing
//! is read, and while a leader is slow nobody hears of the member. How it becomes and stays a
//! member is in [`classic`] and [`consumer`], what it has in [`claims`], and copies in [`copying`];
//! how a partition is read, in [`super::reader`]. Source: Kafka's `ConsumerCoordinator.java`,
//! `AbstractCoordinator.java`, `CommitRequestManager.java`, KIP-848.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{NodeId, Offset, TopicId, TopicPartition};
use broker_core::protocol::{
    CoordinatorKind, ErrorCode, Generation, GroupAnswer, GroupRequest, MemberIdentity,
    OffsetCommit, OffsetFetch, Request, Response,
};
use broker_core::time::Dur;

use super::metadata::{Metadata, Resolved, Route, Target};
use super::outcome::Next;
use super::session::{Asked, Verdict};
use super::transaction::Transaction;
use super::{Answer, Call, CallEvent, Numbers, REQUEST_TIMEOUT};
use crate::op::GroupProtocol;

mod balance;
mod claims;
mod classic;
mod consumer;
mod copying;

use claims::Claim;
pub(super) use claims::to_commit;
use classic::Classic;
use consumer::Consumer;

/// How often it says that it lives (`heartbeat.interval.ms`; with KIP-848 the coordinator says).
const HEARTBEAT_INTERVAL: Dur = Dur::secs(1);

/// Expelled when not heard of for this long (`session.timeout.ms`).
const SESSION_TIMEOUT: Dur = Dur::secs(6);

/// How long it may take to give partitions up and come back (`max.poll.interval.ms`).
const REBALANCE_TIMEOUT: Dur = Dur::secs(5);

/// How often it commits (`auto.commit.interval.ms`; Kafka's default is 5 s).
pub(super) const COMMIT_INTERVAL: Dur = Dur::secs(1);

/// How long it waits when nothing can be read.
const NOTHING_TO_READ: Dur = Dur::ms(200);

/// What an operation says of a member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Charge {
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) protocol: GroupProtocol,
    pub(super) instance: Option<String>,
    /// How long it stays; `None`: as long as the run.
    pub(super) stays: Option<Dur>,
    /// Without a word: the coordinator finds out.
    pub(super) vanishes: bool,
    /// Each record is copied to this topic, in a transaction that commits the offset, too.
    pub(super) copies_to: Option<String>,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Member {
    pub(super) charge: Charge,
    who: MemberIdentity,
    speaks: Speaks,
    coordinator: Option<NodeId>,
    claims: BTreeMap<TopicPartition, Claim>,
    doing: Doing,
    /// Of how many records just read a copy is to be made.
    to_copy: Option<(TopicPartition, usize)>,
    /// The copy that is under way, and how manieth it is.
    copying: Option<Transaction>,
    copied: u16,
    /// Whose turn to be read it was last.
    last_read: Option<TopicPartition>,
    due: BTreeSet<Due>,
    over: bool,
    client: u16,
    op: u32,
    lot: u64,
}

/// What a member's own timers are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Due {
    /// Say to the coordinator that it lives.
    Heartbeat,
    /// Commit how far it came.
    Commit,
    /// Leave.
    Leave,
}

/// The protocol of its group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Speaks {
    Classic(Classic),
    Consumer(Consumer),
}

/// What it asks next, or has asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Doing {
    /// Asks who coordinates.
    Find,
    /// Says to the coordinator what its protocol wants it to say.
    Speak,
    /// Says that it leaves.
    Leave,
    /// Asks how far the group has come.
    Offsets(Vec<TopicPartition>),
    /// Commits, by partition: from, and where to read on.
    Commit(Vec<(TopicPartition, Offset, Offset)>),
    /// Reads, or finds out from where.
    Read(TopicPartition),
    /// What its transaction asks.
    Copy,
}

/// How a membership stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic that it reads, if it is known to exist.
    pub topic: Option<TopicId>,
    /// It is a member, has what it was assigned, and knows where to read.
    pub settled: bool,
    /// It stays as long as the run.
    pub stays: bool,
    /// What it may read, and where it reads on.
    pub claims: Vec<(TopicPartition, Option<Offset>)>,
}

/// What a member does now.
pub(super) enum Plan {
    Ask,
    Pause(Dur),
    Over,
}

/// What an answer means.
pub(super) struct Heard {
    /// For the call that is open, if one is.
    pub(super) event: Option<CallEvent>,
    pub(super) next: Next,
    /// When to say again that it lives.
    pub(super) beats_in: Option<Dur>,
}

/// What the coordinator's answer means for the membership.
enum Standing {
    /// Goes on.
    Fine,
    /// This is the member's part from now on.
    Assigned(BTreeSet<TopicPartition>),
    /// What its protocol wants next comes next.
    Again(ErrorCode),
    /// It must be asked again, by and by.
    Wait(ErrorCode),
    /// Another broker may be in charge.
    Elsewhere(ErrorCode),
    /// What it had may be another's: it comes back with empty hands.
    Expelled(ErrorCode),
    /// Another one has its place for good, or nothing that it says is understood.
    Over(ErrorCode),
}

impl Member {
    pub(super) fn new(charge: Charge, (client, op): (u16, u32), lot: u64) -> Self {
        let instance = charge.instance.clone();
        let (member, speaks) = match charge.protocol {
            GroupProtocol::Eager => (String::new(), Speaks::Classic(Classic::new(false))),
            GroupProtocol::Cooperative => (String::new(), Speaks::Classic(Classic::new(true))),
            GroupProtocol::Consumer => {
                (format!("client-{client}-{op}"), Speaks::Consumer(Consumer::new()))
            }
        };
        Self {
            charge,
            who: MemberIdentity { member, instance },
            speaks,
            coordinator: None,
            claims: BTreeMap::new(),
            doing: Doing::Find,
            to_copy: None,
            copying: None,
            copied: 0,
            last_read: None,
            due: BTreeSet::new(),
            over: false,
            client,
            op,
            lot,
        }
    }

    /// How it stands.
    pub(super) fn stands(&self, topic: Option<TopicId>) -> Membership<'_> {
        let settled = match &self.speaks {
            Speaks::Classic(classic) => classic.is_settled(&self.claims),
            Speaks::Consumer(consumer) => consumer.is_settled(&self.claims),
        };
        let claims = self.claims.iter().map(|(at, claim)| (*at, claim.position()));
        let claims: Vec<_> = claims.collect();
        Membership {
            group: &self.charge.group,
            topic,
            settled: settled && claims.iter().all(|(_, position)| position.is_some()),
            stays: self.charge.stays.is_none(),
            claims,
        }
    }

    /// A timer fired.
    pub(super) fn is_due(&mut self, what: Due) {
        self.due.insert(what);
    }

    /// Decides what to ask next.
    pub(super) fn plan(&mut self, metadata: &Metadata) -> Plan {
        let leaves = self.due.contains(&Due::Leave);
        let topic = metadata.topic(&self.charge.topic);
        if let Speaks::Classic(classic) = &mut self.speaks {
            classic.topic_is(topic);
        }
        if let Some((at, records)) = self.to_copy.take() {
            self.copy(at, records);
        }
        if self.copying.is_some() && !(leaves && self.charge.vanishes) {
            self.doing = Doing::Copy;
            return Plan::Ask;
        }
        if self.over || (leaves && (self.charge.vanishes || !self.is_in())) {
            return Plan::Over;
        }
        self.doing = if self.coordinator.is_none() {
            Doing::Find
        } else if let Some(doing) = self.gives_up(leaves, topic) {
            doing
        } else if leaves && self.stays_listed() {
            return Plan::Over;
        } else if leaves {
            Doing::Leave
        } else if let Some(doing) = self.commits_before_it_joins(topic) {
            doing
        } else if self.must_speak() || self.due.contains(&Due::Heartbeat) {
            Doing::Speak
        } else if let Some(doing) = self.finds_positions() {
            doing
        } else if let Some(doing) = self.commits(topic) {
            doing
        } else if let Some(doing) = self.reads(metadata) {
            doing
        } else {
            return Plan::Pause(NOTHING_TO_READ);
        };
        Plan::Ask
    }

    fn is_in(&self) -> bool {
        match &self.speaks {
            Speaks::Classic(classic) => classic.is_in(),
            Speaks::Consumer(consumer) => consumer.is_in(),
        }
    }

    /// The generation, or the member epoch, to commit under.
    fn generation(&self) -> Generation {
        match &self.speaks {
            Speaks::Classic(classic) => classic.generation(),
            Speaks::Consumer(consumer) => consumer.generation(),
        }
    }

    fn must_speak(&self) -> bool {
        match &self.speaks {
            Speaks::Classic(classic) => classic.must_speak(),
            Speaks::Consumer(consumer) => consumer.must_speak(&self.claims),
        }
    }

    /// What is to be given up is committed first, and then let go.
    fn gives_up(&mut self, leaves: bool, topic: Option<TopicId>) -> Option<Doing> {
        let given_up: Vec<TopicPartition> = match &self.speaks {
            _ if leaves => self.claims.keys().copied().collect(),
            Speaks::Classic(classic) => classic.gives_up(&self.claims),
            Speaks::Consumer(consumer) => consumer.gives_up(&self.claims),
        };
        let unsaid = self.unsaid(given_up.iter(), topic);
        if !unsaid.is_empty() && self.charge.copies_to.is_none() {
            return Some(Doing::Commit(unsaid));
        }
        let some = !given_up.is_empty();
        for at in given_up {
            self.claims.remove(&at);
        }
        if let Speaks::Classic(classic) = &mut self.speaks
            && some
            && !leaves
        {
            classic.gave_up();
        }
        None
    }

    /// A static member keeps its place for as long as its session lasts: by the classic protocol
    /// it says nothing (`AbstractCoordinator.maybeLeaveGroup`).
    fn stays_listed(&self) -> bool {
        matches!(self.speaks, Speaks::Classic(_)) && self.who.instance.is_some()
    }

    /// What it keeps through a rebalance is committed under the generation that ends
    /// (`ConsumerCoordinator.onJoinPrepare`).
    fn commits_before_it_joins(&mut self, topic: Option<TopicId>) -> Option<Doing> {
        let Speaks::Classic(classic) = &mut self.speaks else { return None };
        if !classic.comes_again() || self.charge.copies_to.is_some() {
            return None;
        }
        let unsaid = self.unsaid(self.claims.keys(), topic);
        (!unsaid.is_empty()).then_some(Doing::Commit(unsaid))
    }

    /// The next partition whose leader is known.
    fn reads(&mut self, metadata: &Metadata) -> Option<Doing> {
        let readable = |at: &&TopicPartition| {
            let route = Route::Leader(at.index);
            match metadata.resolve(&self.charge.topic, route, 0) {
                Resolved::Ready(target) => target.topic == Some(at.topic),
                Resolved::Missing | Resolved::NotYet => false,
            }
        };
        let behind = self.claims.keys().filter(|at| Some(**at) > self.last_read);
        let next = behind.chain(self.claims.keys()).find(readable).copied()?;
        self.last_read = Some(next);
        Some(Doing::Read(next))
    }

    pub(super) fn route(&self) -> Route {
        let Some(coordinator) = self.coordinator else { return Route::Any };
        match &self.doing {
            Doing::Find => Route::Any,
            Doing::Speak => match &self.speaks {
                // Whoever leads the group must know the topic's partitions.
                Speaks::Classic(classic) if !classic.is_in() => Route::TopicAt(coordinator),
                Speaks::Classic(_) | Speaks::Consumer(_) => Route::Node(coordinator),
            },
            Doing::Leave | Doing::Offsets(_) | Doing::Commit(_) => Route::Node(coordinator),
            Doing::Read(at) => Route::Leader(at.index),
            Doing::Copy => self.copying.as_ref().map_or(Route::Any, Transaction::route),
        }
    }

    /// The topic that it asks about.
    pub(super) fn topic(&self) -> &str {
        match &self.copying {
            Some(transaction) => &transaction.topic,
            None => &self.charge.topic,
        }
    }

    /// How long it waits for an answer: that to a join comes when all have joined.
    pub(super) fn patience(&self) -> Dur {
        match (&self.doing, &self.speaks) {
            (Doing::Speak, Speaks::Classic(classic)) if !classic.is_in() => {
                Dur(REBALANCE_TIMEOUT.0 * 2 + REQUEST_TIMEOUT.0)
            }
            _ => REQUEST_TIMEOUT,
        }
    }

    pub(super) fn ask(&mut self, target: &Target, partitions: u32, numbers: &mut Numbers) -> Asked {
        let (group, who) = (self.charge.group.clone(), self.who.clone());
        let generation = self.generation();
        let (call, request) = match &self.doing {
            Doing::Find => {
                let request =
                    Request::FindCoordinator { kind: CoordinatorKind::Group, name: group };
                return Asked { call: None, request, answered: true };
            }
            Doing::Read(at) => {
                let claim = self.claims.get_mut(at).expect("it reads what it has");
                return claim.reader.ask(target, numbers);
            }
            Doing::Copy => unreachable!("its transaction asks"),
            Doing::Speak => match &mut self.speaks {
                Speaks::Classic(classic) => {
                    classic.ask(&self.charge, who, &self.claims, partitions)
                }
                Speaks::Consumer(consumer) => (None, consumer.ask(&self.charge, who, &self.claims)),
            },
            Doing::Leave => (
                None,
                match &self.speaks {
                    Speaks::Classic(_) => GroupRequest::LeaveGroup { group, members: [who].into() },
                    Speaks::Consumer(consumer) => consumer.leave(&self.charge, who),
                },
            ),
            Doing::Offsets(partitions) => {
                let call = Call::FetchOffsets {
                    group: group.clone(),
                    partitions: partitions.clone(),
                    require_stable: true,
                };
                let member = match &self.speaks {
                    Speaks::Classic(_) => None,
                    Speaks::Consumer(consumer) => Some((who.member, consumer.epoch())),
                };
                let (partitions, require_stable) = (Some(partitions.clone()), true);
                let fetch = OffsetFetch { group, member, partitions, require_stable };
                (Some(call), GroupRequest::OffsetFetch(fetch))
            }
            Doing::Commit(offsets) => {
                let call = Call::CommitOffsets {
                    group: group.clone(),
                    member: who.member.clone(),
                    generation,
                    offsets: offsets.clone(),
                    transactional: None,
                };
                let offsets =
                    offsets.iter().map(|(partition, _, upto)| to_commit(*partition, *upto));
                let offsets = offsets.collect();
                let commit = OffsetCommit { group, who, generation, offsets };
                (Some(call), GroupRequest::OffsetCommit(commit))
            }
        };
        Asked { call, request: Request::Group(request), answered: true }
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&mut self, target: &Target, response: Response) -> Option<Heard> {
        let response = match (&self.doing, response) {
            (Doing::Find, Response::FindCoordinator(found)) => {
                self.coordinator = found.ok();
                let next = if found.is_ok() { Next::Again } else { Next::Retry };
                return Some(Heard { event: None, next, beats_in: None });
            }
            (Doing::Read(at), response) => {
                let claim = self.claims.get_mut(at).expect("it reads what it has");
                let Verdict { event, next } = claim.reader.answered(target, response)?;
                if claim.since.is_none() {
                    claim.since = claim.position();
                }
                if let CallEvent::Ok(Answer::Fetched { records, .. }) = &event {
                    self.to_copy = Some((*at, records.len()));
                }
                return Some(Heard { event: Some(event), next, beats_in: None });
            }
            (_, Response::Group(answer)) => answer,
            _ => return None,
        };
        match (core::mem::replace(&mut self.doing, Doing::Find), response) {
            (Doing::Offsets(of), GroupAnswer::OffsetFetch(result)) => {
                Some(self.offsets_fetched(&of, result))
            }
            (Doing::Commit(of), GroupAnswer::OffsetCommit(results)) => {
                self.committed(&of, &results)
            }
            (Doing::Leave, GroupAnswer::LeaveGroup(_) | GroupAnswer::ConsumerGroupHeartbeat(_)) => {
                self.over = true;
                Some(Heard { event: None, next: Next::Again, beats_in: None })
            }
            (Doing::Speak, answer) => self.spoken(answer, target.topic),
            _ => None,
        }
    }

    fn spoken(&mut self, answer: GroupAnswer, topic: Option<TopicId>) -> Option<Heard> {
        let (standing, interval) = match &mut self.speaks {
            Speaks::Classic(classic) => {
                let of = (self.charge.topic.as_str(), topic);
                (classic.answered(answer, of, &mut self.who)?, HEARTBEAT_INTERVAL)
            }
            Speaks::Consumer(consumer) => consumer.answered(answer)?,
        };
        self.due.remove(&Due::Heartbeat);
        let assigned = match &standing {
            Standing::Assigned(part) => part.iter().copied().collect(),
            _ => Vec::new(),
        };
        let (event, next) = match self.take_in(standing) {
            Ok(()) => (CallEvent::Ok(Answer::Assigned(assigned)), Next::Again),
            Err((code, next)) => (CallEvent::Fail(code), next),
        };
        Some(Heard { event: Some(event), next, beats_in: Some(interval) })
    }

    /// Takes in what an answer means for the membership.
    fn take_in(&mut self, standing: Standing) -> Result<(), (ErrorCode, Next)> {
        match standing {
            Standing::Fine => Ok(()),
            Standing::Assigned(part) => {
                for at in part {
                    let claim = || Claim::new(&self.charge.topic, at, self.lot);
                    self.claims.entry(at).or_insert_with(claim);
                }
                Ok(())
            }
            Standing::Again(code) => Err((code, Next::Again)),
            Standing::Wait(code) => Err((code, Next::Retry)),
            Standing::Elsewhere(code) => {
                self.coordinator = None;
                Err((code, Next::Retry))
            }
            Standing::Expelled(code) => {
                self.claims.clear();
                Err((code, Next::Again))
            }
            Standing::Over(code) => {
                self.over = true;
                Err((code, Next::Again))
            }
        }
    }

    /// The newest request got no answer.
    pub(super) fn unanswered(&mut self) {
        match &self.doing {
            Doing::Read(_) | Doing::Copy => {}
            Doing::Find | Doing::Speak | Doing::Leave | Doing::Offsets(_) | Doing::Commit(_) => {
                self.coordinator = None;
                if let Speaks::Consumer(consumer) = &mut self.speaks {
                    consumer.unanswered();
                }
            }
        }
    }
}

/// Codes of any coordinator that say: ask again, or ask another.
fn of_coordinator(code: ErrorCode) -> Option<Standing> {
    match code {
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit => {
            Some(Standing::Wait(code))
        }
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
            Some(Standing::Elsewhere(code))
        }
        _ => None,
    }
}

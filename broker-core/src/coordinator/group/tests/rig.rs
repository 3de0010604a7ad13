//! A shard in its host, with a log, a clock, timers, and clients that are told what is confirmed.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch::{Header, Marker, TimestampMs, stamp};
use crate::coordinator::group::{GroupLimits, Groups, Topics};
use crate::coordinator::{Host, Outcome};
use crate::ids::{
    ConnId, CoordinatorEpoch, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    TopicId, TopicPartition,
};
use crate::mutants::Mutants;
use crate::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, ErrorCode, Generation, GroupAnswer, GroupRequest,
    JoinGroup, JoinRefused, Joined, MemberEpoch, MemberIdentity, OffsetCommit, OffsetFetch,
    OffsetToCommit, SyncGroup, TransactionResult, TransactionVersion, TxnOffsetCommit,
};
use crate::step::Cx;
use crate::time::{Dur, Mono, Wall};

/// The group of all tests.
pub(super) const GROUP: &str = "g";

#[derive(Clone)]
pub(super) struct Image(pub(super) BTreeMap<String, (TopicId, u32)>);

impl Topics for Image {
    fn topic(&self, name: &str) -> Option<(TopicId, u32)> {
        self.0.get(name).copied()
    }

    fn partitions(&self, topic: TopicId) -> Option<u32> {
        self.0.values().find(|(id, _)| *id == topic).map(|(_, partitions)| *partitions)
    }
}

/// One coordinator, its log, and its world. Cloned, it is a world that goes on by itself.
#[derive(Clone)]
pub(super) struct Rig {
    pub(super) host: Host<Groups>,
    pub(super) log: Vec<Bytes>,
    end: Offset,
    /// Batches that are confirmed.
    pub(super) confirmed: usize,
    pub(super) topics: Image,
    /// Armed timers and when they fire.
    pub(super) timers: BTreeMap<u64, u64>,
    pub(super) now_us: u64,
    entropy: u64,
    asked: u64,
    /// Answers that left.
    pub(super) told: BTreeMap<u64, GroupAnswer>,
    pub(super) mutants: Mutants,
    pub(super) limits: GroupLimits,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Mutants::NONE)
    }

    pub(super) fn with(mutants: Mutants) -> Self {
        Self::limited(mutants, GroupLimits::default())
    }

    pub(super) fn limited(mutants: Mutants, limits: GroupLimits) -> Self {
        let topics = [("a".to_string(), (TopicId(1), 4)), ("b".to_string(), (TopicId(2), 2))];
        let mut rig = Self {
            host: Host::new(Groups::new(limits, mutants)),
            log: Vec::new(),
            end: Offset(0),
            confirmed: 0,
            topics: Image(BTreeMap::from(topics)),
            timers: BTreeMap::new(),
            now_us: 1_000_000_000_000,
            entropy: 0,
            asked: 0,
            told: BTreeMap::new(),
            mutants,
            limits,
        };
        rig.load();
        rig
    }

    pub(super) fn groups(&self) -> &Groups {
        self.host.state()
    }

    fn cx(&mut self) -> Cx {
        self.entropy += 1;
        Cx {
            mono: Mono(self.now_us),
            wall: Wall(i64::try_from(self.now_us).expect("not that late")),
            entropy: self.entropy,
            mutants: self.mutants,
        }
    }

    fn wall(&self) -> TimestampMs {
        TimestampMs(i64::try_from(self.now_us / 1_000).expect("not that late"))
    }

    fn load(&mut self) {
        let (cx, mut out) = (self.cx(), Outcome::default());
        self.host.state_mut().loaded(&cx, &self.topics, &mut out);
        self.take(out);
    }

    /// Appends what an outcome holds, parks its answers, arms its timers.
    fn take(&mut self, out: Outcome<Groups>) {
        for (number, after) in &out.timers {
            match after {
                Some(after) => _ = self.timers.insert(*number, self.now_us + after.0),
                None => _ = self.timers.remove(number),
            }
        }
        if let Some(batch) = out.batch(self.wall()) {
            self.append(batch);
        }
        for (asker, answer) in out.answers {
            self.host.park(self.end, asker, answer);
        }
    }

    fn append(&mut self, batch: Bytes) {
        let batch = stamp(batch, self.end, LeaderEpoch(0));
        let header = Header::parse(&batch).expect("well-formed");
        self.host.fold(&batch, &header);
        self.end = header.end_offset();
        self.log.push(batch);
    }

    /// The first `batches` of the log are confirmed: answers leave.
    pub(super) fn confirm_to(&mut self, batches: usize) {
        self.confirmed = batches.max(self.confirmed);
        let end = match self.confirmed.checked_sub(1) {
            None => Offset(0),
            Some(last) => Header::parse(&self.log[last]).expect("ours").end_offset(),
        };
        let ready: Vec<_> = self.host.confirmed(end).collect();
        self.told.extend(ready.into_iter().map(|((_, asker), answer)| (asker, answer)));
    }

    pub(super) fn confirm(&mut self) {
        self.confirm_to(self.log.len());
    }

    /// Sends a request; nothing is confirmed yet. Its number.
    pub(super) fn send(&mut self, request: GroupRequest) -> u64 {
        self.asked += 1;
        let (cx, asker, mut out) = (self.cx(), (ConnId(1), self.asked), Outcome::default());
        let topics = self.topics.clone();
        self.host.state_mut().handle(&cx, &topics, asker, request, &mut out);
        self.take(out);
        self.asked
    }

    /// A request that is answered at once.
    pub(super) fn ask(&mut self, request: GroupRequest) -> GroupAnswer {
        let number = self.send(request);
        self.answer(number).expect("answered at once")
    }

    /// The answer to a request, if it left. All is confirmed before.
    pub(super) fn answer(&mut self, number: u64) -> Option<GroupAnswer> {
        self.confirm();
        self.told.remove(&number)
    }

    /// The next timer fires, if it does before `until`.
    pub(super) fn fire_before(&mut self, until: u64) -> bool {
        let next = self.timers.iter().min_by_key(|(number, at)| (**at, **number));
        let Some((number, at)) = next.map(|(number, at)| (*number, *at)) else { return false };
        if at > until {
            return false;
        }
        self.timers.remove(&number);
        self.now_us = self.now_us.max(at);
        let (cx, mut out) = (self.cx(), Outcome::default());
        let topics = self.topics.clone();
        self.host.state_mut().timer(&cx, &topics, number, &mut out);
        self.take(out);
        true
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Dur) {
        let until = self.now_us + time.0;
        while self.fire_before(until) {}
        self.now_us = until;
        self.confirm();
    }

    /// What a successor reads of the first `batches` of the log.
    pub(super) fn replayed(&self, batches: usize) -> Host<Groups> {
        let mut host = Host::new(Groups::new(self.limits, self.mutants));
        for batch in &self.log[..batches] {
            host.fold(batch, &Header::parse(batch).expect("ours"));
        }
        host
    }

    /// The leader is lost with all that is not confirmed; a successor takes over. Those who waited
    /// are told.
    pub(super) fn fail_over(&mut self) {
        let successor = self.replayed(self.confirmed);
        self.log.truncate(self.confirmed);
        self.end = match self.log.last() {
            None => Offset(0),
            Some(last) => Header::parse(last).expect("ours").end_offset(),
        };
        let old = core::mem::replace(&mut self.host, successor);
        let parked = old.state().parked();
        let lost = parked.into_iter().chain(old.close());
        self.told.extend(lost.map(|((_, asker), answer)| (asker, answer)));
        self.timers.clear();
        self.load();
    }

    /// A marker comes to the log.
    pub(super) fn mark(&mut self, producer: u64, result: TransactionResult) {
        let marker = Marker {
            producer: ProducerId(producer),
            epoch: ProducerEpoch(0),
            result,
            coordinator_epoch: CoordinatorEpoch(0),
        };
        let batch = marker.encode(self.wall());
        self.append(batch);
    }

    pub(super) fn commit(
        &mut self,
        who: &MemberIdentity,
        generation: i32,
        offset: u64,
    ) -> Result<(), ErrorCode> {
        let answer = self.ask(commit(who, generation, offset));
        let GroupAnswer::OffsetCommit(results) = answer else { panic!("{answer:?}") };
        results[0].1
    }

    pub(super) fn txn_commit(
        &mut self,
        producer: u64,
        who: &MemberIdentity,
        generation: i32,
        offset: u64,
    ) -> Result<(), ErrorCode> {
        let answer = self.ask(txn_commit(producer, who, generation, offset));
        let GroupAnswer::TxnOffsetCommit(results) = answer else { panic!("{answer:?}") };
        results[0].1
    }

    /// The committed offset of [`at`] 0.
    pub(super) fn fetch(&mut self, require_stable: bool) -> Result<Option<u64>, ErrorCode> {
        let answer = self.ask(fetch(require_stable));
        let GroupAnswer::OffsetFetch(Ok(offsets)) = answer else { panic!("{answer:?}") };
        offsets[0].result.clone().map(|offset| offset.map(|offset| offset.offset.0))
    }

    /// The answer to a join that had to wait.
    pub(super) fn joined(&mut self, number: u64) -> Result<Joined, JoinRefused> {
        let answer = self.answer(number).expect("answered by now");
        let GroupAnswer::JoinGroup(result) = answer else { panic!("{answer:?}") };
        result
    }

    pub(super) fn beat(
        &mut self,
        request: ConsumerGroupHeartbeat,
    ) -> Result<ConsumerGroupBeat, ErrorCode> {
        let answer = self.ask(GroupRequest::ConsumerGroupHeartbeat(request));
        let GroupAnswer::ConsumerGroupHeartbeat(result) = answer else { panic!("{answer:?}") };
        result
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), ErrorCode> {
        let request = GroupRequest::Heartbeat {
            group: GROUP.to_string(),
            who: who(member),
            generation: Generation(generation),
        };
        let answer = self.ask(request);
        let GroupAnswer::Heartbeat(result) = answer else { panic!("{answer:?}") };
        result
    }

    /// A topic is deleted, and the coordinator's image shows it.
    pub(super) fn delete_topic(&mut self, name: &str) {
        self.topics.0.remove(name);
        let (cx, mut out) = (self.cx(), Outcome::default());
        self.host.state_mut().forget_gone(&cx, &self.topics, &mut out);
        self.take(out);
    }

    /// Time passes until all have joined.
    pub(super) fn settle(&mut self) {
        while self.state() != Some("CompletingRebalance") {
            self.pass(Dur::secs(1));
        }
    }

    /// State of the group, as tools see it.
    pub(super) fn state(&mut self) -> Option<&'static str> {
        let answer = self.ask(GroupRequest::ListGroups { states: vec![], types: vec![] });
        let GroupAnswer::ListGroups(Ok(groups)) = answer else { panic!("{answer:?}") };
        groups.iter().find(|listed| listed.group == GROUP).map(|listed| listed.state.name())
    }
}

pub(super) fn at(index: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(1), index: PartitionIndex(index) }
}

pub(super) fn nobody() -> MemberIdentity {
    MemberIdentity::default()
}

pub(super) fn who(member: &str) -> MemberIdentity {
    MemberIdentity { member: member.to_string(), instance: None }
}

pub(super) fn static_who(member: &str, instance: &str) -> MemberIdentity {
    MemberIdentity { member: member.to_string(), instance: Some(instance.to_string()) }
}

pub(super) fn offset_of(offset: u64) -> OffsetToCommit {
    OffsetToCommit {
        partition: at(0),
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
    }
}

pub(super) fn commit(who: &MemberIdentity, generation: i32, offset: u64) -> GroupRequest {
    GroupRequest::OffsetCommit(OffsetCommit {
        group: GROUP.to_string(),
        who: who.clone(),
        generation: Generation(generation),
        offsets: vec![offset_of(offset)],
    })
}

pub(super) fn txn_commit(
    producer: u64,
    who: &MemberIdentity,
    generation: i32,
    offset: u64,
) -> GroupRequest {
    GroupRequest::TxnOffsetCommit(TxnOffsetCommit {
        transactional_id: "t".to_string(),
        version: TransactionVersion::V2,
        group: GROUP.to_string(),
        producer: ProducerId(producer),
        epoch: ProducerEpoch(0),
        who: who.clone(),
        generation: Generation(generation),
        offsets: vec![offset_of(offset)],
    })
}

pub(super) fn fetch(require_stable: bool) -> GroupRequest {
    GroupRequest::OffsetFetch(OffsetFetch {
        group: GROUP.to_string(),
        member: None,
        partitions: Some(vec![at(0)]),
        require_stable,
    })
}

/// A consumer's metadata that names topic `a`.
pub(super) const READS_A: &[u8] = b"\0\x01\0\0\0\x01\0\x01a";

pub(super) fn join(who: MemberIdentity) -> JoinGroup {
    JoinGroup {
        group: GROUP.to_string(),
        who,
        client: "c".to_string(),
        session_timeout: Dur::secs(10),
        rebalance_timeout: Dur::secs(20),
        protocol_type: "consumer".to_string(),
        protocols: vec![("range".to_string(), Bytes::from_static(READS_A))],
        member_id_required: true,
        skips_assignment: true,
    }
}

pub(super) fn sync(member: &str, generation: i32, parts: &[(&str, &'static str)]) -> GroupRequest {
    let part = |(member, part): &(&str, &'static str)| {
        (member.to_string(), Bytes::from_static(part.as_bytes()))
    };
    GroupRequest::SyncGroup(SyncGroup {
        group: GROUP.to_string(),
        who: who(member),
        generation: Generation(generation),
        protocol_type: None,
        protocol: None,
        assignments: parts.iter().map(part).collect(),
    })
}

/// The first heartbeat of a member of a KIP-848 group that reads topic `a`.
pub(super) fn first_beat(member: &str) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat {
        group: GROUP.to_string(),
        who: who(member),
        epoch: MemberEpoch::JOIN,
        rebalance_timeout: Some(Dur::secs(20)),
        topics: Some(vec!["a".to_string()]),
        assignor: None,
        owned: Some(vec![]),
    }
}

/// A later one.
pub(super) fn next_beat(
    member: &str,
    epoch: i32,
    owned: Option<&[TopicPartition]>,
) -> ConsumerGroupHeartbeat {
    ConsumerGroupHeartbeat {
        epoch: MemberEpoch(epoch),
        rebalance_timeout: None,
        topics: None,
        owned: owned.map(<[TopicPartition]>::to_vec),
        ..first_beat(member)
    }
}

/// Brings `count` members into a new classic group, which is stable then. Their ids, leader first.
pub(super) fn stable(rig: &mut Rig, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|_| new_id(rig)).collect();
    let joins: Vec<u64> =
        ids.iter().map(|id| rig.send(GroupRequest::JoinGroup(join(who(id))))).collect();
    rig.settle();
    let joined: Vec<Joined> =
        joins.into_iter().map(|number| rig.joined(number).expect("let in")).collect();
    let generation = joined[0].generation.0;
    let leader = joined[0].leader.clone().expect("elected");
    for id in &ids {
        if *id != leader {
            rig.send(sync(id, generation, &[]));
        }
    }
    let parts: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "part")).collect();
    rig.ask(sync(&leader, generation, &parts));
    let mut ids = ids;
    ids.sort_by_key(|id| *id != leader);
    ids
}

/// A member id, as a first join gives it.
pub(super) fn new_id(rig: &mut Rig) -> String {
    let answer = rig.ask(GroupRequest::JoinGroup(join(nobody())));
    let GroupAnswer::JoinGroup(Err(refused)) = answer else { panic!("{answer:?}") };
    assert_eq!(refused.code, ErrorCode::MemberIdRequired);
    refused.member
}

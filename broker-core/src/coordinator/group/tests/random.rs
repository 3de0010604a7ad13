//! Random requests, waits, lost answers and failovers, judged after every step.
//!
//! What is read of offsets is compared with a second fold of what was accepted, which shares no
//! code with the first. A run is a list of triples of bytes, so that it can be shrunk.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::rig::*;
use crate::coordinator::group::fold::Group;
use crate::ids::{TopicId, TopicPartition};
use crate::mutants::Mutants;
use crate::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, ErrorCode, Generation, GroupAnswer, GroupRequest,
    JoinRefused, Joined, MemberEpoch, SyncGroup, Synced, TransactionResult,
};
use crate::time::Dur;

type Act = (u8, u8, u8);
type Verdict = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// A successor would know what this coordinator knows.
fn replays(rig: &Rig) -> Verdict {
    let successor = rig.replayed(rig.log.len());
    ensure(successor.state().fold() == rig.groups().fold(), || "replay is not live".to_string())
}

// KIP-848.

/// A member of a KIP-848 group.
#[derive(Clone, Default)]
struct Consumer {
    epoch: i32,
    owned: BTreeSet<TopicPartition>,
    /// What it shall own, once it has given the rest up.
    assigned: Option<BTreeSet<TopicPartition>>,
    asked: Option<u64>,
    /// It missed an answer, and so says all of itself next time, to be told all (KAFKA-17306).
    missed: bool,
}

impl Consumer {
    fn drop_all(&mut self) {
        *self = Self::default();
    }

    /// Waits no more for an answer.
    fn lose(&mut self) {
        self.missed |= self.asked.take().is_some();
    }

    fn told(&mut self, result: Result<ConsumerGroupBeat, ErrorCode>) {
        self.asked = None;
        self.missed = false;
        match result {
            Ok(beat) => {
                self.epoch = beat.epoch.0.max(0);
                if let Some(assignment) = beat.assignment {
                    self.assigned = Some(assignment.into_iter().collect());
                }
                if self.assigned.as_ref().is_some_and(|to| self.owned.is_subset(to)) {
                    self.obey();
                }
            }
            Err(ErrorCode::NotCoordinator) => self.missed = true,
            Err(_) => self.drop_all(),
        }
    }

    /// Gives up what it must, and takes what it may.
    fn obey(&mut self) {
        if let Some(assigned) = self.assigned.take() {
            self.owned = assigned;
        }
    }
}

struct Consumers {
    rig: Rig,
    members: [Consumer; 3],
}

fn name(index: usize) -> String {
    format!("m{index}")
}

impl Consumers {
    fn beat(&mut self, index: usize, leave: bool) {
        let member = &mut self.members[index];
        member.lose();
        let owned: Vec<_> = member.owned.iter().copied().collect();
        let id = name(index);
        let request = match (leave, member.epoch) {
            (true, _) => next_beat(&id, -1, None),
            (false, 0) => first_beat(&id),
            (false, epoch) if member.missed => ConsumerGroupHeartbeat {
                epoch: MemberEpoch(epoch),
                owned: Some(owned),
                ..first_beat(&id)
            },
            (false, epoch) => next_beat(&id, epoch, Some(&owned)),
        };
        if leave {
            member.drop_all();
        }
        let number = self.rig.send(GroupRequest::ConsumerGroupHeartbeat(request));
        self.members[index].asked = Some(number).filter(|_| !leave);
    }

    fn deliver(&mut self) {
        for member in &mut self.members {
            let Some(asked) = member.asked else { continue };
            if let Some(GroupAnswer::ConsumerGroupHeartbeat(result)) = self.rig.told.remove(&asked)
            {
                member.told(result);
            }
        }
    }

    fn act(&mut self, (what, who, how): Act) {
        let index = usize::from(who) % 3;
        match what % 16 {
            0..=5 => self.beat(index, false),
            6 => self.beat(index, how % 4 == 0),
            7 | 8 => self.members[index].obey(),
            9..=11 => self.rig.confirm(),
            12 => {
                let open = self.rig.log.len() - self.rig.confirmed;
                self.rig.confirm_to(self.rig.confirmed + usize::from(how) % (open + 1));
            }
            // Its answer is lost.
            13 => self.members[index].lose(),
            14 if how % 3 == 0 => {
                let partitions = 2 + u32::from(who) % 4;
                self.rig.topics.0.insert("a".to_string(), (TopicId(1), partitions));
            }
            14 => self.rig.pass(Dur::secs(u64::from(how) % 32)),
            _ => self.rig.fail_over(),
        }
        self.deliver();
    }

    /// Nobody was told a partition that another member may still own.
    fn judge(&self) -> Verdict {
        replays(&self.rig)?;
        let fold = self.rig.groups().fold();
        let Some(Group::Consumer(group)) = fold.groups.get(GROUP) else { return Ok(()) };
        let mut owners: BTreeMap<TopicPartition, &String> = BTreeMap::new();
        for (id, current) in &group.current {
            for at in current.assigned.keys().chain(current.revoking.keys()) {
                let other = owners.insert(*at, id);
                ensure(other.is_none(), || format!("{at:?} is {id}'s and {other:?}'s"))?;
            }
        }
        for (index, member) in self.members.iter().enumerate() {
            let id = name(index);
            if !group.members.contains_key(&id) || member.epoch == 0 {
                continue;
            }
            for at in &member.owned {
                let owner = owners.get(at);
                ensure(owner == Some(&&id), || format!("{id} owns {at:?}, {owner:?} may"))?;
            }
        }
        Ok(())
    }

    /// These members are heard, and no others: the group gets stable, and everything is somebody's.
    fn calm(&mut self, heard: core::ops::Range<usize>) -> Verdict {
        for _ in 0..40 {
            for index in heard.clone() {
                self.beat(index, false);
                self.rig.confirm();
                self.deliver();
                self.members[index].obey();
                self.judge()?;
            }
            self.rig.pass(Dur::secs(5));
        }
        let state = self.rig.state();
        ensure(state == Some("Stable"), || format!("is {state:?} in the end"))?;
        let owned: usize = self.members[heard].iter().map(|member| member.owned.len()).sum();
        let all = self.rig.topics.0["a"].1 as usize;
        ensure(owned == all, || format!("{owned} of {all} partitions are owned"))
    }
}

fn run_consumers(acts: &[Act], mutants: Mutants) -> Verdict {
    let mut run = Consumers { rig: Rig::with(mutants), members: Default::default() };
    for act in acts {
        run.act(*act);
        run.judge()?;
    }
    let silent = acts.last().is_some_and(|act| act.1 % 2 == 0);
    run.calm(usize::from(silent)..3)
}

// The classic protocol, offsets and transactions.

#[derive(Clone, Default)]
enum Phase {
    #[default]
    Out,
    Joining(u64),
    Syncing(u64),
    In,
    Beating(u64),
}

#[derive(Clone, Default)]
struct Reader {
    id: String,
    generation: i32,
    phase: Phase,
}

impl Reader {
    /// It must join again, perhaps under another id.
    fn refused(&mut self, answer: GroupAnswer) -> Verdict {
        self.phase = Phase::Out;
        let code = if let GroupAnswer::JoinGroup(Err(JoinRefused { code, member })) = answer {
            if code == ErrorCode::MemberIdRequired {
                self.id = member;
            }
            code
        } else if let GroupAnswer::SyncGroup(Err(code)) | GroupAnswer::Heartbeat(Err(code)) = answer
        {
            code
        } else {
            return Err(format!("{answer:?} to a member"));
        };
        if code == ErrorCode::UnknownMemberId {
            self.id.clear();
        }
        Ok(())
    }
}

/// What was accepted into the log.
#[derive(Clone, Copy)]
enum Accepted {
    Plain(u64),
    Staged(u64, u64),
    Ended(u64, TransactionResult),
}

struct Readers {
    rig: Rig,
    readers: [Reader; 3],
    /// With the number of batches that were in the log before.
    accepted: Vec<(usize, Accepted)>,
    /// Who was told a partition, by generation.
    told: BTreeMap<(i32, u8), String>,
    next_offset: u64,
}

impl Readers {
    /// The second fold: what is committed, and whether a transaction is open.
    fn oracle(&self) -> (Option<u64>, bool) {
        let mut committed: Option<(usize, u64)> = None;
        let mut staged: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (place, (_, accepted)) in self.accepted.iter().enumerate() {
            match accepted {
                Accepted::Plain(offset) => committed = Some((place, *offset)),
                Accepted::Staged(producer, offset) => {
                    staged.insert(*producer, (place, *offset));
                }
                Accepted::Ended(producer, result) => {
                    let was = staged.remove(producer);
                    if *result == TransactionResult::Commit {
                        committed = committed.max(was);
                    }
                }
            }
        }
        (committed.map(|(_, offset)| offset), !staged.is_empty())
    }

    fn commit(&mut self, index: usize, how: u8) -> Verdict {
        let reader = self.readers[index].clone();
        self.next_offset += 1;
        let (offset, before) = (self.next_offset, self.rig.log.len());
        let producer = u64::from(how % 2) + 1;
        let nameless = matches!(how % 8, 0 | 2);
        let (who, said) = match nameless {
            true => (nobody(), -1),
            // Now and then with a generation that is over.
            false => (who(&reader.id), reader.generation - i32::from(how % 8 == 1)),
        };
        let transactional = how % 4 >= 2;
        let now = self.rig.groups().peek_classic(GROUP).map(|group| group.generation);
        let empty = self.rig.groups().peek_classic(GROUP).is_none_or(|group| group.is_empty());
        let result = match transactional {
            true => self.rig.txn_commit(producer, &who, said, offset),
            false => self.rig.commit(&who, said, offset),
        };
        let unchecked = said < 0 && (empty || (transactional && nameless));
        let taken = result.is_ok();
        let fenced = !taken || unchecked || now == Some(Generation(said));
        ensure(fenced, || format!("a commit of generation {said} was taken in {now:?}"))?;
        let refused = unchecked && !taken;
        ensure(!refused, || "a commit of nobody was refused".to_string())?;
        if taken {
            let what = match transactional {
                true => Accepted::Staged(producer, offset),
                false => Accepted::Plain(offset),
            };
            self.accepted.push((before, what));
        }
        Ok(())
    }

    fn step(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        match reader.phase.clone() {
            Phase::Out => {
                let request = join(who(&reader.id));
                reader.phase = Phase::Joining(self.rig.send(GroupRequest::JoinGroup(request)));
            }
            Phase::In => {
                let request = GroupRequest::Heartbeat {
                    group: GROUP.to_string(),
                    who: who(&reader.id),
                    generation: Generation(reader.generation),
                };
                reader.phase = Phase::Beating(self.rig.send(request));
            }
            Phase::Joining(_) | Phase::Syncing(_) | Phase::Beating(_) => {}
        }
    }

    fn deliver(&mut self) -> Verdict {
        for index in 0..self.readers.len() {
            let asked = match self.readers[index].phase {
                Phase::Joining(asked) | Phase::Syncing(asked) | Phase::Beating(asked) => asked,
                Phase::Out | Phase::In => continue,
            };
            let Some(answer) = self.rig.told.remove(&asked) else { continue };
            if let GroupAnswer::JoinGroup(Ok(joined)) = &answer {
                self.joined(index, joined);
            } else if let GroupAnswer::SyncGroup(Ok(synced)) = &answer {
                self.synced(index, synced)?;
            } else if answer == GroupAnswer::Heartbeat(Ok(())) {
                self.readers[index].phase = Phase::In;
            } else {
                self.readers[index].refused(answer)?;
            }
        }
        Ok(())
    }

    fn joined(&mut self, index: usize, joined: &Joined) {
        let reader = &mut self.readers[index];
        reader.id.clone_from(&joined.member);
        reader.generation = joined.generation.0;
        // The leader gives partition p to the member number p modulo their number.
        let count = joined.members.len();
        let part = |(place, (member, _)): (usize, &(_, Bytes))| {
            let member: &crate::protocol::MemberIdentity = member;
            let mine = (0..4u8).filter(|p| usize::from(*p) % count == place);
            (member.member.clone(), mine.collect::<Vec<u8>>().into())
        };
        let assignments = joined.members.iter().enumerate().map(part).collect();
        let request = SyncGroup {
            group: GROUP.to_string(),
            who: who(&joined.member),
            generation: joined.generation,
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments,
        };
        reader.phase = Phase::Syncing(self.rig.send(GroupRequest::SyncGroup(request)));
    }

    fn synced(&mut self, index: usize, synced: &Synced) -> Verdict {
        let reader = &mut self.readers[index];
        reader.phase = Phase::In;
        for partition in &synced.assignment {
            let key = (reader.generation, *partition);
            let owner = self.told.entry(key).or_insert_with(|| reader.id.clone());
            ensure(*owner == reader.id, || format!("{key:?} is {owner}'s and {}'s", reader.id))?;
        }
        Ok(())
    }

    fn act(&mut self, (what, who, how): Act) -> Verdict {
        let index = usize::from(who) % 3;
        match what % 16 {
            0..=4 => self.step(index),
            5..=7 => self.commit(index, how)?,
            8 => {
                let producer = u64::from(who % 2) + 1;
                let result = match how % 2 {
                    0 => TransactionResult::Commit,
                    _ => TransactionResult::Abort,
                };
                self.accepted.push((self.rig.log.len(), Accepted::Ended(producer, result)));
                self.rig.mark(producer, result);
            }
            9 | 10 => self.rig.confirm(),
            11 | 12 => self.rig.pass(Dur::secs(u64::from(how) % 6)),
            13 if how % 4 == 0 => {
                let id = core::mem::take(&mut self.readers[index].id);
                self.readers[index].phase = Phase::Out;
                let members = [super::rig::who(&id)].to_vec();
                let group = GROUP.to_string();
                self.rig.send(GroupRequest::LeaveGroup { group, members });
            }
            // Its answer is lost.
            13 => self.readers[index].phase = Phase::Out,
            14 => self.rig.confirm(),
            _ => {
                self.rig.fail_over();
                let left = self.rig.log.len();
                self.accepted.retain(|(before, _)| *before < left);
            }
        }
        self.deliver()
    }

    fn judge(&mut self) -> Verdict {
        replays(&self.rig)?;
        let (committed, open) = self.oracle();
        // Read in a copy: an answer that leaves confirms all before it.
        let mut rig = self.rig.clone();
        let (any, stable) = (rig.fetch(false), rig.fetch(true));
        ensure(any == Ok(committed), || format!("{any:?} is read, not {committed:?}"))?;
        let expected = if open { Err(ErrorCode::UnstableOffsetCommit) } else { Ok(committed) };
        ensure(stable == expected, || format!("{stable:?} is read, not {expected:?}"))?;
        let group = self.rig.groups().peek_classic(GROUP);
        let stored = self.rig.groups().fold().classic(GROUP);
        let (Some(group), Some(stored)) = (group, stored) else { return Ok(()) };
        // What a stable group is, the log says.
        let said = group.state != crate::coordinator::group::classic::State::Stable
            || group.store() == *stored;
        ensure(said, || "a stable group is not what the log says".to_string())
    }

    fn calm(&mut self) -> Verdict {
        for _ in 0..60 {
            for index in 0..3 {
                self.step(index);
                self.rig.confirm();
                self.deliver()?;
            }
            self.rig.pass(Dur::secs(1));
            self.deliver()?;
            self.judge()?;
        }
        let state = self.rig.state();
        ensure(state == Some("Stable"), || format!("is {state:?} in the end"))?;
        let generations: BTreeSet<i32> =
            self.readers.iter().map(|reader| reader.generation).collect();
        ensure(generations.len() == 1, || format!("members are in {generations:?}"))
    }
}

fn run_readers(acts: &[Act], mutants: Mutants) -> Verdict {
    let mut run = Readers {
        rig: Rig::with(mutants),
        readers: Default::default(),
        accepted: Vec::new(),
        told: BTreeMap::new(),
        next_offset: 0,
    };
    // Half of the runs begin with a stable group.
    if acts.first().is_some_and(|act| act.2 % 2 == 0) {
        run.calm()?;
    }
    for act in acts {
        run.act(*act)?;
        run.judge()?;
    }
    run.calm()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn consumers_whatever_happens_own_each_partition_alone(
        acts in prop::collection::vec(any::<Act>(), 0..90),
    ) {
        run_consumers(&acts, Mutants::NONE).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn readers_whatever_happens_get_offsets_and_generations_that_were_accepted(
        acts in prop::collection::vec(any::<Act>(), 0..120),
    ) {
        run_readers(&acts, Mutants::NONE).map_err(TestCaseError::fail)?;
    }
}

/// The runs find what they should; the bugs that they cannot show have their own tests.
#[cfg(feature = "mutants")]
#[test]
fn runs_find_the_planted_bugs() {
    use crate::mutants::Mutant;

    /// Some acts, the same for each seed (splitmix64).
    fn acts(seed: u64) -> Vec<Act> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (mixed ^ (mixed >> 31)).to_le_bytes()
        };
        (0..90).map(|_| next()).map(|bytes| (bytes[0], bytes[1], bytes[2])).collect()
    }

    type Run = fn(&[Act], Mutants) -> Verdict;
    let found = |run: Run, mutants| (0..60).any(|seed| run(&acts(seed), mutants).is_err());
    assert!(!found(run_consumers, Mutants::NONE));
    assert!(!found(run_readers, Mutants::NONE));
    let by_readers = [
        Mutant::GroupMarkerOffsetDecides,
        Mutant::GroupRequireStableIgnored,
        Mutant::GroupTxnCommitUnfenced,
        Mutant::GroupTxnOffsetAtOnce,
        Mutant::GroupNobodyRefused,
        Mutant::GroupGenerationUnchecked,
        Mutant::GroupAssignmentNotStored,
    ];
    let missed: Vec<_> = by_readers
        .into_iter()
        .filter(|mutant| !found(run_readers, Mutants::NONE.with(*mutant)))
        .chain(
            [Mutant::GroupGivenBeforeRevoked, Mutant::GroupSessionsUnseeded]
                .into_iter()
                .filter(|mutant| !found(run_consumers, Mutants::NONE.with(*mutant))),
        )
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

//! Transactional ids: who became the producer of each, and what may have taken that away from them.
//!
//! A cause counts until its producer is known to be well: an end of a transaction that it asks for
//! later and that is done proves that nothing had come between. Source: KIP-98, KIP-360, KIP-890.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use broker_core::ids::{ProducerEpoch, ProducerId};
use broker_core::protocol::TxnState;
use broker_core::time::{Dur, Wall};

use super::coordinators::Standing;
use crate::history::{SimTime, TransactionalId};

/// A coordinator forgets an id that is idle for so long (`transactional.id.expiration.ms`).
const EXPIRATION_US: i64 = 7 * 24 * 3_600 * 1_000_000;
const EXPIRATION: Dur = Dur(EXPIRATION_US.unsigned_abs());

/// A call: its client and number.
pub(crate) type Key = (u16, u32);

pub(crate) type Identity = (ProducerId, ProducerEpoch);

/// A moment: number of the evidence, and time.
pub(crate) type Moment = (u64, SimTime);

/// All transactional ids, by their place.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Producers {
    places: BTreeMap<TransactionalId, u32>,
    ids: Vec<Id>,
    /// Somebody became the producer of an id that is not told: it may be any.
    untold: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Id {
    name: TransactionalId,
    /// InitProducerId calls that are under way, and how long they let transactions take.
    asking: BTreeMap<Key, Option<Dur>>,
    /// Those that ended without an answer, which may be done yet: by whom, as whom before. Of
    /// several the shortest time counts; `None`: one of them did not tell it.
    lost: BTreeMap<(u16, Option<Identity>), Option<Dur>>,
    /// The end of the newest that failed: it may have ended the open transaction under a new epoch
    /// (`CONCURRENT_TRANSACTIONS`).
    failed: BTreeMap<(u16, Option<Identity>), u64>,
    /// The end of each client's newest one that got an answer, of whatever kind.
    answered: BTreeMap<u16, u64>,
    /// Each client's newest producer.
    producers: BTreeMap<u16, Producer>,
    /// The shortest time that anybody let transactions take.
    shortest: Option<Dur>,
    /// Calls that may have begun the transaction that is open, or the next one.
    begun: Option<Calls>,
    /// Those of them that are under way, and when they began.
    under_way: BTreeMap<Key, Moment>,
    /// Those that ended without an answer: they may begin a transaction yet.
    late: Option<Calls>,
    coordinator: Seen,
}

/// The first and the last of some calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Calls {
    first: Moment,
    last: Moment,
}

impl Calls {
    fn add(calls: &mut Option<Self>, call: Moment) {
        let known = calls.get_or_insert(Self { first: call, last: call });
        (known.first, known.last) = (known.first.min(call), known.last.max(call));
    }

    /// Forgets those from before this moment.
    fn forget(calls: &mut Option<Self>, before: Moment) {
        *calls = calls.filter(|known| known.last >= before);
        if let Some(known) = calls {
            known.first = known.first.max(before);
        }
    }
}

/// A producer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Producer {
    identity: Identity,
    /// When it asked for that.
    asked: u64,
    /// When it got it.
    since: Moment,
    /// It was the producer at or after this moment.
    proven: Moment,
    /// How long its transactions may take, if that is told.
    timeout: Option<Dur>,
}

/// What the coordinator wrote, by the clocks of whoever it was.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Seen {
    /// Its newest record.
    touched: Option<Wall>,
    /// The transaction that is open began.
    began: Option<Wall>,
    /// It last ended a transaction that had taken too long, or forgot an id that was idle.
    cut: Option<u64>,
}

/// Why a producer is none any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// Another became the producer.
    Replaced,
    /// An InitProducerId without an answer may have been done, or one of its own that failed may
    /// have ended its transaction.
    PerhapsReplaced,
    /// Its transaction took too long, or its id was idle for too long.
    TimedOut,
}

/// Who was refused what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) client: u16,
    pub(crate) place: u32,
    /// When it asked.
    pub(crate) since: SimTime,
    /// When it is refused.
    pub(crate) now: u64,
    /// Who it wanted to go on as.
    pub(crate) expected: Option<Identity>,
}

impl Id {
    /// When a transaction that is open may have begun, of a producer that was well at `proven`.
    fn began(&self, proven: SimTime) -> Option<SimTime> {
        let told = [self.begun, self.late].into_iter().flatten().map(|calls| calls.first.1);
        let first = told.chain(self.under_way.values().map(|call| call.1)).min();
        first.map(|first| first.max(proven))
    }

    /// How long the transactions of `producer` may take, if that is told. An InitProducerId without
    /// an answer may have been done behind its own.
    fn timeout(&self, producer: &Producer) -> Option<Dur> {
        self.lost.values().try_fold(producer.timeout?, |least, lost| Some(least.min((*lost)?)))
    }
}

impl Producers {
    /// The numbers of evidence.
    pub(crate) fn positions(&mut self, with: &mut dyn FnMut(&mut u64)) {
        for id in &mut self.ids {
            id.failed.values_mut().for_each(&mut *with);
            id.answered.values_mut().for_each(&mut *with);
            for producer in id.producers.values_mut() {
                with(&mut producer.asked);
                with(&mut producer.since.0);
                with(&mut producer.proven.0);
            }
            for calls in [&mut id.begun, &mut id.late].into_iter().flatten() {
                with(&mut calls.first.0);
                with(&mut calls.last.0);
            }
            id.under_way.values_mut().for_each(|call| with(&mut call.0));
            id.coordinator.cut.iter_mut().for_each(&mut *with);
        }
    }

    pub(crate) fn place(&mut self, name: &TransactionalId) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.ids.len()).expect("fewer than 2^32 ids");
        self.places.insert(name.clone(), place);
        self.ids.push(Id {
            name: name.clone(),
            asking: BTreeMap::new(),
            lost: BTreeMap::new(),
            failed: BTreeMap::new(),
            answered: BTreeMap::new(),
            producers: BTreeMap::new(),
            shortest: None,
            begun: None,
            under_way: BTreeMap::new(),
            late: None,
            coordinator: Seen::default(),
        });
        place
    }

    pub(crate) fn name(&self, place: u32) -> &TransactionalId {
        &self.ids[place as usize].name
    }

    /// InitProducerId begins.
    pub(crate) fn asks(&mut self, place: Option<u32>, key: Key, timeout: Option<Dur>) {
        let Some(place) = place else {
            self.untold = true;
            return;
        };
        let id = &mut self.ids[place as usize];
        id.asking.insert(key, timeout);
        id.shortest = id.shortest.into_iter().chain(timeout).min();
    }

    /// It ended without an answer.
    pub(crate) fn lost(&mut self, place: u32, key: Key, expected: Option<Identity>) {
        let id = &mut self.ids[place as usize];
        let timeout = id.asking.remove(&key).flatten();
        let known = id.lost.entry((key.0, expected)).or_insert(timeout);
        *known = (*known).min(timeout);
    }

    /// It was refused.
    pub(crate) fn refused(&mut self, place: u32, key: Key, expected: Option<Identity>, now: u64) {
        let id = &mut self.ids[place as usize];
        id.asking.remove(&key);
        id.answered.insert(key.0, now);
        id.failed.insert((key.0, expected), now);
    }

    /// It was done.
    pub(crate) fn became(
        &mut self,
        place: u32,
        key: Key,
        identity: Identity,
        (asked, now): (Moment, Moment),
    ) {
        let id = &mut self.ids[place as usize];
        let timeout = id.asking.remove(&key).flatten();
        id.answered.insert(key.0, now.0);
        let producer = Producer { identity, asked: asked.0, since: now, proven: asked, timeout };
        id.producers.insert(key.0, producer);
        Calls::forget(&mut id.begun, asked);
        // Whatever is under way from before is another producer's.
        Calls::forget(&mut id.late, asked);
        id.under_way.retain(|_, began| *began >= asked);
    }

    /// A call within a transaction begins at this moment, which may begin its transaction.
    pub(crate) fn calls(&mut self, place: u32, (key, now): (Key, Moment)) {
        let id = &mut self.ids[place as usize];
        Calls::add(&mut id.begun, now);
        id.under_way.insert(key, now);
    }

    /// A transaction was begun at this moment, as its id is told later.
    pub(crate) fn begun(&mut self, place: u32, first: Moment) {
        Calls::add(&mut self.ids[place as usize].begun, first);
    }

    /// Such a call ended, with an answer or without one.
    pub(crate) fn called(&mut self, place: u32, key: Key, answered: bool) {
        let id = &mut self.ids[place as usize];
        if let Some(call) = id.under_way.remove(&key).filter(|_| !answered) {
            Calls::add(&mut id.late, call);
        }
    }

    /// An end of a transaction that was asked for at this moment is done.
    pub(crate) fn ended(&mut self, place: u32, client: u16, asked: Moment) {
        let id = &mut self.ids[place as usize];
        if let Some(producer) = id.producers.get_mut(&client) {
            producer.proven = producer.proven.max(asked);
        }
        // Whatever was open is over.
        Calls::forget(&mut id.begun, asked);
    }

    /// Who the client became last.
    pub(crate) fn identity(&self, place: u32, client: u16) -> Option<Identity> {
        self.ids[place as usize].producers.get(&client).map(|own| own.identity)
    }

    /// Whoever had become the producer behind the client's back before it asks for something now.
    pub(crate) fn replaced(&self, place: u32, client: u16) -> Option<Identity> {
        let producers = &self.ids[place as usize].producers;
        let own = producers.get(&client)?;
        let others = producers.iter().filter(|(by, _)| **by != client).map(|(_, other)| other);
        let later = others.filter(|other| other.asked > own.since.0);
        later.max_by_key(|other| other.asked).map(|other| other.identity)
    }

    /// What may be the reason that the client is refused; `Err`: nobody can say.
    pub(crate) fn cause(
        &self,
        refused: Refused,
        alone: Option<SimTime>,
    ) -> Result<Option<Cause>, ()> {
        let Refused { client, place, since, now: refused, expected } = refused;
        let id = &self.ids[place as usize];
        let producer = id.producers.get(&client).filter(|own| own.since.1 <= since).ok_or(())?;
        if self.untold {
            return Err(());
        }
        let (pos, time) = producer.proven;
        let others = id.answered.iter().filter(|(by, _)| **by != client);
        let replaced = others.map(|(_, end)| *end).any(|end| end >= pos);
        if replaced || !id.asking.is_empty() {
            return Ok(Some(Cause::Replaced));
        }
        // To ask as somebody twice raises the epoch once (KIP-360).
        let again = |asked: &(u16, _)| expected.is_some() && *asked == (client, expected);
        let own = id.failed.iter().filter(|(by, end)| by.0 == client && **end >= pos);
        let mut failed = own.filter(|(_, end)| **end < refused).map(|(by, _)| by);
        if id.lost.keys().any(|lost| !again(lost)) || failed.any(|failed| !again(failed)) {
            return Ok(Some(Cause::PerhapsReplaced));
        }
        let timed_out = match alone {
            Some(now) => {
                let timeout = id.timeout(producer).ok_or(())?;
                let open = id.began(time).is_some_and(|began| Dur(now.0 - began.0) >= timeout);
                open || Dur(now.0 - time.0) >= EXPIRATION
            }
            None => id.coordinator.cut.is_some_and(|cut| cut >= pos),
        };
        Ok(timed_out.then_some(Cause::TimedOut))
    }

    /// A coordinator, whose clock shows `wall`, wrote down how an id stands.
    pub(crate) fn recorded(
        &mut self,
        name: &TransactionalId,
        (before, now): (Option<Standing>, Option<Standing>),
        wall: Wall,
        pos: u64,
    ) {
        let place = self.place(name);
        let id = &mut self.ids[place as usize];
        let state = |standing: Option<Standing>| standing.map(|(.., state)| state);
        let was_open = state(before) == Some(TxnState::Ongoing);
        let for_us = |since: Option<Wall>| since.map_or(0, |since| wall.0.saturating_sub(since.0));
        let seen = &mut id.coordinator;
        let cut = match state(now) {
            Some(TxnState::Ongoing) if !was_open => {
                seen.began = Some(wall);
                false
            }
            Some(TxnState::PrepareAbort) if was_open => {
                let timeout = id.shortest.and_then(|it| i64::try_from(it.0).ok());
                for_us(seen.began) >= timeout.unwrap_or(i64::MAX)
            }
            None => for_us(seen.touched) >= EXPIRATION_US,
            Some(_) => false,
        };
        seen.touched = Some(wall);
        if cut {
            seen.cut = Some(pos);
        }
    }
}

//! WALs and claims as the object store and the brokers' probes tell them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{
    BrokerEpoch, Incarnation, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, StreamId,
};

/// A record that its broker may acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Confirmed {
    pub(crate) stream: StreamId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

/// A WAL object.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WalObject {
    /// In the store at this moment.
    pub(crate) present: bool,
    /// First time a put of it took effect.
    pub(crate) put_first: Option<u64>,
    /// Last time, and the last time a deletion did.
    pub(crate) put_last: Option<u64>,
    pub(crate) deleted_last: Option<u64>,
    /// When its owner knew it to be durable.
    pub(crate) done: Option<u64>,
    /// Its owner has sent a second deletion; one took effect after that.
    pub(crate) second_sent: bool,
    pub(crate) second_done: bool,
}

/// One registration's WAL.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WalFacts {
    /// By first lsn and exclusive end.
    pub(crate) objects: BTreeMap<(Lsn, Lsn), WalObject>,
    /// Exclusive end of what a check of ownership confirmed.
    pub(crate) confirmed_end: Option<Lsn>,
    /// Confirmed records, by lsn less `first`.
    pub(crate) first: Lsn,
    pub(crate) confirmed: Vec<Option<Confirmed>>,
    /// All before it were found committed: they stay so.
    pub(crate) committed_below: usize,
    pub(crate) trimmed: Lsn,
    /// When a recoverer first listed it.
    pub(crate) listed: Option<u64>,
    pub(crate) recovery_began: bool,
}

impl WalFacts {
    pub(crate) fn confirm(&mut self, lsn: Lsn, record: Confirmed) {
        if self.confirmed.is_empty() {
            self.first = lsn;
        }
        let Some(place) = lsn.0.checked_sub(self.first.0) else { return };
        let place = usize::try_from(place).expect("a run's lsns fit");
        // A hole in the lsns is judged elsewhere; here it must only not eat the memory.
        if place > self.confirmed.len() + (1 << 20) {
            return;
        }
        if place >= self.confirmed.len() {
            self.confirmed.resize(place + 1, None);
        }
        self.confirmed[place] = Some(record);
    }

    pub(crate) fn record(&self, lsn: Lsn) -> Option<Confirmed> {
        let place = usize::try_from(lsn.0.checked_sub(self.first.0)?).ok()?;
        self.confirmed.get(place).copied().flatten()
    }

    /// Confirmed records from the place `from` to before `upto`, with their lsns.
    pub(crate) fn records(
        &self,
        from: usize,
        upto: Lsn,
    ) -> impl Iterator<Item = (Lsn, Confirmed)> + '_ {
        let until = usize::try_from(upto.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        let until = until.min(self.confirmed.len());
        let records = self.confirmed.get(from.min(until)..until).unwrap_or(&[]);
        let first = self.first.plus(from.min(until) as u64);
        records
            .iter()
            .enumerate()
            .filter_map(move |(i, record)| record.map(|record| (first.plus(i as u64), record)))
    }

    /// The object that holds `lsn`.
    pub(crate) fn object_at(&self, lsn: Lsn) -> Option<((Lsn, Lsn), &WalObject)> {
        let (key, object) = self.objects.range(..=(lsn, Lsn(u64::MAX))).next_back()?;
        (lsn < key.1).then_some((*key, object))
    }
}

/// A check of ownership.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Verify {
    /// When its broker sent it.
    pub(crate) sent: u64,
    /// When its first list took effect, and what the claims were then.
    pub(crate) listed: Option<Listed>,
}

/// The claims on a WAL at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Listed {
    pub(crate) pos: u64,
    pub(crate) newest: Option<Claim>,
}

/// A claim object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Claim {
    pub(crate) number: u64,
    pub(crate) by: NodeId,
    pub(crate) incarnation: Incarnation,
}

/// A recoverer's steps, as far as their order matters.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Takeover {
    pub(crate) incarnation: Incarnation,
    /// The newest claim it took, and when that first took effect in the store.
    pub(crate) claimed: Option<(u64, u64)>,
    /// First and last page of its newest list.
    pub(crate) listed: Option<(u64, u64)>,
}

/// All WALs.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Wals {
    pub(crate) wals: BTreeMap<(NodeId, BrokerEpoch), WalFacts>,
    /// Claims in the store, by owner of the WAL, then number.
    pub(crate) claims: BTreeMap<NodeId, BTreeMap<u64, Claim>>,
    /// Checks that were sent and not yet confirmed, by broker and number.
    pub(crate) verifies: BTreeMap<(NodeId, u64), Verify>,
    /// By recoverer and owner.
    pub(crate) takeovers: BTreeMap<(NodeId, NodeId), Takeover>,
    /// Confirmed terms of each stream, ascending by epoch.
    pub(crate) streams: BTreeMap<StreamId, Vec<StreamTerm>>,
    /// Data objects in the store.
    pub(crate) data: BTreeSet<ObjectId>,
}

/// Records of one stream confirmed under one epoch by one broker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StreamTerm {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) node: NodeId,
    pub(crate) first: Offset,
    pub(crate) end: Offset,
}

impl Wals {
    pub(crate) fn of(&mut self, node: NodeId, epoch: BrokerEpoch) -> &mut WalFacts {
        self.wals.entry((node, epoch)).or_default()
    }

    pub(crate) fn get(&self, node: NodeId, epoch: BrokerEpoch) -> Option<&WalFacts> {
        self.wals.get(&(node, epoch))
    }

    /// Whose WALs are known, some of them more than once.
    pub(crate) fn owners(&self) -> impl Iterator<Item = NodeId> {
        let known = self.wals.keys().map(|(owner, _)| *owner);
        let taken = self.takeovers.keys().map(|(_, owner)| *owner);
        let checked = self.verifies.keys().map(|(owner, _)| *owner);
        known.chain(taken).chain(checked)
    }

    /// The numbers of evidence about a node's WALs.
    pub(crate) fn positions(&mut self, owner: NodeId, with: &mut dyn FnMut(&mut u64)) {
        let wals = self.wals.iter_mut().filter(|((node, _), _)| *node == owner);
        for (_, wal) in wals {
            for object in wal.objects.values_mut() {
                let WalObject { put_first, put_last, deleted_last, done, .. } = object;
                for pos in [put_first, put_last, deleted_last, done].into_iter().flatten() {
                    with(pos);
                }
            }
            wal.listed.iter_mut().for_each(&mut *with);
        }
        let verifies = self.verifies.iter_mut().filter(|((node, _), _)| *node == owner);
        for (_, verify) in verifies {
            with(&mut verify.sent);
            verify.listed.iter_mut().for_each(|listed| with(&mut listed.pos));
        }
        let takeovers = self.takeovers.iter_mut().filter(|((_, of), _)| *of == owner);
        for (_, takeover) in takeovers {
            takeover.claimed.iter_mut().for_each(|(_, pos)| with(pos));
            if let Some((first, last)) = &mut takeover.listed {
                with(first);
                with(last);
            }
        }
    }

    pub(crate) fn newest_claim(&self, of: NodeId) -> Option<Claim> {
        self.claims.get(&of)?.values().next_back().copied()
    }

    /// A process of `by` begins anew with the WAL of `of`, or goes on.
    pub(crate) fn takeover(
        &mut self,
        by: NodeId,
        of: NodeId,
        incarnation: Incarnation,
    ) -> &mut Takeover {
        let takeover = self.takeovers.entry((by, of)).or_default();
        if takeover.incarnation != incarnation {
            *takeover = Takeover { incarnation, ..Takeover::default() };
        }
        takeover
    }

    /// A claim put by a recoverer took effect. A copy that lands again, behind the deletion of the
    /// claim, changes nothing; nor does an older claim that lands late.
    pub(crate) fn claimed(
        &mut self,
        (by, of): (NodeId, NodeId),
        incarnation: Incarnation,
        (number, pos): (u64, u64),
    ) {
        let takeover = self.takeover(by, of, incarnation);
        if takeover.claimed.is_none_or(|(known, _)| known < number) {
            takeover.claimed = Some((number, pos));
        }
    }

    /// Notes a confirmed record in its stream's terms.
    pub(crate) fn confirm_in_stream(&mut self, node: NodeId, record: Confirmed) {
        let terms = self.streams.entry(record.stream).or_default();
        let key = (record.epoch, node);
        match terms.binary_search_by_key(&key, |term| (term.epoch, term.node)) {
            Ok(at) => {
                terms[at].first = terms[at].first.min(record.base);
                terms[at].end = terms[at].end.max(record.end);
            }
            Err(at) => {
                let (epoch, first, end) = (record.epoch, record.base, record.end);
                terms.insert(at, StreamTerm { epoch, node, first, end });
            }
        }
    }

    /// Exclusive end of what was ever confirmed in a stream.
    pub(crate) fn confirmed_in(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream)?.iter().map(|term| term.end).max()
    }
}

//! What the clients saw, by partition and offset, and which calls are open.
//!
//! Offsets are visible and values unique, so a dense vector per partition binds each offset to the
//! first value seen there, and no search is ever needed (Jepsen's kafka workload infers the same).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use broker_core::protocol::{Acks, Isolation, OffsetSpec};
use broker_core::time::Wall;

use crate::facts::horizon::{Floor, Horizon};
use crate::facts::producer_ids::ProducerIds;
use crate::facts::producers::{Identity, Key, Moment, Producers};
use crate::facts::sends::Sends;
use crate::facts::transaction::{Part, Parts, Transaction};
use crate::history::{Call, HistoryEvent, NO_PRODUCER_EPOCH, SimTime, TransactionalId};

/// Offsets above this are beyond any run; a broken broker must not make the judge eat all memory.
pub(crate) const OFFSET_MAX: u64 = 1 << 26;

const NO_VALUE: u64 = u64::MAX;
const NO_EPOCH: u32 = u32::MAX;
const NO_TIME: i64 = i64::MIN;
const ACKED: u8 = 1;
const READ: u8 = 2;
const READ_COMMITTED: u8 = 4;

/// What is known of one offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slot {
    value: u64,
    timestamp_us: i64,
    epoch: u32,
    flags: u8,
}

impl Slot {
    const EMPTY: Self = Self { value: NO_VALUE, timestamp_us: NO_TIME, epoch: NO_EPOCH, flags: 0 };

    pub(crate) fn value(self) -> Option<u64> {
        (self.value != NO_VALUE).then_some(self.value)
    }

    /// Leader epoch of the record, known once it was read, or acknowledged under a probe.
    pub(crate) fn epoch(self) -> Option<LeaderEpoch> {
        (self.epoch != NO_EPOCH).then_some(LeaderEpoch(self.epoch))
    }

    /// Timestamp of the record, µs, known once it was read by a client that sees it.
    pub(crate) fn timestamp_us(self) -> Option<i64> {
        (self.timestamp_us != NO_TIME).then_some(self.timestamp_us)
    }

    /// To a client that asked for acks=all.
    pub(crate) fn was_acked(self) -> bool {
        self.flags & ACKED != 0
    }

    pub(crate) fn was_read(self) -> bool {
        self.flags & READ != 0
    }

    /// By a reader of committed data.
    pub(crate) fn was_read_committed(self) -> bool {
        self.flags & READ_COMMITTED != 0
    }
}

/// How an observation fits what was seen at that offset before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bound {
    /// Nothing was.
    New,
    /// The same value.
    Same {
        /// Read before, too.
        read: bool,
    },
    /// Another value.
    Conflict {
        /// That one.
        was: u64,
        /// A reader had seen it (else it was acknowledged only).
        read: bool,
    },
}

/// One partition as clients saw it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Seen {
    pub(crate) partition: TopicPartition,
    pub(crate) slots: Vec<Slot>,
    /// Somebody fetched from it.
    pub(crate) fetched: bool,
    /// End of the newest batch acknowledged to a client with acks=all.
    pub(crate) acked_end: Offset,
    /// What was acknowledged, read or shown, by leader epoch.
    pub(crate) horizon: Horizon,
    /// The largest high watermark or latest offset that any client was shown.
    pub(crate) shown_end: Offset,
    /// Timestamp lookups and epoch ends to be judged by the final log.
    pub(crate) lookups: Vec<Lookup>,
    /// Last stable offsets that answers showed, by high watermark.
    pub(crate) stable: BTreeMap<Offset, Offset>,
    /// Those listed as the latest offset, and what had been seen when they were asked for.
    pub(crate) stable_listed: Vec<(Offset, Offset)>,
    /// What readers stepped over; whether they read what is committed.
    pub(crate) skipped: BTreeSet<(Offset, Offset, bool)>,
}

/// An answer that only the final log can judge in full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Lookup {
    pub(crate) asked: Asked,
    /// End of what was visible when the call began.
    pub(crate) floor: Offset,
    pub(crate) answer: Option<Listed>,
    /// Asked by a reader of committed data.
    pub(crate) committed: bool,
}

/// A record that a lookup found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Listed {
    pub(crate) offset: Offset,
    pub(crate) time_us: i64,
    pub(crate) epoch: Option<LeaderEpoch>,
}

/// What a lookup asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Asked {
    /// First record at or after this time, µs.
    At(i64),
    /// The largest timestamp.
    Max,
    /// The end of this epoch; `past`: the leader's own epoch was later.
    EpochEnd { epoch: LeaderEpoch, past: bool },
}

/// Outcome of a produce, or of the end of a transaction.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    /// Not yet known.
    #[default]
    Open,
    Ok,
    Failed,
    Unknown,
}

/// A produce. Each retry is one of its own, with values of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Send {
    pub(crate) partition: u32,
    pub(crate) count: u32,
    pub(crate) acks: Acks,
    pub(crate) damaged: bool,
    pub(crate) idempotent: bool,
    /// It may be in the log more than once, as its client may have sent it again by itself.
    pub(crate) retried: bool,
    /// It is.
    pub(crate) doubled: bool,
    /// The transaction it is a part of.
    pub(crate) txn: Option<u32>,
    /// The records' timestamp, if known; once it is acknowledged, as the broker said.
    pub(crate) created: Option<Wall>,
    pub(crate) outcome: Outcome,
    /// Its first offset, once acknowledged or seen.
    pub(crate) base: Option<Offset>,
    /// Some record of it was read.
    pub(crate) read: bool,
    /// What had been acknowledged in the partition before it began: it must come behind.
    pub(crate) after: Offset,
}

impl Send {
    /// It was observed to begin at `base`.
    pub(crate) fn place(&mut self, base: Offset) {
        self.doubled |= self.retried && self.base.is_some_and(|known| known != base);
        self.base.get_or_insert(base);
    }
}

/// A call that has not ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Open {
    pub(crate) since: SimTime,
    /// The operation of the plan it belongs to.
    pub(crate) op: u32,
    pub(crate) what: OpenCall,
}

/// What it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum OpenCall {
    Produce {
        first_value: u64,
    },
    Fetch {
        read: Query,
        offset: Offset,
        isolation: Isolation,
    },
    List {
        read: Query,
        spec: OffsetSpec,
        isolation: Isolation,
    },
    /// Something is to become a part of a transaction; or it is one, and is written to.
    Add {
        txn: u32,
        part: Part,
        writes: bool,
    },
    EndTxn {
        txn: u32,
        /// When it began.
        pos: u64,
    },
    EpochEnd {
        read: Query,
        epoch: LeaderEpoch,
    },
    InitProducerId {
        transactional: bool,
        id: Option<u32>,
        expected: Option<Identity>,
        /// When it began.
        pos: u64,
    },
    Group,
    Admin {
        /// The topic that is to be deleted.
        deletes: Option<TopicId>,
    },
}

/// What every read owes, taken when it begins.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Query {
    pub(crate) partition: u32,
    /// The epoch the client named: a leader of any other refuses.
    pub(crate) epoch: Option<LeaderEpoch>,
    owed: Owed,
    /// By what anyone saw, under whatever epoch.
    pub(crate) ever: Floor,
}

/// What had been seen when the call began: by anyone, and by this client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Owed {
    /// Under epochs up to the one the client named.
    Under(Floor, Floor),
    /// The client named none: the answer must tell.
    ByEpoch(Horizon, Horizon),
}

impl Query {
    /// What an answer under `epoch` owes: by what anyone saw, and by what this client saw.
    pub(crate) fn owed(&self, epoch: LeaderEpoch) -> (Floor, Floor) {
        match &self.owed {
            Owed::Under(all, own) => (*all, *own),
            Owed::ByEpoch(all, own) => (all.at(epoch), own.at(epoch)),
        }
    }
}

/// All clients.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Clients {
    index: BTreeMap<TopicPartition, u32>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) sends: Sends,
    /// By their operations.
    pub(crate) transactions: BTreeMap<u32, Transaction>,
    /// Somebody fetched as a reader of committed data.
    pub(crate) read_committed: bool,
    /// Of a history alone.
    pub(crate) parts: Parts,
    pub(crate) open: BTreeMap<(u16, u32), Open>,
    /// Clients that got an answer in the healthy core.
    pub(crate) answered: BTreeSet<u16>,
    /// The largest epoch that InitProducerId has given out of each transactional producer.
    pub(crate) fences: BTreeMap<ProducerId, ProducerEpoch>,
    /// By transactional id.
    pub(crate) transactional: Producers,
    /// Producer ids that clients were given.
    pub(crate) producer_ids: ProducerIds,
    /// Topics whose deletion was asked for.
    pub(crate) deletions: BTreeSet<TopicId>,
    /// Operations that their clients gave up, and when.
    pub(crate) given_up: Vec<(u16, u32, SimTime)>,
    own: BTreeMap<(u16, u32), Horizon>,
}

impl Clients {
    /// Everything below it was acknowledged or shown to some client.
    pub(crate) fn shown_end(&self, partition: TopicPartition) -> Offset {
        let place = self.index.get(&partition).copied();
        let seen = place.map(|place| &self.seen[place as usize]);
        seen.map_or(Offset(0), |seen| seen.acked_end.max(seen.shown_end))
    }

    /// A partition's place in `seen`.
    pub(crate) fn partition(&mut self, partition: TopicPartition) -> u32 {
        if let Some(found) = self.index.get(&partition) {
            return *found;
        }
        let place = u32::try_from(self.seen.len()).expect("fewer than 2^32 partitions");
        self.index.insert(partition, place);
        self.seen.push(Seen {
            partition,
            slots: Vec::new(),
            fetched: false,
            acked_end: Offset(0),
            horizon: Horizon::default(),
            shown_end: Offset(0),
            lookups: Vec::new(),
            stable: BTreeMap::new(),
            stable_listed: Vec::new(),
            skipped: BTreeSet::new(),
        });
        place
    }

    /// A call begins; `pos` numbers the evidence.
    pub(crate) fn invoke(&mut self, event: &HistoryEvent, what: &Call, pos: u64) {
        let HistoryEvent { at: since, client, call, op, .. } = *event;
        let begins = Some(((client, call), (pos, since)));
        let what = match what {
            Call::Produce { first_value, .. } => {
                self.send(op, what, begins);
                OpenCall::Produce { first_value: *first_value }
            }
            Call::Fetch { partition, offset, leader_epoch, isolation, .. } => OpenCall::Fetch {
                read: self.query(client, *partition, *leader_epoch),
                offset: *offset,
                isolation: *isolation,
            },
            Call::ListOffsets { partition, spec, leader_epoch, isolation } => OpenCall::List {
                read: self.query(client, *partition, *leader_epoch),
                spec: *spec,
                isolation: *isolation,
            },
            Call::AddPartitions { partition, id } => {
                self.transaction(op, id.as_ref(), begins);
                OpenCall::Add { txn: op, part: Part::Partition(*partition), writes: false }
            }
            Call::AddOffsets { group, id } => {
                self.transaction(op, id.as_ref(), begins);
                OpenCall::Add { txn: op, part: Part::Group(group.clone()), writes: false }
            }
            Call::CommitOffsets { group, transactional: true, id, .. } => {
                self.transaction(op, id.as_ref(), begins);
                OpenCall::Add { txn: op, part: Part::Group(group.clone()), writes: true }
            }
            Call::EndTxn { commit, producer, id } => {
                self.transaction(op, id.as_ref(), None);
                let fenced = self.fence(client, *producer, op);
                let txn = self.transaction(op, None, None);
                // What was asked for before may count, whoever asks again.
                let again = *commit && txn.may_be_committed();
                txn.doubtful &= txn.commit == Some(*commit);
                (txn.commit, txn.outcome) = (Some(*commit), Outcome::Open);
                txn.zombie = if again { txn.zombie } else { fenced.filter(|_| *commit) };
                // Nobody knows when that began of which nothing is told but its end.
                let untold = txn.id.filter(|_| txn.began.is_none());
                untold.inspect(|id| self.transactional.begun(*id, Moment::default()));
                OpenCall::EndTxn { txn: op, pos }
            }
            Call::EpochEnd { partition, epoch, leader_epoch } => OpenCall::EpochEnd {
                read: self.query(client, *partition, *leader_epoch),
                epoch: *epoch,
            },
            &Call::InitProducerId { transactional, ref id, timeout, expected } => {
                let id = id.as_ref().map(|id| self.transactional.place(id));
                if transactional {
                    self.transactional.asks(id, (client, call), timeout);
                }
                OpenCall::InitProducerId { transactional, id, expected, pos }
            }
            Call::CommitOffsets { .. } | Call::FetchOffsets { .. } | Call::SyncGroup { .. } => {
                OpenCall::Group
            }
            Call::Admin { topic, deletes } => {
                let deletes = topic.filter(|_| *deletes);
                self.deletions.extend(deletes);
                OpenCall::Admin { deletes }
            }
        };
        self.open.insert((client, call), Open { since, op, what });
    }

    /// A produce begins.
    fn send(&mut self, op: u32, what: &Call, begins: Option<(Key, Moment)>) {
        let &Call::Produce {
            partition,
            acks,
            first_value,
            count,
            damaged,
            created,
            idempotent,
            retried,
            transactional,
            ref id,
        } = what
        else {
            return;
        };
        let partition = self.partition(partition);
        let send = Send {
            partition,
            count,
            acks,
            damaged,
            idempotent,
            retried,
            doubled: false,
            txn: transactional.then_some(op),
            created,
            outcome: Outcome::Open,
            base: None,
            read: false,
            after: self.seen[partition as usize].acked_end,
        };
        self.sends.insert(first_value, send);
        if transactional {
            self.transaction(op, id.as_ref(), begins).written = true;
        }
    }

    /// A transaction, whose transactional id the client may tell, and that a call may begin.
    fn transaction(
        &mut self,
        txn: u32,
        id: Option<&TransactionalId>,
        begins: Option<(Key, Moment)>,
    ) -> &mut Transaction {
        let known = self.transactions.entry(txn).or_default();
        if known.id.is_none() {
            known.id = id.map(|id| self.transactional.place(id));
            known.id.zip(known.began).inspect(|it| self.transactional.begun(it.0, it.1));
        }
        known.began = known.began.or(begins.map(|call| call.1));
        known.id.zip(begins).inspect(|it| self.transactional.calls(it.0, it.1));
        known
    }

    /// Who asks for the end of its transaction, if that is the producer no more: who somebody had
    /// become before, of a larger epoch, or later. One that is not told is what it became last.
    fn fence(&self, client: u16, own: Option<Identity>, txn: u32) -> Option<(Identity, Identity)> {
        let place = self.transactions.get(&txn).and_then(|known| known.id);
        let own = own.or_else(|| self.transactional.identity(place?, client))?;
        let fence = self.fences.get(&own.0).filter(|_| own.1 != NO_PRODUCER_EPOCH);
        let epoch = fence.copied().filter(|epoch| own.1 < *epoch);
        let later = || self.transactional.replaced(place?, client);
        Some((own, epoch.map(|epoch| (own.0, epoch)).or_else(later)?))
    }

    /// Nothing more will come: produces and ends of transactions without an answer are unknown.
    pub(crate) fn leave_open_unknown(&mut self) {
        for open in self.open.values() {
            let outcome = match open.what {
                OpenCall::Produce { first_value } => {
                    self.sends.get_mut(&first_value).map(|send| &mut send.outcome)
                }
                OpenCall::EndTxn { txn, .. } => {
                    self.transactions.get_mut(&txn).map(|known| &mut known.outcome)
                }
                _ => None,
            };
            if let Some(outcome) = outcome {
                *outcome = Outcome::Unknown;
            }
        }
    }

    fn query(&mut self, client: u16, of: TopicPartition, epoch: Option<LeaderEpoch>) -> Query {
        let partition = self.partition(of);
        let all = &self.seen[partition as usize].horizon;
        let own = self.own.get(&(client, partition));
        let owed = match epoch {
            Some(epoch) => {
                Owed::Under(all.at(epoch), own.map_or_else(Floor::default, |own| own.at(epoch)))
            }
            None => Owed::ByEpoch(all.clone(), own.cloned().unwrap_or_default()),
        };
        Query { partition, epoch, owed, ever: all.at(LeaderEpoch(u32::MAX)) }
    }

    /// The produce that sent this value, which was seen in the partition `here`, and the value's
    /// place in it.
    pub(crate) fn sent(&mut self, value: u64, here: u32) -> Option<(&mut Send, u64)> {
        self.sends.of(value, here)
    }

    /// The transaction in which this value, seen in the partition `here`, was sent, if it was in
    /// one.
    pub(crate) fn transaction_of(&mut self, value: Option<u64>, here: u32) -> Option<u32> {
        self.sent(value?, here)?.0.txn
    }

    /// `client` was shown this under `epoch`.
    pub(crate) fn shown(
        &mut self,
        client: u16,
        partition: u32,
        epoch: LeaderEpoch,
        end: Offset,
        log_start: Offset,
    ) {
        self.seen[partition as usize].horizon.raise(epoch, end, log_start);
        self.own.entry((client, partition)).or_default().raise(epoch, end, log_start);
    }
}

impl Seen {
    fn slot(&mut self, offset: Offset) -> Option<&mut Slot> {
        if offset.0 > OFFSET_MAX {
            return None;
        }
        let place = usize::try_from(offset.0).expect("OFFSET_MAX fits");
        if place >= self.slots.len() {
            self.slots.resize(place + 1, Slot::EMPTY);
        }
        Some(&mut self.slots[place])
    }

    /// What is known of an offset.
    pub(crate) fn known(&self, offset: Offset) -> Slot {
        let place = usize::try_from(offset.0).unwrap_or(usize::MAX);
        self.slots.get(place).copied().unwrap_or(Slot::EMPTY)
    }

    /// An acknowledgement binds `offset` to `value`.
    pub(crate) fn acked(&mut self, offset: Offset, value: u64) -> Bound {
        self.bind(offset, value, ACKED)
    }

    /// A read does.
    pub(crate) fn read(&mut self, offset: Offset, value: u64) -> Bound {
        self.bind(offset, value, READ)
    }

    /// As [`Self::read`] before, by a reader of committed data.
    pub(crate) fn read_committed(&mut self, offset: Offset) {
        if let Some(slot) = self.slot(offset) {
            slot.flags |= READ_COMMITTED;
        }
    }

    /// A record was read: its epoch and timestamp, as far as the reader saw them. What it did not
    /// see stays as it is known.
    pub(crate) fn stamp(
        &mut self,
        offset: Offset,
        epoch: Option<LeaderEpoch>,
        timestamp: Option<Wall>,
    ) {
        if let Some(slot) = self.slot(offset) {
            slot.epoch = epoch.map_or(slot.epoch, |epoch| epoch.0);
            slot.timestamp_us = timestamp.map_or(slot.timestamp_us, |time| time.0);
        }
    }

    /// A leader of `epoch` is about to acknowledge the batch at `base`. With acks=1 that may be
    /// lost and the place given away under a later epoch, so the latest one counts.
    pub(crate) fn acks_under(&mut self, base: Offset, epoch: LeaderEpoch) {
        if let Some(slot) = self.slot(base)
            && !slot.was_read()
        {
            slot.epoch = if slot.epoch == NO_EPOCH { epoch.0 } else { slot.epoch.max(epoch.0) };
        }
    }

    fn bind(&mut self, offset: Offset, value: u64, flag: u8) -> Bound {
        let Some(slot) = self.slot(offset) else { return Bound::New };
        let read = slot.was_read();
        if slot.value == NO_VALUE {
            (slot.value, slot.flags) = (value, flag);
            return Bound::New;
        }
        if slot.value != value {
            return Bound::Conflict { was: slot.value, read };
        }
        slot.flags |= flag;
        Bound::Same { read }
    }
}

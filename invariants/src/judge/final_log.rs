//! The final log of every partition: the committed objects that the newest metadata names, then
//! what is confirmed and still only in the WAL. It resolves every unknown outcome. For a history of
//! another broker, where nothing but the history is known, it is what the readers saw.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Lsn, ObjectId, Offset, ProducerEpoch, ProducerId, StreamId};

use super::{Judge, ask};
use crate::bytes::{
    Batch, Contained, Entry, Numbered, Stored, batch, data_batches, data_object, wal_object,
};
use crate::facts::clients::{Asked, Lookup, Outcome, Seen};
use crate::facts::folded::Folded;
use crate::facts::wals::WalFacts;
use crate::marks::Mark;
use crate::properties::coverage::{self, Block};
use crate::properties::{
    acked_durable, dedup_answer, epoch_chain, epoch_end, list_offsets, no_dangling, no_dup,
    no_phantom, offset_dense, offset_unique, order_no_gap, read_stable, state_equiv,
    trim_after_commit,
};
use crate::view::View;
use crate::{Check, Violation};

/// One partition's final log, dense from offset 0 unless it is only what was seen.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct FinalLog {
    /// Ascending.
    records: Vec<Stored>,
    /// The batches, in order.
    entries: Vec<Entry>,
    /// Their transactions.
    pub(super) folded: Folded,
    end: Offset,
    /// Not only what was seen.
    whole: bool,
}

impl FinalLog {
    /// The batches of idempotent producers, in order.
    fn numbered(&self) -> impl Iterator<Item = &Numbered> {
        self.entries.iter().filter_map(|entry| entry.numbered.as_ref())
    }

    /// Not only what was seen.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn value(&self, offset: Offset) -> Option<u64> {
        self.stored(offset)?.value
    }

    /// Where readers of committed data find records, ascending.
    pub(super) fn visible_offsets(&self) -> Vec<Offset> {
        let undone = |offset: &Offset| {
            let group = self.folded.group_at(*offset);
            group.is_some_and(|group| !matches!(group.end, Some((true, _))))
        };
        let records = self.records.iter().filter(|stored| !stored.control);
        records.map(|stored| stored.offset).filter(|offset| !undone(offset)).collect()
    }

    /// The records that are no markers, with the values that clients gave them.
    pub(super) fn data(&self) -> impl Iterator<Item = (Offset, u64)> + '_ {
        let data = self.records.iter().filter(|stored| !stored.control);
        data.filter_map(|stored| Some((stored.offset, stored.value?)))
    }

    /// Those that a reader of committed data sees in the end.
    pub(super) fn visible(&self) -> impl Iterator<Item = (Offset, u64)> + '_ {
        self.data().filter(|(offset, _)| {
            let group = self.folded.group_at(*offset);
            group.is_none_or(|group| matches!(group.end, Some((true, _))))
        })
    }

    fn place(&self, offset: Offset) -> Result<usize, usize> {
        self.records.binary_search_by_key(&offset, |stored| stored.offset)
    }

    fn stored(&self, offset: Offset) -> Option<&Stored> {
        self.place(offset).ok().map(|place| &self.records[place])
    }

    fn record(&self, offset: Offset) -> Option<(u64, i64)> {
        let stored = self.stored(offset)?;
        Some((stored.value?, stored.timestamp_us?))
    }

    fn epoch(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.stored(offset)?.epoch
    }

    fn add(&mut self, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        self.folded.add(&batch.entry);
        self.entries.push(batch.entry);
        for record in batch.records {
            match self.place(record.offset) {
                Ok(place) => self.records[place] = record,
                Err(place) => self.records.insert(place, record),
            }
        }
    }

    /// What clients read of a partition.
    pub(crate) fn seen(seen: &Seen) -> Self {
        let read = (0..).map(Offset).zip(&seen.slots).filter(|(_, slot)| slot.was_read());
        let records = read.filter_map(|(offset, slot)| {
            let (epoch, timestamp_us) = (slot.epoch(), slot.timestamp_us());
            let (value, intact, control) = (Some(slot.value()?), true, false);
            Some(Stored { offset, epoch, value, timestamp_us, intact, control })
        });
        let mut log = Self { records: records.collect(), ..Self::default() };
        log.end = log.records.last().map_or(Offset(0), |last| last.offset.next());
        log
    }
}

/// Streams and logs by the partition's place.
type Logs = BTreeMap<u32, (StreamId, FinalLog)>;

/// A WAL object by its lsns, and its records if it can be read.
type OpenObject = ((Lsn, Lsn), Option<Vec<Contained>>);

/// Data objects, read once each.
type Objects = BTreeMap<ObjectId, Vec<Contained>>;

impl Judge {
    /// Reads every partition back and judges what clients saw by it.
    pub(super) fn read_back(&mut self, view: &dyn View) -> Check {
        let objects = self.read_objects(view)?;
        let tails = self.read_tails(view)?;
        let mut logs = Logs::new();
        for (place, seen) in (0u32..).zip(&self.facts.clients.seen) {
            // A deleted topic's records are gone by right.
            if let Some(known) = self.facts.ledger.partitions.get(&seen.partition) {
                logs.insert(place, (known.stream, FinalLog::default()));
            }
        }
        for (stream, log) in logs.values_mut() {
            *log = self.assemble(*stream, &objects, &tails)?;
        }
        self.judge_by(&logs.into_iter().map(|(place, (_, log))| (place, log)).collect())
    }

    fn read_objects(&mut self, view: &dyn View) -> Result<Objects, Violation> {
        let mut objects = Objects::new();
        for (object, state) in &self.facts.ledger.objects {
            if *state != crate::facts::ledger::Object::Committed {
                continue;
            }
            let body = data_object(view, *object);
            ask!(self, O7, no_dangling::committed(*object, body.is_some()));
            let Some(body) = body else { continue };
            match data_batches(&body) {
                Ok(batches) => {
                    objects.insert(*object, batches);
                }
                Err(error) => {
                    let why = alloc::format!("{error:?}");
                    ask!(self, O2, Err(coverage::unreadable(*object, &why)));
                }
            }
        }
        Ok(objects)
    }

    /// Confirmed records that are not committed, by stream, from the WAL objects that hold them.
    pub(super) fn read_tails(
        &mut self,
        view: &dyn View,
    ) -> Result<BTreeMap<StreamId, Vec<Contained>>, Violation> {
        let mut tails: BTreeMap<StreamId, Vec<Contained>> = BTreeMap::new();
        for ((node, epoch), wal) in &self.facts.wals.wals {
            let mut open: Option<OpenObject> = None;
            for (lsn, record) in wal.records(wal.committed_below, Lsn(u64::MAX)) {
                let ledger = &self.facts.ledger;
                if ledger.covers(record.stream, record.epoch, record.base, record.end) {
                    continue;
                }
                let key = object_key(wal, lsn);
                if open.as_ref().map(|open| open.0) != key {
                    open = key.map(|key| (key, wal_object(view, (*node, *epoch), key)));
                }
                let held = open.as_ref().and_then(|(key, held)| {
                    let nth = usize::try_from(lsn.0 - key.0.0).ok()?;
                    held.as_ref()?.get(nth)
                });
                let there = held.is_some();
                ask!(self, W2, trim_after_commit::still_there(*node, lsn, &record, there));
                if let Some(held) = held {
                    self.marks.hit(Mark::TailReadBack);
                    tails.entry(record.stream).or_default().push(held.clone());
                }
            }
        }
        for tail in tails.values_mut() {
            tail.sort_by_key(|held| (held.base, held.epoch));
        }
        Ok(tails)
    }

    fn assemble(
        &mut self,
        id: StreamId,
        objects: &Objects,
        tails: &BTreeMap<StreamId, Vec<Contained>>,
    ) -> Result<FinalLog, Violation> {
        let mut log = FinalLog { whole: true, ..FinalLog::default() };
        let Some(stream) = self.facts.ledger.streams.get(&id) else { return Ok(log) };
        for piece in &stream.pieces {
            let Some(batches) = objects.get(&piece.object) else { continue };
            let mut at = piece.start;
            let within = |held: &&Contained| {
                held.stream == id && piece.start <= held.base && held.base < piece.end
            };
            for held in batches.iter().filter(within) {
                let Contained { stream: of, epoch, base, end, .. } = *held;
                let block = Block { object: piece.object, stream: of, epoch, base, end };
                ask!(self, O2, coverage::block(block, at, stream));
                let read = batch(&held.batch);
                ask!(self, O2, {
                    let said = read.as_ref().map(|read| (read.entry.base, read.entry.end));
                    let named = read.as_ref().and_then(|read| read.epoch);
                    coverage::stamped(block, said.unwrap_or_default(), named)
                });
                at = end;
                self.marks.hit(Mark::ObjectReadBack);
                log.add(read);
            }
            ask!(self, O2, coverage::piece_ends(piece.object, id, at, piece.end));
            log.end = piece.end;
        }
        for held in tails.get(&id).map_or(&[][..], Vec::as_slice) {
            ask!(
                self,
                L2,
                offset_dense::final_next(stream.partition, log.end, (held.base, held.epoch))
            );
            log.add(batch(&held.batch));
            log.end = held.end;
        }
        Ok(log)
    }

    /// Judges what clients saw by the final logs, by their partitions' places.
    pub(crate) fn judge_by(&mut self, logs: &BTreeMap<u32, FinalLog>) -> Check {
        for (place, log) in logs {
            self.numbers(*place, log)?;
            if !self.is_coordinators(*place) {
                self.contents(*place, log)?;
            }
        }
        self.sends(logs)?;
        self.transactions(logs)?;
        self.handed_over(logs)?;
        for (place, log) in logs {
            let seen = &self.facts.clients.seen[*place as usize];
            let partition = seen.partition;
            if log.whole {
                for (offset, slot) in (0..).map(Offset).zip(&seen.slots) {
                    let Some(value) = slot.value().filter(|_| slot.was_read()) else { continue };
                    let Some(time_us) = slot.timestamp_us() else { continue };
                    let read = (value, time_us);
                    ask!(self, L4, read_stable::kept(partition, offset, read, log.record(offset)));
                }
                ask!(self, Q1, list_offsets::shown(partition, seen.shown_end, log.end));
            }
            self.lookups(*place, log)?;
        }
        Ok(())
    }

    /// Whether a partition is a coordinator's log: no client sent its records.
    pub(super) fn is_coordinators(&self, place: u32) -> bool {
        let partition = self.facts.clients.seen[place as usize].partition;
        self.facts.coordinators.is_log(partition)
    }

    /// Every batch of an idempotent producer: once, and behind the one before.
    fn numbers(&mut self, here: u32, log: &FinalLog) -> Check {
        if !log.whole {
            return Ok(());
        }
        let partition = self.facts.clients.seen[here as usize].partition;
        let mut last: BTreeMap<(ProducerId, ProducerEpoch), Numbered> = BTreeMap::new();
        let mut places = BTreeMap::new();
        let given_up = self.facts.clients.sends.values().any(|send| {
            send.idempotent && matches!(send.outcome, Outcome::Failed | Outcome::Unknown)
        });
        for batch in log.numbered() {
            // The end of a transaction may raise the epoch.
            let may = given_up || batch.transactional;
            ask!(self, P2, order_no_gap::raised(partition, batch, may));
            let Numbered { id, epoch, first, base, .. } = *batch;
            let before = places.insert((id, epoch, first.0), base);
            ask!(self, P1, no_dup::stored(partition, batch, before));
            let last = last.insert((id, epoch), *batch);
            ask!(self, P2, order_no_gap::follows(partition, last.as_ref(), batch));
        }
        for loaded in self.facts.served.loaded.get(&partition).into_iter().flatten() {
            ask!(self, P4, state_equiv::loaded(partition, loaded, &log.entries));
        }
        Ok(())
    }

    /// Every record of the log: sent, sound, once, in order.
    fn contents(&mut self, here: u32, log: &FinalLog) -> Check {
        let partition = self.facts.clients.seen[here as usize].partition;
        let mut before: Option<LeaderEpoch> = None;
        for stored in &log.records {
            let offset = stored.offset;
            if let Some((before, epoch)) = before.zip(stored.epoch) {
                ask!(self, L8, epoch_chain::neighbours(partition, offset, before, epoch));
            }
            before = stored.epoch.or(before);
            // The rest was asked when it was read.
            if stored.control || !log.whole {
                continue;
            }
            let mut sent = stored.value.and_then(|value| self.facts.clients.sent(value, here));
            let known = sent.as_ref().map(|(send, _)| &**send);
            let content = (stored.value, stored.intact);
            ask!(self, L9, no_phantom::found(partition, here, offset, content, known));
            let Some(((send, nth), value)) = sent.as_mut().zip(stored.value) else { continue };
            ask!(self, L3, acked_durable::visible(partition, offset, value, send));
            let Some(base) = offset.0.checked_sub(*nth).map(Offset) else {
                ask!(self, L1, offset_unique::before_the_log(partition, offset, value));
                continue;
            };
            if send.idempotent {
                ask!(self, P1, no_dup::placed(partition, value, send, base));
            }
            ask!(self, L1, offset_unique::placed(partition, value, send, base));
            ask!(self, L2, offset_dense::behind(partition, base, send.after));
            send.base.get_or_insert(base);
        }
        Ok(())
    }

    /// Every produce: still there if it was acknowledged.
    fn sends(&mut self, logs: &BTreeMap<u32, FinalLog>) -> Check {
        for (first, send) in self.facts.clients.sends.iter() {
            let Some(log) = logs.get(&send.partition) else { continue };
            let partition = self.facts.clients.seen[send.partition as usize].partition;
            if send.outcome == Outcome::Unknown {
                let seen = send.base.is_some();
                self.marks.hit(if seen { Mark::UnknownSeen } else { Mark::UnknownLost });
            }
            let Some(base) = send.base.filter(|_| log.whole) else { continue };
            if send.idempotent && send.outcome == Outcome::Ok {
                ask!(self, P3, dedup_answer::told(partition, *first, base, log.value(base)));
            }
            for nth in 0..u64::from(send.count) {
                let (offset, value) = (base.plus(nth), first + nth);
                let found = log.value(offset);
                ask!(self, L3, acked_durable::kept(partition, (offset, value), send, found));
            }
        }
        Ok(())
    }

    fn lookups(&mut self, place: u32, log: &FinalLog) -> Check {
        let seen = &self.facts.clients.seen[place as usize];
        if seen.lookups.is_empty() {
            return Ok(());
        }
        let partition = seen.partition;
        // Largest timestamp up to each record.
        let mut largest: Vec<(Offset, i64)> = Vec::new();
        for stored in &log.records {
            let Some(time_us) = stored.timestamp_us else { continue };
            let before = largest.last().map_or(i64::MIN, |last| last.1);
            largest.push((stored.offset, before.max(time_us)));
        }
        let at = |offset: Offset| {
            let stored = log.stored(offset)?;
            Some((stored.timestamp_us, stored.epoch))
        };
        let largest_before = |offset: Offset| {
            let behind = largest.partition_point(|(at, _)| *at < offset);
            behind.checked_sub(1).map(|last| largest[last].1)
        };
        for lookup in &seen.lookups {
            match lookup.asked {
                // What is not decided yet is not told: how much that was is known for the first
                // record at a time, and not for the largest time.
                Asked::Max if lookup.committed && lookup.answer.is_none() => {}
                Asked::At(_) if lookup.committed && log.whole => {
                    let floor = log.folded.stable_below(lookup.floor);
                    let lookup = Lookup { floor, ..*lookup };
                    ask!(self, Q1, list_offsets::lookup(partition, &lookup, at, largest_before));
                }
                Asked::At(_) if lookup.committed && lookup.answer.is_none() => {}
                // Of what nobody had seen, nothing must be found.
                Asked::At(_) if lookup.floor == Offset(0) && lookup.answer.is_none() => {}
                Asked::At(_) | Asked::Max => {
                    ask!(self, Q1, list_offsets::lookup(partition, lookup, at, largest_before));
                }
                Asked::EpochEnd { epoch, past } => {
                    let end = lookup.floor;
                    let before = end.0.checked_sub(1).and_then(|last| log.epoch(Offset(last)));
                    let behind = log.epoch(end).filter(|_| past);
                    if before.or(behind).is_some() {
                        ask!(self, Q2, epoch_end::final_log(partition, epoch, end, before, behind));
                    }
                }
            }
        }
        Ok(())
    }
}

fn object_key(wal: &WalFacts, lsn: Lsn) -> Option<(Lsn, Lsn)> {
    wal.object_at(lsn).map(|found| found.0)
}

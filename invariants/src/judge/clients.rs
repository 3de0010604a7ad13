//! What clients saw: binds values to offsets and asks the properties of histories.

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, Isolation, OffsetSpec};
use broker_core::time::Wall;

use super::{Judge, ask};
use crate::Check;
use crate::facts::clients::{Asked, Bound, Listed, Lookup, Open, OpenCall, Outcome, Query};
use crate::facts::producer_ids::Owner;
use crate::facts::producers::{Key, Moment};
use crate::facts::transaction::Part;
use crate::history::{Answer, EventKind, HistoryEvent, ReadRecord};
use crate::marks::Mark;
use crate::properties::epoch_end::Answered;
use crate::properties::{
    acked_durable, epoch_chain, epoch_end, image_equiv, last_stable, list_offsets, monotone,
    no_aborted_read, no_dup, no_phantom, offset_dense, offset_unique, read_stable, watermark_order,
};

/// The answer to a fetch.
struct Fetched<'a> {
    client: u16,
    query: &'a Query,
    offset: Offset,
    committed: bool,
    high_watermark: Option<Offset>,
    last_stable: Option<Offset>,
    log_start: Option<Offset>,
    records: &'a [ReadRecord],
    skipped: Option<&'a [(Offset, Offset)]>,
}

impl Judge {
    pub(super) fn history(&mut self, event: &HistoryEvent) -> Check {
        let key = (event.client, event.call);
        self.group_event(event)?;
        match &event.kind {
            EventKind::Invoke(call) => {
                self.facts.clients.invoke(event, call, self.facts.pos);
                Ok(())
            }
            EventKind::Ok(answer) => match self.facts.clients.open.remove(&key) {
                Some(open) => {
                    self.ended(event.client, &open, true);
                    self.called(key, &open, true);
                    self.answered(key, &open, answer)
                }
                None => Ok(()),
            },
            EventKind::Fail(code) => match self.facts.clients.open.remove(&key) {
                Some(open) => {
                    self.ended(event.client, &open, true);
                    self.called(key, &open, true);
                    self.told(key, &open, (*code, true))?;
                    self.refused(&open, *code)
                }
                None => Ok(()),
            },
            EventKind::Unknown(code) => {
                if let Some(open) = self.facts.clients.open.remove(&key) {
                    self.ended(event.client, &open, code.is_some());
                    self.called(key, &open, false);
                    self.told(key, &open, (*code, false))?;
                    if let OpenCall::Produce { first_value } = open.what
                        && let Some(send) = self.facts.clients.sends.get_mut(&first_value)
                    {
                        send.outcome = Outcome::Unknown;
                    }
                    if let OpenCall::EndTxn { txn, .. } = open.what {
                        self.transaction_over(txn, Outcome::Unknown);
                    }
                }
                Ok(())
            }
            EventKind::GaveUp => {
                self.facts.clients.given_up.push((event.client, event.op, event.at));
                Ok(())
            }
        }
    }

    /// For LV1 and LV5: calls of the healthy core that ended, with or without an answer.
    fn ended(&mut self, client: u16, open: &Open, with_answer: bool) {
        let Some(healed) = self.facts.healed else { return };
        self.marks.hit_if(with_answer && open.since < healed, Mark::AnsweredAcrossHealing);
        if open.since < healed {
            return;
        }
        if with_answer {
            self.facts.clients.answered.insert(client);
            self.readers.answered(client, open.op);
        }
        if let OpenCall::Fetch { read, .. } = &open.what {
            self.marks.evaluated(crate::table::Code::LV1);
            if !with_answer {
                let open_us = self.facts.at.0.saturating_sub(open.since.0);
                self.readers.hung((client, open.op), read.partition, open_us);
            }
        }
    }

    fn answered(&mut self, key: Key, open: &Open, answer: &Answer) -> Check {
        let client = key.0;
        match (&open.what, answer) {
            (OpenCall::Produce { first_value }, Answer::Produced { base, log_append_time }) => {
                self.produced(*first_value, *base, *log_append_time)
            }
            (
                OpenCall::Fetch { read, offset, isolation },
                Answer::Fetched { high_watermark, last_stable, log_start, records, skipped },
            ) => self.fetched(&Fetched {
                client,
                query: read,
                offset: *offset,
                committed: *isolation == Isolation::ReadCommitted,
                high_watermark: *high_watermark,
                last_stable: *last_stable,
                log_start: *log_start,
                records,
                skipped: skipped.as_deref(),
            }),
            (OpenCall::List { read, spec, isolation }, Answer::Listed(found)) => {
                let committed = *isolation == Isolation::ReadCommitted;
                self.listed((client, committed), read, *spec, *found)
            }
            (OpenCall::Add { txn, part, .. }, _) if self.facts.alone => {
                self.facts.clients.parts.add(*txn, part.clone());
                Ok(())
            }
            (&OpenCall::EndTxn { txn, pos }, Answer::Done) => {
                self.transaction_over(txn, Outcome::Ok);
                let clients = &mut self.facts.clients;
                if let Some(id) = clients.transactions.get(&txn).and_then(|known| known.id) {
                    clients.transactional.ended(id, client, (pos, open.since));
                }
                self.zombie_asked(txn, true)
            }
            (OpenCall::EpochEnd { read, epoch }, Answer::EpochEnd(found)) => {
                self.epoch_ended(read, *epoch, *found)
            }
            (
                &OpenCall::InitProducerId { transactional: true, id: place, pos, .. },
                &Answer::ProducerId(id, epoch),
            ) => {
                self.became((key, place), (id, epoch), (pos, open.since));
                self.producer_given(id, Owner::Transactional(place))
            }
            (OpenCall::InitProducerId { transactional: false, .. }, Answer::ProducerId(id, _)) => {
                self.producer_given(*id, Owner::Idempotent)
            }
            (OpenCall::Admin { .. }, Answer::Created(topic)) if !self.facts.alone => {
                ask!(self, M1, image_equiv::created(*topic, &self.facts.ledger));
                Ok(())
            }
            (OpenCall::Admin { deletes: Some(topic) }, Answer::Done) if !self.facts.alone => {
                ask!(self, M1, image_equiv::deleted(*topic, &self.facts.ledger));
                Ok(())
            }
            (OpenCall::Produce { first_value }, _) => {
                // With acks=0 there is no offset to be told.
                if let Some(send) = self.facts.clients.sends.get_mut(first_value) {
                    send.outcome = Outcome::Unknown;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn producer_given(&mut self, id: ProducerId, owner: Owner) -> Check {
        if let Some(sole) = self.facts.clients.producer_ids.given(id, owner) {
            ask!(self, P1, no_dup::given(id, sole));
        }
        Ok(())
    }

    /// A client became the producer of a transactional id.
    fn became(
        &mut self,
        (key, place): (Key, Option<u32>),
        (id, epoch): (ProducerId, ProducerEpoch),
        asked: Moment,
    ) {
        let clients = &mut self.facts.clients;
        let fence = clients.fences.entry(id).or_default();
        *fence = (*fence).max(epoch);
        if let Some(place) = place {
            let times = (asked, (self.facts.pos, self.facts.at));
            clients.transactional.became(place, key, (id, epoch), times);
        }
    }

    fn produced(&mut self, first_value: u64, base: Offset, stamped: Option<Wall>) -> Check {
        let clients = &mut self.facts.clients;
        let Some(send) = clients.sends.get_mut(&first_value) else { return Ok(()) };
        // The time of a copy is not that of another.
        let stamped = stamped.filter(|_| !send.retried || send.acks == Acks::All);
        (send.outcome, send.created) = (Outcome::Ok, stamped.or(send.created));
        let before = *send;
        let seen = &mut clients.seen[before.partition as usize];
        let partition = seen.partition;
        if let Some(txn) = before.txn.filter(|_| self.facts.alone) {
            clients.parts.add(txn, Part::Partition(partition));
        }
        if before.damaged {
            ask!(self, L9, no_phantom::accepted(partition, first_value, &before));
        }
        // With acks=1 the answer comes before the batch is durable: it may yet be lost.
        if before.acks != Acks::All {
            return Ok(());
        }
        send.place(base);
        // The copy whose time the answer tells.
        send.base = if send.doubled { Some(base) } else { send.base };
        let first = seen.slots.is_empty();
        if before.idempotent && before.base.is_some() {
            ask!(self, P1, no_dup::placed(partition, first_value, &before, base));
        }
        if !first {
            ask!(self, L1, offset_unique::placed(partition, first_value, &before, base));
        }
        if before.after > Offset(0) {
            ask!(self, L2, offset_dense::behind(partition, base, before.after));
        }
        self.marks.hit_if(before.after > Offset(0), Mark::AppendAfterAck);
        // The answer to a batch that came again may be a later leader's than the batch is.
        let newest = self.facts.served.terms(partition).last().map(|term| term.epoch);
        let epoch = if before.idempotent { newest } else { seen.known(base).epoch() };
        for i in 0..u64::from(before.count) {
            let (offset, value) = (base.plus(i), first_value + i);
            let bound = seen.acked(offset, value);
            if !first {
                ask!(self, L1, offset_unique::bound(partition, offset, value, bound));
            }
            if matches!(bound, Bound::Same { read: true } | Bound::Conflict { read: true, .. }) {
                ask!(self, L4, read_stable::bound(partition, offset, value, bound));
            }
        }
        let end = base.plus(u64::from(before.count));
        seen.acked_end = seen.acked_end.max(end);
        if let Some(epoch) = epoch {
            seen.horizon.raise(epoch, end, Offset(0));
        }
        Ok(())
    }

    fn fetched(&mut self, fetched: &Fetched<'_>) -> Check {
        let Fetched { query, offset, high_watermark, records, .. } = *fetched;
        let place = query.partition as usize;
        let partition = self.facts.clients.seen[place].partition;
        self.watermarks(fetched)?;
        let seen = &mut self.facts.clients.seen[place];
        seen.fetched = true;
        self.facts.clients.read_committed |= fetched.committed;
        let mut skipped = fetched.skipped.unwrap_or_default();
        seen.skipped.extend(skipped.iter().map(|it| (it.0, it.1, fetched.committed)));
        let mut expected = step_over(offset, &mut skipped);
        let mut before = offset.0.checked_sub(1).and_then(|before| {
            let slot = seen.known(Offset(before));
            slot.epoch().filter(|_| slot.was_read())
        });
        for record in records {
            if !record.intact {
                self.read(partition, query, record)?;
            }
            if fetched.skipped.is_none() && record.offset > expected {
                let gap = (expected, record.offset, fetched.committed);
                self.facts.clients.seen[place].skipped.insert(gap);
                expected = record.offset;
            }
            if fetched.skipped.is_some() || expected > Offset(0) {
                ask!(self, L2, offset_dense::read_next(partition, expected, record.offset));
            }
            if let Some(end) = high_watermark {
                ask!(self, L5, watermark_order::read(partition, record.offset, end));
            }
            if let Some((before, epoch)) = before.zip(record.leader_epoch) {
                ask!(self, L8, epoch_chain::neighbours(partition, record.offset, before, epoch));
            }
            self.read(partition, query, record)?;
            if fetched.committed {
                self.facts.clients.seen[place].read_committed(record.offset);
                let read = (record.offset, record.value);
                self.read_committed(query.partition, read, fetched.last_stable)?;
            }
            expected = step_over(record.offset.next(), &mut skipped);
            before = record.leader_epoch;
        }
        let end = high_watermark.filter(|end| *end > Offset(0) && expected >= *end);
        self.marks.hit_if(self.facts.healed.is_some() && end.is_some(), Mark::ReadToTheEnd);
        Ok(())
    }

    /// The bounds that an answer to a fetch showed, as far as the client saw them.
    fn watermarks(&mut self, fetched: &Fetched<'_>) -> Check {
        let Fetched { client, query, high_watermark, last_stable, log_start, .. } = *fetched;
        let place = query.partition as usize;
        let partition = self.facts.clients.seen[place].partition;
        let end = high_watermark.unwrap_or_default();
        if let Some(log_start) = log_start.filter(|_| high_watermark.is_some()) {
            ask!(self, L5, watermark_order::shown(partition, log_start, end));
        }
        if let Some(epoch) = query.epoch.filter(|_| high_watermark.or(log_start).is_some()) {
            let (all, own) = query.owed(epoch);
            let owes_end = high_watermark.is_some() && all.end.max(own.end) > Offset(0);
            if owes_end || log_start.is_some() && own.log_start > Offset(0) {
                ask!(self, L6, {
                    monotone::answered(partition, epoch, high_watermark, log_start, own)?;
                    monotone::answered(partition, epoch, high_watermark, None, all)
                });
            }
            let start = log_start.unwrap_or_default();
            self.facts.clients.shown(client, query.partition, epoch, end, start);
        }
        let seen = &mut self.facts.clients.seen[place];
        seen.shown_end = seen.shown_end.max(end);
        // Other brokers may take the two at two moments.
        if let Some((end, stable)) = high_watermark.zip(last_stable).filter(|_| !self.facts.alone) {
            let before = seen.stable.insert(end, stable);
            ask!(self, T3, last_stable::shown(partition, end, stable, before));
        }
        Ok(())
    }

    /// One record of a fetch.
    fn read(&mut self, partition: TopicPartition, query: &Query, record: &ReadRecord) -> Check {
        let ReadRecord { offset, value, timestamp, leader_epoch, intact } = *record;
        let seen = &mut self.facts.clients.seen[query.partition as usize];
        let slot = seen.known(offset);
        if slot.was_read() && slot.value() == value && intact {
            self.marks.hit(Mark::ReadAgain);
            self.marks.hit_if(query.epoch > slot.epoch(), Mark::ReadAfterFailover);
            ask!(
                self,
                L4,
                match slot.timestamp_us().zip(timestamp) {
                    Some((was, now)) => read_stable::timestamp(partition, offset, was, now.0),
                    None => Ok(()),
                }
            );
            if let Some((was, now)) = slot.epoch().zip(leader_epoch) {
                ask!(self, L8, epoch_chain::same(partition, offset, was, now));
            }
            let unstamped = slot.epoch().is_none() && leader_epoch.is_some()
                || slot.timestamp_us().is_none() && timestamp.is_some();
            if unstamped {
                seen.stamp(offset, leader_epoch, timestamp);
            }
            return Ok(());
        }
        let first = seen.slots.is_empty();
        if let Some(value) = value {
            let bound = seen.read(offset, value);
            if !first {
                ask!(self, L1, offset_unique::bound(partition, offset, value, bound));
            }
            if matches!(bound, Bound::Same { read: true } | Bound::Conflict { read: true, .. }) {
                ask!(self, L4, read_stable::bound(partition, offset, value, bound));
            }
            seen.stamp(offset, leader_epoch, timestamp);
        }
        let here = query.partition;
        let mut sent = value.and_then(|value| self.facts.clients.sent(value, here));
        let known = sent.as_ref().map(|(send, _)| &**send);
        ask!(self, L9, no_phantom::found(partition, here, offset, (value, intact), known));
        let Some(((send, nth), value)) = sent.as_mut().zip(value) else { return Ok(()) };
        let copy = send.retried && send.base.is_some_and(|base| base.0 + *nth != offset.0);
        // What the broker told its producer counts; before that, whether it can have set it.
        let told = send.outcome == Outcome::Ok && !copy;
        let kept = !self.facts.alone && !self.facts.ledger.stamped.contains(&partition.topic);
        if let Some((created, timestamp)) = send.created.zip(timestamp)
            && (told || kept)
        {
            ask!(self, L9, no_phantom::timestamp(partition, offset, created, timestamp));
        }
        self.marks.hit_if(send.outcome == Outcome::Unknown, Mark::UnknownSeen);
        ask!(self, L3, acked_durable::visible(partition, offset, value, send));
        let Some(base) = offset.0.checked_sub(*nth).map(Offset) else {
            ask!(self, L1, offset_unique::before_the_log(partition, offset, value));
            return Ok(());
        };
        if send.idempotent && send.base.is_some() {
            ask!(self, P1, no_dup::placed(partition, value, send, base));
        }
        if !first {
            ask!(self, L1, offset_unique::placed(partition, value, send, base));
        }
        if send.after > Offset(0) {
            ask!(self, L2, offset_dense::behind(partition, base, send.after));
        }
        send.place(base);
        send.read = true;
        Ok(())
    }

    fn listed(
        &mut self,
        (client, committed): (u16, bool),
        query: &Query,
        spec: OffsetSpec,
        found: Option<(Offset, Option<Wall>, Option<LeaderEpoch>)>,
    ) -> Check {
        let seen = &mut self.facts.clients.seen[query.partition as usize];
        let partition = seen.partition;
        let answered = found.map(|(offset, time, epoch)| {
            let time_us = time.unwrap_or(Wall(0)).0;
            Listed { offset, time_us, epoch }
        });
        let by_time = matches!(spec, OffsetSpec::At(_) | OffsetSpec::MaxTimestamp);
        if by_time && found.is_some_and(|(_, time, _)| time.is_none()) {
            return Ok(());
        }
        let offset = found.map(|found| found.0);
        let Some(epoch) = query.epoch.or(found.and_then(|found| found.2)) else {
            return self.found_without_epoch((query.partition, committed), spec, answered);
        };
        let (all, own) = query.owed(epoch);
        let all = if self.facts.alone { all } else { query.ever };
        let asked = match spec {
            OffsetSpec::Latest if committed => {
                let seen = &mut self.facts.clients.seen[query.partition as usize];
                seen.stable_listed.push((offset.unwrap_or_default(), all.end));
                return Ok(());
            }
            OffsetSpec::Latest => {
                ask!(self, Q1, list_offsets::latest(partition, epoch, offset, all));
                if own.end > Offset(0) {
                    ask!(self, L6, monotone::answered(partition, epoch, offset, None, own));
                }
                self.marks.hit_if(
                    epoch > all.end_epoch && all.end > Offset(0),
                    Mark::ListedAfterFailover,
                );
                let end = offset.unwrap_or_default();
                seen.shown_end = seen.shown_end.max(end);
                self.facts.clients.shown(client, query.partition, epoch, end, Offset(0));
                return Ok(());
            }
            OffsetSpec::Earliest => {
                if own.log_start > Offset(0) {
                    ask!(self, L6, monotone::answered(partition, epoch, None, offset, own));
                }
                let start = offset.unwrap_or_default();
                self.facts.clients.shown(client, query.partition, epoch, Offset(0), start);
                return Ok(());
            }
            OffsetSpec::At(from) => {
                if let Some(Listed { offset, time_us, .. }) = answered {
                    ask!(self, Q1, list_offsets::found(partition, from.0, offset, time_us));
                }
                Asked::At(from.0)
            }
            OffsetSpec::MaxTimestamp => Asked::Max,
        };
        self.marks.hit_if(answered.is_some(), Mark::TimestampFound);
        self.marks.hit_if(answered.is_none() && all.end > Offset(0), Mark::TimestampNotFound);
        seen.lookups.push(Lookup { asked, floor: all.end, answer: answered, committed });
        match offset.filter(|_| committed) {
            Some(offset) => self.looked_up_committed(query.partition, offset),
            None => Ok(()),
        }
    }

    /// An answer of which nobody knows under which epoch it was given owes nothing; but what it
    /// found must be late enough, and the first that is.
    fn found_without_epoch(
        &mut self,
        (place, committed): (u32, bool),
        spec: OffsetSpec,
        answer: Option<Listed>,
    ) -> Check {
        let (OffsetSpec::At(from), Some(Listed { offset, time_us, .. })) = (spec, answer) else {
            return Ok(());
        };
        let seen = &mut self.facts.clients.seen[place as usize];
        let (partition, floor) = (seen.partition, Offset(0));
        ask!(self, Q1, list_offsets::found(partition, from.0, offset, time_us));
        seen.lookups.push(Lookup { asked: Asked::At(from.0), floor, answer, committed });
        if committed { self.looked_up_committed(place, offset) } else { Ok(()) }
    }

    fn epoch_ended(
        &mut self,
        query: &Query,
        asked: LeaderEpoch,
        found: Option<(LeaderEpoch, Offset)>,
    ) -> Check {
        let seen = &mut self.facts.clients.seen[query.partition as usize];
        let partition = seen.partition;
        let Some(leader) = query.epoch else { return Ok(()) };
        let answer = Answered { asked, leader, found };
        ask!(self, Q2, epoch_end::answered(partition, answer, query.owed(leader).0));
        let past = asked < leader;
        self.marks.hit_if(past, Mark::PastEpochEnd);
        if past && let Some(stream) = self.facts.ledger.stream_of(partition) {
            ask!(self, Q2, epoch_end::past(partition, answer, stream));
        }
        if let Some((_, end)) = found
            && asked <= leader
        {
            let asked = Asked::EpochEnd { epoch: asked, past };
            let committed = false;
            seen.lookups.push(Lookup { asked, floor: end, answer: None, committed });
        }
        Ok(())
    }

    /// The end of a transaction was asked for, and this is what became of it.
    fn transaction_over(&mut self, txn: u32, outcome: Outcome) {
        let known = self.facts.clients.transactions.entry(txn).or_default();
        known.over(outcome);
        let mark = match known.commit {
            Some(true) => Mark::TransactionCommitted,
            Some(false) | None => Mark::TransactionAborted,
        };
        self.marks.hit_if(outcome == Outcome::Ok, mark);
    }

    fn refused(&mut self, open: &Open, code: Option<ErrorCode>) -> Check {
        match &open.what {
            OpenCall::Produce { first_value } => {
                let clients = &mut self.facts.clients;
                let Some(send) = clients.sends.get_mut(first_value) else { return Ok(()) };
                send.outcome = Outcome::Failed;
                let partition = clients.seen[send.partition as usize].partition;
                self.marks.hit(Mark::DefiniteFailure);
                self.marks.hit_if(send.damaged, Mark::DamagedRefused);
                // Who reads it later is judged then.
                if clients.seen[send.partition as usize].fetched {
                    ask!(self, L3, acked_durable::refused(partition, *first_value, send));
                }
            }
            OpenCall::Fetch { read, offset, .. } if code == Some(ErrorCode::OffsetOutOfRange) => {
                let partition = self.facts.clients.seen[read.partition as usize].partition;
                let owed = match read.epoch {
                    Some(epoch) if self.facts.alone => Some(read.owed(epoch).0),
                    None if self.facts.alone => None,
                    Some(_) | None => Some(read.ever),
                };
                if let Some(owed) = owed.filter(|owed| owed.end > Offset(0)) {
                    ask!(self, L4, read_stable::out_of_range(partition, *offset, owed));
                }
            }
            OpenCall::EndTxn { txn, .. } => {
                self.transaction_over(*txn, Outcome::Failed);
                self.zombie_asked(*txn, false)?;
                let known = self.facts.clients.transactions[txn];
                let refused = known.commit == Some(true) && known.outcome == Outcome::Failed;
                if refused && known.written && self.facts.clients.read_committed {
                    ask!(self, T2, no_aborted_read::refused(*txn, known.read));
                }
            }
            OpenCall::Fetch { .. }
            | OpenCall::List { .. }
            | OpenCall::EpochEnd { .. }
            | OpenCall::Add { .. }
            | OpenCall::InitProducerId { .. }
            | OpenCall::Group
            | OpenCall::Admin { .. } => {}
        }
        Ok(())
    }
}

/// Where a reader is behind what it stepped over at `at`.
fn step_over(mut at: Offset, skipped: &mut &[(Offset, Offset)]) -> Offset {
    while let Some((&(from, upto), rest)) = skipped.split_first()
        && from <= at
    {
        (at, *skipped) = (at.max(upto), rest);
    }
    at
}

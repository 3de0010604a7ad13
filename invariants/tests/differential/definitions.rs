//! What is wrong with a history, by definition: each class compares all observations with all
//! others. Slow, and without any state that is kept from event to event.

use std::collections::BTreeSet;

use invariants::history::{Answer, Call, EventKind, HistoryEvent};

use broker_core::protocol::{Acks, Isolation};

/// What can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    /// Two values at one offset.
    Conflict,
    /// One batch at two places.
    Duplicate,
    /// A value that nobody had sent there.
    Phantom,
    /// A value whose produce was refused.
    FailedVisible,
    /// An acknowledged record is not there.
    Lost,
    /// A record that was read is not there.
    Vanished,
    /// Behind what it must come before, or a read that jumps or goes back.
    Order,
    /// Read as committed, and can not be.
    AbortedRead,
    /// Committed, and a part of it was passed over.
    NonAtomic,
}

impl Class {
    pub(crate) const ALL: [Self; 9] = [
        Self::Conflict,
        Self::Duplicate,
        Self::Phantom,
        Self::FailedVisible,
        Self::Lost,
        Self::Vanished,
        Self::Order,
        Self::AbortedRead,
        Self::NonAtomic,
    ];
}

/// A call from beginning to end: places in the history.
struct Whole<'a> {
    op: u32,
    begun: usize,
    call: &'a Call,
    end: Option<(usize, &'a EventKind)>,
}

struct Send {
    partition: u32,
    first: i64,
    count: i64,
    txn: Option<u32>,
    begun: usize,
    /// Acknowledged with acks=all: when, and the first offset.
    acked: Option<(usize, i64)>,
    failed: bool,
}

struct Read {
    partition: u32,
    committed: bool,
    ended: usize,
    from: i64,
    /// Offset and value.
    records: Vec<(i64, i64)>,
    skipped: Option<Vec<(i64, i64)>>,
}

struct End {
    txn: u32,
    commit: bool,
    begun: usize,
    ok: bool,
    failed: bool,
}

/// Somebody saw a value at an offset.
#[derive(Clone, Copy)]
struct Sight {
    partition: u32,
    offset: i64,
    value: i64,
    acked: bool,
}

struct Seen {
    sends: Vec<Send>,
    reads: Vec<Read>,
    ends: Vec<End>,
    sights: Vec<Sight>,
}

/// All that is wrong.
pub(crate) fn classes(events: &[HistoryEvent]) -> BTreeSet<Class> {
    let seen = seen(events);
    let mut found = BTreeSet::new();
    seen.places(&mut found);
    seen.values(&mut found);
    seen.order(&mut found);
    seen.missing(&mut found);
    seen.transactions(&mut found);
    found
}

fn wholes(events: &[HistoryEvent]) -> Vec<Whole<'_>> {
    let mut wholes = Vec::new();
    for (begun, event) in events.iter().enumerate() {
        let EventKind::Invoke(call) = &event.kind else { continue };
        let same = |other: &&(usize, &HistoryEvent)| {
            other.0 > begun && (other.1.client, other.1.call) == (event.client, event.call)
        };
        let all: Vec<_> = events.iter().enumerate().collect();
        let end = all.iter().find(same).map(|(at, event)| (*at, &event.kind));
        wholes.push(Whole { op: event.op, begun, call, end });
    }
    wholes
}

fn seen(events: &[HistoryEvent]) -> Seen {
    let mut seen = Seen { sends: vec![], reads: vec![], ends: vec![], sights: vec![] };
    for Whole { op, begun, call, end } in wholes(events) {
        let failed = matches!(end, Some((_, EventKind::Fail(_))));
        match call {
            Call::Produce { partition, acks, first_value, count, transactional, .. } => {
                let acked = match end {
                    Some((at, EventKind::Ok(Answer::Produced { base, .. })))
                        if *acks == Acks::All =>
                    {
                        Some((at, base.0 as i64))
                    }
                    _ => None,
                };
                seen.sends.push(Send {
                    partition: partition.index.0,
                    first: *first_value as i64,
                    count: i64::from(*count),
                    txn: transactional.then_some(op),
                    begun,
                    acked,
                    failed,
                });
            }
            Call::EndTxn { commit, .. } => {
                let ok = matches!(end, Some((_, EventKind::Ok(_))));
                seen.ends.push(End { txn: op, commit: *commit, begun, ok, failed });
            }
            Call::Fetch { partition, offset, isolation, .. } => {
                let Some((ended, EventKind::Ok(Answer::Fetched { records, skipped, .. }))) = end
                else {
                    continue;
                };
                let pair = |pair: &(_, _)| {
                    let (from, upto): (broker_core::ids::Offset, broker_core::ids::Offset) = *pair;
                    (from.0 as i64, upto.0 as i64)
                };
                let records = records.iter();
                seen.reads.push(Read {
                    partition: partition.index.0,
                    committed: *isolation == Isolation::ReadCommitted,
                    ended,
                    from: offset.0 as i64,
                    records: records
                        .map(|it| (it.offset.0 as i64, it.value.map_or(-1, |value| value as i64)))
                        .collect(),
                    skipped: skipped.as_ref().map(|all| all.iter().map(pair).collect()),
                });
            }
            _ => {}
        }
    }
    seen.sights = seen.all_sights();
    seen
}

impl Read {
    fn has(&self, offset: i64) -> bool {
        self.records.iter().any(|record| record.0 == offset)
    }

    fn skips(&self, offset: i64) -> bool {
        let within = |range: &(i64, i64)| range.0 <= offset && offset < range.1;
        self.skipped.iter().flatten().any(within)
    }

    /// Offsets at which it found nothing.
    fn passed(&self) -> Vec<i64> {
        if let Some(skipped) = &self.skipped {
            return skipped.iter().flat_map(|(from, upto)| *from..*upto).collect();
        }
        let last = self.records.iter().map(|record| record.0).max().unwrap_or(self.from);
        (self.from..last).filter(|offset| !self.has(*offset)).collect()
    }

    /// It goes up from where it began, and says of each offset one thing.
    fn is_in_order(&self) -> bool {
        let up = self.records.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let last = self.records.last().map_or(self.from, |record| record.0 + 1);
        let from = self.records.iter().all(|record| record.0 >= self.from);
        let each = (self.from..last).all(|offset| self.has(offset) != self.skips(offset));
        up && from && (self.skipped.is_none() || each)
    }
}

impl Seen {
    fn all_sights(&self) -> Vec<Sight> {
        let mut sights = Vec::new();
        for send in &self.sends {
            let Some((_, base)) = send.acked else { continue };
            for nth in 0..send.count {
                let (partition, offset, value) = (send.partition, base + nth, send.first + nth);
                sights.push(Sight { partition, offset, value, acked: true });
            }
        }
        for read in &self.reads {
            for &(offset, value) in &read.records {
                let partition = read.partition;
                sights.push(Sight { partition, offset, value, acked: false });
            }
        }
        sights
    }

    fn sender(&self, value: i64) -> Option<&Send> {
        let sent = |send: &&Send| send.first <= value && value < send.first + send.count;
        self.sends.iter().find(sent)
    }

    fn txn(&self, value: i64) -> Option<u32> {
        self.sender(value)?.txn
    }

    /// Where the batch of a sighting began.
    fn base(&self, sight: &Sight) -> Option<(i64, i64)> {
        let send = self.sender(sight.value)?;
        Some((send.first, sight.offset - (sight.value - send.first)))
    }

    fn places(&self, found: &mut BTreeSet<Class>) {
        for a in &self.sights {
            if self.base(a).is_some_and(|(_, base)| base < 0) {
                found.insert(Class::Duplicate);
            }
            for b in &self.sights {
                let here = a.partition == b.partition;
                if here && a.offset == b.offset && a.value != b.value {
                    found.insert(Class::Conflict);
                }
                let (of_a, of_b) = (self.base(a), self.base(b));
                let batch = of_a.zip(of_b).is_some_and(|(a, b)| a.0 == b.0 && a.1 != b.1);
                if here && batch {
                    found.insert(Class::Duplicate);
                }
            }
        }
    }

    fn values(&self, found: &mut BTreeSet<Class>) {
        for read in &self.reads {
            for (_, value) in &read.records {
                match self.sender(*value) {
                    Some(send) if send.begun < read.ended && send.partition == read.partition => {
                        if send.failed {
                            found.insert(Class::FailedVisible);
                        }
                    }
                    _ => {
                        found.insert(Class::Phantom);
                    }
                }
            }
        }
    }

    fn order(&self, found: &mut BTreeSet<Class>) {
        if !self.reads.iter().all(Read::is_in_order) {
            found.insert(Class::Order);
        }
        for sight in &self.sights {
            let Some((first, base)) = self.base(sight) else { continue };
            let later = self.sends.iter().find(|send| send.first == first).expect("sent");
            for earlier in self.sends.iter().filter(|it| it.partition == later.partition) {
                let Some((acked, place)) = earlier.acked else { continue };
                if acked < later.begun && base < place + earlier.count {
                    found.insert(Class::Order);
                }
            }
        }
    }

    fn missing(&self, found: &mut BTreeSet<Class>) {
        for read in &self.reads {
            for offset in read.passed() {
                for sight in &self.sights {
                    let here = (sight.partition, sight.offset) == (read.partition, offset);
                    let due = !read.committed || self.txn(sight.value).is_none();
                    if here && due {
                        found.insert(if sight.acked { Class::Lost } else { Class::Vanished });
                    }
                }
            }
        }
    }

    fn transactions(&self, found: &mut BTreeSet<Class>) {
        let committed = self.reads.iter().filter(|read| read.committed);
        let mut read_of = BTreeSet::new();
        for read in committed.clone() {
            for txn in read.records.iter().filter_map(|(_, value)| self.txn(*value)) {
                read_of.insert(txn);
                let of = || self.ends.iter().filter(|end| end.txn == txn);
                let may = of().any(|end| end.commit && !end.failed && end.begun < read.ended);
                if !may || of().any(|end| !end.commit && end.ok) {
                    found.insert(Class::AbortedRead);
                }
            }
        }
        for read in committed {
            for offset in read.passed() {
                for sight in &self.sights {
                    let here = (sight.partition, sight.offset) == (read.partition, offset);
                    let Some(txn) = self.txn(sight.value).filter(|_| here) else { continue };
                    let told = |end: &End| end.txn == txn && end.commit && end.ok;
                    if read_of.contains(&txn) || self.ends.iter().any(told) {
                        found.insert(Class::NonAtomic);
                    }
                }
            }
        }
    }
}

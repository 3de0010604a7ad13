//! Small random histories: two toy partitions, a few clients whose calls overlap, and in two of
//! three histories a chance that any one thing goes wrong.

use broker_core::ids::{Offset, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{Acks, Isolation};
use invariants::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord, SimTime};

/// A history, and whether something went wrong on purpose.
pub(crate) struct Made {
    pub(crate) events: Vec<HistoryEvent>,
    pub(crate) broken: bool,
}

/// What stands at an offset.
#[derive(Clone, Copy)]
enum Cell {
    Value(u64, Option<u32>),
    Marker,
}

/// How a transaction ended in a partition.
type Fate = (u32, usize, bool);

#[derive(Clone)]
struct Open {
    client: u16,
    call: u32,
    op: u32,
    what: Call,
    /// What it will answer, if the toy did it when it began.
    done: Option<Answer>,
}

struct Toy {
    random: u64,
    /// One thing in so many goes wrong; 0: none.
    wrong_in: u64,
    broken: bool,
    logs: [Vec<Cell>; 2],
    fates: Vec<Fate>,
    /// Transactions that are being written.
    writing: Vec<u32>,
    /// Those that may be ended, again.
    refused: Vec<u32>,
    values: u64,
    calls: u32,
    txns: u32,
    open: Vec<Open>,
    events: Vec<HistoryEvent>,
}

/// The history of a seed.
pub(crate) fn history(seed: u64) -> Made {
    let mut toy = Toy {
        random: seed,
        wrong_in: 0,
        broken: false,
        logs: [vec![], vec![]],
        fates: vec![],
        writing: vec![],
        refused: vec![],
        values: 0,
        calls: 0,
        txns: 0,
        open: vec![],
        events: vec![],
    };
    toy.wrong_in = [0, 20, 6][toy.below(3) as usize];
    let steps = 8 + toy.below(26);
    for _ in 0..steps {
        toy.step();
    }
    while toy.below(4) > 0 && !toy.open.is_empty() {
        toy.end();
    }
    Made { events: toy.events, broken: toy.broken }
}

impl Toy {
    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn goes_wrong(&mut self) -> bool {
        let wrong = self.wrong_in > 0 && self.below(self.wrong_in) == 0;
        self.broken |= wrong;
        wrong
    }

    fn say(&mut self, client: u16, call: u32, op: u32, kind: EventKind) {
        let at = SimTime(self.events.len() as u64);
        self.events.push(HistoryEvent { at, client, call, op, kind });
    }

    fn step(&mut self) {
        if self.open.len() > 2 || (!self.open.is_empty() && self.below(2) == 0) {
            self.end();
        } else {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let (client, call) = (self.below(3) as u16, self.calls);
        self.calls += 1;
        let (what, op) = match self.below(8) {
            0..4 => self.produce(),
            4 if !(self.writing.is_empty() && self.refused.is_empty()) => self.end_txn(),
            _ => (self.fetch(), 0),
        };
        self.say(client, call, op, EventKind::Invoke(what.clone()));
        let mut open = Open { client, call, op, what, done: None };
        if self.below(2) == 0 {
            open.done = Some(self.act(&open));
        }
        self.open.push(open);
        // A cluster that forgets.
        if self.goes_wrong() && self.below(2) == 0 {
            let log = self.below(2) as usize;
            self.logs[log].pop();
        }
    }

    fn partition(index: usize) -> TopicPartition {
        TopicPartition { topic: TopicId(1), index: PartitionIndex(index as u32) }
    }

    fn produce(&mut self) -> (Call, u32) {
        let count = 1 + self.below(2);
        let (first_value, index) = (self.values, self.below(2) as usize);
        // Values may stand apart.
        self.values += count + self.below(2);
        let transactional = self.below(2) == 0;
        if transactional && (self.writing.is_empty() || self.below(4) == 0) {
            self.txns += 1;
            self.writing.push(self.txns);
        }
        let op = if transactional {
            let nth = self.below(self.writing.len() as u64) as usize;
            self.writing[nth]
        } else {
            0
        };
        let call = Call::Produce {
            partition: Self::partition(index),
            acks: if self.below(8) == 0 { Acks::Leader } else { Acks::All },
            first_value,
            count: count as u32,
            damaged: false,
            created: None,
            idempotent: self.below(2) == 0,
            retried: false,
            transactional,
            id: None,
        };
        (call, op)
    }

    fn end_txn(&mut self) -> (Call, u32) {
        let from = if self.writing.is_empty() { &mut self.refused } else { &mut self.writing };
        let txn = from.remove(0);
        // Its batches that are still under way come too late, as in Kafka.
        self.open.iter_mut().filter(|open| open.op == txn && open.done.is_none()).for_each(
            |open| {
                open.done = Some(Answer::Done);
            },
        );
        (Call::EndTxn { commit: self.below(3) > 0, producer: None, id: None }, txn)
    }

    fn fetch(&mut self) -> Call {
        let index = self.below(2) as usize;
        let end = self.logs[index].len() as u64;
        let offset = if self.below(2) == 0 { 0 } else { self.below(end + 1) };
        let committed = self.below(2) == 0;
        Call::Fetch {
            partition: Self::partition(index),
            offset: Offset(offset),
            reader: 0,
            leader_epoch: None,
            isolation: if committed {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
        }
    }

    /// Does what an open call asks for.
    fn act(&mut self, open: &Open) -> Answer {
        match open.what {
            Call::Produce { partition, first_value, count, transactional, .. } => {
                let txn = transactional.then_some(open.op);
                self.append(partition.index.0 as usize, first_value, u64::from(count), txn)
            }
            Call::EndTxn { commit, .. } => {
                for index in 0..2 {
                    let commit = if self.goes_wrong() { !commit } else { commit };
                    let of =
                        |cell: &Cell| matches!(cell, Cell::Value(_, Some(txn)) if *txn == open.op);
                    if self.logs[index].iter().any(of) && !self.goes_wrong() {
                        self.fates.push((open.op, index, commit));
                        self.logs[index].push(Cell::Marker);
                    }
                }
                Answer::Done
            }
            Call::Fetch { partition, offset, isolation, .. } => {
                let committed = isolation == Isolation::ReadCommitted && !self.goes_wrong();
                self.read(partition.index.0 as usize, offset.0 as usize, committed)
            }
            _ => unreachable!("no such call is made"),
        }
    }

    fn append(&mut self, index: usize, first: u64, count: u64, txn: Option<u32>) -> Answer {
        let index = if self.goes_wrong() { 1 - index } else { index };
        let mut base = self.logs[index].len() as u64;
        let times = match (self.goes_wrong(), self.below(2)) {
            (true, twice) => 2 * twice,
            (false, _) => 1,
        };
        for _ in 0..times {
            self.logs[index].extend((first..first + count).map(|value| Cell::Value(value, txn)));
        }
        if self.goes_wrong() {
            base = (base + self.below(3)).saturating_sub(1);
        }
        Answer::Produced { base: Offset(base), log_append_time: None }
    }

    fn fate(&self, txn: u32, index: usize) -> Option<bool> {
        self.fates.iter().find(|fate| (fate.0, fate.1) == (txn, index)).map(|fate| fate.2)
    }

    fn read(&mut self, index: usize, from: usize, committed: bool) -> Answer {
        let log = self.logs[index].clone();
        let undecided = |cell: &Cell| match cell {
            Cell::Value(_, Some(txn)) => self.fate(*txn, index).is_none(),
            Cell::Value(_, None) | Cell::Marker => false,
        };
        let stable = log.iter().position(undecided).unwrap_or(log.len());
        let end = if committed { stable } else { log.len() };
        let (mut records, mut skipped) = (Vec::new(), Vec::new());
        for (offset, cell) in log.iter().enumerate().take(end).skip(from) {
            let offset = Offset(offset as u64);
            let value = match *cell {
                Cell::Marker => None,
                Cell::Value(_, Some(txn)) if committed && self.fate(txn, index) == Some(false) => {
                    None
                }
                Cell::Value(value, _) => Some(value),
            };
            match value.filter(|_| !self.goes_wrong()) {
                Some(value) => {
                    let value = if self.goes_wrong() { self.below(self.values + 2) } else { value };
                    let offset = if self.goes_wrong() { offset.next() } else { offset };
                    records.push(ReadRecord {
                        offset,
                        value: Some(value),
                        timestamp: None,
                        leader_epoch: None,
                        intact: true,
                    });
                }
                // What is silently left out is a gap.
                None if self.goes_wrong() => {}
                None => skipped.push((offset, offset.next())),
            }
        }
        Answer::Fetched {
            high_watermark: None,
            last_stable: None,
            log_start: None,
            records,
            skipped: (self.below(2) == 0).then_some(skipped),
        }
    }

    fn end(&mut self) {
        let nth = self.below(self.open.len() as u64) as usize;
        let mut open = self.open.remove(nth);
        let acted = open.done.is_some();
        let too_late =
            matches!((&open.what, &open.done), (Call::Produce { .. }, Some(Answer::Done)));
        let kind = match self.below(6) {
            0 => EventKind::Unknown(None),
            // What was done can not be said to have failed.
            1 if !acted || too_late || self.goes_wrong() => EventKind::Fail(None),
            _ if too_late => EventKind::Unknown(None),
            _ => {
                let answer = match open.done.take() {
                    Some(answer) => answer,
                    None => self.act(&open.clone()),
                };
                EventKind::Ok(answer)
            }
        };
        if matches!((&open.what, &kind), (Call::EndTxn { .. }, EventKind::Fail(_))) && !acted {
            self.refused.push(open.op);
        }
        self.say(open.client, open.call, open.op, kind);
    }
}

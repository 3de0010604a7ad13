use alloc::vec::Vec;

use super::*;
use crate::specification::draws;

/// What a log holds, in the walk's own words: a batch of the transaction with this number, or a
/// marker, of a producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Batch(Producer, u32),
    Marker(Producer, bool),
}

/// A transaction of a walk.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: Id,
    producer: Producer,
    epoch: Epoch,
    protocol: Protocol,
    outcome: Option<bool>,
}

/// A walk: the specification, and what its steps came to.
#[derive(Default)]
struct Walk {
    state: Transactions,
    transactions: Vec<Known>,
    logs: BTreeMap<Place, Vec<Held>>,
    asked: BTreeSet<(Producer, Epoch, bool)>,
    /// Producers that somebody has become.
    producers: BTreeSet<Producer>,
}

const IDS: Id = 2;
const PLACES: Place = 3;
/// A producer's epochs are used up.
const LAST: Epoch = 3;

impl Walk {
    /// The newest transaction of an id.
    fn newest(&self, id: Id) -> Option<u32> {
        self.transactions.iter().rposition(|it| it.id == id).map(|at| at as u32)
    }

    fn begins(&mut self, id: Id, protocol: Protocol) {
        let Txn { producer, under: epoch, .. } = self.state.ids[&id];
        self.transactions.push(Known { id, producer, epoch, protocol, outcome: None });
    }

    /// An action was taken; before, the id was so.
    fn note(&mut self, action: Action, before: Option<&Txn>) {
        let idle = before.is_some_and(|txn| txn.state != State::Ongoing);
        match action {
            Action::Ask(producer, epoch, commit) => {
                self.asked.insert((producer, epoch, commit));
            }
            Action::Init(_, producer, 0) | Action::Succeed(_, producer) => {
                assert!(self.producers.insert(producer), "two are producer {producer}");
            }
            Action::Begin(id, protocol) => self.begins(id, protocol),
            Action::DecideCommit(id, protocol) | Action::DecideAbort(id, protocol) => {
                if idle {
                    self.begins(id, protocol);
                }
                let newest = self.newest(id).expect("it began");
                let known = &mut self.transactions[newest as usize];
                assert_eq!(known.outcome, None, "decided twice");
                known.outcome = Some(matches!(action, Action::DecideCommit(..)));
                known.protocol = protocol;
                let asked =
                    (known.producer, known.epoch, matches!(action, Action::DecideCommit(..)));
                assert!(self.asked.contains(&asked), "{asked:?} was not asked for");
            }
            Action::Fence(id) => {
                let newest = self.newest(id).expect("it began");
                assert_eq!(self.transactions[newest as usize].outcome, None, "decided twice");
                self.transactions[newest as usize].outcome = Some(false);
            }
            Action::Append(place, producer, epoch, _) => {
                let of = self.transactions.iter().rposition(|it| it.producer == producer);
                let of = of.expect("it has begun one");
                let known = &self.transactions[of];
                assert_eq!(known.epoch, epoch, "an append under an epoch that is not its own");
                assert_eq!(self.newest(known.id), Some(of as u32), "one that was replaced");
                self.logs.entry(place).or_default().push(Held::Batch(producer, of as u32));
            }
            Action::Mark(place, marker, _) | Action::MarkAgain(place, marker, _) => {
                let held = Held::Marker(marker.producer, marker.commit);
                self.logs.entry(place).or_default().push(held);
            }
            Action::Delete(place) => drop(self.logs.remove(&place)),
            _ => {}
        }
    }

    /// Each transaction's ends, by its number: whether it is committed, and the marker's offset.
    fn ends(log: &[Held]) -> BTreeMap<u32, Option<(bool, usize)>> {
        let (mut ends, mut open) = (BTreeMap::new(), BTreeMap::new());
        for (at, held) in log.iter().enumerate() {
            match *held {
                Held::Batch(producer, of) => {
                    let first = *open.entry(producer).or_insert(of);
                    assert_eq!(first, of, "a marker ends two transactions: {log:?}");
                    let ended: &mut Option<_> = ends.entry(of).or_default();
                    assert!(ended.is_none(), "{of} goes on behind its marker: {log:?}");
                }
                Held::Marker(producer, commit) => {
                    if let Some(of) = open.remove(&producer) {
                        ends.insert(of, Some((commit, at)));
                    }
                }
            }
        }
        ends
    }

    /// All partitions say of a transaction what was decided, or nothing yet; and all say it when
    /// it is complete.
    fn holds(&self) {
        for log in self.logs.values() {
            for (of, end) in Self::ends(log) {
                let Known { id, outcome, .. } = self.transactions[of as usize];
                let current = self.newest(id) == Some(of);
                let txn = self.state.ids.get(&id).filter(|_| current);
                let running =
                    txn.is_some_and(|txn| matches!(txn.state, State::Ongoing | State::Decided(_)));
                match end {
                    Some((commit, _)) => assert_eq!(outcome, Some(commit), "{of} in {log:?}"),
                    None => assert!(running, "{of} hangs in {log:?}: {:?}", self.state),
                }
            }
        }
        let mut ends = BTreeMap::new();
        for it in self.transactions.iter().filter(|it| it.protocol == Protocol::Second) {
            let Some(outcome) = it.outcome else { continue };
            let before = ends.insert((it.producer, it.epoch), outcome);
            assert_eq!(before, None, "two transactions under {:?}", (it.producer, it.epoch));
        }
    }

    /// Below what is shown as stable everything is decided, and what is at it is not.
    fn stable(&self, place: Place, high_watermark: Offset, stable: Offset) {
        let log = self.logs.get(&place).map_or(&[][..], Vec::as_slice);
        let below = &log[..high_watermark as usize];
        let ends = Self::ends(below);
        let decided = |held: &Held| match held {
            Held::Batch(_, of) => ends[of].is_some(),
            Held::Marker(..) => true,
        };
        assert!(below[..stable as usize].iter().all(decided), "{stable} in {log:?}");
        assert!(
            below.get(stable as usize).is_none_or(|held| !decided(held)),
            "{stable} in {log:?}"
        );
    }

    /// What could be done, rightly or not; the draw chooses.
    fn thinkable(&self, below: &mut dyn FnMut(usize) -> usize) -> Action {
        let id = below(IDS as usize) as Id;
        let place = below(PLACES as usize) as Place;
        let newest = self.state.had.len() as Producer;
        let txn = self.state.ids.get(&id);
        let current = txn.map_or(0, |txn| txn.producer);
        let producer = match below(4) {
            0 => below(1 + newest as usize) as Producer,
            _ => current,
        };
        let epoch = txn.map_or(0, |txn| txn.epoch) - (below(4) / 3) as Epoch;
        let protocol = if below(2) == 0 { Protocol::First } else { Protocol::Second };
        let commit = below(2) == 0;
        let len = self.logs.get(&place).map_or(0, Vec::len);
        let by = below(3) as u32;
        let marker = Marker { producer, epoch, commit, by };
        match below(24) {
            0 if below(8) == 0 => Action::Init(id, producer, 0),
            0 if txn.is_none_or(|txn| txn.epoch >= LAST) => Action::Init(id, newest, 0),
            0 => Action::Init(id, current, epoch + below(2) as Epoch),
            1 => Action::InitAgain(id),
            2 | 3 => Action::Begin(id, protocol),
            4..=6 => Action::Add(id, place),
            7 => Action::Ask(producer, epoch, commit),
            8 => Action::DecideCommit(id, protocol),
            9 => Action::DecideAbort(id, protocol),
            10 if below(3) == 0 => Action::Fence(id),
            11 if below(3) == 0 => Action::Succeed(id, newest),
            12 | 13 => Action::Complete(id, commit),
            14 if below(20) == 0 => Action::Forget(id),
            15 if below(40) == 0 => Action::Delete(place),
            16 => {
                let high_watermark = below(len + 1);
                let stable = below(high_watermark + 1) as Offset;
                Action::Stable(place, high_watermark as Offset, stable)
            }
            17 => Action::TellEnd(producer, epoch - below(2) as Epoch, commit),
            18 => Action::TellProducer(producer, epoch + below(2) as Epoch),
            19 => Action::MarkAgain(place, marker, len as Offset),
            20 | 21 => Action::Mark(place, marker, len as Offset),
            _ => Action::Append(place, producer, epoch, len as Offset),
        }
    }
}

#[test]
fn transactions_specified_end_everywhere_as_decided_whatever_steps_are_taken() {
    let (mut names, mut draw) = (BTreeSet::new(), draws());
    let mut below = |count: usize| draw(count as u64) as usize;
    for _ in 0..2_000 {
        let mut walk = Walk::default();
        for _ in 0..1_000 {
            let action = walk.thinkable(&mut below);
            let mut next = walk.state.clone();
            if next.take(action).is_err() {
                continue;
            }
            names.insert(action.name());
            let id = match action {
                Action::DecideCommit(id, _) | Action::DecideAbort(id, _) => Some(id),
                _ => None,
            };
            let before = id.and_then(|id| walk.state.ids.get(&id).cloned());
            walk.state = next;
            walk.note(action, before.as_ref());
            match action {
                Action::Stable(place, high_watermark, stable) => {
                    walk.stable(place, high_watermark, stable);
                }
                Action::TellEnd(producer, epoch, commit) => {
                    let own = |it: &&Known| (it.producer, it.epoch) == (producer, epoch);
                    let mut own = walk.transactions.iter().filter(own).rev();
                    let told = own.find_map(|it| it.outcome);
                    assert_eq!(told, Some(commit), "{action:?}");
                }
                _ => walk.holds(),
            }
        }
    }
    let never: Vec<_> = ACTIONS.iter().filter(|name| !names.contains(*name)).collect();
    assert!(never.is_empty(), "never taken: {never:?}");
}

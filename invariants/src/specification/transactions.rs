//! Transactions over the logs of several partitions: what the log of the coordinator says of each
//! transactional id, and what the data partitions' logs say of each producer. A step is a record
//! that is durable. Messages and brokers are left out.
//!
//! Sources: KIP-98; KIP-360 for an epoch that is told again; KIP-890 for epochs raised at each end,
//! and for appends only to what is part of a transaction; KAFKA-6119 and KAFKA-19367 for the epoch
//! of one that was aborted for its producer; KAFKA-19446 and KAFKA-19999 for markers come again.

use alloc::collections::{BTreeMap, BTreeSet};

pub(crate) use id::{Protocol, State, Txn};
pub(crate) use log::{Log, Marker};

use super::{May, Refused};

mod id;
mod log;

/// A transactional id.
pub(crate) type Id = u32;
pub(crate) type Producer = u64;
pub(crate) type Epoch = i16;
/// A data partition.
pub(crate) type Place = u32;
pub(crate) type Offset = u64;

/// Everything.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transactions {
    pub(crate) ids: BTreeMap<Id, Txn>,
    pub(crate) logs: BTreeMap<Place, Log>,
    /// Whose each producer is or was.
    pub(crate) had: BTreeMap<Producer, Id>,
    /// The ends that producers asked for.
    pub(crate) asked: BTreeSet<(Producer, Epoch, bool)>,
    /// Whether the newest transaction of a producer under an epoch is to be committed.
    pub(crate) decided: BTreeMap<(Producer, Epoch), bool>,
    /// Partitions that were deleted.
    pub(crate) gone: BTreeSet<Place>,
}

actions! {
    /// A step.
    "RF3":
    /// Somebody becomes the producer of an id, as this one, under this epoch.
    Init(Id, Producer, Epoch),
    /// The same, but its epoch was raised for it before, and the answer got lost (KIP-360).
    InitAgain(Id),
    /// Its producer begins a transaction.
    Begin(Id, Protocol),
    /// A partition becomes part of it.
    Add(Id, Place),
    /// A producer that takes itself for this one asks for its end.
    Ask(Producer, Epoch, bool),
    /// It is to be committed.
    DecideCommit(Id, Protocol),
    /// It is to be aborted, as its producer asked.
    DecideAbort(Id, Protocol),
    /// It is to be aborted, for it took too long or another becomes the producer.
    Fence(Id),
    /// The epochs are used up: this producer will follow.
    Succeed(Id, Producer),
    /// It has all its markers.
    Complete(Id, bool),
    /// The id was idle for too long.
    Forget(Id),
    /// A batch of a transaction is in a partition's log, at this offset.
    Append(Place, Producer, Epoch, Offset),
    /// A marker is.
    Mark(Place, Marker, Offset),
    /// The same marker is, once more.
    MarkAgain(Place, Marker, Offset),
    /// A partition is deleted.
    Delete(Place),
    /// With this high watermark this is the end of what is decided in a partition.
    Stable(Place, Offset, Offset),
    /// An end that was asked for is told to be done.
    TellEnd(Producer, Epoch, bool),
    /// Somebody is told to be this producer.
    TellProducer(Producer, Epoch),
}

impl Transactions {
    /// A step is taken, if it may be; if not, the state is not to be used any more.
    pub(crate) fn take(&mut self, action: Action) -> May {
        match action {
            Action::Init(id, producer, epoch) => self.init(id, producer, epoch),
            Action::InitAgain(id) => self.init_again(id),
            Action::Begin(id, protocol) => self.begin(id, protocol),
            Action::Add(id, place) => self.add(id, place),
            Action::Ask(producer, epoch, commit) => {
                self.asked.insert((producer, epoch, commit));
                Ok(())
            }
            Action::DecideCommit(id, protocol) => self.end(id, true, protocol),
            Action::DecideAbort(id, protocol) => self.end(id, false, protocol),
            Action::Fence(id) => self.fence(id),
            Action::Succeed(id, producer) => self.succeed(id, producer),
            Action::Complete(id, commit) => self.complete(id, commit),
            Action::Forget(id) => self.forget(id),
            Action::Append(place, producer, epoch, at) => self.append(place, producer, epoch, at),
            Action::Mark(place, marker, at) => self.mark(place, marker, at),
            Action::MarkAgain(place, marker, at) => self.mark_again(place, marker, at),
            Action::Delete(place) => self.delete(place),
            Action::Stable(place, upto, stable) => self.stable(place, upto, stable),
            Action::TellEnd(producer, epoch, commit) => self.tell_end(producer, epoch, commit),
            Action::TellProducer(producer, epoch) => self.tell_producer(producer, epoch),
        }
    }

    fn of(&mut self, id: Id) -> Result<&mut Txn, Refused> {
        self.ids.get_mut(&id).ok_or(Refused("nobody has that id"))
    }

    /// An id without a transaction.
    fn idle(&mut self, id: Id) -> Result<&mut Txn, Refused> {
        let txn = self.of(id)?;
        let idle = matches!(txn.state, State::Empty | State::Complete(_));
        guard!(idle, "its transaction is not over");
        Ok(txn)
    }

    fn init(&mut self, id: Id, producer: Producer, epoch: Epoch) -> May {
        if self.ids.contains_key(&id) {
            self.idle(id)?;
        }
        let same = self.ids.get(&id).filter(|txn| txn.producer == producer);
        let next = same.map_or(0, |txn| txn.epoch + 1);
        guard!(epoch == next, "the epoch is neither the next one nor a producer's first");
        let known = same.is_some() || self.had.insert(producer, id).is_none();
        guard!(known, "that producer is or was another");
        self.ids.insert(id, Txn { producer, epoch, under: epoch, ..Txn::default() });
        Ok(())
    }

    fn init_again(&mut self, id: Id) -> May {
        let txn = self.idle(id)?;
        guard!(!txn.fenced, "that epoch is nobody's");
        txn.state = State::Empty;
        Ok(())
    }

    fn begin(&mut self, id: Id, protocol: Protocol) -> May {
        let txn = self.idle(id)?;
        // By the second protocol the end that its producer asks for later tells it the epoch.
        guard!(!txn.fenced || protocol == Protocol::Second, "that epoch is nobody's");
        (txn.state, txn.under, txn.fenced) = (State::Ongoing, txn.epoch, false);
        Ok(())
    }

    fn add(&mut self, id: Id, place: Place) -> May {
        let txn = self.of(id)?;
        guard!(txn.state == State::Ongoing, "no transaction of it is open");
        txn.partitions.insert(place);
        Ok(())
    }

    fn end(&mut self, id: Id, commit: bool, protocol: Protocol) -> May {
        let txn = self.ids.get(&id).ok_or(Refused("nobody has that id"))?;
        let asked = self.asked.contains(&(txn.producer, txn.epoch, commit));
        guard!(asked, "its producer has not asked for that");
        // By the second protocol who has begun nothing may still abort.
        if txn.state != State::Ongoing && !commit && protocol == Protocol::Second {
            self.idle(id)?.under = self.ids[&id].epoch;
            self.of(id)?.state = State::Ongoing;
        }
        self.decide(id, commit, Epoch::from(protocol == Protocol::Second))
    }

    fn fence(&mut self, id: Id) -> May {
        self.decide(id, false, 1)?;
        self.of(id)?.fenced = true;
        Ok(())
    }

    /// A decision is final: only that it is complete can follow.
    fn decide(&mut self, id: Id, commit: bool, raised: Epoch) -> May {
        let txn = self.of(id)?;
        guard!(!matches!(txn.state, State::Decided(_)), "it is decided");
        guard!(txn.state == State::Ongoing, "no transaction of it is open");
        txn.state = State::Decided(commit);
        txn.epoch += raised;
        let (producer, under, epoch) = (txn.producer, txn.under, txn.epoch);
        self.decided.insert((producer, under), commit);
        self.asked.retain(|(of, old, _)| *of != producer || *old >= epoch);
        Ok(())
    }

    fn succeed(&mut self, id: Id, producer: Producer) -> May {
        guard!(self.had.insert(producer, id).is_none(), "that producer is or was another");
        let txn = self.of(id)?;
        guard!(matches!(txn.state, State::Decided(_)), "its transaction is not decided");
        guard!(txn.next.replace(producer).is_none(), "another will follow");
        Ok(())
    }

    fn complete(&mut self, id: Id, commit: bool) -> May {
        let gone = &self.gone;
        let txn = self.ids.get_mut(&id).ok_or(Refused("nobody has that id"))?;
        guard!(txn.state == State::Decided(commit), "that is not decided");
        let mut due = txn.partitions.difference(&txn.marked).filter(|place| !gone.contains(place));
        guard!(due.next().is_none(), "a partition of it has no marker");
        txn.state = State::Complete(commit);
        txn.partitions.clear();
        txn.marked.clear();
        if let Some(next) = txn.next.take() {
            let old = core::mem::replace(&mut txn.producer, next);
            txn.epoch = 0;
            self.asked.retain(|(of, ..)| *of != old);
        }
        Ok(())
    }

    fn forget(&mut self, id: Id) -> May {
        self.idle(id)?;
        self.ids.remove(&id);
        Ok(())
    }

    fn append(&mut self, place: Place, producer: Producer, epoch: Epoch, at: Offset) -> May {
        guard!(!self.gone.contains(&place), "the partition is deleted");
        let id = self.had.get(&producer).ok_or(Refused("nobody is that producer"))?;
        let txn = self.ids.get(id).ok_or(Refused("nobody has its id"))?;
        self.logs.entry(place).or_default().append(producer, epoch, at)?;
        let open = matches!(txn.state, State::Ongoing | State::Decided(_));
        guard!(open && txn.producer == producer, "it has no transaction");
        guard!(txn.under == epoch, "its transaction is of another epoch");
        guard!(txn.partitions.contains(&place), "the partition is no part of its transaction");
        guard!(!txn.marked.contains(&place), "its transaction is over there");
        Ok(())
    }

    /// Whether the marker is what was decided, and its partition waits for it.
    pub(crate) fn is_due(&self, place: Place, marker: Marker) -> bool {
        let id = self.had.get(&marker.producer);
        id.and_then(|id| self.ids.get(id)).is_some_and(|txn| {
            (txn.producer, txn.epoch) == (marker.producer, marker.epoch)
                && txn.state == State::Decided(marker.commit)
                && txn.partitions.contains(&place)
                && !txn.marked.contains(&place)
        })
    }

    fn mark(&mut self, place: Place, marker: Marker, at: Offset) -> May {
        guard!(!self.gone.contains(&place), "the partition is deleted");
        guard!(self.is_due(place, marker), "that is not decided, or not due there");
        self.logs.entry(place).or_default().mark(marker, at)?;
        let id = self.had[&marker.producer];
        self.of(id)?.marked.insert(place);
        Ok(())
    }

    fn mark_again(&mut self, place: Place, marker: Marker, at: Offset) -> May {
        let log = self.logs.entry(place).or_default();
        guard!(log.has(marker), "that is not decided, or not due there");
        log.mark(marker, at)
    }

    fn delete(&mut self, place: Place) -> May {
        guard!(self.gone.insert(place), "it is deleted already");
        self.logs.remove(&place);
        Ok(())
    }

    fn stable(&mut self, place: Place, high_watermark: Offset, stable: Offset) -> May {
        let log = self.logs.entry(place).or_default();
        guard!(stable == log.stable(high_watermark), "what is decided ends elsewhere");
        Ok(())
    }

    fn tell_end(&mut self, producer: Producer, epoch: Epoch, commit: bool) -> May {
        let decided = self.decided.get(&(producer, epoch));
        guard!(decided == Some(&commit), "that is not decided");
        Ok(())
    }

    fn tell_producer(&mut self, producer: Producer, epoch: Epoch) -> May {
        let id = self.had.get(&producer).ok_or(Refused("nobody is that producer"))?;
        let now = self.ids.get(id).filter(|txn| txn.producer == producer);
        guard!(now.is_none_or(|txn| epoch <= txn.epoch), "nobody has that epoch");
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Logs on an object store that knows create-if-absent and list, and no leases: what of a log may
//! be acknowledged, who recovers it, and when an object may go.
//!
//! An owner asks, behind its puts, whether somebody has claimed its log. A recoverer claims first
//! and lists then. So what was acknowledged was in the store before the claim, and is in the list.
//! Sources: AutoMQ's `ObjectWALService`, `ObjectReservationService`, `RecoverIterator`.

use alloc::collections::BTreeMap;

use super::{May, Refused, claims::Claims, stream::Stream};

pub(crate) type Id = u16;
/// A broker's process: the broker, and the number of its start.
pub(crate) type Process = (Id, u64);
/// A log: the broker, and its registration.
pub(crate) type Log = (Id, u64);

/// A log. Places of records count on from one log of a broker to the next.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    /// In the store: by their first place their ends, and what they say of where recovery begins.
    pub(crate) objects: BTreeMap<u64, (u64, u64)>,
    /// All before it may be acknowledged.
    pub(crate) confirmed: u64,
    /// All before it is in objects of data.
    pub(crate) trimmed: u64,
    /// What was confirmed and is not trimmed: by its place a stream, and where that ends.
    pub(crate) records: BTreeMap<u64, (u64, u64)>,
    /// Which broker is to recover it.
    pub(crate) recoverer: Option<Id>,
    /// Where brokers that recovered it have found its end.
    pub(crate) runs: BTreeMap<Id, u64>,
    /// How far each recoverer has found each stream in it.
    pub(crate) taken: BTreeMap<(Id, u64), u64>,
    /// Nothing from here on counts.
    pub(crate) sealed: Option<u64>,
}

impl State {
    /// How far it goes on from a place without a hole.
    fn reach(&self, from: u64) -> u64 {
        let further = |at: u64| {
            let (_, (end, _)) = self.objects.range(..=at).next_back()?;
            (*end > at).then_some(*end)
        };
        core::iter::successors(Some(from), |at| further(*at)).last().unwrap_or(from)
    }
}

/// Who has a log open.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owner {
    process: Process,
    pub(crate) log: Log,
    claim: u64,
    /// Questions for later claims: what each covers, and whether the store has found none.
    asked: BTreeMap<u64, (u64, bool)>,
}

/// All logs.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Wals {
    pub(crate) logs: BTreeMap<Log, State>,
    pub(crate) claims: Claims,
    pub(crate) owners: BTreeMap<Id, Owner>,
    /// Who has claimed a broker's logs to recover one, and how far each went when it was listed.
    pub(crate) recoveries: BTreeMap<(Process, Id), BTreeMap<Log, u64>>,
    pub(crate) streams: BTreeMap<u64, Stream>,
}

actions! {
    /// What may happen. Ends are exclusive.
    "RF2":
    /// A broker registers.
    Register(Log),
    /// A claim on a broker's logs lands in the store.
    Claim(Id, u64, Process),
    /// One is deleted.
    Unclaim(Id, u64),
    /// A process opens its log under its claim.
    Open(Log, u64, Process),
    /// A broker has no open log any more.
    Close(Id),
    /// An object lands: its start, its end, where it says that recovery begins.
    Put(Log, u64, (u64, u64)),
    /// An object is deleted.
    Delete(Log, u64),
    /// An owner asks, under this number, for later claims; all before this place is durable.
    Ask(Id, u64, u64),
    /// The store answers.
    Look(Process, u64),
    /// By that answer all before this place may be acknowledged.
    Confirm(Id, u64, u64),
    /// And with it this record: its place, its stream, from where to where.
    Record(Id, u64, (u64, u64, u64)),
    /// A stream is acknowledged so far.
    Acknowledge(u64, u64),
    /// An owner needs nothing before this place.
    Trim(Id, u64),
    /// A broker is to recover a log.
    Assign(Log, Id),
    /// A process has claimed a broker's logs to recover one.
    TakeOver(Process, Id, u64),
    /// The store begins to list the broker's logs for it.
    List(Process, Id),
    /// It finds that the log ends here.
    Run(Process, Log, u64),
    /// It takes a record: its place, its stream, and where that ends.
    Take(Process, Log, (u64, u64, u64)),
    /// A log ends here, and is recovered.
    Seal(Log, u64),
    /// A stream is opened, by a greater number than before.
    OpenStream(u64, u64, Log),
    /// A stream is closed.
    CloseStream(u64),
    /// A part of a stream, of one opening, is in an object of data, by what is in this log.
    Commit((u64, u64), (u64, u64), Log),
    /// A stream is deleted.
    Remove(u64),
}

impl Wals {
    /// Something happens, if it may; if not, the state is not to be used any more.
    pub(crate) fn take(&mut self, action: Action) -> May {
        match action {
            Action::Register(log) => drop(self.logs.insert(log, State::default())),
            Action::Claim(of, number, by) => return self.claims.land(of, number, by),
            Action::Unclaim(of, number) => return self.claims.delete(of, number),
            Action::Open(log, claim, process) => return self.open(log, claim, process),
            Action::Close(id) => {
                self.owners.remove(&id);
                self.recoveries.retain(|(by, _), _| by.0 != id);
            }
            Action::Put(log, start, (end, trim)) => return self.put(log, start, (end, trim)),
            Action::Delete(log, start) => return self.delete(log, start),
            Action::Ask(id, number, covers) => {
                let (owner, state) = self.owner(id)?;
                // Whoever recovered the log has deleted it; its owner asks in vain.
                let there = covers <= state.reach(state.confirmed) || state.sealed.is_some();
                guard!(there, "not all of it is in the store");
                owner.asked.insert(number, (covers, false));
            }
            Action::Look(process, number) => {
                let owner = self.owners.get_mut(&process.0).filter(|it| it.process == process);
                if let Some(Owner { claim, asked, .. }) = owner {
                    let alone = self.claims.is_newest(process.0, *claim);
                    asked.entry(number).and_modify(|(_, found)| *found |= alone);
                }
            }
            Action::Confirm(id, number, end) => return self.confirm(id, number, end),
            Action::Record(id, at, record) => return self.record(id, at, record),
            Action::Acknowledge(stream, end) => {
                let known = self.streams.get(&stream);
                guard!(known.is_none_or(|it| end <= it.confirmed), "it is not confirmed");
            }
            Action::Trim(id, upto) => return self.trim(id, upto),
            Action::Assign(log, recoverer) => self.running(log)?.recoverer = Some(recoverer),
            Action::TakeOver(by, of, number) => {
                guard!(self.claims.is_by(of, number, by), "the claim is not its own");
                self.recoveries.insert((by, of), BTreeMap::new());
            }
            Action::List(by, of) => {
                let logs = self.logs.range((of, 0)..=(of, u64::MAX));
                let ends = logs.map(|(log, it)| (*log, it.reach(self.begin(*log)))).collect();
                self.recoveries.entry((by, of)).and_modify(|it| *it = ends);
            }
            Action::Run(by, log, end) => return self.run(by, log, end),
            Action::Take(by, log, (at, stream, end)) => {
                let state = self.log(log)?;
                guard!(state.runs.get(&by.0) > Some(&at), "it has not found that place");
                state.taken.insert((by.0, stream), end);
            }
            Action::Seal(log, end) => return self.seal(log, end),
            Action::OpenStream(stream, opening, log) => {
                self.running(log)?;
                return self.streams.entry(stream).or_default().open(opening, log);
            }
            Action::CloseStream(stream) => return self.streams.entry(stream).or_default().close(),
            Action::Commit((stream, opening), part, log) => {
                let state = self.running(log)?;
                let taken = |by| state.taken.get(&(by, stream)).copied().unwrap_or(0);
                let found = state.recoverer.map(taken);
                let stream = self.streams.entry(stream).or_default();
                return stream.commit((log, opening), part, found);
            }
            Action::Remove(stream) => _ = self.streams.remove(&stream),
        }
        Ok(())
    }

    fn log(&mut self, log: Log) -> Result<&mut State, Refused> {
        self.logs.get_mut(&log).ok_or(Refused("there is no such log"))
    }

    /// A log that is not sealed.
    fn running(&mut self, log: Log) -> Result<&mut State, Refused> {
        let state = self.log(log)?;
        guard!(state.sealed.is_none(), "the log is sealed");
        Ok(state)
    }

    fn owner(&mut self, id: Id) -> Result<(&mut Owner, &mut State), Refused> {
        let owner = self.owners.get_mut(&id).ok_or(Refused("it has no open log"))?;
        let state = self.logs.get_mut(&owner.log).ok_or(Refused("there is no such log"))?;
        Ok((owner, state))
    }

    /// Where a log begins: where those of its broker before it end, or behind what is trimmed.
    fn begin(&self, log: Log) -> u64 {
        let earlier = self.logs.range((log.0, 0)..log).filter_map(|(_, state)| state.sealed);
        let trimmed = self.logs.get(&log).map(|state| state.trimmed);
        earlier.chain(trimmed).max().unwrap_or(0)
    }

    fn open(&mut self, log: Log, claim: u64, process: Process) -> May {
        let mut earlier = self.logs.range((log.0, 0)..log);
        guard!(earlier.all(|(_, state)| state.sealed.is_some()), "an earlier log is not sealed");
        guard!(self.claims.is_by(log.0, claim, process), "the claim is not its own");
        let start = self.begin(log);
        let state = self.log(log)?;
        (state.confirmed, state.trimmed) = (start, start);
        self.owners.insert(log.0, Owner { process, log, claim, asked: BTreeMap::new() });
        Ok(())
    }

    /// A copy may land when the object is there, or was deleted.
    fn put(&mut self, log: Log, start: u64, object: (u64, u64)) -> May {
        let state = self.log(log)?;
        let before = state.objects.range(..object.0).next_back();
        let own = before.is_none_or(|(at, it)| it.0 <= start || (*at, *it) == (start, object));
        guard!(own, "its place is taken");
        guard!(object.1 <= state.trimmed || state.sealed.is_some(), "it says too much is trimmed");
        state.objects.insert(start, object);
        Ok(())
    }

    /// Recovery begins at what the newest object says: that one stays, and what is behind it.
    fn delete(&mut self, log: Log, start: u64) -> May {
        let state = self.log(log)?;
        let Some((end, _)) = state.objects.remove(&start) else { return Ok(()) };
        let let_go = end <= state.trimmed && state.objects.range(end..).any(|(_, it)| end <= it.1);
        guard!(let_go || state.sealed.is_some(), "it is still needed");
        Ok(())
    }

    fn confirm(&mut self, id: Id, number: u64, end: u64) -> May {
        let (owner, state) = self.owner(id)?;
        let (covers, alone) = owner.asked.remove(&number).ok_or(Refused("it has not asked"))?;
        owner.asked.retain(|other, _| *other > number);
        guard!(alone, "the store has not said that there is no later claim");
        guard!(end <= covers, "it was not all durable when it asked");
        guard!(state.sealed.is_none_or(|sealed| end <= sealed), "the log has ended before");
        state.confirmed = state.confirmed.max(end);
        Ok(())
    }

    fn record(&mut self, id: Id, at: u64, (name, base, end): (u64, u64, u64)) -> May {
        let (owner, state) = self.owner(id)?;
        guard!(at < state.confirmed, "its place is not confirmed");
        state.records.insert(at, (name, end));
        let log = owner.log;
        self.streams.get_mut(&name).map_or(Ok(()), |stream| stream.confirm(log, (base, end)))
    }

    fn trim(&mut self, id: Id, upto: u64) -> May {
        let (_, state) = self.owner(id)?;
        guard!(upto <= state.confirmed, "it is not confirmed");
        state.trimmed = state.trimmed.max(upto);
        let kept = state.records.split_off(&upto);
        let gone = core::mem::replace(&mut state.records, kept);
        let there = |(name, end)| self.streams.get(name).is_none_or(|it| end <= &it.committed);
        guard!(gone.values().map(|(name, end)| (name, end)).all(there), "it is not committed");
        Ok(())
    }

    fn run(&mut self, by: Process, log: Log, end: u64) -> May {
        let listed = self.recoveries.get(&(by, log.0)).and_then(|listed| listed.get(&log));
        let listed = *listed.ok_or(Refused("it has not listed it behind a claim"))?;
        let begin = self.begin(log);
        let state = self.log(log)?;
        let late = state.sealed.is_some(); // Then it finds a log of which things are gone.
        guard!(late || end >= listed, "it leaves out what it has listed");
        guard!(late || end <= state.reach(begin), "it goes on over a hole");
        guard!(late || end >= state.confirmed, "what was confirmed is lost");
        state.runs.insert(by.0, end);
        Ok(())
    }

    fn seal(&mut self, log: Log, end: u64) -> May {
        let open = self.streams.values().any(|stream| stream.log == Some(log));
        let state = self.running(log)?;
        let recoverer = state.recoverer.ok_or(Refused("nobody is to recover it"))?;
        let found = state.runs.get(&recoverer) == Some(&end);
        guard!(found, "who recovers it has found another end");
        guard!(end >= state.confirmed, "what was confirmed is lost");
        guard!(!open, "a stream is open in it");
        (state.sealed, state.records, state.taken) = (Some(end), BTreeMap::new(), BTreeMap::new());
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The metadata quorum: Raft with votes and logs on devices that may lose what was not synced.
//! Messages are left out: a voter may take a step as soon as what it would have heard is true.
//!
//! Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), §3; KIP-595 for followers
//! that fetch and cut; KAFKA-10527 for a leader that does not lead on in its epoch after a restart.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{May, Refused};

pub(crate) type Id = u16;
/// An entry, of the term of the leader that appended it. Its name tells what it and all before it
/// say: logs with equal entries at a place are equal up to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Entry {
    pub(crate) term: u32,
    pub(crate) name: u64,
}

/// A voter.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Voter {
    /// Its process runs, and is in office.
    pub(crate) up: bool,
    pub(crate) leads: bool,
    /// On its device: its term, who has its vote, and who leads.
    pub(crate) term: u32,
    pub(crate) vote: Option<Id>,
    pub(crate) leader: Option<Id>,
    /// As its process has it.
    pub(crate) log: Vec<Entry>,
    /// So many of `log` are on the device, whatever happens.
    pub(crate) durable: usize,
    /// Behind those the device has these, which the process has cut.
    pub(crate) uncut: Vec<Entry>,
    /// So many it takes for committed.
    pub(crate) commit: usize,
}

/// What has happened in a term.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Term {
    /// For each candidate the term of its last durable entry, and how many it had: the most that it
    /// can have told of its log.
    pub(crate) claims: BTreeMap<Id, (u32, usize)>,
    /// Whom each voter has voted for, and who was elected.
    pub(crate) votes: BTreeMap<Id, Id>,
    pub(crate) leader: Option<Id>,
    /// The leader's log, once it has come into office; complete when it has left it.
    pub(crate) log: Option<Vec<Entry>>,
}

/// A quorum. Terms that all voters have left are forgotten.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Quorum {
    pub(crate) voters: BTreeMap<Id, Voter>,
    pub(crate) terms: BTreeMap<u32, Term>,
    /// What some leader has found committed.
    pub(crate) committed: Vec<Entry>,
}

actions! {
    /// A voter's step. Numbers of entries are counted from the log's start.
    "RF1":
    /// Its process ends.
    Crash,
    /// It runs again, with so many entries of its log.
    Restart(usize),
    /// The same, but the device had not yet cut what the process had cut.
    RestartUncut(usize),
    /// It stands in this term, and votes for itself.
    Stand(u32),
    /// It hears of this term.
    Adopt(u32),
    /// It votes for another.
    Vote(Id),
    /// It hears who leads its term.
    Follow(Id),
    /// It is elected.
    Elect,
    /// It takes office.
    TakeOffice,
    /// It leaves office.
    StepDown,
    /// As leader it appends this entry.
    Append(Entry),
    /// It takes over entries from its leader, up to so many.
    Replicate(usize),
    /// It cuts its log to so many entries.
    Truncate(usize),
    /// So many of its entries are durable.
    Persist(usize),
    /// As leader it finds so many entries committed.
    Commit(usize),
    /// It hears that so many are.
    Hear(usize),
}

impl Quorum {
    /// A voter takes a step, if it may; if not, the state is not to be used any more.
    pub(crate) fn take(&mut self, id: Id, action: Action) -> May {
        match action {
            Action::Crash => self.crash(id),
            Action::Restart(len) => self.restart(id, len, false),
            Action::RestartUncut(len) => self.restart(id, len, true),
            Action::Stand(term) => self.stand(id, term),
            Action::Adopt(term) => self.adopt(id, term),
            Action::Vote(candidate) => self.vote(id, candidate),
            Action::Follow(leader) => self.follow(id, leader),
            Action::Elect => self.elect(id),
            Action::TakeOffice => self.take_office(id),
            Action::StepDown => self.of(id).map(|(voter, _)| voter.leads = false),
            Action::Append(entry) => self.append(id, entry),
            Action::Replicate(len) => self.replicate(id, len),
            Action::Truncate(len) => self.truncate(id, len),
            Action::Persist(len) => self.persist(id, len),
            Action::Commit(len) => self.commit(id, len),
            Action::Hear(len) => self.hear(id, len),
        }
    }

    /// A voter, and what has happened in its term.
    fn of(&mut self, id: Id) -> Result<(&mut Voter, &mut Term), Refused> {
        let voter = self.voters.get_mut(&id).ok_or(Refused("it is no voter"))?;
        let term = self.terms.entry(voter.term).or_default();
        Ok((voter, term))
    }

    fn crash(&mut self, id: Id) -> May {
        self.of(id).map(|(voter, _)| (voter.up, voter.leads, voter.commit) = (false, false, 0))
    }

    fn restart(&mut self, id: Id, len: usize, uncut: bool) -> May {
        let (voter, _) = self.of(id)?;
        guard!(!voter.up, "it runs");
        guard!(len >= voter.durable, "an entry that was durable is gone");
        if uncut {
            voter.log.truncate(voter.durable);
            voter.log.append(&mut voter.uncut);
        }
        guard!(len <= voter.log.len(), "an entry is there that was never written");
        voter.log.truncate(len);
        (voter.up, voter.durable, voter.uncut) = (true, len, Vec::new());
        self.claim(id)
    }

    fn adopt(&mut self, id: Id, term: u32) -> May {
        let newest = self.voters.values().map(|voter| voter.term).max();
        let (voter, _) = self.of(id)?;
        guard!(!voter.leads, "it is in office");
        guard!(term > voter.term, "it has been in that term");
        guard!(newest.is_some_and(|newest| term <= newest + 1), "nobody can have begun that term");
        (voter.term, voter.vote, voter.leader) = (term, None, None);
        let oldest = self.voters.values().map(|voter| voter.term).min();
        self.terms.retain(|term, _| Some(*term) >= oldest);
        Ok(())
    }

    fn stand(&mut self, id: Id, term: u32) -> May {
        guard!(term == self.of(id)?.0.term + 1, "it stands in another term than the next");
        self.adopt(id, term)?;
        let (voter, term) = self.of(id)?;
        voter.vote = Some(id);
        term.votes.insert(id, id);
        self.claim(id)
    }

    /// Who stands can tell what it has durable, until it leads: then its log has its own entries.
    fn claim(&mut self, id: Id) -> May {
        let (voter, term) = self.of(id)?;
        if voter.vote == Some(id) && voter.leader.is_none() {
            let claim = term.claims.entry(id).or_default();
            *claim = (*claim).max((last(&voter.log[..voter.durable]), voter.durable));
        }
        Ok(())
    }

    fn vote(&mut self, id: Id, candidate: Id) -> May {
        let (voter, term) = self.of(id)?;
        let claim = term.claims.get(&candidate).ok_or(Refused("the candidate does not stand"))?;
        guard!(voter.vote.is_none(), "it has voted in this term");
        let own = (last(&voter.log), voter.log.len());
        guard!(*claim >= own, "the candidate's log is behind the voter's");
        voter.vote = Some(candidate);
        term.votes.insert(id, candidate);
        Ok(())
    }

    fn follow(&mut self, id: Id, leader: Id) -> May {
        let (voter, term) = self.of(id)?;
        guard!(voter.leader.is_none(), "it has had a leader in this term");
        guard!(term.leader == Some(leader), "another leads this term, or nobody");
        voter.leader = Some(leader);
        Ok(())
    }

    fn elect(&mut self, id: Id) -> May {
        let majority = self.voters.len() / 2 + 1;
        let (voter, term) = self.of(id)?;
        let votes = term.votes.values().filter(|candidate| **candidate == id).count();
        guard!(votes >= majority, "no majority has voted for it");
        guard!(term.leader.is_none(), "the term has had a leader");
        (term.leader, voter.leader) = (Some(id), Some(id));
        Ok(())
    }

    fn take_office(&mut self, id: Id) -> May {
        let (voter, term) = self.of(id)?;
        guard!(voter.up, "its process does not run");
        guard!(term.leader == Some(id), "it was not elected");
        guard!(term.log.is_none(), "it has been in office in this term");
        (voter.leads, term.log) = (true, Some(voter.log.clone()));
        Ok(())
    }

    fn append(&mut self, id: Id, entry: Entry) -> May {
        let (voter, term) = self.of(id)?;
        guard!(entry.term == voter.term, "the entry is of another term");
        let led = term.log.as_mut().filter(|_| voter.leads);
        led.ok_or(Refused("it is not in office"))?.push(entry);
        voter.log.push(entry);
        Ok(())
    }

    /// A voter that runs and does not lead, and the log of its term's leader.
    fn follower(&mut self, id: Id) -> Result<(&mut Voter, &[Entry]), Refused> {
        let (voter, term) = self.of(id)?;
        guard!(voter.up && !voter.leads, "it is in office, or does not run");
        guard!(voter.leader.is_some(), "it knows no leader");
        Ok((voter, term.log.as_deref().ok_or(Refused("its leader was never in office"))?))
    }

    fn replicate(&mut self, id: Id, len: usize) -> May {
        let (voter, led) = self.follower(id)?;
        let from = voter.log.len();
        guard!(agree(&voter.log, led, from), "its log is no part of its leader's");
        guard!(from < len && len <= led.len(), "its leader's log is not so long");
        voter.log.extend_from_slice(&led[from..len]);
        Ok(())
    }

    fn truncate(&mut self, id: Id, len: usize) -> May {
        let (voter, led) = self.follower(id)?;
        let first = voter.log.get(len).ok_or(Refused("there is nothing to cut"))?;
        guard!(led.get(len) != Some(first), "it cuts what its leader has");
        guard!(len >= voter.commit, "it cuts what is committed");
        if len < voter.durable {
            guard!(voter.uncut.is_empty(), "it cuts again before the device has");
            voter.uncut = voter.log[len..voter.durable].to_vec();
            voter.durable = len;
        }
        voter.log.truncate(len);
        Ok(())
    }

    fn persist(&mut self, id: Id, len: usize) -> May {
        let (voter, _) = self.of(id)?;
        guard!(len >= voter.durable, "an entry that was durable is gone");
        guard!(len <= voter.log.len(), "an entry is durable that was never written");
        (voter.durable, voter.uncut) = (len, Vec::new());
        self.claim(id)
    }

    fn commit(&mut self, id: Id, len: usize) -> May {
        let voter = self.voters.get(&id).ok_or(Refused("it is no voter"))?;
        let log = voter.log.get(..len).ok_or(Refused("its log is not so long"))?;
        guard!(voter.leads, "it is not in office");
        guard!(len > voter.commit, "it takes back what was committed");
        guard!(last(log) == voter.term, "the last entry is of an earlier term");
        let holds = |other: &&Voter| other.durable >= len && agree(&other.log, log, len);
        let holders = self.voters.values().filter(holds).count();
        guard!(holders > self.voters.len() / 2, "no majority has it durable");
        let known = len.min(self.committed.len());
        guard!(agree(&self.committed, log, known), "something else was committed");
        self.committed.extend_from_slice(&log[known..]);
        self.of(id)?.0.commit = len;
        Ok(())
    }

    fn hear(&mut self, id: Id, len: usize) -> May {
        let voter = self.voters.get_mut(&id).ok_or(Refused("it is no voter"))?;
        guard!(voter.up && !voter.leads, "it is in office, or does not run");
        guard!(len > voter.commit, "it takes back what was committed");
        guard!(agree(&voter.log, &self.committed, len), "what it has is not what is committed");
        voter.commit = len;
        Ok(())
    }
}

fn last(log: &[Entry]) -> u32 {
    log.last().map_or(0, |entry| entry.term)
}

/// Whether two logs are the same in their first `len` entries.
fn agree(one: &[Entry], other: &[Entry], len: usize) -> bool {
    let Some(last) = len.checked_sub(1) else { return true };
    one.get(last).is_some_and(|entry| other.get(last) == Some(entry))
}

#[cfg(test)]
mod tests;

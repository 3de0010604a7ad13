use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::*;
use crate::specification::draws;

/// Voters that have started, with nothing in their logs.
fn started(voters: Id) -> Quorum {
    let voters = (1..=voters).map(|id| (id, Voter { up: true, ..Voter::default() }));
    Quorum { voters: voters.collect(), ..Quorum::default() }
}

fn taken(quorum: &Quorum, id: Id, action: Action) -> Result<Quorum, Refused> {
    let mut next = quorum.clone();
    next.take(id, action).map(|()| next)
}

/// The entry that a voter would append.
fn next_entry(voter: &Voter) -> Entry {
    let before = voter.log.last().map_or(0, |entry| entry.name);
    Entry { term: voter.term, name: before * 10 + u64::from(voter.term) }
}

/// So far a walk goes: terms, and entries of a log.
const TERMS: u32 = 6;
const ENTRIES: usize = 4;

/// Something that a voter could do: mostly what leads on, seldom what makes others begin anew.
fn thought_of(quorum: &Quorum, voter: &Voter, below: &mut impl FnMut(usize) -> usize) -> Action {
    let other = 1 + below(quorum.voters.len()) as Id;
    let len = below(ENTRIES + 1);
    let newest = quorum.terms.keys().next_back().copied().unwrap_or(0);
    match below(44) {
        0 if voter.term < TERMS => Action::Stand(1 + below(TERMS as usize) as u32),
        1 | 2 => Action::Adopt(newest),
        3 => Action::Adopt(below(TERMS as usize) as u32),
        4 if voter.up && below(3) == 0 => Action::Crash,
        5 if voter.leads => Action::StepDown,
        6 => Action::Restart(voter.log.len()),
        7 => Action::Restart(len),
        8 => Action::RestartUncut(len),
        9..12 => Action::Vote(other),
        12..15 => Action::Follow(other),
        15..17 => Action::Elect,
        17..19 => Action::TakeOffice,
        19 if voter.log.len() < ENTRIES => Action::Append(next_entry(voter)),
        20 if voter.log.len() < ENTRIES => {
            Action::Append(Entry { term: below(TERMS as usize) as u32, name: len as u64 })
        }
        21..26 => Action::Replicate(len),
        26..28 => Action::Truncate(len),
        28..32 => Action::Persist(voter.log.len()),
        32 => Action::Persist(len),
        33..39 => Action::Commit(len),
        _ => Action::Hear(len),
    }
}

/// What a walk has seen, to be held against what it sees.
#[derive(Default)]
struct Seen {
    committed: Vec<Entry>,
    votes: BTreeMap<(u32, Id), Id>,
    leaders: BTreeMap<u32, Id>,
    terms: BTreeMap<Id, u32>,
    durable: BTreeMap<Id, Vec<Entry>>,
    commits: BTreeMap<Id, usize>,
    led: BTreeMap<u32, Vec<Entry>>,
}

impl Seen {
    /// Figure 3 of the Raft paper, and what a device promises.
    fn look(&mut self, quorum: &Quorum) {
        for (id, voter) in &quorum.voters {
            let Voter { up, term, vote, leads, log, durable, uncut, commit, .. } = voter;
            let last_term = self.terms.insert(*id, *term);
            assert!(last_term <= Some(*term), "a term goes back: {quorum:?}");
            if let Some(vote) = vote {
                let before = *self.votes.entry((*term, *id)).or_insert(*vote);
                assert_eq!(before, *vote, "two votes in a term: {quorum:?}");
            }
            if *leads {
                let before = *self.leaders.entry(*term).or_insert(*id);
                assert_eq!(before, *id, "two leaders of a term: {quorum:?}");
                assert_eq!(quorum.terms[term].log.as_ref(), Some(log), "{quorum:?}");
                let older = last(&self.committed) < *term;
                assert!(!older || log.starts_with(&self.committed), "it leads without: {quorum:?}");
            }
            assert!(*up || !*leads && *commit == 0, "a dead one leads: {quorum:?}");
            let before = self.commits.insert(*id, *commit);
            assert!(!up || before <= Some(*commit), "it takes back: {quorum:?}");
            assert!(last(log) <= *term, "an entry of a later term: {quorum:?}");
            assert!(log[..*commit] == quorum.committed[..*commit], "{quorum:?}");
            let kept = [&log[..*durable], uncut].concat();
            self.durable.insert(*id, kept);
        }
        for (term, now) in &quorum.terms {
            let Some(now) = &now.log else { continue };
            let before = self.led.insert(*term, now.clone()).unwrap_or_default();
            assert!(now.starts_with(&before), "a leader takes back what it appended: {quorum:?}");
        }
        assert!(quorum.committed.starts_with(&self.committed), "{quorum:?}");
        self.committed.clone_from(&quorum.committed);
        let holds = |kept: &&Vec<Entry>| kept.starts_with(&self.committed);
        let holders = self.durable.values().filter(holds).count();
        assert!(holders > quorum.voters.len() / 2, "committed and not durable: {quorum:?}");
    }
}

#[test]
fn quorum_specified_keeps_what_is_committed_whatever_steps_are_taken() {
    let (mut names, mut draw) = (BTreeSet::new(), draws());
    let mut below = |count: usize| draw(count as u64) as usize;
    for walk in 0..3_000 {
        let voters = if walk % 2 == 0 { 3 } else { 5 };
        let (mut quorum, mut seen) = (started(voters), Seen::default());
        for _ in 0..1_500 {
            let id = 1 + below(usize::from(voters)) as Id;
            let action = thought_of(&quorum, &quorum.voters[&id], &mut below);
            match taken(&quorum, id, action) {
                Ok(state) => {
                    names.insert(action.name());
                    quorum = state;
                    seen.look(&quorum);
                }
                // What the other guards are there for.
                Err(Refused(why)) => assert!(
                    !matches!(why, "something else was committed" | "it cuts what is committed"),
                    "{id} {action:?} in {quorum:?}"
                ),
            }
        }
    }
    let never: Vec<_> = ACTIONS.iter().filter(|name| !names.contains(*name)).collect();
    assert!(never.is_empty(), "never taken: {never:?}");
}

/// Figure 8 of the Raft paper: an entry of an earlier term is on a majority, and may still go.
#[test]
fn quorum_specified_does_not_commit_an_entry_of_an_earlier_term_by_count() {
    let mut quorum = started(3);
    let mut take = |id, action| quorum.take(id, action);
    let elects = |id, term, voter| {
        let steps = [(id, Action::Stand(term)), (voter, Action::Adopt(term))];
        let won = [(voter, Action::Vote(id)), (id, Action::Elect), (id, Action::TakeOffice)];
        steps.into_iter().chain(won)
    };
    let entry = |term, name| Action::Append(Entry { term, name });
    let begins = elects(1, 1, 2).chain([(1, entry(1, 1)), (1, Action::Persist(1))]);
    let crashes = [(1, Action::Crash), (1, Action::Restart(1))];
    let second = elects(2, 2, 3).chain([(2, entry(2, 2)), (2, Action::Persist(1))]);
    let ends = [(2, Action::Crash), (2, Action::Restart(1))];
    let third = [(3, Action::Adopt(2)), (1, Action::Adopt(2))];
    for (id, action) in begins.chain(crashes).chain(second).chain(ends) {
        take(id, action).unwrap_or_else(|why| panic!("{id} {action:?}: {why:?}"));
    }
    assert!(take(third[0].0, third[0].1).is_err(), "it is in that term");
    let again = [third[1]].into_iter().chain(elects(1, 3, 3));
    let copies = [(3, Action::Follow(1)), (3, Action::Replicate(1)), (3, Action::Persist(1))];
    for (id, action) in again.chain(copies) {
        take(id, action).unwrap_or_else(|why| panic!("{id} {action:?}: {why:?}"));
    }
    let refused = take(1, Action::Commit(1));
    assert_eq!(refused, Err(Refused("the last entry is of an earlier term")));
}

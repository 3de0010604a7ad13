use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::*;

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

#[test]
fn quorum_specified_keeps_what_is_committed_whatever_steps_are_taken() {
    let (mut names, mut draw) = (BTreeSet::new(), 1_u64);
    let mut below = |count: usize| {
        // Knuth's MMIX.
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (draw >> 33) as usize % count
    };
    for walk in 0..2_000 {
        let voters = if walk % 2 == 0 { 3 } else { 5 };
        let mut quorum = started(voters);
        for _ in 0..1_500 {
            let id = 1 + below(usize::from(voters)) as Id;
            let action = thought_of(&quorum, &quorum.voters[&id], &mut below);
            match taken(&quorum, id, action) {
                Ok(state) => {
                    names.insert(action.name());
                    quorum = state;
                }
                // What the other guards are there for.
                Err(Refused(why)) => assert!(
                    !matches!(why, "something else was committed" | "it cuts what is committed"),
                    "{id} {action:?} in {quorum:?}"
                ),
            }
            let log = &quorum.voters[&id].log;
            assert!(
                action != Action::TakeOffice
                    || !quorum.voters[&id].leads
                    || log.starts_with(&quorum.committed),
                "{id} leads without what is committed: {quorum:?}"
            );
        }
    }
    let never: Vec<_> = ACTIONS.iter().filter(|name| !names.contains(*name)).collect();
    assert!(never.is_empty(), "never taken: {never:?}");
}

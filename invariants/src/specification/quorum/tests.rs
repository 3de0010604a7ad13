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
const TERMS: u32 = 4;
const ENTRIES: usize = 4;

/// What a voter could do. Of two walks in three nothing is done that only takes something away.
fn thinkable(quorum: &Quorum, voter: &Voter, calm: bool) -> Vec<Action> {
    let mut actions = Vec::from([
        Action::Elect,
        Action::TakeOffice,
        Action::Restart(voter.log.len()),
        Action::Restart(voter.durable),
        Action::RestartUncut(voter.durable + voter.uncut.len()),
    ]);
    if voter.term < TERMS {
        actions.extend([Action::Stand(voter.term + 1), Action::Adopt(voter.term + 1)]);
    }
    if voter.log.len() < ENTRIES {
        actions.push(Action::Append(next_entry(voter)));
    }
    if voter.up && !calm {
        actions.push(Action::Crash);
    }
    if voter.leads && quorum.terms.keys().any(|term| *term > voter.term) {
        actions.push(Action::StepDown);
    }
    for other in quorum.voters.keys() {
        actions.extend([Action::Vote(*other), Action::Follow(*other)]);
    }
    for len in 0..=ENTRIES {
        actions.extend([Action::Replicate(len), Action::Truncate(len), Action::Persist(len)]);
        actions.extend([Action::Commit(len), Action::Hear(len)]);
    }
    actions
}

#[test]
fn quorum_specified_keeps_what_is_committed_whatever_steps_are_taken() {
    let (mut names, mut draw) = (BTreeSet::new(), 1_u64);
    let mut below = |count: usize| {
        // Knuth's MMIX.
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (draw >> 33) as usize % count
    };
    for walk in 0..4_000 {
        let voters = if walk % 2 == 0 { 3 } else { 5 };
        let mut quorum = started(voters);
        for _ in 0..600 {
            let id = 1 + below(usize::from(voters)) as Id;
            let actions = thinkable(&quorum, &quorum.voters[&id], walk % 3 > 0);
            let action = actions[below(actions.len())];
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

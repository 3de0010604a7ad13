use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::*;
use crate::specification::draws;

const LOG: Log = (1, 1);
const STREAM: u64 = 7;
/// So long a log grows.
const PLACES: u64 = 6;

/// What the walk knows beside the state. Each record has one offset.
#[derive(Default)]
struct Known {
    acknowledged: u64,
    questions: u64,
}

/// One log, its owner, and two that may recover it.
fn opened() -> Wals {
    let mut wals = Wals::default();
    for action in [
        Action::Register(LOG),
        Action::Claim(1, 1, (1, 1)),
        Action::Open(LOG, 1, (1, 1)),
        Action::OpenStream(STREAM, 0, LOG),
    ] {
        wals.take(action).expect("a log is opened");
    }
    wals
}

/// Something that could happen. The store does what it likes; owner and recoverers do what the
/// specification lets them.
fn thought_of(wals: &Wals, known: &Known, below: &mut impl FnMut(u64) -> u64) -> Action {
    let state = &wals.logs[&LOG];
    let (place, by) = (below(PLACES + 1), (2 + below(2) as Id, 1));
    let question = known.questions.saturating_sub(below(3));
    let committed = wals.streams.get(&STREAM).map_or(0, |stream| stream.committed);
    match below(26) {
        0..4 => Action::Put(LOG, place, (place + 1 + below(2), below(place + 1))),
        4 => Action::Delete(LOG, place),
        5 | 6 => Action::Ask(1, known.questions + 1, place),
        7 | 8 => Action::Look((1, 1), question),
        9..12 => Action::Confirm(1, question, place),
        12 | 13 => Action::Record(1, place, (STREAM, place, place + 1)),
        14 => Action::Acknowledge(STREAM, place),
        15 => Action::Trim(1, place.min(state.trimmed + 1)),
        16 if below(4) == 0 => Action::Assign(LOG, by.0),
        17 if below(4) == 0 => Action::Claim(1, 2 + below(3), by),
        18 => Action::TakeOver(by, 1, 2 + below(3)),
        19 => Action::List(by, 1),
        20 => Action::Run(by, LOG, place),
        21 => Action::Take(by, LOG, (place, STREAM, place + 1)),
        22 | 23 => Action::Commit((STREAM, 0), (committed, committed + 1), LOG),
        24 if known.acknowledged <= committed => Action::CloseStream(STREAM),
        _ => Action::Seal(LOG, place),
    }
}

/// What was acknowledged is committed, or can be recovered.
fn kept(wals: &Wals, known: &Known) -> bool {
    let (state, stream) = (&wals.logs[&LOG], &wals.streams[&STREAM]);
    let needed = stream.committed.max(state.trimmed);
    known.acknowledged <= needed
        || state.sealed.is_none() && known.acknowledged <= state.reach(needed)
}

#[test]
fn wal_specified_keeps_what_is_acknowledged_whatever_happens() {
    let (mut names, mut below, mut sealed) = (BTreeSet::new(), draws(), 0);
    for _ in 0..6_000 {
        let (mut wals, mut known) = (opened(), Known::default());
        for _ in 0..600 {
            let action = thought_of(&wals, &known, &mut below);
            let mut next = wals.clone();
            if let Err(Refused(why)) = next.take(action) {
                // What the other guards are there for.
                assert_ne!(why, "what was confirmed is lost", "{action:?} of {wals:?}");
                continue;
            }
            names.insert(action.name());
            match action {
                Action::Ask(_, number, _) => known.questions = number,
                Action::Acknowledge(_, end) => known.acknowledged = known.acknowledged.max(end),
                _ => {}
            }
            assert!(kept(&next, &known), "{action:?} of {wals:?}");
            wals = next;
        }
        sealed += u32::from(wals.logs[&LOG].sealed.is_some());
    }
    assert!(sealed > 300, "only {sealed} logs were recovered");
    let others = ["Register", "Open", "OpenStream", "Close", "Remove", "Unclaim"];
    let others = others.map(|name| alloc::format!("RF2:{name}"));
    let never: Vec<_> = ACTIONS
        .iter()
        .filter(|it| !names.contains(*it) && !others.iter().any(|other| other == *it))
        .collect();
    assert!(never.is_empty(), "never taken: {never:?}");
}

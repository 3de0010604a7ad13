//! The judge of histories against a checker that shares nothing with it but the shape of a history:
//! small random histories of a toy log that is broken now and then, judged by both.

mod definitions;
mod toy;

use std::collections::BTreeMap;

use definitions::Class;
use invariants::history::HistoryEvent;
use invariants::judge_history;

/// What a property of the judge is called in the definitions.
fn classes_of(code: &str) -> &'static [Class] {
    match code {
        "L1" | "P1" => &[Class::Conflict, Class::Duplicate],
        "L2" => &[Class::Order],
        "L3" => &[Class::Lost, Class::FailedVisible],
        "L4" => &[Class::Conflict, Class::Vanished],
        "L9" => &[Class::Phantom],
        "T1" => &[Class::NonAtomic],
        "T2" => &[Class::AbortedRead],
        _ => &[],
    }
}

fn told(seed: u64, events: &[HistoryEvent]) -> String {
    let lines: Vec<_> = events
        .iter()
        .map(|event| format!("{} {} {:?}", event.client, event.call, event.kind))
        .collect();
    format!("seed {seed}:\n{}", lines.join("\n"))
}

/// Compares the verdicts on so many histories. Gives how often each class was found, and how many
/// histories were sound.
fn compare(seeds: std::ops::Range<u64>) -> (BTreeMap<Class, u64>, u64) {
    let (mut found, mut sound) = (BTreeMap::new(), 0);
    for seed in seeds {
        let toy::Made { events, broken } = toy::history(seed);
        let classes = definitions::classes(&events);
        assert!(
            broken || classes.is_empty(),
            "{classes:?} of a sound log; {}",
            told(seed, &events)
        );
        match judge_history(&events) {
            Ok(_) => assert!(classes.is_empty(), "{classes:?} not found; {}", told(seed, &events)),
            Err(violation) => assert!(
                classes_of(violation.property).iter().any(|class| classes.contains(class)),
                "judged {violation}, defined {classes:?}; {}",
                told(seed, &events)
            ),
        }
        sound += u64::from(classes.is_empty());
        classes.into_iter().for_each(|class| *found.entry(class).or_default() += 1);
    }
    (found, sound)
}

#[test]
fn judge_and_definitions_agree_on_20_000_small_histories() {
    let (found, sound) = compare(0..20_000);
    assert_eq!(found.len(), Class::ALL.len(), "{found:?}");
    assert!(found.values().all(|times| *times > 50) && sound > 5_000, "{found:?}, {sound} sound");
}

/// `cargo test --release -p invariants --test differential -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes in a debug build"]
fn judge_and_definitions_agree_on_a_million_small_histories() {
    let (found, sound) = compare(1_000_000..2_000_000);
    #[expect(clippy::disallowed_macros, reason = "figures for who asks with --nocapture")]
    {
        println!("{sound} sound, {found:?}");
    }
}

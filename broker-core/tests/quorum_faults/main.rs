//! The metadata quorum under faults: lost, late, doubled and overtaken messages, cut links, crashes
//! that lose or tear what was not synced, failing devices, timers that fire when they like.
//!
//! Each seed is one run; properties R1–R6, R9 and LV2 are judged at every step by [`judge`], and
//! the planted bugs must be found. It shares no code with the simulator of the whole broker.

mod judge;
mod world;

use broker_core::mutants::Mutants;
use judge::Broken;
use world::{Run, World};

/// One run, with the chance of faults drawn from the seed, too.
fn run(seed: u64, voters: u16, mutants: Mutants) -> Result<Run, Broken> {
    World::new(seed, voters, mutants, &[]).run()
}

fn sweep(seeds: std::ops::Range<u64>, voters: u16) {
    let mut total = Run::default();
    for seed in seeds {
        match run(seed, voters, Default::default()) {
            Ok(run) => total.add(&run),
            Err(broken) => panic!("seed {seed}, {voters} voters: {broken}"),
        }
    }
    // A sweep that never gets where the rules bite proves nothing.
    total.check_reached();
}

#[test]
fn quorum_of_three_under_faults_is_safe_and_recovers() {
    sweep(0..700, 3);
}

#[test]
fn quorum_of_five_under_faults_is_safe_and_recovers() {
    sweep(10_000..10_300, 5);
}

#[test]
fn quorum_of_one_under_faults_is_safe_and_recovers() {
    for seed in 0..100 {
        if let Err(broken) = run(seed, 1, Default::default()) {
            panic!("seed {seed}, one voter: {broken}");
        }
    }
}

#[test]
fn quorum_same_seed_same_run() {
    for seed in 0..5 {
        let runs = [(); 2].map(|()| run(seed, 3, Default::default()).expect("a correct run"));
        assert_eq!(runs[0], runs[1]);
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use broker_core::mutants::REGISTRY;

    const SEEDS_MAX: u64 = 2_000;

    /// Each planted bug is found by the properties of its row, with all others switched off.
    #[test]
    fn quorum_mutants_are_all_caught() {
        let rows: Vec<_> = REGISTRY.iter().filter(|row| row.id.starts_with("quorum-")).collect();
        assert_eq!(rows.len(), 7, "a mutant came or went");
        for row in rows {
            let mutants = Mutants::default().with(row.mutant);
            let run = |seed| World::new(seed, 3, mutants, row.properties).run();
            let caught = (0..SEEDS_MAX).any(|seed| run(seed).is_err());
            assert!(caught, "{} survives {SEEDS_MAX} seeds", row.id);
        }
    }
}

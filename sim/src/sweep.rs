//! Many runs: the pool of threads, and what the runs add up to. Prints nothing and writes nothing;
//! that is the command's.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde::Serialize;

use crate::decider::RunOptions;
use crate::generate::{Choice, generate};
use crate::host;
use crate::interrupt::Interrupt;
use crate::outcome::{FaultCount, Outcome};
use crate::plan::Plan;

/// Which seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// Half-open; `None`: for ever.
    pub to: Option<u64>,
}

/// What each run is told.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Which seeds.
    pub seeds: Seeds,
    /// What is not left to the seed.
    pub choice: Choice,
    /// Judge by this property only.
    pub only: Option<String>,
    /// Threads.
    pub jobs: usize,
}

/// News from the pool.
#[derive(Debug)]
pub enum News {
    /// A thread begins a run.
    Begun {
        /// Which thread.
        job: usize,
        /// Which seed.
        seed: u64,
    },
    /// A run ended.
    Ended {
        /// Which thread.
        job: usize,
        /// The run.
        run: Box<Run>,
    },
}

/// A run that ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// Its plan.
    pub plan: Plan,
    /// How it ended.
    pub outcome: Outcome,
}

/// Runs the seeds on threads of their own, and calls `hear` with each piece of news on this one;
/// also calls `tick` at least every tenth of a second. Ends when the seeds or `stop` say so.
pub fn sweep(
    orders: &Orders,
    stop: &Interrupt,
    mut hear: impl FnMut(News),
    mut tick: impl FnMut(),
) {
    let next = Mutex::new(orders.seeds.from);
    let (tell, news) = channel();
    thread::scope(|scope| {
        for job in 0..orders.jobs {
            let tell = tell.clone();
            let next = &next;
            scope.spawn(move || work(job, orders, next, stop, &tell));
        }
        drop(tell);
        listen(&news, &mut hear, &mut tick);
    });
}

fn listen(news: &Receiver<News>, hear: &mut impl FnMut(News), tick: &mut impl FnMut()) {
    use std::sync::mpsc::RecvTimeoutError;
    loop {
        match news.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(one) => hear(one),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        tick();
    }
}

fn work(job: usize, orders: &Orders, next: &Mutex<u64>, stop: &Interrupt, tell: &Sender<News>) {
    while !stop.asked() {
        let Some(seed) = take(next, orders.seeds) else { return };
        // The listener outlives the workers; if it is gone, so is the reason to go on.
        if tell.send(News::Begun { job, seed }).is_err() {
            return;
        }
        let plan = generate(seed, &orders.choice);
        let options = RunOptions { only: orders.only.as_deref(), ..RunOptions::default() };
        let outcome = host::run(&plan, options);
        let run = Box::new(Run { seed, plan, outcome });
        if tell.send(News::Ended { job, run }).is_err() {
            return;
        }
    }
}

fn take(next: &Mutex<u64>, seeds: Seeds) -> Option<u64> {
    let mut next = next.lock().expect("a worker panicked outside its run");
    let seed = *next;
    if seeds.to.is_some_and(|to| seed >= to) {
        return None;
    }
    *next = seed.checked_add(1)?;
    Some(seed)
}

/// How often each number came, for medians without keeping every run.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Tally {
    /// Counts a number.
    pub fn add(&mut self, number: u64) {
        *self.counts.entry(number).or_default() += 1;
        self.total += 1;
    }

    /// The lower median; 0 if there is nothing.
    #[must_use]
    pub fn median(&self) -> u64 {
        let mut left = self.total.div_ceil(2);
        for (number, count) in &self.counts {
            if left <= *count {
                return *number;
            }
            left -= count;
        }
        0
    }
}

/// Failures of one property at one place.
#[derive(Clone, Debug)]
pub struct Group {
    /// How many runs.
    pub count: u64,
    /// The one with the fewest steps: the quickest to look into.
    pub best: Run,
}

/// What runs add up to.
#[derive(Clone, Default, Debug)]
pub struct Totals {
    /// Runs that ended.
    pub runs: u64,
    /// Steps of all.
    pub steps: u64,
    /// Simulated time of all, µs.
    pub sim_us: u64,
    /// Calls of clients that ended ok, per run.
    pub calls_ok: Tally,
    /// Faults with effect, per run.
    pub faults_effective: Tally,
    /// Faults by kind, of all runs.
    pub faults: BTreeMap<&'static str, FaultCount>,
    /// `sometimes` marks: in how many runs.
    pub reached: BTreeMap<&'static str, u64>,
    /// Runs that failed.
    pub failures: u64,
    /// The failures by property and place.
    pub groups: BTreeMap<(String, String), Group>,
}

/// What a failed run was to the totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Novelty {
    /// The first of its property and place.
    New,
    /// Known, but quicker than those before.
    Quicker,
    /// Known.
    Known,
}

impl Totals {
    /// Adds a run; tells what it was if it failed.
    pub fn add(&mut self, run: &Run) -> Option<Novelty> {
        let outcome = &run.outcome;
        self.runs += 1;
        self.steps += outcome.steps;
        self.sim_us += outcome.sim_us;
        self.calls_ok.add(outcome.calls_ok);
        let effective = outcome.faults.values().map(|count| count.effective).sum();
        self.faults_effective.add(effective);
        for (kind, count) in &outcome.faults {
            let sum = self.faults.entry(kind).or_default();
            sum.planned += count.planned;
            sum.begun += count.begun;
            sum.effective += count.effective;
        }
        for mark in outcome.reached.iter().filter(|(_, count)| **count > 0).map(|(mark, _)| mark) {
            *self.reached.entry(mark).or_default() += 1;
        }
        outcome.verdict.property().map(|property| self.add_failure(property.to_owned(), run))
    }

    fn add_failure(&mut self, property: String, run: &Run) -> Novelty {
        self.failures += 1;
        let key = (property, run.outcome.verdict.place().to_owned());
        match self.groups.get_mut(&key) {
            None => {
                self.groups.insert(key, Group { count: 1, best: run.clone() });
                Novelty::New
            }
            Some(group) => {
                group.count += 1;
                if run.outcome.steps >= group.best.outcome.steps {
                    return Novelty::Known;
                }
                group.best = run.clone();
                Novelty::Quicker
            }
        }
    }
}

/// A failing run as a line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct FailureLine<'a> {
    /// The seed.
    pub seed: u64,
    /// The profile it drew.
    pub profile: &'a str,
    /// The workload it drew.
    pub workload: &'a str,
    /// Planted bugs.
    pub mutants: &'a [String],
    /// The broken property.
    pub property: &'a str,
    /// Where.
    pub place: &'a str,
    /// With the numbers.
    pub message: &'a str,
    /// Hash of the run's steps, in hexadecimal.
    pub trace_hash: String,
    /// Steps.
    pub steps: u64,
    /// Simulated time, µs.
    pub sim_us: u64,
    /// The command that repeats it.
    pub command: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;

    fn run(seed: u64, property: Option<&str>, steps: u64) -> Run {
        let verdict = property.map_or(Verdict::Passed, |property| Verdict::Violated {
            property: property.to_owned(),
            place: "wal".to_owned(),
            message: String::new(),
        });
        let outcome = Outcome {
            verdict,
            trace_hash: 0,
            steps,
            sim_us: 1,
            calls_ok: steps,
            faults: BTreeMap::from([("crash", FaultCount { planned: 3, begun: 2, effective: 1 })]),
            probes: Vec::new(),
            then_taken: 0,
            reached: BTreeMap::from([("hit", 2), ("missed", 0)]),
        };
        Run { seed, plan: generate(seed, &Choice::default()), outcome }
    }

    #[test]
    fn sweep_failures_group_by_property_and_keep_the_quickest() {
        let mut totals = Totals::default();
        assert_eq!(totals.add(&run(1, None, 50)), None);
        assert_eq!(totals.add(&run(2, Some("L3"), 50)), Some(Novelty::New));
        assert_eq!(totals.add(&run(3, Some("L3"), 60)), Some(Novelty::Known));
        assert_eq!(totals.add(&run(4, Some("L3"), 40)), Some(Novelty::Quicker));
        assert_eq!(totals.add(&run(5, Some("L4"), 70)), Some(Novelty::New));
        let group = &totals.groups[&("L3".to_owned(), "wal".to_owned())];
        assert_eq!((group.count, group.best.seed), (3, 4));
        assert_eq!((totals.runs, totals.failures, totals.groups.len()), (5, 4, 2));
        assert_eq!(totals.calls_ok.median(), 50);
        assert_eq!(totals.faults["crash"], FaultCount { planned: 15, begun: 10, effective: 5 });
        assert_eq!(totals.reached, BTreeMap::from([("hit", 5)]));
    }

    #[test]
    fn tally_median_of_an_even_count_is_the_lower() {
        let mut tally = Tally::default();
        assert_eq!(tally.median(), 0);
        for number in [9, 1, 5, 7] {
            tally.add(number);
        }
        assert_eq!(tally.median(), 5);
        tally.add(100);
        assert_eq!(tally.median(), 7);
    }

    #[test]
    fn sweep_of_a_range_runs_each_seed_once() {
        let seeds = Seeds { from: 10, to: Some(22) };
        let orders = Orders { seeds, choice: Choice::default(), only: None, jobs: 3 };
        let mut seen = Vec::new();
        sweep(
            &orders,
            &Interrupt::default(),
            |news| match news {
                News::Begun { .. } => {}
                News::Ended { run, .. } => seen.push(run.seed),
            },
            || {},
        );
        seen.sort_unstable();
        assert_eq!(seen, (10..22).collect::<Vec<_>>());
    }
}

//! `seedbed sweep`: many seeds, failures grouped by property and place, and an account of what the
//! runs reached, so that a sweep that tested nothing does not look like one that found nothing.

mod record;
mod summary;

use std::time::Duration;

use super::{check_only, repeat_seed};
use crate::cli::{BadInput, Exit, SweepArgs};
use crate::generate::Choice;
use crate::interrupt::Interrupt;
use crate::plan::Protocol;
use crate::report::{Report, grouped, rate, simulated};
use crate::seed::SeedRange;
use crate::sweep::{self, News, Novelty, Orders, Run, Seeds, Totals};
use crate::wallclock::{Stopwatch, fresh_seed};
use record::Record;

/// A bare sweep lasts so long.
const BARE: Duration = Duration::from_secs(60);

/// A run that takes longer in real time is named, for it may never end.
const SLOW: Duration = Duration::from_secs(30);

/// Sweeps.
///
/// # Errors
/// If an argument is bad or the output folder can not be written; then nothing ran.
pub fn sweep(args: &SweepArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let choice = args.choice.choice()?;
    check_only(args.only.as_deref())?;
    let (seeds, duration) = extent(args)?;
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let record = args.out.as_deref().map(|folder| Record::begin(folder, jobs)).transpose()?;
    let orders = Orders { seeds, choice, only: args.only.clone(), jobs };
    let stop = Interrupt::listen();
    announce(&orders, duration, report);
    let mut watch = Watch {
        totals: Totals::default(),
        running: vec![None; jobs],
        record,
        broken: None,
        clock: Stopwatch::new(),
        report,
        orders: &orders,
        stop: &stop,
        duration,
        stop_after: args.stop_after,
    };
    watch.report.begin_progress(seeds.to.map(|to| to - seeds.from));
    let watch_cell = std::cell::RefCell::new(&mut watch);
    sweep::sweep(
        &orders,
        &stop,
        |news| watch_cell.borrow_mut().hear(news),
        || watch_cell.borrow_mut().tick(),
    );
    watch.end()
}

/// Which seeds, and for how long at most.
fn extent(args: &SweepArgs) -> Result<(Seeds, Option<Duration>), BadInput> {
    let from = || args.from.map_or_else(fresh_seed, |seed| seed.0);
    match args.seeds {
        None => Ok((Seeds { from: from(), to: None }, Some(args.duration.unwrap_or(BARE)))),
        Some(SeedRange::Count(count)) => {
            let from = from();
            let to = from.checked_add(count).ok_or("there are not so many seeds from there on")?;
            Ok((Seeds { from, to: Some(to) }, None))
        }
        Some(SeedRange::Range(..)) if args.from.is_some() => {
            Err(BadInput("--from has no meaning beside --seeds A..B".to_owned()))
        }
        Some(SeedRange::Range(from, to)) => Ok((Seeds { from, to: Some(to) }, None)),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn announce(orders: &Orders, duration: Option<Duration>, report: &Report) {
    let Seeds { from, to } = orders.seeds;
    let seeds = match to {
        Some(to) => format!("seeds {from}..{to}"),
        None => format!("seeds from {from}"),
    };
    let time = duration.map_or_else(String::new, |time| format!(" for {} s", time.as_secs()));
    let or_all = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".to_owned());
    let Choice { profile, workload, protocol, mutants } = &orders.choice;
    let (profile, workload) = (or_all(profile), or_all(workload));
    report.line(format!(
        "sweep   {seeds}{time}, {} jobs, profiles: {profile}, workloads: {workload}",
        orders.jobs
    ));
    if *protocol != Protocol::default() {
        report.line(format!("protocol {}", protocol.name()));
    }
    if !mutants.is_empty() {
        report.line(format!("mutants {}", mutants.join(", ")));
    }
}

/// A message on one line of a terminal or two; `run` tells all of it.
fn shortened(message: &str) -> String {
    const MOST: usize = 160;
    match message.char_indices().nth(MOST) {
        None => message.to_owned(),
        Some((end, _)) => format!("{} …", &message[..end]),
    }
}

/// What the sweep's thread keeps.
struct Watch<'a> {
    totals: Totals,
    /// What each job runs, since when, and whether it was named as slow.
    running: Vec<Option<(u64, Stopwatch, bool)>>,
    record: Option<Record>,
    /// The record could not be written on.
    broken: Option<String>,
    clock: Stopwatch,
    report: &'a mut Report,
    orders: &'a Orders,
    stop: &'a Interrupt,
    duration: Option<Duration>,
    stop_after: Option<u64>,
}

impl Watch<'_> {
    fn command(&self, seed: u64) -> String {
        repeat_seed(seed, &self.orders.choice, self.orders.only.as_deref())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Begun { job, seed } => {
                self.running[job] = Some((seed, Stopwatch::new(), false));
                let command = self.command(seed);
                self.write(|record| record.begun(job, &command));
            }
            News::Ended { job, run } => {
                self.running[job] = None;
                self.ended(&run);
            }
        }
    }

    fn ended(&mut self, run: &Run) {
        let Some(novelty) = self.totals.add(run) else { return };
        let command = self.command(run.seed);
        self.write(|record| record.failed(run, &command, novelty));
        if novelty == Novelty::New {
            let verdict = &run.outcome.verdict;
            let property = verdict.property().unwrap_or_default();
            let word = self.report.fail("FAIL");
            let place = verdict.place();
            let message = shortened(verdict.message());
            self.report.line(format!("{word} {property} at {place}: {message}"));
            self.report.line(command);
        }
        if self.stop_after.is_some_and(|most| self.totals.failures >= most) {
            self.stop.ask();
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Record) -> std::io::Result<()>) {
        if let Some(record) = &mut self.record
            && let Err(error) = write(record)
        {
            self.broken = Some(format!("can not write on in {}: {error}", record.folder()));
            self.record = None;
            self.stop.ask();
        }
    }

    fn tick(&mut self) {
        let elapsed = self.clock.elapsed();
        if self.duration.is_some_and(|most| elapsed >= most) {
            self.stop.ask();
        }
        for at in 0..self.running.len() {
            let Some((seed, since, named)) = self.running[at] else { continue };
            if !named && since.elapsed() >= SLOW {
                self.running[at] = Some((seed, since, true));
                let command = self.command(seed);
                self.report.note(format!("a run takes over {} s: {command}", SLOW.as_secs()));
            }
        }
        let Totals { runs, sim_us, failures, groups, .. } = &self.totals;
        self.report.progress(*runs, || {
            format!(
                "{} runs, {} runs/s, {} simulated, {failures} failures, {} distinct",
                grouped(*runs),
                rate(*runs, elapsed),
                simulated(*sim_us),
                groups.len(),
            )
        });
    }

    fn end(mut self) -> Result<Exit, BadInput> {
        self.report.end_progress();
        let elapsed = self.clock.elapsed();
        let summary = summary::Summary::of(&self.totals, self.orders, elapsed);
        summary.report(&self.totals, self.report);
        self.write(|record| record.end(&summary));
        let groups = self.totals.groups.iter();
        for ((property, place), group) in groups.clone() {
            let word = self.report.fail("FAIL");
            let count = grouped(group.count);
            let message = shortened(group.best.outcome.verdict.message());
            self.report.line(format!("{word} {property} at {place}, {count} runs: {message}"));
            self.report.line(self.command(group.best.seed));
        }
        if let Some(sentence) = self.broken {
            return Err(BadInput(sentence));
        }
        if !summary.idle.is_empty() {
            let (word, idle) = (self.report.fail("IDLE"), summary.idle.join(", "));
            self.report.line(format!("{word} never reached, or never with effect: {idle}"));
        } else if groups.len() == 0 {
            self.report.line(self.report.pass("PASS"));
            return Ok(Exit::Passed);
        }
        Ok(Exit::Violated)
    }
}

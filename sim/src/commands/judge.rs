//! `seedbed judge FILE`: what a recorded history says of its broker. A file with a bad line is
//! refused as a whole, and a property that had nothing to judge is not called passed.

mod witness;

use std::fs::File;
use std::io::{BufRead, BufReader, Error, Seek as _, copy, stdin};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::{env, fs, mem, process};

use invariants::jsonl::{BadLine, Header, Line, Reader};
use invariants::{HistoryJudge, OF_HISTORIES, Summary, Violation};

use crate::cli::{BadInput, Exit, JudgeArgs};
use crate::host::COMMAND;
use crate::report::{Report, grouped};

/// Large enough that reading is no matter.
const BUFFER_BYTES: usize = 1 << 18;

/// So many that the threads seldom wake each other.
const LINES_AT_ONCE: usize = 1_024;

/// What is read and not yet judged is held in memory: at most so often as many lines.
const WAITING_MAX: usize = 4;

/// Judges a file.
///
/// # Errors
/// If it can not be read, if a line is bad, or if there is nothing to judge.
pub fn judge(args: &JudgeArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let (name, source) = open(&args.file)?;
    let buffered = BufReader::with_capacity(BUFFER_BYTES, &source);
    let Judged { reader, header, verdict } = read_and_judge(&name, buffered)?;
    let people: Vec<_> = [header.broker, header.note].into_iter().flatten().collect();
    let (lines, people) = (grouped(reader.lines()), people.join("; "));
    let of = if people.is_empty() { String::new() } else { format!(" ({people})") };
    let summary = match verdict {
        Ok(summary) => summary,
        Err(found) => {
            report.line(format!("history {name}: {lines} lines{of}"));
            found.tell(&reader, &source, report);
            report.line(format!("{COMMAND} judge {}", args.file.display()));
            return Ok(Exit::Violated);
        }
    };
    let judged = summary.evaluated().filter(|(_, times)| *times > 0).count();
    if judged == 0 {
        let need = "records that were read, two produces one after the other, commit_offsets of a \
                    group behind its fetch_offsets, answers to sync_group, or refusals of a \
                    transactional_id";
        return Err(BadInput(format!(
            "{name} holds nothing that could be judged, so that nothing has passed; needed: {need}"
        )));
    }
    report.line(format!("history {name}: {lines} lines{of}"));
    tell_summary(&summary, report);
    let word = report.pass("PASS");
    report.line(format!("{word}    {judged} of {} properties", OF_HISTORIES.len()));
    Ok(Exit::Passed)
}

/// What a history says, without a word to anybody: for tests of what records one.
///
/// # Errors
/// If a line is bad.
pub fn verdict(text: &str) -> Result<Result<Summary, Violation>, BadInput> {
    let judged = read_and_judge("history", text.as_bytes())?;
    Ok(judged.verdict.map_err(|found| found.violation))
}

/// The file, which is read again for the lines of a witness.
fn open(path: &Path) -> Result<(String, File), BadInput> {
    let unread = |name: &str, error: Error| BadInput(format!("can not read {name}: {error}"));
    if path == Path::new("-") {
        let name = "standard input".to_owned();
        let file = spooled().map_err(|error| unread(&name, error))?;
        return Ok((name, file));
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((name, file)),
        Err(error) => Err(unread(&name, error)),
    }
}

/// Standard input, which can not be read twice, as a file that is gone once it is closed.
fn spooled() -> Result<File, Error> {
    let path = env::temp_dir().join(format!("seedbed-judge-{}", process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    copy(&mut stdin().lock(), &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// A file that is sound as a file.
struct Judged {
    reader: Reader,
    header: Header,
    verdict: Result<Summary, Found>,
}

/// A property that does not hold, and where that showed.
struct Found {
    violation: Violation,
    /// Its line, and the line on which the call began that it ends; `None`: at the end of the file.
    at: Option<(u64, Option<u64>)>,
}

impl Found {
    fn tell(&self, reader: &Reader, file: &File, report: &Report) {
        let Violation { property, place, message, at } = &self.violation;
        let topic = at.as_ref().and_then(|at| reader.topic(at.partition.topic));
        let topic = topic.map_or_else(String::new, |topic| format!("topic {topic}, "));
        report.line(format!("{} {property} at {place}: {topic}{message}", report.fail("FAIL")));
        report.line(match self.at {
            Some((line, Some(began))) => {
                format!("decided by line {line}, the end of the call that line {began} begins")
            }
            Some((line, None)) => format!("decided by line {line}"),
            None => "decided at the end, by all lines together".to_owned(),
        });
        if let Some(at) = at
            && let Some(offset) = at.offset
        {
            witness::lines(file, at.partition, offset)
                .into_iter()
                .for_each(|line| report.line(line));
        }
    }
}

/// Reads on this thread and judges on another.
fn read_and_judge(name: &str, source: impl BufRead) -> Result<Judged, BadInput> {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let (read, (judge, found)) = thread::scope(|scope| {
        let judging = scope.spawn(|| judge_lines(receiver));
        let read = read_lines(name, source, sender);
        (read, judging.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (reader, header) = read?;
    let verdict = match found {
        Some(found) => Err(found),
        None => judge.finish().map_err(|violation| Found { violation, at: None }),
    };
    Ok(Judged { reader, header, verdict })
}

/// Lines with their numbers, as they go from the thread that reads to the one that judges.
type Lines = Vec<(u64, Line)>;

fn read_lines(
    name: &str,
    mut source: impl BufRead,
    sender: SyncSender<Lines>,
) -> Result<(Reader, Header), BadInput> {
    let refused = |bad: BadLine| BadInput(format!("{name} {bad}"));
    let mut reader = Reader::default();
    let (mut bytes, mut lines) = (Vec::new(), Lines::with_capacity(LINES_AT_ONCE));
    loop {
        bytes.clear();
        let read = source.read_until(b'\n', &mut bytes);
        if read.map_err(|error| BadInput(format!("can not read {name}: {error}")))? == 0 {
            break;
        }
        let line = std::str::from_utf8(&bytes).map_err(|error| {
            let (line, at) = (reader.lines() + 1, error.valid_up_to() + 1);
            BadInput(format!("{name} line {line}: no UTF-8 at byte {at}; allowed: UTF-8"))
        })?;
        let line = reader.line(line).map_err(refused)?;
        lines.push((reader.lines(), line));
        // The judge takes all, unless it panics: whoever joins it hears of that.
        if lines.len() == LINES_AT_ONCE
            && sender.send(mem::replace(&mut lines, Lines::with_capacity(LINES_AT_ONCE))).is_err()
        {
            break;
        }
    }
    drop(sender.send(lines));
    let header = reader.finish().map_err(refused)?;
    Ok((reader, header))
}

/// Judges until the lines end. Behind a violation nothing is judged, and the rest is only taken:
/// bad lines are still looked for.
fn judge_lines(receiver: Receiver<Lines>) -> (HistoryJudge, Option<Found>) {
    let (mut judge, mut found) = (HistoryJudge::default(), None);
    for (number, line) in receiver.into_iter().flatten() {
        match line {
            Line::Event { event, began } if found.is_none() => {
                if let Err(violation) = judge.event(&event) {
                    found = Some(Found { violation, at: Some((number, began)) });
                }
            }
            Line::Settled if found.is_none() => judge.settled(),
            Line::Event { .. } | Line::Settled | Line::Nothing => {}
        }
    }
    (judge, found)
}

fn tell_summary(summary: &Summary, report: &Report) {
    let Summary { events, invoked, ok, failed, unknown, unanswered, partitions, .. } = summary;
    let Summary { unread, doubled, unanchored, undecided, .. } = summary;
    report.line(format!(
        "calls   {} begun in {} events on {} partitions: {} ok, {} failed, {} unknown, {} never \
         answered",
        grouped(*invoked),
        grouped(*events),
        grouped(*partitions),
        grouped(*ok),
        grouped(*failed),
        grouped(*unknown),
        grouped(*unanswered),
    ));
    if *unread > 0 {
        report.line(format!(
            "unread  {} acknowledged records, of which nothing is known: no reader came by",
            grouped(*unread)
        ));
    }
    if *doubled > 0 {
        report.line(format!(
            "doubled {} produces are there more than once: their clients may have sent them again \
             (neither `idempotent` nor `retries` of 0)",
            grouped(*doubled)
        ));
    }
    if *unanchored > 0 {
        report.line(format!(
            "untold  where a group began, in {} partitions (G3): no fetch_offsets says that before \
             the first commit_offsets",
            grouped(*unanchored)
        ));
    }
    if *undecided > 0 {
        report.line(format!(
            "untold  {} stretches that groups read in transactions (G3): nobody knows whether they \
             are committed, or the partition is committed without transactions, too",
            grouped(*undecided)
        ));
    }
    let evaluated = summary.evaluated().filter(|(_, times)| *times > 0);
    let judged: Vec<_> = evaluated.map(|(code, n)| format!("{code} {}", grouped(n))).collect();
    report.line(format!("judged  {}", judged.join(", ")));
    for ((code, times), (_, needs)) in summary.evaluated().zip(OF_HISTORIES) {
        if times == 0 {
            report.line(format!("not     {code}: it takes {needs}"));
        }
    }
}

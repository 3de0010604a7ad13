//! Which lines of a file speak of an offset: a violation is understood by reading them. Reads the
//! file once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek as _};

use broker_core::ids::{Offset, TopicPartition};
use invariants::history::{Answer, Call, EventKind};
use invariants::jsonl::{Line, Reader};

/// A screen, not a dump.
const LINES_MAX: usize = 8;

/// What the lines of a file say of an offset, in words, in the order of the lines; then, where one
/// of the values seen there is elsewhere.
pub(super) fn lines(file: &File, partition: TopicPartition, offset: Offset) -> Vec<String> {
    let mut values = BTreeSet::new();
    let mut about = Vec::new();
    // A file that changes under our eyes has no witness.
    let _ = each(file, |line, call, answer| {
        if let Some((words, value)) = at_offset(call, answer, partition, offset) {
            values.extend(value);
            about.push(format!("line {line} {words}"));
        }
    });
    let _ = each(file, |line, call, answer| {
        for value in &values {
            if let Some(words) = of_value(call, answer, (partition, offset), *value) {
                about.push(format!("line {line} {words}"));
            }
        }
    });
    let more = about.len().saturating_sub(LINES_MAX);
    about.truncate(LINES_MAX);
    if more > 0 {
        about.push(format!("and {more} more"));
    }
    about
}

/// Every call that was done, with the line that says so.
fn each(mut file: &File, mut sink: impl FnMut(u64, &Call, &Answer)) -> std::io::Result<()> {
    file.rewind()?;
    let mut reader = Reader::default();
    let mut open: BTreeMap<(u16, u32), Call> = BTreeMap::new();
    for text in BufReader::new(file).lines() {
        let Ok(Line::Event { event, .. }) = reader.line(&text?) else { continue };
        let key = (event.client, event.call);
        match event.kind {
            EventKind::Invoke(call) => {
                open.insert(key, call);
            }
            EventKind::Ok(answer) => {
                if let Some(call) = open.remove(&key) {
                    sink(reader.lines(), &call, &answer);
                }
            }
            EventKind::Fail(_) | EventKind::Unknown(_) | EventKind::GaveUp => {
                open.remove(&key);
            }
        }
    }
    Ok(())
}

fn at_offset(
    call: &Call,
    answer: &Answer,
    here: TopicPartition,
    offset: Offset,
) -> Option<(String, Option<u64>)> {
    match (call, answer) {
        (Call::Produce { partition, first_value, count, .. }, Answer::Produced { base, .. })
            if *partition == here =>
        {
            let nth = offset.0.checked_sub(base.0).filter(|nth| *nth < u64::from(*count))?;
            let value = first_value + nth;
            Some((format!("acknowledges value {value} at offset {offset}"), Some(value)))
        }
        (Call::Fetch { partition, offset: from, .. }, Answer::Fetched { records, skipped, .. })
            if *partition == here =>
        {
            if let Some(record) = records.iter().find(|record| record.offset == offset) {
                let value = record.value.map_or("no value".to_owned(), |it| format!("value {it}"));
                return Some((format!("reads {value} at offset {offset}"), record.value));
            }
            let last = records.iter().map(|record| record.offset).max();
            let passed = match skipped {
                Some(skipped) => {
                    skipped.iter().any(|(from, upto)| *from <= offset && offset < *upto)
                }
                None => *from <= offset && last.is_some_and(|last| offset < last),
            };
            passed.then(|| (format!("passes over offset {offset}"), None))
        }
        _ => None,
    }
}

/// The value where it is not looked for.
fn of_value(
    call: &Call,
    answer: &Answer,
    (here, offset): (TopicPartition, Offset),
    value: u64,
) -> Option<String> {
    match (call, answer) {
        (Call::Produce { partition, first_value, count, .. }, Answer::Produced { base, .. }) => {
            let nth = value.checked_sub(*first_value).filter(|nth| *nth < u64::from(*count))?;
            let at = base.plus(nth);
            let elsewhere = *partition != here || at != offset;
            elsewhere.then(|| format!("acknowledges value {value} at offset {at}"))
        }
        (Call::Fetch { partition, .. }, Answer::Fetched { records, .. }) => {
            let elsewhere = records.iter().find(|record| {
                record.value == Some(value) && (*partition, record.offset) != (here, offset)
            })?;
            Some(format!("reads value {value} at offset {}", elsewhere.offset))
        }
        _ => None,
    }
}

//! What a file may hold, what it may not and what is then said, and that writing and reading agree.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use broker_core::protocol::{Acks, ErrorCode, Generation, Isolation, OffsetSpec};
use broker_core::time::{Dur, Wall};

use super::{BadLine, Line, Reader, Writer};
use crate::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord, SimTime};
use crate::{HistoryJudge, Summary, Violation};

mod told;

const HEADER: &str = r#"{"history":1}"#;
const PRODUCE: &str = concat!(
    r#"{"type":"invoke","time_us":5,"client":1,"call":1,"f":"produce","topic":"t","#,
    r#""partition":0,"first_value":1,"count":2}"#
);
const PRODUCED: &str = r#"{"type":"ok","time_us":6,"client":1,"call":1,"offset":0}"#;
const FETCH: &str = concat!(
    r#"{"type":"invoke","time_us":7,"client":2,"call":1,"f":"fetch","topic":"t","#,
    r#""partition":0,"offset":0}"#
);
const FETCHED: &str = concat!(
    r#"{"type":"ok","time_us":8,"client":2,"call":1,"records":[{"offset":0,"value":1},"#,
    r#"{"offset":1,"value":2}]}"#
);
/// What is listed stands behind it.
const LIST: &str = concat!(
    r#"{"type":"invoke","time_us":7,"client":2,"call":1,"f":"list_offsets","topic":"t","#,
    r#""partition":0,"at":"#
);

fn read(lines: &[&str]) -> Result<Vec<Line>, BadLine> {
    let mut reader = Reader::default();
    let read: Result<Vec<_>, _> = lines.iter().map(|line| reader.line(line)).collect();
    let read = read?;
    reader.finish().map(|_| read)
}

fn judge(lines: &[&str]) -> Result<Summary, Violation> {
    let mut judge = HistoryJudge::default();
    for line in read(lines).expect("a sound file") {
        match line {
            Line::Event { event, .. } => judge.event(&event)?,
            Line::Settled => judge.settled(),
            Line::Nothing => {}
        }
    }
    judge.finish()
}

/// Replaces a part of the last line, and expects to hear of it.
#[track_caller]
fn refused(lines: &[&str], from: &str, to: &str, parts: &[&str]) {
    let (last, before) = lines.split_last().expect("lines");
    assert_eq!(last.matches(from).count(), 1, "`{from}` in {last}");
    let bad = last.replacen(from, to, 1);
    let mut all = before.to_vec();
    all.push(&bad);
    let error = read(&all).expect_err(&bad);
    assert_eq!(error.line, all.len() as u64, "{error}");
    for part in parts.iter().chain(&["; allowed: "]) {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn file_that_is_sound_is_read_and_judged() {
    let summary = judge(&[HEADER, PRODUCE, PRODUCED, "", FETCH, FETCHED]).expect("it holds");
    assert_eq!((summary.events, summary.ok, summary.partitions), (4, 2, 1));
    let evaluated: BTreeMap<_, _> = summary.evaluated().collect();
    assert!(evaluated["L9"] > 0 && evaluated["L3"] > 0);
    // Facts that the file lacks are not made up.
    assert_eq!(["L5", "L6", "L8", "T3", "Q1"].map(|code| evaluated[code]), [0; 5]);
}

#[test]
fn file_without_events_evaluates_nothing() {
    let summary = judge(&[HEADER]).expect("nothing is wrong");
    assert!(summary.evaluated().all(|(_, times)| times == 0));
}

#[test]
fn file_without_a_header_is_refused() {
    assert_eq!(read(&[]).expect_err("empty").line, 1);
    refused(&[HEADER], "1", "2", &["field `history`: 2"]);
    refused(&[HEADER], r#"{"history":1}"#, PRODUCE, &["line 1: no header"]);
    refused(&[HEADER], "1", r#"1,"x":1"#, &["unknown field `x`"]);
}

#[test]
fn line_that_is_no_event_is_refused_by_number_and_field() {
    let produce = [HEADER, PRODUCE];
    refused(&produce, r#""count":2}"#, "", &["line 2: no JSON", "column"]);
    refused(&produce, PRODUCE, "7", &["7; allowed: one JSON object"]);
    refused(&produce, r#""count""#, r#""number""#, &["unknown field `number`", "first_value"]);
    refused(&produce, r#""client":1"#, r#""client":70000"#, &["field `client`: 70000", "65,535"]);
    refused(&produce, r#""client":1"#, r#""client":"a""#, &["field `client`: \"a\""]);
    refused(&produce, r#","count":2"#, "", &["field `count` is missing"]);
    refused(&produce, r#""count":2"#, r#""count":0"#, &["field `count`: 0", "1 to 1,000,000"]);
    refused(&produce, r#""produce""#, r#""send""#, &["field `f`: \"send\"", "end_txn"]);
    refused(&produce, r#""count":2"#, r#""count":2,"offset":1"#, &["`offset` does not belong"]);
    refused(
        &produce,
        r#""call":1"#,
        r#""call":1,"call":1"#,
        &["duplicate field", "each field once"],
    );
    refused(&produce, r#""topic":"t""#, r#""topic":"""#, &["field `topic`"]);
    refused(&produce, r#""invoke""#, r#""ok""#, &["field `call`: client 1 has no call 1 open"]);
    let fetch = [HEADER, FETCH, FETCHED];
    refused(&fetch, r#""offset":1"#, r#""offset":67108864"#, &["field `records`", "67108864"]);
    refused(&fetch, r#""offset":1"#, r#""off":1"#, &["field `records`", "unknown field `off`"]);
    let skips = r#"}],"skipped":[[3,3]]}"#;
    refused(&fetch, r#"}]}"#, skips, &["field `skipped`: [3, 3]"]);
    let list = LIST.to_owned() + r#""timestamp","timestamp_us":4}"#;
    refused(&[HEADER, &list], r#","timestamp_us":4"#, "", &["field `timestamp_us`: missing"]);
    refused(&[HEADER, &list], r#""at":"timestamp""#, r#""at":"latest""#, &["`timestamp_us`: 4"]);
}

#[test]
fn line_that_does_not_fit_the_lines_before_is_refused() {
    let ended = [HEADER, PRODUCE, PRODUCED];
    refused(&ended, r#""time_us":6"#, r#""time_us":4"#, &["field `time_us`: 4", "less than 5"]);
    refused(&ended, r#""call":1"#, r#""call":2"#, &["field `call`: client 1 has no call 2 open"]);
    refused(&ended, r#""call":1"#, r#""call":1,"f":"fetch""#, &["field `f`", "line 2"]);
    refused(&ended, r#","offset":0"#, "", &["field `offset`: missing", "unknown"]);
    refused(&[HEADER, PRODUCE, PRODUCE], r#""first_value":1"#, r#""first_value":9"#, &["line 2"]);
    let again = r#""call":1,"f":"produce","topic":"t","partition":0,"first_value":1"#;
    let later = r#""call":2,"f":"produce","topic":"t","partition":0,"first_value":2"#;
    refused(&[HEADER, PRODUCE, PRODUCE], again, later, &["field `first_value`: 2 to 3 overlap"]);
}

#[test]
fn transaction_has_one_decision() {
    let end = |call: u32, commit: bool| {
        format!(
            r#"{{"type":"invoke","time_us":9,"client":1,"call":{call},"f":"end_txn","txn":1,{}}}"#,
            format_args!("\"commit\":{commit}")
        )
    };
    let over = |call: u32, how: &str| {
        format!(r#"{{"type":"{how}","time_us":9,"client":1,"call":{call}}}"#)
    };
    let decisions = |how: &str, commit: bool| {
        let (first, over, second) = (end(1, true), over(1, how), end(2, commit));
        read(&[HEADER, &first, &over, &second]).map(drop)
    };
    assert!(decisions("ok", true).is_err());
    assert!(decisions("unknown", true).is_ok());
    assert!(decisions("unknown", false).is_err());
    assert!(decisions("fail", false).is_ok());
    // That a later attempt is refused says nothing of the first.
    let retried = |commit: bool| {
        let (first, second, third) = (end(1, true), end(2, true), end(3, commit));
        let (unknown, failed) = (over(1, "unknown"), over(2, "fail"));
        read(&[HEADER, &first, &unknown, &second, &failed, &third]).map(drop)
    };
    assert!(retried(true).is_ok());
    let error = retried(false).expect_err("it may have been committed");
    assert!(error.message.contains("nobody knows whether it has ended"), "{error}");
    let (first, late) = (end(1, true), PRODUCE.replace("\"count\":2", "\"count\":2,\"txn\":1"));
    let late = late.replace("\"time_us\":5", "\"time_us\":9").replace("\"call\":1", "\"call\":2");
    let error = read(&[HEADER, &first, &late]).expect_err("a batch behind its end");
    assert!(error.message.starts_with("field `txn`"), "{error}");
}

#[test]
fn line_tells_where_its_call_began() {
    let lines = read(&[HEADER, PRODUCE, FETCH.replace(":7", ":5").as_str(), PRODUCED]);
    let lines = lines.expect("a sound file");
    assert!(matches!(lines[2], Line::Event { began: None, .. }));
    assert!(matches!(lines[3], Line::Event { began: Some(2), .. }));
}

#[test]
fn acknowledged_record_that_a_reader_passes_over_is_lost() {
    let gap = FETCHED.replace(r#"{"offset":1,"value":2}"#, r#"{"offset":2,"value":2}"#);
    let violation = judge(&[HEADER, PRODUCE, PRODUCED, FETCH, &gap]).expect_err("value 2 moved");
    assert_eq!(violation.property, "L1");
    let other = PRODUCE.replace(r#""first_value":1"#, r#""first_value":3"#);
    let lines = [HEADER, PRODUCE, PRODUCED, &other.replace(":5", ":6")];
    let gap = FETCHED.replace(r#"{"offset":1,"value":2}"#, r#"{"offset":2,"value":3}"#);
    let all = [&lines[..], &[FETCH, &gap]].concat();
    let violation = judge(&all).expect_err("offset 1 is gone");
    assert_eq!(violation.property, "L3", "{violation}");
}

#[test]
fn settled_end_covers_what_was_acknowledged() {
    let settled = r#"{"type":"settled","time_us":7}"#;
    let list = &(LIST.to_owned() + r#""latest"}"#);
    let listed =
        |end: u32| format!(r#"{{"type":"ok","time_us":8,"client":2,"call":1,"offset":{end}}}"#);
    let (short, whole) = (listed(1), listed(2));
    let verdict = |order: [&str; 2], end: &str| {
        judge(&[HEADER, PRODUCE, PRODUCED, order[0], order[1], end]).map(|summary| summary.unread)
    };
    assert_eq!(verdict([settled, list], &short).expect_err("lost").property, "L3");
    // Nobody read them: that they are there is not known for that.
    assert_eq!(verdict([settled, list], &whole), Ok(2));
    // A call that began before may have been a deposed leader's.
    assert_eq!(verdict([list, settled], &short), Ok(2));
}

const ASKS: &str = concat!(
    r#"{"type":"invoke","time_us":1,"client":1,"call":1,"f":"init_producer_id","#,
    r#""transactional_id":"t","timeout_us":1000}"#
);
const BECAME: &str = r#"{"type":"ok","time_us":2,"client":1,"call":1,"producer_id":3}"#;
const ENDS: &str = concat!(
    r#"{"type":"invoke","time_us":3,"client":1,"call":2,"f":"end_txn","txn":1,"commit":true,"#,
    r#""transactional_id":"t"}"#
);
const REFUSED: &str =
    r#"{"type":"fail","time_us":1000,"client":1,"call":2,"error":"PRODUCER_FENCED"}"#;

#[test]
fn refusal_without_a_cause_is_a_violation_if_all_is_told_that_it_takes() {
    let verdict = |asks: &str, refused: &str| {
        judge(&[HEADER, asks, BECAME, ENDS, refused])
            .map(|summary| summary.evaluated().any(|(code, times)| code == "T10" && times > 0))
            .map_err(|violation| violation.property)
    };
    assert_eq!(verdict(ASKS, REFUSED), Err("T10"));
    assert_eq!(verdict(ASKS, &REFUSED.replace("fail", "unknown")), Err("T10"));
    assert_eq!(verdict(ASKS, &REFUSED.replace("1000", "1001")), Ok(true), "the time-out");
    assert_eq!(verdict(&ASKS.replace(r#","timeout_us":1000"#, ""), REFUSED), Ok(false));
    let untold = ASKS.replace(r#""transactional_id":"t""#, r#""transactional":true"#);
    assert_eq!(verdict(&untold, REFUSED), Ok(false));
    let other = untold.replace(r#""client":1"#, r#""client":2"#);
    let all = judge(&[HEADER, &other, ASKS, BECAME, ENDS, REFUSED]);
    assert_eq!(all.map(|_| ()), Ok(()), "it may have been of the same id");
}

/// Client 1 is the producer, does this in transaction 1, and is told of its last call that its
/// transaction is not open. Of each call: its fields, and how it ends; none: not yet.
fn told_not_open(calls: &[(&str, Option<&str>)]) -> Result<(), &'static str> {
    let asks = ASKS.replace("1000", "60000000");
    let mut lines = vec![HEADER.to_owned(), asks, BECAME.to_owned()];
    for (call, &(fields, end)) in (2..).zip(calls) {
        let call = format!(r#""time_us":3,"client":1,"call":{call}"#);
        let id = r#""txn":1,"transactional_id":"t""#;
        lines.push(format!(r#"{{"type":"invoke",{call},{id},{fields}}}"#));
        lines.extend(end.map(|end| format!(r#"{{{call},{end}}}"#)));
    }
    let refused = lines.iter().position(|line| line.contains(WRITE)).unwrap_or_default();
    if let Some((_, None)) = calls.iter().find(|(fields, _)| *fields == WRITE) {
        let call = lines[refused].replace("invoke", "fail");
        let ends = call.split(r#","txn""#).next().unwrap_or_default();
        lines.push(format!(r#"{ends},"error":"TRANSACTION_ABORTABLE"}}"#));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    judge(&lines).map(drop).map_err(|violation| violation.property)
}

const WRITE: &str = r#""f":"produce","topic":"t","partition":0,"first_value":1,"count":1"#;
const ADD: &str = r#""f":"add_partitions","topic":"t","partition":0"#;
const ADD_GROUP: &str = r#""f":"add_offsets","group":"g""#;
const SEND: &str = concat!(
    r#""f":"commit_offsets","group":"g","#,
    r#""offsets":[{"topic":"t","partition":0,"from":0,"upto":1}]"#
);
const COMMIT: &str = r#""f":"end_txn","commit":true"#;
const ABORT: &str = r#""f":"end_txn","commit":false"#;

#[test]
fn refusal_of_what_a_producer_did_not_open_or_has_ended_itself_is_no_violation() {
    let done = Some(r#""type":"ok""#);
    let not_open = Some(r#""type":"fail","error":"INVALID_TXN_STATE""#);
    let fenced = Some(r#""type":"fail","error":"PRODUCER_FENCED""#);
    let not_here = Some(r#""type":"fail","error":"NOT_COORDINATOR""#);
    let written = Some(r#""type":"ok","offset":0"#);
    let unknown = Some(r#""type":"unknown""#);
    // Nothing was added, or not what is written to.
    for (call, added) in [(COMMIT, ADD), (ABORT, ADD_GROUP), (WRITE, ADD), (SEND, ADD_GROUP)] {
        assert_eq!(told_not_open(&[(call, not_open)]), Ok(()), "{call}");
        assert_eq!(told_not_open(&[(added, unknown), (call, not_open)]), Ok(()), "{call}");
        assert_eq!(told_not_open(&[(added, done), (call, not_open)]), Err("T10"), "{call}");
        assert_eq!(told_not_open(&[(call, fenced)]), Err("T10"), "{call}");
    }
    assert_eq!(told_not_open(&[(ADD, done), (SEND, not_open)]), Ok(()));
    assert_eq!(told_not_open(&[(ADD_GROUP, done), (WRITE, not_open)]), Ok(()));
    assert_eq!(told_not_open(&[(WRITE, written), (COMMIT, not_open)]), Err("T10"));
    assert_eq!(told_not_open(&[(SEND, done), (COMMIT, not_open)]), Err("T10"));
    assert_eq!(told_not_open(&[(ADD, not_open)]), Err("T10"), "that opens it");
    // What is under way when the end is asked for.
    for end in [COMMIT, ABORT] {
        let ended = |how| told_not_open(&[(ADD, done), (WRITE, None), (end, how)]);
        assert_eq!(ended(done), Ok(()));
        assert_eq!(ended(unknown), Ok(()));
        assert_eq!(ended(not_here), Err("T10"), "it is open yet");
    }
}

#[test]
fn transactional_ids_and_time_outs_that_are_none_are_refused() {
    refused(&[HEADER, ASKS], r#""timeout_us":1000"#, r#""timeout_us":0"#, &["`timeout_us`: 0"]);
    refused(&[HEADER, ENDS], r#":"t""#, r#":"""#, &["field `transactional_id`"]);
    let added = ENDS.replace("end_txn", "add_partitions");
    refused(&[HEADER, &added], r#""commit":true,"#, "", &["field `topic` is missing"]);
}

#[test]
fn error_that_kafka_does_not_have_is_refused() {
    let ended = [HEADER, PRODUCE, PRODUCED];
    let from = r#""ok","time_us":6,"client":1,"call":1,"offset":0"#;
    let error = |type_: &str, name: &str| {
        format!(r#""{type_}","time_us":6,"client":1,"call":1,"error":"{name}""#)
    };
    for type_ in ["fail", "unknown"] {
        for name in ["", "NO_SUCH_ERROR", "ProducerFenced", "producer_fenced", "_TIMED_OUT"] {
            let named = format!("line 3: field `error`: {name:?}");
            refused(&ended, from, &error(type_, name), &[&named, "NOT_LEADER_OR_FOLLOWER"]);
        }
        for name in super::errors::NAMES.iter().chain(&["NOT_LEADER_FOR_PARTITION"]) {
            let end = PRODUCED.replacen(from, &error(type_, name), 1);
            assert!(read(&[HEADER, PRODUCE, &end]).is_ok(), "{name}");
        }
    }
}

/// Each code that this broker has is found under the name and the number that Kafka gives it.
#[test]
fn names_of_errors_are_in_the_order_of_their_codes() {
    let mut ours = 0;
    for (code, name) in (-1..).zip(super::errors::NAMES) {
        let known = super::errors::code(name).expect("a name of Kafka's");
        assert!(known.is_none_or(|known| known as i16 == code), "{name} is {code}");
        ours += usize::from(known.is_some());
    }
    assert_eq!((super::errors::NAMES.len(), ours), (135, 61));
}

#[test]
fn half_of_a_producer_is_refused() {
    let half = |line: &str, field: &str, other: &str| {
        let to = format!(r#","{field}":6}}"#);
        let (head, _) = line.rsplit_once('}').expect("an object");
        let all = [HEADER, &format!("{head}{to}")].map(str::to_owned);
        let why = read(&[&all[0], &all[1]]).expect_err(field).to_string();
        let expected = format!("line 2: field `{field}`: 6 without `{other}`; allowed: both");
        assert!(why.starts_with(&expected), "{why}");
        let both = format!(r#"{head},"{field}":6,"{other}":6}}"#);
        assert!(read(&[HEADER, &both]).is_ok(), "{both}");
    };
    let commit = ENDS.replace("end_txn", "commit_offsets");
    let commit = commit.replace(r#""commit":true"#, r#""group":"g","offsets":[]"#);
    for line in [ASKS, ENDS, &commit] {
        half(line, "producer_epoch", "producer_id");
        half(line, "producer_id", "producer_epoch");
    }
    assert!(read(&[HEADER, ASKS, BECAME]).is_ok(), "its epoch need not be told");
}

#[test]
fn transaction_has_one_producer() {
    let write = |call: u32, id: &str| {
        let call = format!(r#""type":"invoke","time_us":3,"client":1,"call":{call}"#);
        format!(r#"{{{call},"f":"add_offsets","group":"g","txn":1{id}}}"#)
    };
    let (untold, told) = (write(1, ""), write(2, r#","transactional_id":"t""#));
    let lines = [HEADER, &untold, &told, ENDS];
    let ends = ENDS.replace(r#""call":2"#, r#""call":3"#);
    let lines = [lines[0], lines[1], lines[2], &ends];
    assert!(read(&lines).is_ok(), "an id may be left out");
    let other = ["line 4: field `transactional_id`: \"u\"", "\"t\" since line 3"];
    refused(&lines, r#":"t""#, r#":"u""#, &other);
    let other = ["line 4: field `txn`: 1, on a call of client 2", "client 1 since line 3"];
    refused(&lines, r#""client":1"#, r#""client":2"#, &other);
    let lines = [HEADER, &untold, &ends];
    refused(&lines, r#""client":1"#, r#""client":2"#, &["line 3: field `txn`", "since line 2"]);
}

/// A commit of which some partitions were taken and some were not is written as unknown.
#[test]
fn commit_that_was_taken_in_part_may_count_in_each_partition_or_not() {
    let parts = |from: [u32; 2], upto: u32| {
        let part = |topic: &str, from: u32| {
            format!(r#"{{"topic":"{topic}","partition":0,"from":{from},"upto":{upto}}}"#)
        };
        format!("[{},{}]", part("t", from[0]), part("u", from[1]))
    };
    let verdict = |txn: &str, first: &str, from: [u32; 2]| {
        let call =
            |call: u32, rest: &str| format!(r#"{{"time_us":1,"client":1,"call":{call},{rest}}}"#);
        let commit = |nth: u32, txn: &str, offsets: &str| {
            let rest = r#""type":"invoke","f":"commit_offsets","group":"g","offsets""#;
            call(nth, &format!(r#"{rest}:{offsets}{txn}"#))
        };
        let end = |nth: u32, txn: &str| match txn {
            "" => vec![],
            _ => vec![
                call(nth, &format!(r#""type":"invoke","f":"end_txn","commit":true{txn}"#)),
                call(nth, r#""type":"ok""#),
            ],
        };
        let places = r#"[{"topic":"t","partition":0},{"topic":"u","partition":0}]"#;
        let fetch = r#""type":"invoke","f":"fetch_offsets","group":"g","partitions""#;
        let mut lines = vec![HEADER.to_owned(), call(1, &format!("{fetch}:{places}"))];
        lines.push(call(1, &format!(r#""type":"ok","offsets":{places}"#)));
        lines.push(commit(2, txn, &parts([0, 0], 5)));
        lines.push(call(2, &format!(r#""type":"{first}""#)));
        lines.extend(end(3, txn));
        // Who comes next is told where to go on, by partition.
        let next = txn.replace('7', "8");
        let second = commit(4, &next, &parts(from, 9)).replace(r#""client":1"#, r#""client":2"#);
        lines.push(second);
        lines.push(call(4, r#""type":"ok""#).replace(r#""client":1"#, r#""client":2"#));
        let ends = end(5, &next).into_iter();
        lines.extend(ends.map(|line| line.replace(r#""client":1"#, r#""client":2"#)));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        judge(&lines).map(drop).map_err(|violation| violation.property)
    };
    for txn in ["", r#","txn":7"#] {
        for from in [[0, 0], [5, 0], [0, 5], [5, 5]] {
            assert_eq!(verdict(txn, "unknown", from), Ok(()), "{txn} {from:?}");
        }
        assert_eq!(verdict(txn, "unknown", [6, 0]), Err("G3"), "{txn}: nobody had come there");
        assert_eq!(verdict(txn, "fail", [5, 0]), Err("G3"), "{txn}: a part is no failure");
    }
    assert_eq!(verdict(r#","txn":7"#, "ok", [5, 0]), Err("G3"), "nor is it done");
}

#[test]
fn example_in_the_documentation_passes() {
    let text = include_str!("../../../docs/history.md");
    let example = text.split("```jsonl\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines: Vec<_> = example.expect("an example").lines().collect();
    let summary = judge(&lines).expect("it holds");
    assert_eq!((summary.unknown, summary.unread), (1, 0));
    let evaluated: BTreeMap<_, _> = summary.evaluated().collect();
    assert!(["L1", "L3", "T1", "T2"].iter().all(|code| evaluated[code] > 0), "{evaluated:?}");
    let (last, before) = lines.split_last().expect("lines");
    let bad = last.replace(r#"{"offset": 0, "value": 5}"#, r#"{"offset": 1, "value": 9}"#);
    let violation = judge(&[before, &[&bad]].concat()).expect_err("never sent");
    assert_eq!(violation.property, "L9");
}

#[test]
fn documentation_names_every_field_and_its_limits() {
    let text = include_str!("../../../docs/history.md");
    for (name, _) in super::fields::FIELDS {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn line_about_a_group_that_makes_no_sense_is_refused() {
    const COMMIT: &str = concat!(
        r#"{"type":"invoke","time_us":5,"client":1,"call":1,"f":"commit_offsets","group":"g","#,
        r#""generation":3,"offsets":[{"topic":"t","partition":0,"from":2,"upto":5}]}"#
    );
    let refuses = |from: &str, to: &str, parts: &[&str]| {
        refused(&[HEADER, COMMIT], from, to, parts);
    };
    refuses(r#""group":"g","#, "", &["field `group` is missing"]);
    refuses(r#""generation":3"#, r#""generation":-1"#, &["field `generation`: -1", "left out"]);
    refuses(r#","upto":5"#, "", &["field `offsets`: a part without `from` or `upto`"]);
    refuses(r#""upto":5"#, r#""upto":1"#, &["field `offsets`: `from` 2 behind `upto` 1"]);
    refuses(r#""upto":5"#, r#""upto":5,"offset":5"#, &["field `offsets`", "with `offset`"]);
    refuses(r#""topic":"t""#, r#""topic":"""#, &["`topic` of a part is \"\""]);
    refuses(r#""topic":"t","#, "", &["field `offsets`", "missing field `topic`"]);
    refuses(r#""partition":0"#, r#""partition":4294967295"#, &["`partition` of a part is 42"]);
    refuses(r#""group""#, r#""member":1,"group""#, &["field `member`: 1", "the member's id"]);
    refuses(r#""group""#, r#""require_stable":true,"group""#, &["`require_stable` does not"]);
    const FETCH_OFFSETS: &str = concat!(
        r#"{"type":"invoke","time_us":6,"client":1,"call":2,"f":"fetch_offsets","group":"g","#,
        r#""partitions":[{"topic":"t","partition":0}]}"#
    );
    const OFFSETS: &str = concat!(
        r#"{"type":"ok","time_us":7,"client":1,"call":2,"#,
        r#""offsets":[{"topic":"t","partition":0,"offset":5}]}"#
    );
    let bad = (r#""partition":0"#, r#""partition":0,"offset":1"#);
    refused(&[HEADER, FETCH_OFFSETS], bad.0, bad.1, &["field `partitions`: a part with an offset"]);
    let lines = [HEADER, FETCH_OFFSETS, OFFSETS];
    refused(&lines, r#""offset":5"#, r#""from":5"#, &["a part with `from` or `upto`"]);
    refused(&lines, r#""offset":5"#, r#""offset":67108864"#, &["field `offsets`: 67108864"]);
    assert!(read(&lines).is_ok());
}

#[test]
fn offsets_in_a_transaction_that_is_decided_are_refused() {
    const END: &str =
        r#"{"type":"invoke","time_us":5,"client":1,"call":1,"f":"end_txn","txn":7,"commit":true}"#;
    const COMMIT: &str = concat!(
        r#"{"type":"invoke","time_us":5,"client":1,"call":2,"f":"commit_offsets","group":"g","#,
        r#""txn":8,"offsets":[{"topic":"t","partition":0,"from":2,"upto":5}]}"#
    );
    refused(&[HEADER, END, COMMIT], r#""txn":8"#, r#""txn":7"#, &["field `txn`: the end of 7"]);
    assert!(read(&[HEADER, END, COMMIT]).is_ok());
}

fn sync(member: &str, instance: Option<&str>) -> Call {
    let (group, member, instance) = ("g".into(), member.into(), instance.map(Into::into));
    Call::SyncGroup { group, member, instance, generation: Generation(3) }
}

#[test]
fn static_member_is_called_by_its_instance() {
    let kind = EventKind::Invoke(sync("i-7", Some("i")));
    let event = HistoryEvent { at: SimTime(0), client: 1, call: 1, op: 1, kind };
    let line = Writer::default().line(&event);
    let read = read(&[HEADER, &line]).expect("a sound file");
    let Line::Event { event, .. } = &read[1] else { panic!("{read:?}") };
    assert_eq!(event.kind, EventKind::Invoke(sync("i", None)));
}

fn every_event() -> Vec<HistoryEvent> {
    let partition = TopicPartition { topic: TopicId(0), index: PartitionIndex(3) };
    let (leader_epoch, isolation) = (Some(LeaderEpoch(4)), Isolation::ReadCommitted);
    let (offset, time) = (Offset(5), Some(Wall(6_000)));
    let record = ReadRecord { offset, value: Some(1), timestamp: time, leader_epoch, intact: true };
    let bare = ReadRecord {
        offset: Offset(6),
        value: None,
        timestamp: None,
        leader_epoch: None,
        intact: false,
    };
    let produce = |first_value, acks, transactional| Call::Produce {
        partition,
        acks,
        first_value,
        count: 2,
        damaged: transactional,
        created: time,
        idempotent: transactional,
        retried: first_value == 3,
        transactional,
        id: transactional.then(|| "t".into()),
    };
    let list = |spec| Call::ListOffsets { partition, spec, leader_epoch, isolation };
    let fetch = Call::Fetch { partition, offset, reader: 7, leader_epoch, isolation };
    let (high_watermark, last_stable, log_start) = (Some(Offset(9)), Some(offset), None);
    let (records, skipped) = (vec![record, bare], Some(vec![(Offset(7), Offset(8))]));
    let fetched = Answer::Fetched { high_watermark, last_stable, log_start, records, skipped };
    let group = "g".to_string();
    let known = (ProducerId(8), ProducerEpoch(2));
    let commit = |member: &str, generation, transactional| Call::CommitOffsets {
        group: "g".into(),
        member: member.into(),
        generation: Generation(generation),
        offsets: vec![(partition, Offset(2), offset)],
        transactional,
        producer: transactional.then_some(known),
        id: transactional.then(|| "t".into()),
    };
    let calls = [
        (Call::AddPartitions { partition, id: Some("t".into()) }, Answer::Done),
        (produce(1, Acks::All, true), Answer::Produced { base: offset, log_append_time: time }),
        (produce(3, Acks::None, false), Answer::Done),
        (produce(5, Acks::None, false), Answer::Done),
        (Call::AddOffsets { group: group.clone(), id: Some("t".into()) }, Answer::Done),
        (commit("m", 3, true), Answer::Done),
        (commit("", -1, false), Answer::Done),
        (Call::EndTxn { commit: true, producer: Some(known), id: Some("t".into()) }, Answer::Done),
        (
            Call::InitProducerId {
                transactional: true,
                id: Some("t".into()),
                timeout: Some(Dur::secs(1)),
                expected: Some(known),
            },
            Answer::ProducerId(ProducerId(8), ProducerEpoch(9)),
        ),
        (fetch, fetched),
        (list(OffsetSpec::At(Wall(1))), Answer::Listed(Some((offset, time, leader_epoch)))),
        (list(OffsetSpec::MaxTimestamp), Answer::Listed(None)),
        (list(OffsetSpec::Earliest), Answer::Listed(Some((offset, None, None)))),
        (
            Call::EpochEnd { partition, epoch: LeaderEpoch(1), leader_epoch: None },
            Answer::EpochEnd(Some((LeaderEpoch(1), offset))),
        ),
        (
            Call::FetchOffsets { group, partitions: vec![partition], require_stable: true },
            Answer::Offsets(vec![(partition, Some(offset)), (partition, None)]),
        ),
        (sync("m", None), Answer::Assigned(vec![partition])),
        (Call::Admin { topic: None, deletes: false }, Answer::Created(TopicId(0))),
        (Call::Admin { topic: Some(TopicId(0)), deletes: true }, Answer::Done),
    ];
    let mut kinds = Vec::new();
    for (call, answer) in calls {
        kinds.extend([EventKind::Invoke(call), EventKind::Ok(answer)]);
    }
    let code = Some(ErrorCode::NotLeaderOrFollower);
    let ends = [EventKind::Unknown(None), EventKind::Unknown(code), EventKind::Fail(code)];
    for end in ends {
        let (transactional, id, timeout, expected) = (false, None, None, None);
        let asks = Call::InitProducerId { transactional, id, timeout, expected };
        kinds.extend([EventKind::Invoke(asks), end]);
    }
    kinds.push(EventKind::GaveUp);
    let event = |(kind, nth): (EventKind, u32)| {
        let (at, call) = (SimTime(u64::from(nth)), nth / 2);
        HistoryEvent { at, client: 1, call, op: 1, kind }
    };
    kinds.into_iter().zip(0..).map(event).collect()
}

#[test]
fn every_event_comes_back_as_it_was_written() {
    let writer = Writer::new([(TopicId(0), "a \"name\"".to_string())].into());
    let mut reader = Reader::default();
    reader.line(&writer.header("b", "n")).expect("a header");
    for event in every_event() {
        let line: String = writer.line(&event);
        let read = reader.line(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(matches!(&read, Line::Event { event: back, .. } if *back == event), "{line}");
    }
    let header = reader.finish().expect("a header");
    assert_eq!((header.broker.as_deref(), header.note.as_deref()), (Some("b"), Some("n")));
    assert_eq!(reader.topic(TopicId(0)), Some("a \"name\""));
}

//! What is left out of a history is not judged, and what is told is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{HEADER, judge};
use crate::Summary;

/// Calls, one after the other: the client, what it asks, and the end; `'` stands for `"`.
fn told(calls: &[(u16, &str, &str)]) -> Result<Summary, &'static str> {
    let mut lines = vec![HEADER.to_string()];
    for (call, (client, asks, end)) in (1..).zip(calls) {
        let key = format!("'time_us':{call},'client':{client},'call':{call}");
        let comma = if end.contains("':") { "," } else { "" };
        let (end, fields) = end.split_once(' ').unwrap_or((end, ""));
        lines.push(format!("{{'type':'invoke',{key},'f':{asks}}}").replace('\'', "\""));
        lines.push(format!("{{'type':'{end}',{key}{comma}{fields}}}").replace('\'', "\""));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    judge(&lines).map_err(|violation| violation.property)
}

/// How often a property was judged.
fn judged(summary: Result<Summary, &'static str>, code: &str) -> u64 {
    let summary = summary.expect("it holds");
    summary.evaluated().find(|(of, _)| *of == code).expect("a property of histories").1
}

const SENDS_FOUR: (u16, &str, &str) =
    (1, "'produce','topic':'t','partition':0,'first_value':1,'count':4", "ok 'offset':0");
const READS: &str = "'fetch','topic':'t','partition':0,'offset':0";

/// A record that a reader saw with these fields was listed with those.
fn listed(seen: &str, found: &str) -> Result<Summary, &'static str> {
    let read = format!("ok 'records':[{{'offset':0,'value':1{seen}}}]");
    let asks = "'list_offsets','topic':'t','partition':0,'at':'timestamp','timestamp_us':5";
    told(&[SENDS_FOUR, (2, READS, &read), (2, asks, &format!("ok 'offset':0{found}"))])
}

#[test]
fn lookup_is_judged_by_what_the_reader_saw_of_the_record() {
    let (time, epoch) = (",'timestamp_us':9", ",'leader_epoch':1");
    let both = &(time.to_string() + epoch);
    for seen in ["", time, epoch, both] {
        for found in [time, both] {
            assert!(judged(listed(seen, found), "Q1") > 0, "{seen} {found}");
        }
    }
    let (other_time, other_epoch) = (&both.replace('9', "8"), &both.replace('1', "0"));
    assert_eq!(listed(time, other_time).err(), Some("Q1"));
    assert_eq!(listed(epoch, other_epoch).err(), Some("Q1"));
    assert!(listed(epoch, other_time).and(listed(time, other_epoch)).is_ok());
}

/// Two readers of one record, or of two.
fn epochs(records: &[&str]) -> Result<Summary, &'static str> {
    let reads = records.iter().map(|record| {
        let from = record.split(',').next().unwrap_or_default();
        let asks = format!("'fetch','topic':'t','partition':0,{from}");
        (asks, format!("ok 'records':[{{{record}}}]"))
    });
    let reads: Vec<_> = reads.collect();
    let mut calls = vec![SENDS_FOUR];
    calls.extend(reads.iter().map(|(asks, end)| (2, asks.as_str(), end.as_str())));
    told(&calls)
}

#[test]
fn leader_epochs_are_judged_where_no_timestamps_are_told() {
    let [first, third] = ["'offset':0,'value':1", "'offset':2,'value':3"];
    let of = |record: &str, epoch: u32| format!("{record},'leader_epoch':{epoch}");
    assert_eq!(epochs(&[&of(third, 1), &of(first, 5)]).err(), Some("L8"));
    assert!(judged(epochs(&[&of(third, 5), &of(first, 1)]), "L8") > 0);
    // The first reader of a record saw less of it than the second.
    assert_eq!(epochs(&[first, &of(first, 5), &of(first, 6)]).err(), Some("L8"));
    assert!(judged(epochs(&[first, &of(first, 5), &of(first, 5)]), "L8") > 0);
    let timed = |time: u32| format!("{first},'timestamp_us':{time}");
    assert_eq!(epochs(&[first, &timed(5), &of(first, 1), &timed(6)]).err(), Some("L4"));
}

#[test]
fn end_of_an_epoch_is_judged_where_no_timestamps_are_told() {
    let ends = |end: u32| {
        let read = "ok 'records':[{'offset':0,'value':1,'leader_epoch':5},\
                    {'offset':1,'value':2,'leader_epoch':5},\
                    {'offset':2,'value':3,'leader_epoch':6}]";
        let asks = "'epoch_end','topic':'t','partition':0,'epoch':5,'leader_epoch':6";
        let found = format!("ok 'epoch':5,'offset':{end}");
        told(&[SENDS_FOUR, (2, READS, read), (2, asks, &found)]).map(|_| ())
    };
    assert_eq!((ends(1), ends(2), ends(3)), (Err("Q2"), Ok(()), Err("Q2")));
}

/// Each is given a producer id: for a transactional id, for one that is not told, or for none.
fn given(ids: &[(&str, u64)]) -> Result<Summary, &'static str> {
    let calls = ids.iter().map(|(owner, id)| {
        let asks = match *owner {
            "" => "'init_producer_id'".to_string(),
            "?" => "'init_producer_id','transactional':true".to_string(),
            name => format!("'init_producer_id','transactional_id':'{name}'"),
        };
        (asks, format!("ok 'producer_id':{id}"))
    });
    let calls: Vec<_> = calls.collect();
    let calls: Vec<_> = calls.iter().map(|(asks, end)| (1, asks.as_str(), end.as_str())).collect();
    told(&calls)
}

#[test]
fn producer_id_is_given_to_one_producer_or_transactional_id() {
    for bad in [["", ""], ["x", ""], ["", "x"], ["?", ""], ["", "?"], ["x", "y"]] {
        assert_eq!(given(&[(bad[0], 5), (bad[1], 5)]).err(), Some("P1"), "{bad:?}");
        assert_eq!(judged(given(&[(bad[0], 5), (bad[1], 6)]), "P1"), 1, "{bad:?}");
    }
    for sound in [["x", "x"], ["x", "?"], ["?", "x"], ["?", "?"]] {
        assert_eq!(judged(given(&[(sound[0], 5), (sound[1], 5)]), "P1"), 0, "{sound:?}");
    }
    assert_eq!(given(&[("x", 5), ("?", 5), ("y", 5)]).err(), Some("P1"));
    assert_eq!(given(&[("?", 5), ("x", 5), ("y", 5)]).err(), Some("P1"));
    assert_eq!(judged(given(&[("x", 5), ("", 6), ("x", 5)]), "P1"), 2);
}

/// Client 1 is the producer of epoch 0, and has written in transaction 1 when client 2 becomes the
/// one of `newer`. Then client 1 does this.
fn fenced(newer: &str, then: &[(u16, &str, &str)]) -> Result<Summary, &'static str> {
    let becomes = "'init_producer_id','transactional_id':'x'";
    let writes = "'produce','topic':'t','partition':0,'first_value':1,'count':1,'txn':1,\
                  'transactional_id':'x'";
    let mut calls = vec![
        (1, becomes, "ok 'producer_id':5,'producer_epoch':0"),
        (1, writes, "ok 'offset':0"),
        (2, becomes, newer),
    ];
    calls.extend(then);
    told(&calls)
}

const BECAME: &str = "ok 'producer_id':5,'producer_epoch':1";
const COMMITS: &str = "'end_txn','txn':1,'commit':true,'transactional_id':'x'";
const COMMITS_AS: &str = "'end_txn','txn':1,'commit':true,'transactional_id':'x',\
                          'producer_id':5,'producer_epoch':0";
const READS_COMMITTED: (u16, &str, &str) = (
    3,
    "'fetch','topic':'t','partition':0,'offset':0,'isolation':'read_committed'",
    "ok 'records':[{'offset':0,'value':1}]",
);

#[test]
fn commit_of_a_producer_that_was_replaced_breaks() {
    for asks in [COMMITS, COMMITS_AS] {
        assert_eq!(fenced(BECAME, &[(1, asks, "ok")]).err(), Some("T6"), "{asks}");
        let other = "ok 'producer_id':6,'producer_epoch':0";
        assert_eq!(fenced(other, &[(1, asks, "ok")]).err(), Some("T6"), "{asks}");
        let unknown = (1, asks, "unknown");
        assert_eq!(fenced(BECAME, &[unknown, READS_COMMITTED]).err(), Some("T6"), "{asks}");
        assert_eq!(judged(fenced(BECAME, &[unknown]), "T6"), 0, "{asks}");
        assert_eq!(judged(fenced(BECAME, &[(1, asks, "fail")]), "T6"), 1, "{asks}");
        assert!(judged(fenced("unknown", &[(1, asks, "ok")]), "T6") == 0, "{asks}");
        let aborts = &asks.replace("true", "false");
        assert_eq!(judged(fenced(BECAME, &[(1, aborts, "ok")]), "T6"), 0, "{asks}");
    }
}

#[test]
fn commit_that_may_be_older_than_the_new_producer_or_the_newest_ones_holds() {
    let becomes = (2, "'init_producer_id','transactional_id':'x'", BECAME);
    let unknown = (1, COMMITS_AS, "unknown");
    // What was asked for before counts, though its answer is told later.
    let again = fenced("unknown", &[unknown, becomes, (1, COMMITS_AS, "ok"), READS_COMMITTED]);
    assert_eq!(judged(again, "T6"), 0);
    // An attempt that was refused can not be what is answered.
    let failed = (1, COMMITS_AS, "fail");
    let refused = fenced("unknown", &[failed, becomes, (1, COMMITS_AS, "ok")]);
    assert_eq!(refused.err(), Some("T6"));
    // Both are told the same epoch where they asked to go on as one (KIP-360).
    let same = "ok 'producer_id':5,'producer_epoch':0";
    for asks in [COMMITS, COMMITS_AS] {
        assert_eq!(judged(fenced(same, &[(1, asks, "ok")]), "T6"), 0, "{asks}");
    }
    // The end of a transaction raised its own epoch (KIP-890).
    let raised = &COMMITS_AS.replace("'producer_epoch':0", "'producer_epoch':2");
    let newest = fenced(BECAME, &[(2, "'end_txn','txn':2,'commit':true", "ok")]);
    assert_eq!(judged(newest, "T6"), 0);
    let back = (1, "'init_producer_id','transactional_id':'x'", &*BECAME.replace('1', "2"));
    assert_eq!(judged(fenced(BECAME, &[back, (1, raised, "ok")]), "T6"), 0);
}

#[test]
fn producer_whose_epoch_is_not_told_may_be_the_newest() {
    let becomes = "'init_producer_id','transactional_id':'x'";
    let untold = "ok 'producer_id':5";
    let ends = |before: &str, newest: &str| {
        let asks = [(2, becomes, before), (1, becomes, newest), (1, COMMITS, "ok")];
        fenced("ok 'producer_id':5,'producer_epoch':3", &asks)
    };
    assert_eq!(judged(ends(BECAME, untold), "T6"), 0);
    assert_eq!(judged(ends(untold, BECAME.replace(":1", ":4").as_str()), "T6"), 0);
    let before = told(&[(1, becomes, untold), (2, becomes, BECAME), (1, COMMITS, "ok")]);
    assert_eq!(judged(before, "T6"), 0);
    let other = BECAME.replace(":5", ":6");
    let other = told(&[(1, becomes, untold), (2, becomes, &other), (1, COMMITS, "ok")]);
    assert_eq!(other.err(), Some("T6"));
}

/// A batch of two, with this on its line and this in its answer, is read at offsets 0 and `second`.
fn twice(fields: &str, answer: &str, second: u32) -> Result<Summary, &'static str> {
    let sends = format!("'produce','topic':'t','partition':0,'first_value':1,'count':2{fields}");
    let record = |offset: u32, value: u32, time: u32| {
        format!("{{'offset':{offset},'value':{value},'timestamp_us':{time}}}")
    };
    let first: Vec<_> = (0..second).map(|at| record(at, at + 1, 8)).collect();
    let read = format!("ok 'records':[{},{}]", first.join(","), record(second, 1, 9));
    told(&[(1, &sends, &format!("ok {answer}")), (2, READS, &read)])
}

#[test]
fn batch_that_its_library_may_have_sent_again_may_be_there_twice() {
    for told in ["", ",'idempotent':false", ",'retries':3"] {
        for acked in [0, 2, 4] {
            let placed = format!("'offset':{acked}");
            assert_eq!(twice(told, &placed, 2).map(|summary| summary.doubled), Ok(1), "{told}");
        }
        // Each copy has the time of its own append.
        let placed = "'offset':2,'log_append_time_us':9";
        assert_eq!(twice(told, placed, 2).map(|summary| summary.doubled), Ok(1), "{told}");
        let wrong = "'offset':2,'log_append_time_us':7";
        assert_eq!(twice(told, wrong, 2).err(), Some("L9"), "{told}");
        let first = format!("{told},'acks':'1'");
        let placed = "'offset':4,'log_append_time_us':7";
        assert_eq!(twice(&first, placed, 2).map(|summary| summary.doubled), Ok(1), "{told}");
        assert_eq!(twice(told, "'offset':0", 1).err(), Some("L1"), "{told}: they overlap");
    }
    for once in [",'retries':0", ",'idempotent':false,'retries':0", ",'txn':1"] {
        assert_eq!(twice(once, "'offset':0", 2).err(), Some("L1"), "{once}");
    }
    assert_eq!(twice(",'idempotent':true", "'offset':0", 2).err(), Some("P1"));
}

//! Single traits of a query: what it does with a checkpoint that it can not use, with what it is
//! asked while a batch runs, and with data that is not there.

extern crate std;

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;

use broker_core::ids::PartitionIndex;
use broker_core::step::{Etag, Key};
use broker_core::time::Dur;
use bytes::Bytes;

use super::store::Fate;
use super::world::{Fault, GROWTH, Meanwhile, World, config};
use crate::spark::checkpoint::{ATTEMPTS_MAX, BatchId, Log, Manager};
use crate::spark::driver::{OFFSET_RETRIES_MAX, QueryConfig, Sink};
use crate::spark::format::{
    CommitEntry, KafkaOffsets, OffsetEntry, SourceOffsets, parse_initial_offsets,
    parse_query_metadata,
};
use crate::spark::handoff::{CrashPoint, Property};
use crate::spark::step::{End, SendAnswer};

fn query() -> QueryConfig {
    config(Sink::AtLeastOnce, Manager::AtomicRename)
}

fn file(world: &World, name: &str) -> Bytes {
    world.store.objects[&Key(name.into())].1.clone()
}

#[test]
fn query_leaves_files_that_spark_reads() {
    for offset_log_by_id in [false, true] {
        let settings = QueryConfig { offset_log_by_id, ..query() };
        let (_, world) = World::new(settings, None, vec![]).run();
        let ends = "{\"in\":{\"0\":10,\"1\":10,\"2\":10,\"3\":10}}";
        let entry = OffsetEntry::parse("1", &file(&world, "ckpt/offsets/1")).unwrap();
        let expected = if offset_log_by_id {
            SourceOffsets::ById(vec![("0".into(), Some(ends.into()))])
        } else {
            SourceOffsets::ByPlace(vec![Some(ends.into())])
        };
        assert_eq!(entry.offsets, expected);
        let metadata = entry.metadata.unwrap();
        assert!(metadata.batch_timestamp_ms >= 1_700_000_000_000);
        assert_eq!(metadata.source_metadata_info.is_some(), offset_log_by_id);
        let commit = file(&world, "ckpt/commits/3");
        assert_eq!(CommitEntry::parse("3", &commit), Ok(CommitEntry::stateless(0)));
        parse_query_metadata("metadata", &file(&world, "ckpt/metadata")).unwrap();
        let first = parse_initial_offsets("0", &file(&world, "ckpt/sources/0/0")).unwrap();
        assert_eq!(
            first,
            KafkaOffsets::parse("", 1, "{\"in\":{\"0\":0,\"1\":0,\"2\":0,\"3\":0}}").unwrap()
        );
        // Five files of the run besides, and no temporary one.
        assert_eq!(world.store.objects.len(), 2 + 4 + 4);
    }
}

#[test]
fn query_that_died_before_its_metadata_was_renamed_gets_another_id() {
    let (measured, world) = World::new(query(), Some(Fault::Die(CrashPoint::C0, 1)), vec![]).run();
    let names: vec::Vec<_> = world.store.objects.keys().map(ToString::to_string).collect();
    let temporary = names.iter().find(|name| name.ends_with(".tmp")).expect("it is left behind");
    assert_ne!(file(&world, temporary), file(&world, "ckpt/metadata"));
    assert!(measured.broken.is_empty());
}

#[test]
fn query_from_latest_keeps_its_first_offsets_over_a_crash() {
    let settings = QueryConfig { starts_at_latest: true, ..query() };
    let world = World::new(settings, Some(Fault::Die(CrashPoint::C1, 1)), vec![]);
    let (measured, world) = world.run();
    // The records before the start are not its own; those that came while it was down are.
    let before = 4 * usize::try_from(GROWTH).unwrap() * 2;
    assert_eq!(measured.lost, before);
    let first = parse_initial_offsets("0", &file(&world, "ckpt/sources/0/0")).unwrap();
    assert_eq!(first.write(), "{\"in\":{\"0\":5,\"1\":5,\"2\":5,\"3\":5}}");
}

#[test]
fn query_stopped_within_a_batch_doubles_as_if_it_had_died() {
    let stopped = World::new(query(), Some(Fault::Stop(CrashPoint::C5, 2)), vec![]).run().0;
    let died = World::new(query(), Some(Fault::Die(CrashPoint::C5, 2)), vec![]).run().0;
    assert_eq!(stopped.ends, [End::Stopped]);
    assert_eq!(stopped.doubled, died.doubled);
    assert!(stopped.doubled > 0);
}

#[test]
fn query_whose_commit_log_is_ahead_stands_still_and_doubles_at_each_start() {
    // offsets/1 is lost, commits/1 is not: batch 0 runs again, and can not be committed again.
    let meanwhile = vec![Meanwhile::Delete("ckpt/offsets/1")];
    let fault = Some(Fault::Stop(CrashPoint::C8, 2));
    let (measured, _) = World::new(query(), fault, meanwhile).run();
    assert_eq!(measured.broken, BTreeSet::from([Property::Stuck]));
    let starts = measured.ends.len() - 1;
    assert!(measured.ends[1..].iter().all(|end| *end == End::ConcurrentLogUpdate(BatchId(0))));
    assert_eq!(measured.doubled, starts * 40);
}

#[test]
fn query_whose_predecessor_entry_is_lost_does_not_start() {
    let meanwhile = vec![Meanwhile::Delete("ckpt/offsets/0")];
    let fault = Some(Fault::Stop(CrashPoint::C8, 2));
    let (measured, _) = World::new(query(), fault, meanwhile).run();
    assert_eq!(measured.broken, BTreeSet::from([Property::Stuck]));
    assert!(measured.ends[1..].iter().all(|end| *end == End::BatchMissing(BatchId(0))));
}

#[test]
fn query_that_finds_a_file_it_can_not_read_says_which_and_why() {
    for (name, content, expected) in [
        ("ckpt/metadata", "{}", "ckpt/metadata:1: missing field `id`"),
        ("ckpt/offsets/0", "", "ckpt/offsets/0:1: the file is empty"),
        ("ckpt/offsets/0", "v1\n{}\n{\"offset\":10}", "ckpt/offsets/0:3: invalid type"),
        ("ckpt/offsets/0", "v7\n{}\n-", "ckpt/offsets/0:1: version v7 is too new"),
    ] {
        let mut world = World::new(query(), None, vec![]);
        let body = Bytes::from(content);
        world.store.objects.insert(Key(name.into()), (Etag(0), body));
        let (measured, _) = world.run();
        let Some(End::Unreadable(wrong)) = measured.ends.first() else { panic!("{measured:?}") };
        assert!(wrong.to_string().starts_with(expected), "{wrong}");
        assert_eq!(measured.broken, BTreeSet::from([Property::Stuck]));
    }
    let mut world = World::new(query(), None, vec![]);
    let two = Bytes::from("v1\n{}\n-\n-");
    world.store.objects.insert(Key("ckpt/offsets/0".into()), (Etag(0), two));
    assert_eq!(world.run().0.ends[0], End::SourcesDiffer { found: 2 });
}

#[test]
fn query_with_speculation_doubles_what_the_slower_attempts_sent() {
    // The second read of a task is never answered; what its first read gave is sent already.
    // That the slower attempt is cancelled is no failure of the task.
    let speculation = Some(Dur::ms(100));
    let settings = QueryConfig { speculation, cores: 8, task_failures_max: 1, ..query() };
    let (measured, _) = World::new(settings, Some(Fault::Silent(14)), vec![]).run();
    assert!(measured.broken.is_empty(), "{measured:?}");
    assert!(measured.doubled > 0 && measured.doubled <= measured.bound, "{measured:?}");
}

#[test]
fn query_whose_task_fails_too_often_ends() {
    let fault = Fault::Reads(11, PartitionIndex(2));
    let (measured, _) = World::new(query(), Some(fault), vec![]).run();
    assert_eq!(measured.ends, vec![End::TaskFailed(PartitionIndex(2)); 4]);
    assert_eq!(measured.broken, BTreeSet::from([Property::Stuck]));
}

#[test]
fn query_told_of_no_partitions_does_not_take_all_for_new() {
    for nth in 1..5 {
        let (measured, world) = World::new(query(), Some(Fault::NoPartitions(nth)), vec![]).run();
        assert!(measured.broken.is_empty() && measured.doubled == 0, "{measured:?}");
        assert!(world.struck());
    }
}

#[test]
fn query_whose_source_was_created_again_and_is_short_ends_with_data_loss() {
    let meanwhile = || vec![Meanwhile::Recreate(2)];
    let fault = || Some(Fault::Stop(CrashPoint::C8, 1));
    let (measured, world) = World::new(query(), fault(), meanwhile()).run();
    assert_eq!(measured.ends[1], End::DataLoss(PartitionIndex(0)));
    assert_eq!(world.retries, OFFSET_RETRIES_MAX);
    // Told not to fail, it drops the range, and goes on at the lower offset.
    let settings = QueryConfig { fail_on_data_loss: false, ..query() };
    let (measured, _) = World::new(settings, fault(), meanwhile()).run();
    assert_eq!(measured.ends, [End::Stopped]);
    assert_eq!(measured.broken, BTreeSet::from([Property::Lost]));
}

#[test]
fn query_on_abortable_streams_runs_a_batch_whose_entry_was_never_written() {
    // The puts of offsets/1 fail; the exception is logged and the batch goes on. After a crash the
    // batch has another range: as if its entry had been lost.
    let settings = config(Sink::Keyed, Manager::AbortableStream);
    let (_, quiet) = World::new(settings.clone(), None, vec![]).run();
    let mut seen = BTreeSet::new();
    for nth in 0..quiet.store.asked {
        let mut world = World::new(settings.clone(), Some(Fault::Die(CrashPoint::C6, 2)), vec![]);
        let lost = (0..ATTEMPTS_MAX).map(|_| Fate::RequestLost);
        world.store.fates = (0..nth).map(|_| Fate::Answered).chain(lost).collect();
        seen.extend(world.run().0.broken);
    }
    assert!(seen.contains(&Property::RangeChanged), "{seen:?}");
}

#[test]
fn query_without_an_executor_waits_for_one() {
    let settings = QueryConfig { executors: 1, ..query() };
    let (measured, world) = World::new(settings, Some(Fault::Executor(11)), vec![]).run();
    assert!(measured.broken.is_empty() && world.struck(), "{measured:?}");
    assert_eq!(world.progress.len(), 4);
    // What a lost executor had not finished keeps nobody waiting when it is there again.
    let settings = QueryConfig { executors: 1, cores: 4, ..query() };
    let (measured, world) = World::new(settings, Some(Fault::Sender(13)), vec![]).run();
    assert!(measured.broken.is_empty() && world.struck(), "{measured:?}");
    assert_eq!(world.progress.len(), 4);
}

#[test]
fn query_keeps_as_many_entries_as_it_is_told() {
    for (keep, left) in [(1, 2), (2, 3), (100, 4)] {
        let settings = QueryConfig { min_batches_to_retain: keep, ..query() };
        let (_, world) = World::new(settings, None, vec![]).run();
        let names = world.store.objects.keys().map(ToString::to_string);
        let logs: vec::Vec<_> = names.filter(|it| it.contains("ts/")).collect();
        let expected: vec::Vec<_> = ["commits", "offsets"]
            .iter()
            .flat_map(|log| (4 - left..4).map(move |batch| alloc::format!("ckpt/{log}/{batch}")))
            .collect();
        assert_eq!(logs, expected);
    }
}

#[test]
fn query_goes_on_with_the_watermark_of_the_commit_log() {
    let mut world = World::new(query(), None, vec![]);
    let entry = |name: &str, text: &'static str| (Key(name.into()), (Etag(0), Bytes::from(text)));
    world.store.objects.extend([
        entry(
            "ckpt/offsets/0",
            "v1\n{\"batchWatermarkMs\":3}\n{\"in\":{\"0\":0,\"1\":0,\"2\":0,\"3\":0}}",
        ),
        entry(
            "ckpt/offsets/1",
            "v1\n{\"batchWatermarkMs\":5}\n{\"in\":{\"0\":1,\"1\":0,\"2\":0,\"3\":0}}",
        ),
        entry("ckpt/commits/1", "v1\n{\"nextBatchWatermarkMs\":7}"),
    ]);
    let (_, world) = world.run();
    let next = OffsetEntry::parse("2", &file(&world, "ckpt/offsets/2")).unwrap();
    assert_eq!(next.metadata.unwrap().batch_watermark_ms, 7);
    let commit = CommitEntry::parse("2", &file(&world, "ckpt/commits/2"));
    assert_eq!(commit, Ok(CommitEntry::stateless(7)));
}

#[test]
fn query_runs_a_batch_again_with_the_watermark_that_it_was_planned_with() {
    let mut world = World::new(query(), None, vec![]);
    for (name, text) in [
        (
            "ckpt/offsets/0",
            "v1\n{\"batchWatermarkMs\":3}\n{\"in\":{\"0\":0,\"1\":0,\"2\":0,\"3\":0}}",
        ),
        (
            "ckpt/offsets/1",
            "v1\n{\"batchWatermarkMs\":5}\n{\"in\":{\"0\":1,\"1\":0,\"2\":0,\"3\":0}}",
        ),
    ] {
        world.store.objects.insert(Key(name.into()), (Etag(0), Bytes::from(text)));
    }
    let (_, world) = world.run();
    let commit = CommitEntry::parse("1", &file(&world, "ckpt/commits/1"));
    assert_eq!(commit, Ok(CommitEntry::stateless(5)));
}

#[test]
fn query_whose_send_fails_in_one_task_fails_that_task_alone() {
    // The flush of the other task on the executor waits for the send, and does not fail with it.
    let settings = QueryConfig { executors: 1, cores: 4, ..query() };
    let fault = Fault::Send(14, SendAnswer::Refused);
    let (measured, world) = World::new(settings, Some(fault), vec![]).run();
    assert!(measured.broken.is_empty() && world.struck(), "{measured:?}");
    // One attempt was wasted, with the 10 records that it had sent; 2 of them were refused.
    assert_eq!((measured.bound, measured.doubled), (10, 8));
}

#[test]
fn query_that_died_in_its_first_entry_is_refused_since_spark_4_1() {
    for (manager, verify_empty_on_start, refused) in [
        (Manager::AtomicRename, true, true),
        (Manager::CopyRename, true, true),
        (Manager::AtomicRename, false, false),
    ] {
        let settings = QueryConfig { verify_empty_on_start, ..config(Sink::AtLeastOnce, manager) };
        let fault = Some(Fault::Die(CrashPoint::C2, 1));
        let (measured, _) = World::new(settings, fault, vec![]).run();
        assert_eq!(measured.broken.contains(&Property::Stuck), refused, "{measured:?}");
        let not_empty = |end: &End| *end == End::CheckpointNotEmpty(Log::Offsets);
        assert_eq!(measured.ends.iter().filter(|end| not_empty(end)).count() > 0, refused);
    }
}

#[test]
fn query_without_offset_log_is_refused_if_there_is_a_commit_log() {
    let meanwhile = || vec![Meanwhile::Delete("ckpt/offsets/")];
    let fault = || Some(Fault::Stop(CrashPoint::C8, 2));
    let (measured, _) = World::new(query(), fault(), meanwhile()).run();
    assert_eq!(measured.ends[1], End::CheckpointNotEmpty(Log::Commits));
    assert_eq!(measured.doubled, 0);
    // Before Spark 4.1 it began anew, ran all from the start, and met the old commit log.
    let settings = QueryConfig { verify_empty_on_start: false, ..query() };
    let (measured, _) = World::new(settings, fault(), meanwhile()).run();
    assert_eq!(measured.ends[1], End::ConcurrentLogUpdate(BatchId(0)));
    assert!(measured.doubled > 0);
}

#[test]
fn query_flush_waits_for_the_sends_of_the_executors_other_tasks() {
    // The first send of the second batch is never answered. On its executor no task gets done.
    for (executors, done) in [(1, 0), (4, 3)] {
        let settings = QueryConfig { executors, cores: 4, ..query() };
        let (_, world) = World::new(settings, Some(Fault::SilentSend(13)), vec![]).run();
        assert!(world.struck());
        assert_eq!(world.won, 4 + done, "{executors} executors");
    }
}

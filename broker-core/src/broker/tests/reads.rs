//! Fetch, ListOffsets and the other questions.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::config::BrokerLimits;
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
use crate::mutants::Mutants;
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::{Input, TimerKey};
use crate::time::{Dur, Wall};

/// Nothing stays in the cache once it is committed, and everything is committed at once.
const ISOLATION: Isolation = Isolation::ReadUncommitted;

fn no_cache() -> BrokerLimits {
    let upload_block_interval = Dur::ms(100);
    BrokerLimits { cache_bytes_max: 0, upload_block_interval, ..BrokerLimits::default() }
}

fn ready(limits: BrokerLimits, mutants: Mutants) -> (Host, TopicPartition, NodeId) {
    let mut host = Host::with(limits, mutants);
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    (host, partition, leader)
}

fn plain() -> (Host, TopicPartition, NodeId) {
    ready(BrokerLimits::default(), Mutants::NONE)
}

fn fetch_with(
    host: &mut Host,
    to: NodeId,
    change: impl Fn(&mut FetchRequest),
    partition: TopicPartition,
    from: u64,
) -> Result<Fetched, ErrorCode> {
    let Request::Fetch(mut request) = fetch(partition, from, 1) else { panic!() };
    change(&mut request);
    match host.call(to, Request::Fetch(request)) {
        Response::Fetch(mut results) => results.remove(0).result,
        other => panic!("{other:?}"),
    }
}

fn listed(
    host: &mut Host,
    partition: TopicPartition,
    spec: OffsetSpec,
) -> Option<(u64, Option<i64>, u32)> {
    let to = host.leader(partition);
    let question = ListOffsetsPartition { partition, current_leader_epoch: None, spec };
    match host.call(to, Request::ListOffsets { isolation: ISOLATION, partitions: vec![question] }) {
        Response::ListOffsets(mut results) => results.remove(0).result.unwrap().map(|listed| {
            let time = listed.timestamp.map(|time| time.0 / 1_000);
            (listed.offset.0, time, listed.leader_epoch.0)
        }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fetch_waits_for_data_and_is_woken_by_it() {
    let (mut host, partition, leader) = plain();
    let reader = host.conn();
    host.send(leader, reader, 0, fetch(partition, 0, 1));
    assert!(!host.replies.contains_key(&(reader, 0)));
    let (writer, batch) = (host.conn(), host.batch(&["a"]));
    host.send(leader, writer, 0, produce(partition, batch, Acks::All));
    host.run(400_000);
    let Some(Response::Fetch(results)) = host.replies.get(&(reader, 0)) else { panic!() };
    assert_eq!(results[0].result.as_ref().unwrap().batches.len(), 1);
    assert_eq!(host.saw(leader, |p| matches!(p, Probe::FetchWoken {})), 1);
    assert!(!host.has_timer(leader, TimerKey::FetchWait(reader, 0)));
}

#[test]
fn fetch_without_data_is_answered_when_its_time_is_over() {
    let (mut host, partition, leader) = plain();
    let reader = host.conn();
    host.send(leader, reader, 0, fetch(partition, 0, 1));
    host.run(499_999);
    assert!(host.replies.is_empty());
    host.run(1);
    let Some(Response::Fetch(results)) = host.replies.get(&(reader, 0)) else { panic!() };
    assert!(results[0].result.as_ref().unwrap().batches.is_empty());
}

#[test]
fn fetch_with_enough_or_nothing_asked_is_answered_at_once() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a"]);
    let conn = host.conn();
    host.send(leader, conn, 0, fetch(partition, 0, 1));
    host.send(leader, conn, 1, fetch(partition, 1, 0));
    assert_eq!(host.replies.len(), 2);
    host.send(leader, conn, 2, fetch(partition, 0, 10_000));
    assert_eq!(host.replies.len(), 2);
}

#[test]
fn fetch_answers_keep_the_order_of_the_requests() {
    let (mut host, partition, leader) = plain();
    let conn = host.conn();
    host.send(leader, conn, 0, fetch(partition, 0, 1));
    host.send(leader, conn, 1, Request::Metadata { topics: None });
    assert!(host.replies.is_empty());
    host.run(500_000);
    assert_eq!(host.replies.len(), 2);
}

#[test]
fn fetch_connection_gone_leaves_nothing_behind() {
    let (mut host, partition, leader) = plain();
    let conn = host.conn();
    host.send(leader, conn, 0, fetch(partition, 0, 1));
    host.give(leader, Input::Gone(conn));
    assert!(!host.has_timer(leader, TimerKey::FetchWait(conn, 0)));
    assert!(host.broker(leader).partition(partition).unwrap().fetchers().is_empty());
    host.produce(partition, &["a"]);
    assert!(!host.replies.contains_key(&(conn, 0)));
}

#[test]
fn fetch_outside_of_the_log_is_out_of_range() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a"]);
    let beyond = fetch_with(&mut host, leader, |_| {}, partition, 2);
    assert_eq!(beyond, Err(ErrorCode::OffsetOutOfRange));
    assert!(fetch_with(&mut host, leader, |_| {}, partition, 1).is_ok());
}

/// What a leader that was cut off from the others and replaced says after its successor has
/// appended a second record.
fn told_by_a_replaced_leader(
    mutants: Mutants,
    question: impl Fn(TopicPartition) -> Request,
) -> Option<Response> {
    let (mut host, partition, leader) = ready(no_cache(), mutants);
    host.produce(partition, &["a"]);
    host.cut(leader, true);
    host.run(LONG);
    host.produce(partition, &["b"]);
    let conn = host.conn();
    host.send(leader, conn, 0, question(partition));
    host.run(2_000_000);
    let told = host.replies.remove(&(conn, 0));
    assert_eq!(host.is_up(leader), told.is_some(), "it finds out if it looks");
    told
}

/// A fetch of what only the successor has.
fn fetch_behind(partition: TopicPartition) -> Request {
    fetch(partition, 2, 1)
}

fn list(spec: OffsetSpec) -> impl Fn(TopicPartition) -> Request {
    move |partition| {
        let question = ListOffsetsPartition { partition, current_leader_epoch: None, spec };
        Request::ListOffsets { isolation: ISOLATION, partitions: vec![question] }
    }
}

#[test]
fn log_end_is_not_told_by_a_leader_that_was_replaced() {
    assert_eq!(told_by_a_replaced_leader(Mutants::NONE, fetch_behind), None);
    for spec in [OffsetSpec::Latest, OffsetSpec::MaxTimestamp, OffsetSpec::At(Wall(i64::MAX / 2))] {
        assert_eq!(told_by_a_replaced_leader(Mutants::NONE, list(spec)), None, "{spec:?}");
    }
    let epoch_end = |partition| {
        let leader_epoch = LeaderEpoch(0);
        let question = EpochPartition { partition, current_leader_epoch: None, leader_epoch };
        Request::OffsetForLeaderEpoch { partitions: vec![question] }
    };
    assert_eq!(told_by_a_replaced_leader(Mutants::NONE, epoch_end), None);
}

#[test]
fn what_can_not_become_wrong_is_told_by_a_leader_that_was_replaced() {
    for spec in [OffsetSpec::Earliest, OffsetSpec::At(Wall(0))] {
        assert!(told_by_a_replaced_leader(Mutants::NONE, list(spec)).is_some(), "{spec:?}");
    }
    assert!(told_by_a_replaced_leader(Mutants::NONE, |partition| fetch(partition, 0, 1)).is_some());
}

#[test]
fn fetch_with_another_epoch_is_refused() {
    let (mut host, partition, leader) = plain();
    host.kill(leader);
    host.run(LONG);
    let leader = host.leader(partition);
    let epoch = host.broker(leader).partition(partition).unwrap().epoch().0;
    assert_eq!(epoch, 1);
    let mut with = |known: u32| {
        let change = |request: &mut FetchRequest| {
            request.partitions[0].current_leader_epoch = Some(LeaderEpoch(known));
        };
        fetch_with(&mut host, leader, change, partition, 0).map(|_| ())
    };
    assert_eq!(with(epoch - 1), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(with(epoch), Ok(()));
    assert_eq!(with(epoch + 1), Err(ErrorCode::UnknownLeaderEpoch));
}

#[test]
fn fetch_from_a_log_that_parted_is_told_where() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a", "b"]);
    host.kill(leader);
    host.run(LONG);
    host.produce(partition, &["c"]);
    let leader = host.leader(partition);
    let mut at = |offset, epoch| {
        let change = |request: &mut FetchRequest| {
            request.partitions[0].last_fetched_epoch = Some(LeaderEpoch(epoch));
        };
        fetch_with(&mut host, leader, change, partition, offset).unwrap()
    };
    assert_eq!(at(2, 0).diverging, None);
    // It read one record more in epoch 0 than there is.
    let parted = at(3, 0);
    assert_eq!(parted.diverging, Some((LeaderEpoch(0), Offset(2))));
    assert!(parted.batches.is_empty());
    assert_eq!(at(3, 1).diverging, None);
}

#[test]
fn fetch_gives_the_first_batch_whatever_its_size_and_no_second_beyond_the_limits() {
    let (mut host, partition, leader) = plain();
    for value in ["a", "b", "c"] {
        host.produce(partition, &[value]);
    }
    let size = host.batch(&["a"]).len() as u32;
    let mut count = |whole: u32, part: u32| {
        let change = |request: &mut FetchRequest| {
            request.bytes_max = whole;
            request.partitions[0].bytes_max = part;
        };
        fetch_with(&mut host, leader, change, partition, 0).unwrap().batches.len()
    };
    assert_eq!(count(1, 1_000), 1);
    assert_eq!(count(1_000, 1), 1);
    assert_eq!(count(2 * size, 1_000), 2);
    assert_eq!(count(1_000, 2 * size), 2);
    assert_eq!(count(1_000, 1_000), 3);
}

#[test]
fn fetch_of_two_partitions_shares_one_limit_and_an_error_does_not_wait() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a"]);
    let size = host.batch(&["a"]).len() as u32;
    let mut both = |bytes_max: u32, second: FetchPartition| {
        let partitions = vec![part(partition, 0), second];
        let (wait_max, bytes_min) = (Dur::ms(500), 10_000);
        let request =
            FetchRequest { isolation: ISOLATION, wait_max, bytes_min, bytes_max, partitions };
        let (conn, before) = (host.conn(), host.now);
        host.send(leader, conn, 0, Request::Fetch(request));
        while !host.replies.contains_key(&(conn, 0)) {
            host.run(1_000);
        }
        let waited = host.now - before;
        let Some(Response::Fetch(results)) = host.replies.remove(&(conn, 0)) else { panic!() };
        let count = |result: &FetchResult| match &result.result {
            Ok(fetched) => Ok(fetched.batches.len()),
            Err(code) => Err(*code),
        };
        (waited, results.iter().map(count).collect::<Vec<_>>())
    };
    // More than fits is not waited for.
    assert_eq!(both(1, part(partition, 0)), (0, vec![Ok(1), Ok(0)]));
    assert_eq!(both(2 * size, part(partition, 0)), (0, vec![Ok(1), Ok(1)]));
    assert_eq!(both(3 * size, part(partition, 0)), (500_000, vec![Ok(1), Ok(1)]));
    let unknown = TopicPartition { topic: TopicId(1), ..partition };
    let refused = Err(ErrorCode::UnknownTopicId);
    assert_eq!(both(2 * size, part(unknown, 0)), (0, vec![Ok(1), refused]));
}

#[test]
fn fetch_of_nothing_or_of_a_first_batch_that_is_enough_is_answered_at_once() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a"]);
    let size = host.batch(&["a"]).len() as u32;
    let mut at_once = |bytes_min: u32, partitions: Vec<FetchPartition>| {
        let (wait_max, bytes_max) = (Dur::ms(500), 1_000);
        let request =
            FetchRequest { isolation: ISOLATION, wait_max, bytes_min, bytes_max, partitions };
        let conn = host.conn();
        host.send(leader, conn, 0, Request::Fetch(request));
        host.replies.contains_key(&(conn, 0))
    };
    assert!(at_once(1, vec![]));
    let tight = FetchPartition { bytes_max: 1, ..part(partition, 0) };
    assert!(at_once(size, vec![tight]), "the first batch comes whole, and counts as such");
    assert!(!at_once(size + 2, vec![tight, tight]), "the second one does not");
}

#[test]
fn fetch_beyond_the_cache_reads_no_more_than_fits_into_the_answer() {
    let (mut host, partition, leader) = ready(no_cache(), Mutants::NONE);
    host.produce(partition, &["a"]);
    host.run(LONG);
    let mut gets = |bytes_max: u32| {
        let partitions = vec![part(partition, 0); 5];
        let request = FetchRequest {
            isolation: ISOLATION,
            wait_max: Dur(0),
            bytes_min: 1,
            bytes_max,
            partitions,
        };
        host.gets.clear();
        let Response::Fetch(results) = host.call(leader, Request::Fetch(request)) else { panic!() };
        let read = results.iter().filter(|r| !r.result.as_ref().unwrap().batches.is_empty());
        (read.count(), host.gets.len())
    };
    // The first read also fetches the object's footer and index.
    assert_eq!(gets(0), (1, 3));
    assert_eq!(gets(1), (1, 1));
    assert_eq!(gets(u32::MAX), (5, 5));
}

#[test]
fn fetch_beyond_the_cache_reads_the_object_and_keeps_its_index() {
    let (mut host, partition, leader) = ready(no_cache(), Mutants::NONE);
    for value in ["a", "b", "c"] {
        host.produce(partition, &[value]);
    }
    host.run(LONG);
    assert!(host.saw(leader, |p| matches!(p, Probe::CacheEvicted { .. })) > 0);
    host.gets.clear();
    assert_eq!(host.read_all(partition).len(), 3);
    assert!(host.saw(leader, |p| matches!(p, Probe::ReadFromObject { .. })) > 0);
    let first = host.gets.len();
    assert_eq!(host.read_all(partition).len(), 3);
    // The second time, each object costs one get: its block.
    assert_eq!(host.gets.len() - first, first / 3);
}

#[test]
fn fetch_of_an_object_that_is_gone_is_tried_again() {
    let (mut host, partition, leader) = ready(no_cache(), Mutants::NONE);
    host.produce(partition, &["a"]);
    host.run(LONG);
    let objects: Vec<_> = host.store.iter().filter(|(key, _)| key.0.starts_with("obj/")).collect();
    let (key, body) = objects.first().map(|&(k, b)| (k.clone(), b.clone())).unwrap();
    host.store.remove(&key);
    let conn = host.conn();
    host.send(leader, conn, 0, fetch(partition, 0, 1));
    host.run(2_000_000);
    assert!(host.replies.is_empty());
    host.store.insert(key, body);
    host.run(5_000_000);
    let Some(Response::Fetch(results)) = host.replies.get(&(conn, 0)) else { panic!() };
    assert_eq!(results[0].result.as_ref().unwrap().batches.len(), 1);
}

#[test]
fn fetch_parked_hears_when_the_partition_goes() {
    let (mut host, partition, leader) = plain();
    let conn = host.conn();
    let Request::Fetch(mut request) = fetch(partition, 0, 1) else { panic!() };
    request.wait_max = Dur::secs(1_000);
    host.send(leader, conn, 0, Request::Fetch(request));
    host.give(leader, Input::Drain);
    host.run(1_000_000);
    let Some(Response::Fetch(results)) = host.replies.get(&(conn, 0)) else { panic!() };
    assert_eq!(results[0].result, Err(ErrorCode::NotLeaderOrFollower));
}

/// Three batches; the last two records of the second share the largest time.
fn timed(host: &mut Host, partition: TopicPartition) {
    let leader = host.leader(partition);
    for times in [&[10, 10][..], &[25, 30, 30], &[20]] {
        let batch = batch_of(times.iter().map(|&time| (time, "v")));
        assert!(host.try_produce(leader, partition, batch, Acks::All).is_ok());
    }
}

fn check_listed(host: &mut Host, partition: TopicPartition) {
    let at = |ms: i64| OffsetSpec::At(Wall(ms * 1_000));
    assert_eq!(listed(host, partition, OffsetSpec::Earliest), Some((0, None, 0)));
    assert_eq!(listed(host, partition, OffsetSpec::Latest), Some((6, None, 0)));
    assert_eq!(listed(host, partition, OffsetSpec::MaxTimestamp), Some((3, Some(30), 0)));
    assert_eq!(listed(host, partition, at(0)), Some((0, Some(10), 0)));
    assert_eq!(listed(host, partition, at(11)), Some((2, Some(25), 0)));
    assert_eq!(listed(host, partition, at(26)), Some((3, Some(30), 0)));
    assert_eq!(listed(host, partition, at(31)), None);
}

#[test]
fn list_offsets_finds_ends_and_times_in_the_cache() {
    let (mut host, partition, leader) = plain();
    timed(&mut host, partition);
    check_listed(&mut host, partition);
    assert_eq!(host.saw(leader, |p| matches!(p, Probe::ReadFromObject { .. })), 0);
}

#[test]
fn list_offsets_finds_times_in_objects() {
    let (mut host, partition, leader) = ready(no_cache(), Mutants::NONE);
    timed(&mut host, partition);
    host.run(LONG);
    check_listed(&mut host, partition);
    assert!(host.saw(leader, |p| matches!(p, Probe::ReadFromObject { .. })) > 0);
}

/// How often the second of two equal searches reads an object.
fn read_again(mutants: Mutants) -> usize {
    let (mut host, partition, leader) = ready(no_cache(), mutants);
    timed(&mut host, partition);
    host.run(LONG);
    let late = OffsetSpec::At(Wall(31_000));
    assert_eq!(listed(&mut host, partition, late), None);
    let reads = |host: &Host| host.saw(leader, |p| matches!(p, Probe::SearchBeyondCache {}));
    let before = reads(&host);
    assert!(before > 0);
    assert_eq!(listed(&mut host, partition, late), None);
    reads(&host) - before
}

#[test]
fn list_offsets_begins_where_an_earlier_search_came_to() {
    assert_eq!(read_again(Mutants::NONE), 0);
}

#[test]
fn list_offsets_of_a_partition_named_twice_is_invalid() {
    let (mut host, partition, leader) = plain();
    host.produce(partition, &["a"]);
    let ask = |spec| ListOffsetsPartition { partition, current_leader_epoch: None, spec };
    let partitions = vec![ask(OffsetSpec::Latest), ask(OffsetSpec::At(Wall(0)))];
    let answer = host.call(leader, Request::ListOffsets { isolation: ISOLATION, partitions });
    let refused = ListOffsetsResult { partition, result: Err(ErrorCode::InvalidRequest) };
    assert_eq!(answer, Response::ListOffsets(vec![refused.clone(), refused]));
}

#[test]
fn list_offsets_of_a_topic_deleted_meanwhile_says_so() {
    let (mut host, partition, leader) = ready(no_cache(), Mutants::NONE);
    timed(&mut host, partition);
    host.run(LONG);
    host.store.retain(|key, _| !key.0.starts_with("obj/"));
    let ask = |spec| ListOffsetsPartition { partition, current_leader_epoch: None, spec };
    let conn = host.conn();
    let partitions = vec![ask(OffsetSpec::At(Wall(11_000)))];
    host.send(leader, conn, 0, Request::ListOffsets { isolation: ISOLATION, partitions });
    let delete = AdminRequest::DeleteTopic { topic: partition.topic };
    assert_eq!(host.call(leader, Request::Admin(delete)), Response::Admin(AdminResponse::Done));
    host.run(LONG);
    let gone = ListOffsetsResult { partition, result: Err(ErrorCode::UnknownTopicId) };
    assert_eq!(host.replies.get(&(conn, 0)), Some(&Response::ListOffsets(vec![gone])));
}

#[test]
fn list_offsets_of_an_empty_log_finds_no_time() {
    let (mut host, partition, _) = plain();
    assert_eq!(listed(&mut host, partition, OffsetSpec::Earliest), Some((0, None, 0)));
    assert_eq!(listed(&mut host, partition, OffsetSpec::Latest), Some((0, None, 0)));
    assert_eq!(listed(&mut host, partition, OffsetSpec::MaxTimestamp), None);
    assert_eq!(listed(&mut host, partition, OffsetSpec::At(Wall(0))), None);
}

#[test]
fn metadata_names_the_published_leader() {
    let (mut host, partition, leader) = plain();
    let names = Some(vec!["t".to_string(), "unknown".to_string()]);
    let Response::Metadata(metadata) = host.call(A, Request::Metadata { topics: names }) else {
        panic!()
    };
    assert_eq!(metadata.brokers, [A, B]);
    let (topic, partitions) = metadata.topics[0].result.clone().unwrap();
    assert_eq!(topic, partition.topic);
    assert_eq!(partitions[0].leader, Some(leader));
    assert_eq!(metadata.topics[1].result, Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn describe_configs_gives_what_is_set_and_the_defaults() {
    let mut host = Host::new(BrokerLimits::default());
    host.create_topic(&[("retention.ms", "5")]);
    let request = Request::DescribeConfigs { topic: "t".to_string() };
    let Response::DescribeConfigs(Ok(configs)) = host.call(A, request) else { panic!() };
    assert!(configs.contains(&("retention.ms".to_string(), "5".to_string())));
    assert!(configs.contains(&("max.message.bytes".to_string(), "1048576".to_string())));
    assert_eq!(configs.len(), TOPIC_CONFIGS.len());
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::mutants::Mutant;

    fn with(mutant: Mutant) -> (Host, TopicPartition, NodeId) {
        ready(no_cache(), Mutants::NONE.with(mutant))
    }

    #[test]
    fn fetch_never_woken_mutant_waits_for_ever() {
        let (mut host, partition, leader) = with(Mutant::FetchNeverWoken);
        let conn = host.conn();
        host.send(leader, conn, 0, fetch(partition, 0, 1));
        host.produce(partition, &["a"]);
        host.run(LONG);
        assert!(!host.replies.contains_key(&(conn, 0)));
    }

    #[test]
    fn search_forgotten_mutant_reads_objects_again() {
        assert!(read_again(Mutants::NONE.with(Mutant::SearchForgotten)) > 0);
    }

    #[test]
    fn fetch_refused_unproven_mutant_sends_a_reader_elsewhere() {
        let mutants = Mutants::NONE.with(Mutant::FetchRefusedUnproven);
        assert!(told_by_a_replaced_leader(mutants, fetch_behind).is_some());
    }

    #[test]
    fn search_unproven_mutant_tells_an_end_that_has_passed() {
        let mutants = Mutants::NONE.with(Mutant::SearchUnproven);
        assert!(told_by_a_replaced_leader(mutants, list(OffsetSpec::Latest)).is_some());
    }

    #[test]
    fn partition_listed_zero_mutant_answers_zero_beyond_the_cache() {
        let (mut host, partition, _) = with(Mutant::PartitionListedZero);
        timed(&mut host, partition);
        host.run(LONG);
        let found = listed(&mut host, partition, OffsetSpec::At(Wall(30_000)));
        assert_eq!(found.map(|(offset, ..)| offset), Some(0));
    }

    #[test]
    fn partition_hw_stale_mutant_takes_the_high_watermark_back() {
        let (mut host, partition, leader) = with(Mutant::PartitionHwStale);
        host.produce(partition, &["a"]);
        host.kill(leader);
        host.run(LONG);
        assert_eq!(listed(&mut host, partition, OffsetSpec::Latest), Some((0, None, 1)));
    }

    fn second_epoch(mutant: Mutant) -> (Host, TopicPartition, NodeId) {
        let (mut host, partition, leader) = with(mutant);
        host.produce(partition, &["a"]);
        host.kill(leader);
        host.run(LONG);
        let leader = host.leader(partition);
        (host, partition, leader)
    }

    fn ends(host: &Host, partition: TopicPartition, leader: NodeId) -> Vec<(LeaderEpoch, Offset)> {
        let open = host.broker(leader).partition(partition).unwrap();
        open.epochs().entries().to_vec()
    }

    #[test]
    fn partition_epoch_on_append_mutant_learns_late() {
        let (mut host, partition, leader) = second_epoch(Mutant::PartitionEpochOnAppend);
        assert_eq!(ends(&host, partition, leader), [(LeaderEpoch(0), Offset(0))]);
        host.produce(partition, &["b"]);
        assert_eq!(ends(&host, partition, leader).len(), 2);
    }

    #[test]
    fn partition_epoch_end_is_leo_mutant_answers_the_logs_end() {
        let (mut host, partition, leader) = second_epoch(Mutant::PartitionEpochEndIsLeo);
        host.produce(partition, &["b"]);
        let question =
            EpochPartition { partition, current_leader_epoch: None, leader_epoch: LeaderEpoch(0) };
        let request = Request::OffsetForLeaderEpoch { partitions: vec![question] };
        let Response::OffsetForLeaderEpoch(results) = host.call(leader, request) else { panic!() };
        assert_eq!(results[0].result, Ok(Some((LeaderEpoch(0), Offset(2)))));
    }
}

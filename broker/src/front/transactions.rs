//! Producers and transactions.

use std::collections::BTreeMap;

use broker_core::ids::{CoordinatorEpoch, ProducerEpoch, ProducerId, TopicPartition};
use broker_core::protocol::{
    ErrorCode, GroupAnswer, GroupRequest, Request, Response, TransactionResult, TransactionVersion,
    TxnAnswer, TxnFilter, TxnMarker, TxnOffsetCommit, TxnProducer, TxnRequest, TxnState,
};
use broker_core::time::Dur;

use super::codes::older;
use super::groups::{commits, generation, who};
use super::records::{millis, ms};
use super::{
    Asked, ByTopic, Code, View, answer, by_topic, code, code_by_name, index, long, renamed,
    transaction_version,
};
use crate::wire::messages::transactions::{
    add_offsets_to_txn, add_partitions_to_txn, describe_transactions, end_txn, init_producer_id,
    list_transactions, txn_offset_commit, write_txn_markers,
};
use crate::wire::{self, Header};

/// The names of states, by Kafka's `TransactionState.java`.
const STATES: &[(TxnState, &str)] = &[
    (TxnState::Empty, "Empty"),
    (TxnState::Ongoing, "Ongoing"),
    (TxnState::PrepareCommit, "PrepareCommit"),
    (TxnState::PrepareAbort, "PrepareAbort"),
    (TxnState::CompleteCommit, "CompleteCommit"),
    (TxnState::CompleteAbort, "CompleteAbort"),
    (TxnState::Dead, "Dead"),
];

/// A producer id that is none: no id is so large.
const NOBODY: ProducerId = ProducerId(u64::MAX >> 1);

fn producer_id(id: i64) -> ProducerId {
    u64::try_from(id).map_or(NOBODY, ProducerId)
}

fn producer(transactional_id: String, id: i64, epoch: i16) -> TxnProducer {
    TxnProducer { transactional_id, producer: producer_id(id), epoch: ProducerEpoch(epoch) }
}

pub(super) fn init_producer_id(header: &Header, request: init_producer_id::Request) -> Asked {
    let init_producer_id::Request { transactional_id, transaction_timeout_ms, .. } = request;
    // `KafkaApis.handleInitProducerIdRequest`: −1 is none, and both are there or none is.
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => {
            let error_code = ErrorCode::InvalidRequest as i16;
            let (producer_id, producer_epoch) = NOBODY_TOLD;
            return Asked::nothing(wire::Response::InitProducerId(init_producer_id::Response {
                error_code,
                producer_id,
                producer_epoch,
                ..Default::default()
            }));
        }
        (id, epoch) => Some((producer_id(id), ProducerEpoch(epoch))),
    };
    let asked = match transactional_id {
        Some(transactional_id) => Request::Txn(TxnRequest::InitProducerId {
            transactional_id,
            timeout: millis(transaction_timeout_ms),
            expected,
        }),
        None => Request::InitProducerId,
    };
    let header = header.clone();
    Asked::one(asked, move |_, answer| {
        let result = answer!(answer,
            Response::InitProducerId(it) | Response::Txn(TxnAnswer::InitProducerId(it)) => it);
        let error_code = renamed(&header, 4, code(&result));
        let (producer_id, producer_epoch) = told(result);
        wire::Response::InitProducerId(init_producer_id::Response {
            error_code,
            producer_id,
            producer_epoch,
            ..Default::default()
        })
    })
}

/// No producer id and no epoch, as the wire says it.
const NOBODY_TOLD: (i64, i16) = (-1, -1);

/// A producer id and its epoch as the wire says them.
fn told(result: Result<(ProducerId, ProducerEpoch), ErrorCode>) -> (i64, i16) {
    result.map_or(NOBODY_TOLD, |(producer, epoch)| (long(producer.0), epoch.0))
}

pub(super) fn add_partitions(
    view: View<'_>,
    header: &Header,
    request: add_partitions_to_txn::Request,
) -> Asked {
    let of = producer(
        request.v3_and_below_transactional_id,
        request.v3_and_below_producer_id,
        request.v3_and_below_producer_epoch,
    );
    let topics = request.v3_and_below_topics.into_iter();
    let topics = ByTopic::named(view, topics.map(|topic| (topic.name, topic.partitions)));
    let partitions = topics.partitions().collect();
    // Kafka refuses all of it if one partition is not there, and the others say that nobody tried
    // (`KafkaApis.handleAddPartitionsToTxnRequest`).
    if topics.0.iter().flat_map(|(_, partitions)| partitions).any(|(_, it)| it.is_err()) {
        let topics = topics.0.into_iter().map(|(name, partitions)| {
            let refused = |(index, it): (i32, Result<TopicPartition, Code>)| {
                (index, it.err().unwrap_or(Code::OPERATION_NOT_ATTEMPTED).0)
            };
            added(name, partitions.into_iter().map(refused).collect())
        });
        return Asked::nothing(added_all(topics.collect()));
    }
    let version = TransactionVersion::V1;
    let request = TxnRequest::AddPartitions { of, partitions, verify_only: false, version };
    let header = header.clone();
    Asked::one(Request::Txn(request), move |_, answer| {
        let results = answer!(answer, Response::Txn(TxnAnswer::AddPartitions(it)) => it);
        let code =
            |index, result: Result<(), _>| (index, renamed(&header, 2, code_by_name(&result)));
        added_all(topics.answer(results, code, added))
    })
}

fn added(
    name: String,
    partitions: Vec<(i32, i16)>,
) -> add_partitions_to_txn::AddPartitionsToTxnTopicResult {
    let result = |(partition_index, partition_error_code)| {
        add_partitions_to_txn::AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code,
        }
    };
    let results_by_partition = partitions.into_iter().map(result).collect();
    add_partitions_to_txn::AddPartitionsToTxnTopicResult { name, results_by_partition }
}

fn added_all(topics: Vec<add_partitions_to_txn::AddPartitionsToTxnTopicResult>) -> wire::Response {
    wire::Response::AddPartitionsToTxn(add_partitions_to_txn::Response {
        results_by_topic_v3_and_below: topics,
        ..Default::default()
    })
}

pub(super) fn add_offsets(header: &Header, request: add_offsets_to_txn::Request) -> Asked {
    let of = producer(request.transactional_id, request.producer_id, request.producer_epoch);
    let request = TxnRequest::AddOffsets { of, group: request.group_id };
    let header = header.clone();
    Asked::one(Request::Txn(request), move |_, answer| {
        let result = answer!(answer, Response::Txn(TxnAnswer::AddOffsets(it)) => it);
        let error_code = renamed(&header, 2, code(&result));
        let answer = add_offsets_to_txn::Response { error_code, ..Default::default() };
        wire::Response::AddOffsetsToTxn(answer)
    })
}

pub(super) fn end(header: &Header, request: end_txn::Request) -> Asked {
    let of = producer(request.transactional_id, request.producer_id, request.producer_epoch);
    let result =
        if request.committed { TransactionResult::Commit } else { TransactionResult::Abort };
    // By KIP-890 the end raises the producer's epoch.
    let version = transaction_version(header, 5);
    let header = header.clone();
    Asked::one(Request::Txn(TxnRequest::End { of, result, version }), move |_, answer| {
        let result = answer!(answer, Response::Txn(TxnAnswer::End(it)) => it);
        let error_code = renamed(&header, 2, code(&result));
        let (producer_id, producer_epoch) = told(result);
        wire::Response::EndTxn(end_txn::Response {
            error_code,
            producer_id,
            producer_epoch,
            ..Default::default()
        })
    })
}

pub(super) fn offset_commit(
    view: View<'_>,
    header: &Header,
    request: txn_offset_commit::Request,
) -> Asked {
    let topics = request.topics.into_iter().map(|topic| {
        let commit = |it: txn_offset_commit::TxnOffsetCommitRequestPartition| {
            let commit = (it.committed_offset, it.committed_leader_epoch, it.committed_metadata);
            (it.partition_index, commit)
        };
        (topic.name, topic.partitions.into_iter().map(commit).collect())
    });
    let (topics, offsets) = commits::to_commit(view, topics);
    // By KIP-890 the group's coordinator makes its partition part of the transaction.
    let version = transaction_version(header, 5);
    let request = GroupRequest::TxnOffsetCommit(TxnOffsetCommit {
        group: request.group_id,
        transactional_id: request.transactional_id,
        version,
        producer: producer_id(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
        who: who(request.member_id, request.group_instance_id),
        generation: generation(request.generation_id),
        offsets,
    });
    let header = header.clone();
    Asked::one(Request::Group(request), move |_, answer| {
        let results = answer!(answer, Response::Group(GroupAnswer::TxnOffsetCommit(it)) => it);
        let topics = topics.answer(
            results,
            |partition_index, result| {
                let error_code = renamed(&header, 4, code_by_name(&result));
                txn_offset_commit::TxnOffsetCommitResponsePartition {
                    partition_index,
                    error_code: older(&header, 2, LOADING, error_code),
                }
            },
            |name, partitions| txn_offset_commit::TxnOffsetCommitResponseTopic { name, partitions },
        );
        let answer = txn_offset_commit::Response { topics, ..Default::default() };
        wire::Response::TxnOffsetCommit(answer)
    })
}

/// Producers of old may crash when they are told that a coordinator is loading (KAFKA-7296,
/// `KafkaApis.handleTxnOffsetCommitRequest`).
const LOADING: &[(ErrorCode, ErrorCode)] =
    &[(ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable)];

pub(super) fn write_markers(view: View<'_>, request: write_txn_markers::Request) -> Asked {
    let mut asked = Vec::new();
    let markers = request.markers.into_iter().map(|marker| {
        let producer = producer_id(marker.producer_id);
        let topics = marker.topics.into_iter();
        let topics = ByTopic::named(view, topics.map(|it| (it.name, it.partition_indexes)));
        asked.push(TxnMarker {
            producer,
            epoch: ProducerEpoch(marker.producer_epoch),
            result: if marker.transaction_result {
                TransactionResult::Commit
            } else {
                TransactionResult::Abort
            },
            coordinator_epoch: CoordinatorEpoch(
                u32::try_from(marker.coordinator_epoch).unwrap_or(0),
            ),
            // Version 1 of the call knows no other protocol.
            version: TransactionVersion::V1,
            partitions: topics.partitions().collect(),
        });
        (marker.producer_id, topics)
    });
    let markers: Vec<(i64, ByTopic<String>)> = markers.collect();
    Asked::one(Request::WriteTxnMarkers { markers: asked }, |_, answer| {
        // The core answers marker by marker, in the order of the request. Kafka keeps one answer
        // for each producer and partition, the last (`KafkaApis.handleWriteTxnMarkersRequest`).
        let results = answer!(answer, Response::WriteTxnMarkers(it) => it);
        let mut results = results.into_iter().map(|(_, partition, result)| (partition, result));
        let mut answers: BTreeMap<i64, BTreeMap<String, BTreeMap<i32, i16>>> = BTreeMap::new();
        for (producer_id, topics) in markers {
            let of_it: Vec<_> = results.by_ref().take(topics.partitions().count()).collect();
            let code = |index, result: Result<(), Code>| (index, code_by_name(&result));
            for (name, codes) in topics.answer(of_it, code, |name, codes| (name, codes)) {
                let topics = answers.entry(producer_id).or_default();
                topics.entry(name).or_default().extend(codes);
            }
        }
        let markers = answers.into_iter().map(|(producer_id, topics)| {
            let topics = topics.into_iter().map(|(name, codes)| marked(name, codes)).collect();
            write_txn_markers::WritableTxnMarkerResult { producer_id, topics }
        });
        let markers = markers.collect();
        wire::Response::WriteTxnMarkers(write_txn_markers::Response { markers })
    })
}

fn marked(
    name: String,
    codes: BTreeMap<i32, i16>,
) -> write_txn_markers::WritableTxnMarkerTopicResult {
    let partition = |(partition_index, error_code)| {
        write_txn_markers::WritableTxnMarkerPartitionResult { partition_index, error_code }
    };
    let partitions = codes.into_iter().map(partition).collect();
    write_txn_markers::WritableTxnMarkerTopicResult { name, partitions }
}

pub(super) fn describe(request: describe_transactions::Request) -> Asked {
    let describe_transactions::Request { transactional_ids } = request;
    let asked = Request::Txn(TxnRequest::Describe { transactional_ids });
    Asked::one(asked, |view, answer| {
        let results = answer!(answer, Response::Txn(TxnAnswer::Describe(it)) => it);
        let state = |(transactional_id, result)| described(view, transactional_id, result);
        let transaction_states = results.into_iter().map(state).collect();
        wire::Response::DescribeTransactions(describe_transactions::Response {
            transaction_states,
            ..Default::default()
        })
    })
}

fn described(
    view: View<'_>,
    transactional_id: String,
    result: Result<broker_core::protocol::TxnDescription, ErrorCode>,
) -> describe_transactions::TransactionState {
    let error_code = code(&result);
    let none = describe_transactions::TransactionState {
        error_code,
        transactional_id,
        transaction_start_time_ms: -1,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let Ok(found) = result else { return none };
    let topics = by_topic(found.partitions.into_iter().map(|it| (it, ())));
    let topics = topics.into_iter().filter_map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, ())| index(partition)).collect();
        Some(describe_transactions::TopicData { topic: view.name(topic)?.to_owned(), partitions })
    });
    describe_transactions::TransactionState {
        transaction_state: name_of(found.state).to_owned(),
        transaction_timeout_ms: super::groups::ms(found.timeout),
        transaction_start_time_ms: found.started.map_or(-1, ms),
        producer_id: long(found.producer.0),
        producer_epoch: found.epoch.0,
        topics: topics.collect(),
        ..none
    }
}

fn name_of(state: TxnState) -> &'static str {
    STATES.iter().find(|(it, _)| *it == state).expect("every state has its name").1
}

pub(super) fn list(request: &list_transactions::Request) -> Asked {
    let mut states = Vec::new();
    let mut unknown_state_filters = Vec::new();
    for name in &request.state_filters {
        match STATES.iter().find(|(_, it)| it == name) {
            Some((state, _)) => states.push(*state),
            None => unknown_state_filters.push(name.clone()),
        }
    }
    // Filters of which none is known would be no filter at all.
    if states.is_empty() && !unknown_state_filters.is_empty() {
        let answer = list_transactions::Response { unknown_state_filters, ..Default::default() };
        return Asked::nothing(wire::Response::ListTransactions(answer));
    }
    let producers = request.producer_id_filters.iter().map(|id| producer_id(*id)).collect();
    // Longer than any clock runs is as long as that.
    let running = u64::try_from(request.duration_filter).ok();
    let running = running.map(|ms| Dur(ms.saturating_mul(1_000)));
    let asked = TxnRequest::List(TxnFilter { states, producers, running });
    Asked::one(Request::Txn(asked), |_, answer| {
        let result = answer!(answer, Response::Txn(TxnAnswer::List(it)) => it);
        let error_code = code(&result);
        let listed = result.unwrap_or_default().into_iter();
        let listed =
            listed.map(|(transactional_id, producer, state)| list_transactions::TransactionState {
                transactional_id,
                producer_id: long(producer.0),
                transaction_state: name_of(state).to_owned(),
            });
        wire::Response::ListTransactions(list_transactions::Response {
            error_code,
            unknown_state_filters,
            transaction_states: listed.collect(),
            ..Default::default()
        })
    })
}

//! Producers and transactions.

use broker_core::ids::{ProducerEpoch, ProducerId, TopicPartition};
use broker_core::protocol::{
    ErrorCode, Response, TransactionResult, TransactionVersion, TxnAnswer, TxnProducer, TxnRequest,
};
use broker_core::time::Dur;

use super::directory::Places;
use super::versions::END_TXN_V2;
use super::{Asked, Broken, Directory, Refusal, View, body, long, ms};
use crate::wire::messages::transactions::{
    add_offsets_to_txn, add_partitions_to_txn, end_txn, init_producer_id,
};
use crate::wire::{self, ApiKey};

/// From here on a producer can say which one it was (KIP-360).
const INIT_EXPECTED: i16 = 3;

pub(super) fn ask(view: View<'_>, request: &TxnRequest) -> Result<Asked, Refusal> {
    match request {
        TxnRequest::InitProducerId { transactional_id, timeout, expected } => {
            become_producer(view, transactional_id, *timeout, *expected)
        }
        TxnRequest::AddPartitions {
            of,
            partitions,
            verify_only: false,
            version: TransactionVersion::V1,
        } => add_partitions(view, of, partitions),
        TxnRequest::AddOffsets { of, group } => add_offsets(view, of, group),
        TxnRequest::End { of, result, version } => end(view, of, *result, *version),
        // Brokers ask the first; by the second protocol clients do not; tools ask the others.
        TxnRequest::AddPartitions { .. } | TxnRequest::Describe { .. } | TxnRequest::List(_) => {
            Err(Refusal::NotAClients)
        }
    }
}

/// An id and epoch that were told.
type Told = Result<(ProducerId, ProducerEpoch), ErrorCode>;

fn told(directory: &mut Directory, code: i16, id: i64, epoch: i16) -> Result<Told, Broken> {
    if let Err(code) = directory.outcome(code) {
        return Ok(Err(code));
    }
    let id = u64::try_from(id).map_err(|_| Broken::Value { field: "producer_id" })?;
    if epoch < 0 {
        return Err(Broken::Value { field: "producer_epoch" });
    }
    Ok(Ok((ProducerId(id), ProducerEpoch(epoch))))
}

fn initialised(directory: &mut Directory, answer: wire::Response) -> Result<Told, Broken> {
    let answer = body!(answer, wire::Response::InitProducerId(it) => it);
    told(directory, answer.error_code, answer.producer_id, answer.producer_epoch)
}

pub(super) fn producer_id(view: View<'_>) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::InitProducerId, ..)?;
    let request = wire::Request::InitProducerId(init_producer_id::Request {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    });
    Ok(Asked::new(version, request, |directory, answer| {
        Ok(Response::InitProducerId(initialised(directory, answer)?))
    }))
}

fn become_producer(
    view: View<'_>,
    transactional_id: &str,
    timeout: Dur,
    expected: Option<(ProducerId, ProducerEpoch)>,
) -> Result<Asked, Refusal> {
    let oldest = if expected.is_some() { INIT_EXPECTED } else { 0 };
    let version = view.versions.pick(ApiKey::InitProducerId, oldest..)?;
    let (producer_id, producer_epoch) =
        expected.map_or((-1, -1), |(id, epoch)| (long(id.0), epoch.0));
    let request = wire::Request::InitProducerId(init_producer_id::Request {
        transactional_id: Some(transactional_id.to_owned()),
        transaction_timeout_ms: ms(timeout),
        producer_id,
        producer_epoch,
    });
    Ok(Asked::new(version, request, |directory, answer| {
        Ok(Response::Txn(TxnAnswer::InitProducerId(initialised(directory, answer)?)))
    }))
}

fn add_partitions(
    view: View<'_>,
    of: &TxnProducer,
    partitions: &[TopicPartition],
) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::AddPartitionsToTxn, ..)?;
    let bare = partitions.iter().map(|it| (*it, ()));
    let (places, topics) = Places::named(&view.directory.names, bare)?;
    let topic = |(name, partitions): (_, Vec<_>)| add_partitions_to_txn::AddPartitionsToTxnTopic {
        name,
        partitions: partitions.into_iter().map(|(index, ())| index).collect(),
    };
    let request = wire::Request::AddPartitionsToTxn(add_partitions_to_txn::Request {
        v3_and_below_transactional_id: of.transactional_id.clone(),
        v3_and_below_producer_id: long(of.producer.0),
        v3_and_below_producer_epoch: of.epoch.0,
        v3_and_below_topics: topics.into_iter().map(topic).collect(),
    });
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::AddPartitionsToTxn(it) => it);
        let mut results = Vec::new();
        for topic in answer.results_by_topic_v3_and_below {
            for it in topic.results_by_partition {
                let partition = places.of_name(&topic.name, it.partition_index)?;
                results.push((partition, directory.outcome(it.partition_error_code)));
            }
        }
        Ok(Response::Txn(TxnAnswer::AddPartitions(results)))
    }))
}

fn add_offsets(view: View<'_>, of: &TxnProducer, group: &str) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::AddOffsetsToTxn, ..)?;
    let request = wire::Request::AddOffsetsToTxn(add_offsets_to_txn::Request {
        transactional_id: of.transactional_id.clone(),
        producer_id: long(of.producer.0),
        producer_epoch: of.epoch.0,
        group_id: group.to_owned(),
    });
    Ok(Asked::new(version, request, |directory, answer| {
        let answer = body!(answer, wire::Response::AddOffsetsToTxn(it) => it);
        let result = directory.outcome(answer.error_code);
        Ok(Response::Txn(TxnAnswer::AddOffsets(result)))
    }))
}

fn end(
    view: View<'_>,
    of: &TxnProducer,
    result: TransactionResult,
    version: TransactionVersion,
) -> Result<Asked, Refusal> {
    let key = ApiKey::EndTxn;
    let version = match version {
        TransactionVersion::V1 => view.versions.pick(key, ..END_TXN_V2)?,
        TransactionVersion::V2 => view.versions.pick(key, END_TXN_V2..)?,
    };
    let request = wire::Request::EndTxn(end_txn::Request {
        transactional_id: of.transactional_id.clone(),
        producer_id: long(of.producer.0),
        producer_epoch: of.epoch.0,
        committed: result == TransactionResult::Commit,
    });
    let same = (of.producer, of.epoch);
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::EndTxn(it) => it);
        let result = if version < END_TXN_V2 {
            // By the first protocol a producer stays what it is.
            directory.outcome(answer.error_code).map(|()| same)
        } else {
            told(directory, answer.error_code, answer.producer_id, answer.producer_epoch)?
        };
        Ok(Response::Txn(TxnAnswer::End(result)))
    }))
}

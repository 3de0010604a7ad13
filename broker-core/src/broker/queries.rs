//! Requests that are answered from what is known here, and those that are passed to the controller.
//!
//! ListOffsets is in `search`. Source: `KafkaApis.scala`, KIP-320, KIP-590 (forwarding).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Broker;
use super::asks::Purpose;
use crate::partition::Asker;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::protocol::{
    AdminRequest, AdminResponse, EpochPartition, EpochResult, ErrorCode, MetadataResponse,
    PartitionMetadata, Response, TopicMetadata,
};
use crate::step::{Cx, Effect, Outbox};

/// Kafka's default of `retention.ms`: a week.
const RETENTION_MS_DEFAULT: &str = "604800000";

impl Broker {
    /// Brokers, topics and published leaders, as this broker's image has them.
    pub(super) fn metadata(
        &mut self,
        asker: Asker,
        names: Option<Vec<String>>,
        out: &mut Outbox<Effect>,
    ) {
        let unfenced = self.image.brokers.iter().filter(|(_, broker)| !broker.fenced);
        let brokers = unfenced.map(|(&node, _)| node).collect();
        let topics = match names {
            Some(names) => names.into_iter().map(|name| self.topic_metadata(name)).collect(),
            None => {
                let known = self.image.topic_ids.keys();
                known.map(|name| self.topic_metadata(name.clone())).collect()
            }
        };
        let answer = Response::Metadata(MetadataResponse { brokers, topics });
        self.reply(asker, answer, out);
    }

    pub(super) fn epoch_ends(
        &mut self,
        cx: &Cx,
        asker: Asker,
        questions: &[EpochPartition],
        out: &mut Outbox<Effect>,
    ) {
        let answer = |question: &EpochPartition| {
            let partition = question.partition;
            let open = self.partitions.get(&partition).ok_or_else(|| self.not_led(partition));
            let result = open.and_then(|open| {
                open.check_epoch(question.current_leader_epoch)?;
                Ok(open.epoch_end(cx, question.leader_epoch))
            });
            EpochResult { partition, result }
        };
        let results: Vec<EpochResult> = questions.iter().map(answer).collect();
        let told = results.iter().any(|part| part.result.is_ok());
        let answer = Response::OffsetForLeaderEpoch(results);
        if told {
            self.reply_when_proven(cx, asker, answer, out);
        } else {
            self.reply(asker, answer, out);
        }
    }

    /// Every config that a topic can have, with its default where it is not set.
    pub(super) fn describe_configs(&mut self, asker: Asker, name: &str, out: &mut Outbox<Effect>) {
        let configs = match self.image.topic_named(name) {
            Some((_, topic)) => {
                let batch_bytes_max = self.config.limits.batch_bytes_max.to_string();
                let defaults = [
                    ("cleanup.policy", "delete"),
                    ("max.message.bytes", batch_bytes_max.as_str()),
                    ("message.timestamp.type", "CreateTime"),
                    ("retention.ms", RETENTION_MS_DEFAULT),
                ];
                let value = |(key, default): (&str, &str)| {
                    let value = topic.configs.get(key).map_or(default, String::as_str);
                    (key.to_string(), value.to_string())
                };
                Ok(defaults.into_iter().map(value).collect())
            }
            None => Err(ErrorCode::UnknownTopicOrPartition),
        };
        self.reply(asker, Response::DescribeConfigs(configs), out);
    }

    /// Passes a change of the metadata to the controller. The nonce makes its retries one request.
    pub(super) fn admin(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: AdminRequest,
        out: &mut Outbox<Effect>,
    ) {
        let request = ControllerRequest::Admin { nonce: cx.entropy, request };
        self.asks.ask(Purpose::Admin(asker), request, out);
    }

    pub(super) fn admin_answered(
        &mut self,
        asker: Asker,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        let answer = match result {
            Ok(ControllerAnswer::Admin(answer)) => answer,
            Err(ControllerError::UnknownTopicOrPartition) => {
                AdminResponse::Error(ErrorCode::UnknownTopicOrPartition)
            }
            // Answers that belong to other questions say nothing about this one.
            Ok(
                ControllerAnswer::Registered { .. }
                | ControllerAnswer::Heartbeat { .. }
                | ControllerAnswer::Opened { .. }
                | ControllerAnswer::Prepared { .. }
                | ControllerAnswer::Committed { .. }
                | ControllerAnswer::ProducerIds { .. }
                | ControllerAnswer::Done,
            )
            | Err(
                ControllerError::NotController { .. }
                | ControllerError::DuplicateBrokerRegistration
                | ControllerError::StaleBrokerEpoch
                | ControllerError::BrokerIdNotRegistered
                | ControllerError::NodeEpochExpired
                | ControllerError::NodeFenced
                | ControllerError::StreamNotExist
                | ControllerError::StreamFenced
                | ControllerError::StreamNotClosed
                | ControllerError::StreamNotOpened
                | ControllerError::ObjectNotExist
                | ControllerError::OffsetNotMatched
                | ControllerError::FencedLeaderEpoch,
            ) => AdminResponse::Error(ErrorCode::RequestTimedOut),
        };
        self.reply(asker, Response::Admin(answer), out);
    }

    pub(super) fn admin_timed_out(&mut self, asker: Asker, out: &mut Outbox<Effect>) {
        let answer = AdminResponse::Error(ErrorCode::RequestTimedOut);
        self.reply(asker, Response::Admin(answer), out);
    }

    fn topic_metadata(&self, name: String) -> TopicMetadata {
        let Some((id, _)) = self.image.topic_named(&name) else {
            return TopicMetadata { name, result: Err(ErrorCode::UnknownTopicOrPartition) };
        };
        let partitions = self.image.partitions_of_topic(id);
        let partitions = partitions.map(|(partition, state)| PartitionMetadata {
            index: partition.index,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
        });
        TopicMetadata { name, result: Ok((id, partitions.collect())) }
    }
}
